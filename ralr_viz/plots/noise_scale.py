"""The gradient noise scale of several networks, and the two lengths that it is the ratio of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from ralr_viz.plots.foot import NOTE_SIZE, add_foot
from ralr_viz.plots.letters import FORMULA, escape_labels
from ralr_viz.plots.measure_panels import (
    Mark,
    add_model_legend,
    is_wide,
    measure_rows,
    model_marks,
    split_name,
)
from ralr_viz.plots.style import GREY, new_figure
from ralr_viz.results.measure import Measure
from ralr_viz.results.noise_scale import NoiseScaleResult

_DASHES = (0, (4, 2))
_ROOM = 1.6
"""Factor between the outermost number and the end of a logarithmic axis."""


def draw_noise_scale(result: NoiseScaleResult, axes: Axes | None = None) -> Figure:
    """Draw the noise scale of each network with its interval, and |G|² and tr Σ, of which it is made.

    (a) the noise scale on a logarithmic axis; where |G|² cannot be told from 0 an arrow goes up from the lower end
    of what is possible, and *none* stands where |G|² is below 0; dashed, the batch of the recipe; (b) |G|² and (c) tr Σ with their intervals, a small dot a
    draw.

    Args:
        result: Of any number of networks.
        axes: Axes to draw (a) into; when left out, a figure of the style's width is made. On your own axes there
            is no legend: the marks are labelled for one.

    Returns:
        The figure.
    """
    marks = model_marks(result.models)
    if axes is not None:
        _draw_scales(axes, result, marks)
        escape_labels(axes)
        return axes.figure.figure
    if is_wide():
        figure = new_figure(2.75)
        panels = list(figure.subplots(1, 3))
    else:
        figure = new_figure(5.9)
        panels = list(figure.subplots(3, 1))
    add_model_legend(figure, result.models, hollow=False, also=_batch_line(result))
    _draw_scales(panels[0], result, marks)
    _, square, trace, *_ = result.measures()
    _draw_lengths(panels[1], result.models, square, result.squares, marks)
    panels[1].set_ylabel(result.in_unit("$|G|^2$", "$^2$"), gid=FORMULA)
    panels[1].axhline(0, color=GREY, lw=0.6, zorder=1.5)
    _draw_lengths(panels[2], result.models, trace, result.traces, marks)
    panels[2].set_ylabel(result.in_unit(r"$\mathrm{tr}\,\Sigma$", "$^2$"), gid=FORMULA)
    panels[2].set_ylim(bottom=0)
    for letter, panel in zip("abc", panels, strict=True):
        panel.set_title(f"({letter})", fontweight="bold")
    add_foot(figure, result, _note(result))
    return figure


def noise_scale_table(result: NoiseScaleResult) -> list[dict[str, Any]]:
    """The numbers, a row for each network and measure, and one for |G|² and tr Σ of each draw."""
    rows = [row | {"draw": None} for row in measure_rows(result.measures(), result.models)]
    for row in rows:
        row["high"] = None if np.isinf(row["high"]) else row["high"]
    empty = dict.fromkeys(rows[0])
    for name, unit, values in (
        ("gradient_square", result.squared_unit, result.squares),
        ("gradient_trace", result.squared_unit, result.traces),
    ):
        for i, model in enumerate(result.models):
            rows += [
                empty | {"measure": name, "model": model, "unit": unit, "value": float(value), "draw": draw}
                for draw, value in enumerate(values[i])
            ]
    return rows


def _draw_scales(axes: Axes, result: NoiseScaleResult, marks: Mapping[str, Mark]) -> None:
    measure = result.measures()[0]
    ends = [measure.interval(i) for i in range(len(result.models))]
    bottom, top = _scale_limits(result, ends)
    for i, (model, (value, low, high)) in enumerate(zip(result.models, ends, strict=True)):
        color, marker = marks[model]
        if np.isfinite(value):
            axes.plot(
                [i, i], [low, high], color=color, lw=1.0, solid_capstyle="butt", gid=f"interval:{model}"
            )
            axes.plot(
                [i], [value], ls="", marker=marker, ms=4.5, mew=0, color=color, label=model, gid=f"value:{model}"
            )  # fmt: skip
        elif np.isfinite(low):
            axes.annotate(
                "", (i, top), (i, low), gid=f"open:{model}",
                arrowprops={"arrowstyle": "-|>", "color": color, "lw": 1.0, "shrinkA": 0, "shrinkB": 2, "mutation_scale": 7},
            )  # fmt: skip
            axes.plot(
                [i], [low], ls="", marker="_", ms=7, mew=1.2, color=color, label=model, gid=f"least:{model}"
            )
        else:
            at: dict[str, Any] = {"transform": axes.get_xaxis_transform(), "ha": "center", "va": "center"}
            axes.text(i, 0.85, "none", color=color, size=NOTE_SIZE, gid=f"none:{model}", **at)
    for batch in _batches(result):
        axes.axhline(batch, color=GREY, lw=0.8, ls=_DASHES, zorder=1.5, gid="batch")
    axes.set_yscale("log")
    axes.set_ylim(bottom, top)
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if top / bottom < 100 else (1,)))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_ylabel(f"noise scale ({result.samples_name})")
    _leave_places(axes, len(result.models))


def _scale_limits(
    result: NoiseScaleResult, ends: Sequence[tuple[float, float, float]]
) -> tuple[float, float]:
    """Of the axis of (a): with room for arrows above all numbers where one has no upper end."""
    seen = np.array([*np.ravel(ends), *_batches(result)], dtype=float)
    seen = seen[np.isfinite(seen) & (seen > 0)]
    if not len(seen):
        return 1.0, 10.0
    bottom, top = seen.min() / _ROOM, seen.max() * _ROOM
    return bottom, top * (top / bottom) ** 0.2 if np.isinf([high for _, _, high in ends]).any() else top


def _draw_lengths(
    axes: Axes, models: Sequence[str], measure: Measure, draws: np.ndarray, marks: Mapping[str, Mark]
) -> None:
    for i, model in enumerate(models):
        color, marker = marks[model]
        value, low, high = measure.interval(i)
        # dots beside the mark, where neither hides the other
        axes.plot(
            [i - 0.2] * draws.shape[1], draws[i], ls="", marker=".", ms=3, mew=0, color=color, alpha=0.5,
            gid=f"draws:{model}",
        )  # fmt: skip
        axes.plot([i, i], [low, high], color=color, lw=1.0, solid_capstyle="butt", gid=f"interval:{model}")
        axes.plot([i], [value], ls="", marker=marker, ms=4.5, mew=0, color=color, gid=f"value:{model}")
    axes.yaxis.set_major_locator(MaxNLocator(5))
    _leave_places(axes, len(models))


def _leave_places(axes: Axes, count: int) -> None:
    # the names are in the legend: here they would be too long
    axes.set_xlim(-0.6, count - 0.4)
    axes.set_xticks([])


def _batches(result: NoiseScaleResult) -> list[int]:
    """The different batches of the recipes."""
    return sorted({batch for batch in result.recipe_batch if batch is not None})


def _batch_line(result: NoiseScaleResult) -> list[Line2D]:
    batches = _batches(result)
    if not batches:
        return []
    label = f"batch in training: {', '.join(f'{batch:,}' for batch in batches)}"
    return [Line2D([], [], color=GREY, lw=0.8, ls=_DASHES, label=label)]


def _note(result: NoiseScaleResult) -> str:
    data = " ".join(part for part in (result.dataset, split_name(result.split), result.samples_name) if part)
    losses = ", ".join(f"{value:.3f}" for value in result.loss)
    lows, highs = np.transpose([result.measures()[0].interval(i)[1:] for i in range(len(result.models))])
    words = [
        "(a) Noise scale, (c) over (b): the batch whose gradient has as much noise as signal; means over draws are "
        f"divided. (b) Squared length of the mean gradient; (c) trace of the covariance of one {result.sample_name}'s gradient; "
        "dots: single draws, whose estimates of (b) may be negative.",
        f"{result.draws} disjoint draws of {result.big:,} of {result.num_images:,} {data}, "
        f"{result.augmentation or 'unaugmented'}, the same for all networks, each of {result.big // result.small} "
        f"batches of {result.small}; {result.loss_name} without weight decay, BatchNorm's running statistics "
        f"({result.device}, {result.precision}).",
        "Lines: 95 % t intervals over draws, of (a) by the jackknife.",
    ]
    if (np.isfinite(lows) & np.isinf(highs)).any():
        words.append(
            "Arrow: (b) cannot be told from 0, so the noise scale has a lower end (bar) and no upper one."
        )
    if not np.isfinite(lows).all():
        words.append("None: (b) is below 0 or nothing.")
    words.append(f"Loss: {losses}. These checkpoints only: no statement about other trainings.")
    return " ".join(words)
