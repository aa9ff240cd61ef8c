"""Draw the effect of one amplification on the epochs after it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ralr_viz.plots.fit_text import measure_text
from ralr_viz.plots.foot import add_foot
from ralr_viz.plots.letters import FORMULA
from ralr_viz.plots.style import COLORS, GREY, LEGEND_LINE, legend_name, legend_text_size, new_figure
from ralr_viz.results.effect import LEVEL, POWER, TREATMENTS, EffectResult

_NARROW = 4.5  # inches: below this width the panels stand one above another
_MOST_TICKS = 6
_HALF_BAND, _HALF_REACH = 0.28, 0.42  # of the distance of two lags
_COLOR = COLORS["ralr"]
_POINT: dict[str, Any] = {"color": _COLOR, "marker": "o", "ms": 3.5, "ls": ""}
_REACH: dict[str, Any] = {"color": "black", "lw": 0.9, "ls": (0, (1, 1))}


def draw_effect(result: EffectResult, axes: Sequence[Axes] | None = None) -> Figure:
    """Draw the effect on each outcome over the lags: estimate and simultaneous band, in each phase between two decays.

    Where there is one phase, or they are not told apart, the minimum detectable effect is drawn, too.

    A panel's title has the outcome and the exact p of no draw acting at any lag, another null than the band's;
    below each lag stands the number of draws that it rests on. Lags without an estimate are left out.

    Args:
        result: What `compute_effect` returned.
        axes: One for each outcome; when left out, a figure of the style's width is made, with legend and
            caption.

    Returns:
        The figure.
    """
    panels = _new_panels(result) if axes is None else list(axes)
    for i, panel in enumerate(panels[: len(result.outcomes)]):
        _draw_outcome(panel, result, i)
    return panels[0].figure.figure


def effect_table(result: EffectResult) -> list[dict[str, Any]]:
    """The drawn numbers, one row for each outcome and lag; empty where a lag cannot be estimated."""
    return [
        {key: None if isinstance(value, float) and np.isnan(value) else value for key, value in row.items()}
        for row in result.summary()
    ]


def effect_caption(result: EffectResult) -> str:
    """What the numbers are, of which runs, and what they cannot separate."""
    law, count = result.law, len(result.runs)
    runs = legend_name(result.runs[0]) if count == 1 else f"{count} runs"
    duration = "one epoch" if law["interval"] == 1 else f"{law['interval']} epochs"
    sentences = [
        f"Change of the outcome k epochs after a draw, per unit of dose ({duration} at 2 × the scheduled LR "
        f"instead of 1 ×); {runs}, {result.draws.sum()} draws, {result.amplified.sum()} of them amplified; "
        f"{result.schedule}; n: draws whose horizon lies in one phase{', of each phase in turn' if result.phases else ''}.",
        f"Adjusted for the outcome before, level and slope of the phase and the doses in between; draws"
        f"{', whose effects differ, are averaged within each phase between two decays' if result.phases else ' and phases, whose effects differ, are averaged'}. "
        f"Bars cover all lags of {'one phase in ' if result.phases else ''}a panel with {100 * LEVEL:.0f} % "
        f"probability ({result.resamples:,} redraws of all flips, largest |t|) if all draws act alike, with less "
        f"if not. Exact p is of another null than the bars, that no draw changes anything at any lag: it may be small "
        f"where every bar holds 0, an average; panels are not corrected for each other.",
        *([] if result.phases else [f"MDE: found with {100 * POWER:.0f} % probability."]),
        "Not separated: the outcome at lag 0 is measured right after a larger step, every amplification adds "
        "to Σ LR, and all outcomes are of the same weights.",
        *_describe_step(result),
        "It cannot tell whether amplification helps in the end: it sees the epochs after a draw, within one phase.",
    ]
    if result.few_draws:
        sentences.append("So few draws make the bars less reliable.")
    if count == 1:
        sentences.append("One training: these are its draws, not those of other seeds.")
    return " ".join(sentences)


def _describe_step(result: EffectResult) -> list[str]:
    if "step_length" not in result.outcomes:
        return []
    if result.treatments and result.treatments[result.outcomes.index("step_length")] == TREATMENTS[1]:
        return ["Of the weight step, ln is regressed on ln λ: it is in proportion to the rate at 1."]
    return ["A weight step is doubled at +0.69."]


def _new_panels(result: EffectResult) -> list[Axes]:
    count = len(result.outcomes)
    width = mpl.rcParams["figure.figsize"][0]
    columns = 1 if width < _NARROW or count == 1 else 2
    rows = -(-count // columns)
    size = legend_text_size()
    figure = new_figure(0.3 + (1.65 + 0.12 * max(len(result.phases) - 1, 0)) * rows)
    add_foot(figure, result, effect_caption(result))
    handles: list[Artist] = [
        Line2D([], [], label="estimate", **_POINT),
        Patch(color=_COLOR, alpha=0.25, lw=0, label=f"simultaneous {100 * LEVEL:.0f} % band"),
        Line2D([], [], label="± MDE", **_REACH),
    ]
    if result.phases:
        handles = [
            Patch(color=color, alpha=0.25, lw=0, label=f"{name}, {100 * LEVEL:.0f} % band" if not k else name)
            for k, (name, color) in enumerate(zip(result.phases, _phase_colors(result), strict=True))
        ]
    widths = [measure_text(str(handle.get_label()), size) + LEGEND_LINE * size / 72 for handle in handles]
    fitting = len(handles) if sum(widths) < width else 1
    figure.legend(handles=handles, loc="outside upper center", ncols=fitting)
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for empty in panels[count:]:
        empty.set_axis_off()
    return panels[:count]


def _draw_outcome(panel: Axes, result: EffectResult, i: int) -> None:
    name = result.outcomes[i]
    label, unit = result.outcome(name)
    there = np.flatnonzero(result.estimable[i])
    if result.phases and result.phase_estimate is not None:
        there = np.flatnonzero(np.isfinite(result.phase_estimate[i]).any(axis=0))
    letter = "abcdef"[i]
    panel.set_title(rf"$\mathbf{{({letter})}}$ {label}", gid=FORMULA)
    panel.set_xlabel("lag (epochs)")
    panel.set_ylabel(f"effect ({unit})" if unit else "effect")
    if not there.size:
        panel.text(0.5, 0.5, "too few draws", transform=panel.transAxes, ha="center", color=GREY)
        panel.set(xticks=[], yticks=[])
        panel.grid(False)
        return
    panel.set_title(f"exact p {_format_p(result.overall_p[i], result.resamples)}", loc="right")
    lag = result.lag[there]
    panel.axhline(0, color=GREY, lw=0.7, zorder=1.5)
    if result.phases:
        _draw_phases(panel, result, i)
    else:
        _draw_pooled(panel, result, i, there)
    panel.use_sticky_edges = False  # a bar's end is an end of the band, not of the axis
    panel.margins(y=0.08)
    panel.autoscale_view(scalex=False)
    panel.set_xlim(lag[0] - 0.6, lag[-1] + 0.6)
    shown = there[:: -(-there.size // _MOST_TICKS)]
    panel.set_xticks(result.lag[shown], [f"{result.lag[j]}\n{_counts(result, i, j)}" for j in shown])
    panel.grid(False, axis="x")


def _counts(result: EffectResult, i: int, j: int) -> str:
    """Draws that an estimate rests on, of each phase where they are told apart, one below the other."""
    if result.phase_rows is None:
        return f"n = {result.rows[i, j]}"
    return "n = " + "\n".join(map(str, result.phase_rows[i, :, j]))


def _phase_colors(result: EffectResult) -> list[tuple[float, float, float, float]]:
    """Dark to light, so that they grow with the epochs in grey, too."""
    return [tuple(mpl.colormaps["viridis"](share)) for share in np.linspace(0, 0.8, len(result.phases))]


def _draw_phases(panel: Axes, result: EffectResult, i: int) -> None:
    """Side by side at each lag, the first phase on the left."""
    estimate, low, high = result.phase_estimate, result.phase_low, result.phase_high
    assert estimate is not None and low is not None and high is not None
    name, count = result.outcomes[i], len(result.phases)
    width = 2 * _HALF_REACH / count
    for k, (phase, color) in enumerate(zip(result.phases, _phase_colors(result), strict=True)):
        at = np.isfinite(estimate[i, k])
        x = result.lag[at] + (k - (count - 1) / 2) * width
        ends = low[i, k, at], high[i, k, at]
        panel.bar(
            x,
            ends[1] - ends[0],
            0.8 * width,
            ends[0],
            color=color,
            alpha=0.25,
            lw=0,
            gid=f"band:{name}:{phase}",
        )
        panel.plot(
            x, estimate[i, k, at], gid=f"estimate:{name}:{phase}", zorder=3, **_POINT | {"color": color}
        )


def _draw_pooled(panel: Axes, result: EffectResult, i: int, there: np.ndarray) -> None:
    """The average of all phases, at the lags that have one."""
    name, lag = result.outcomes[i], result.lag[there]
    low, high, mde = (getattr(result, key)[i, there] for key in ("low", "high", "mde"))
    panel.bar(
        lag, high - low, 2 * _HALF_BAND, low, color=_COLOR, alpha=0.25, lw=0, label="band", gid=f"band:{name}"
    )
    panel.plot(lag, result.estimate[i, there], gid=f"estimate:{name}", zorder=3, **_POINT)
    finite = np.isfinite(mde)
    for sign in (-1, 1):
        ends = lag[finite] - _HALF_REACH, lag[finite] + _HALF_REACH
        panel.hlines(sign * mde[finite], *ends, gid=f"mde:{name}", **_REACH)


def _format_p(p: float, resamples: int) -> str:
    smallest = 1 / (1 + resamples)
    return f"≤ {smallest:.2g}" if p <= smallest else f"= {p:.2g}"
