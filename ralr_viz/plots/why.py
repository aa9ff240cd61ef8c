"""Claims and what was measured: values of each arm and paired differences, every seed as a dot."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from ralr_viz.plots.fit_text import fit_text
from ralr_viz.plots.foot import add_foot
from ralr_viz.plots.style import GREY, legend_name, legend_text_size, method_looks, new_figure
from ralr_viz.results.why import CLAIMS, WhyResult

_ROW = 0.98  # inches of a measure with its titles and ticks
_LEGEND = 0.3  # inches
_MOST_ROWS = 8


def draw_why(result: WhyResult) -> Figure:
    """Draw a row for each primary claim that was measured, else for the first measures.

    On the left are the values of the arms, a dot and a fine line for each seed and the mean as a bar; on the
    right the paired differences with a 95 % interval, over seeds where there are two or more, else over
    images or directions of this pair of checkpoints.

    Args:
        result: Of any number of measures and seeds.

    Returns:
        A figure of the current style's width.
    """
    claimed = [m for k in range(len(CLAIMS)) for m in result.measures_of(k)]
    shown = claimed or list(range(len(result.names)))[:_MOST_ROWS]
    page = mpl.rcParams["figure.figsize"][0]
    figure = new_figure(_ROW * len(shown) + _LEGEND, width=page)
    add_foot(figure, result, _note(result, claimed))
    rows = figure.subplots(len(shown), 2, squeeze=False, width_ratios=(1, 1))
    for (left, right), m in zip(rows, shown, strict=True):
        _draw_values(left, result, m)
        _draw_differences(right, result, m)
        claim, size = result.claim_of(m), min(mpl.rcParams["axes.labelsize"], legend_text_size())
        title = result.diagnostics[m] if claim is None else CLAIMS[claim].text
        verdict = "exploratory"
        if claim is not None:  # that one seed tests nothing stands in the note
            verdict = f"verdict: {result.verdicts[claim]}".split("; ", 1)[-1]
        room = 0.39 * page  # of a panel without its ticks
        if fit_text(verdict, size, room) != verdict:  # of which checkpoints stands in the note too
            verdict = verdict.removeprefix("these checkpoints: ")
        for panel, text in ((left, title), (right, verdict)):
            panel.set_title(fit_text(text, size, room), size=size)
    handles = [
        Line2D([], [], color=GREY, marker="o", ms=3, lw=0.5, label="a seed"),
        Line2D([], [], color=GREY, marker="|", ms=9, mew=1.5, lw=0, label="mean"),
        Line2D([], [], color=GREY, lw=1.5, label="95 % interval of the difference"),
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=3)
    return figure


def why_table(result: WhyResult) -> list[dict[str, Any]]:
    """A row for each measure: its claim, the arms, the differences and what the tests say."""
    return [_row(result, m) for m in range(len(result.names))]


def _row(result: WhyResult, m: int) -> dict[str, Any]:
    claim = result.claim_of(m)
    row: dict[str, Any] = {
        "claim": "" if claim is None else CLAIMS[claim].text,
        "verdict": "exploratory" if claim is None else result.verdicts[claim],
        "diagnostic": result.diagnostics[m],
        "measure": result.labels[m],
        "name": result.names[m],
        "unit": result.units[m],
        "seeds": len(result.seeds),
    }
    for arm, values in zip(result.arms, result.values[m], strict=True):
        row[arm] = float(values.mean())
    for c, comparison in enumerate(result.comparisons):
        mean, low, high, over = result.interval(m, c)
        row |= {comparison: mean, f"{comparison} low": low, f"{comparison} high": high}
        row |= {f"{comparison} interval over": over, f"{comparison} p": float(result.p[m, c])}
        row |= {f"{comparison} sign-flip p": float(result.sign_flip_p[m, c])}
        ends = result.bootstrap[m, c].tolist()
        row |= dict(zip((f"{comparison} bootstrap low", f"{comparison} bootstrap high"), ends, strict=True))
    row["sign-flip floor"] = result.sign_flip_floor
    row["Holm p"] = None if claim is None else float(result.corrected_p[claim])
    for arm, values in zip(result.arms, result.values[m], strict=True):
        for seed, value in zip(result.seeds, values, strict=True):
            row[f"{arm} seed{seed}"] = float(value)
    return row


def _draw_values(panel: Axes, result: WhyResult, m: int) -> None:
    looks = method_looks(result.arms)
    places = np.arange(len(result.arms))
    for values in result.values[m].T:
        panel.plot(values, places, color=GREY, lw=0.5, alpha=0.7, zorder=1.5)
    for place, arm in zip(places, result.arms, strict=True):
        values, look = result.values[m, place], looks[arm]
        panel.plot(values, np.full(len(values), place), "o", ms=3, color=look.color, gid=f"values:{arm}")
        panel.plot(values.mean(), place, "|", ms=9, mew=1.5, color=look.color, gid=f"mean:{arm}")
    panel.set_yticks(places, [_short(arm) for arm in result.arms])
    panel.set_ylim(len(places) - 0.5, -0.5)
    unit = f" ({result.units[m]})" if result.units[m] else ""
    width = 0.46 * mpl.rcParams["figure.figsize"][0]
    panel.set_xlabel(fit_text(result.labels[m] + unit, _label_size(), width))
    panel.xaxis.set_major_locator(MaxNLocator(4))


def _draw_differences(panel: Axes, result: WhyResult, m: int) -> None:
    looks = method_looks(result.arms)
    names = [_comparison_name(result, c) for c in range(len(result.comparisons))]
    for c, (later, earlier) in enumerate(_arms_of(result)):
        color = looks[result.arms[later]].color
        each = result.values[m, later] - result.values[m, earlier]
        mean, low, high, _ = result.interval(m, c)
        panel.plot(
            each, np.full(len(each), c + 0.16), "o", ms=2.5, color=color, alpha=0.6, gid=f"differences:{c}"
        )
        panel.plot([low, high], [c - 0.16] * 2, color=color, lw=1.5, gid=f"interval:{c}")
        panel.plot(mean, c - 0.16, "|", ms=9, mew=1.5, color=color, gid=f"difference:{c}")
    panel.axvline(0, color=GREY, lw=0.6, zorder=1.5)
    panel.set_yticks(range(len(names)), names)
    panel.set_ylim(len(names) - 0.5, -0.5)
    unit = f" ({result.units[m]})" if result.units[m] else ""
    panel.set_xlabel(f"difference{unit}")
    panel.xaxis.set_major_locator(MaxNLocator(4))


def _arms_of(result: WhyResult) -> tuple[tuple[int, int], ...]:
    """Later and earlier arm of each comparison of `COMPARISONS`."""
    return ((1, 0), (1, 2), (2, 0))[: len(result.comparisons)]


def _comparison_name(result: WhyResult, c: int) -> str:
    later, earlier = _arms_of(result)[c]
    return f"{_short(result.arms[later])} − {_short(result.arms[earlier])}"


def _short(arm: str) -> str:
    return fit_text(legend_name(arm), legend_text_size(), 0.7)


def _label_size() -> float:
    return float(mpl.rcParams["axes.labelsize"])


def _note(result: WhyResult, claimed: list[int]) -> str:
    n = len(result.seeds)
    seeds = (
        f"{n} training seeds ({', '.join(map(str, result.seeds))}), paired" if n > 1 else "One training seed"
    )
    over = (
        "over seeds (t)" if n > 1 else "over resampled images or directions of this one pair of checkpoints"
    )
    parts = [f"{seeds}. Intervals: 95 %, {over}."]
    if n < 3:
        parts.append(
            "They hold for these checkpoints only: one training of each says nothing of the method, and no "
            f"claim is testable at n = {n}."
        )
    elif claimed:
        parts.append("Verdict: paired t test, Holm over the four claims, and the sign against the control.")
        parts.append(f"The smallest possible exact sign-flip p is {result.sign_flip_floor:.3g}.")
    missing = [c.text for c, v in zip(CLAIMS, result.verdicts, strict=True) if v == "not measured"]
    if claimed and missing:
        parts.append(f"Not measured: {'; '.join(missing)}.")
    return " ".join([*parts, *(f"{note[:1].upper()}{note[1:].rstrip('.')}." for note in result.notes)])
