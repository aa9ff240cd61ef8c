"""Draw the loss on the straight line between the two networks of each pair."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ralr_viz.plots.foot import add_foot
from ralr_viz.plots.measure_panels import (
    Mark,
    add_model_legend,
    draw_measures,
    is_wide,
    model_marks,
)
from ralr_viz.plots.style import GREY, new_figure
from ralr_viz.results.barrier import DRAWS, BarrierResult

_ROWS = {"barrier": "barrier", "middle_rise": "rise at ½", "rise_over_ends": "above higher end"}
_STATISTICS = {
    "recomputed": "BatchNorm statistics recomputed on these {} at every point, the ends too",
    "interpolated": "BatchNorm statistics interpolated like the weights (they belong to other weights)",
    "": "networks without running statistics",
}


def draw_barrier(result: BarrierResult) -> Figure:
    """Draw (a) loss, (b) loss above the line between the ends, (c) accuracy, and (d) the measures.

    All pairs share each panel. Bands in (b) are pointwise intervals over images.

    Args:
        result: What `compute_barrier` returned.

    Returns:
        A figure of the current style's width.
    """
    classes = result.correct is not None
    rows, columns = (2, 2) if is_wide() else (3 + classes, 1)
    figure = new_figure(0.9 + rows * (1.55 if is_wide() else 1.45) + 0.1 * len(result.models))
    grid = figure.add_gridspec(rows, columns)
    panels = [figure.add_subplot(grid[i // columns, i % columns]) for i in range(2 + classes)]
    panels.append(figure.add_subplot(grid[-1, -1 if classes else slice(None)]))
    marks = model_marks(result.models)
    _draw_lines(panels[0], result, result.loss, marks, "loss")
    panels[0].set_ylabel(result.in_unit("loss"))
    low, high = result.gap_interval()
    panels[1].axhline(0, color=GREY, lw=0.6, zorder=1.5)
    for i, name in enumerate(result.models):
        look: dict[str, Any] = {"color": marks[name].color, "alpha": 0.18, "lw": 0, "gid": f"band:{name}"}
        panels[1].fill_between(result.alphas, low[i], high[i], **look)
    _draw_lines(panels[1], result, result.gap, marks, "gap")
    panels[1].set_ylabel(result.in_unit("loss − line"))
    if result.correct is not None:
        _draw_lines(panels[2], result, result.accuracy, marks, "accuracy")
        panels[2].set_ylabel("accuracy (%)")
    for panel in panels[:-1]:
        panel.set_xlabel("first end  ←  α  →  second end")
        panel.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "¼", "½", "¾", "1"])
        panel.set_xlim(-0.03, 1.03)
        panel.yaxis.set_major_locator(MaxNLocator(5))
    measures = {measure.name: measure for measure in result.measures()}
    shown = [(label, measures[name]) for name, label in _ROWS.items() if name in measures]
    draw_measures(panels[-1], shown, result.models)
    panels[-1].axvline(0, color=GREY, lw=0.6, zorder=1.5)
    panels[-1].set_xlabel(result.loss_unit)
    for letter, panel in zip("abcd", panels, strict=False):
        panel.set_title(f"({letter})", fontweight="bold")
    add_model_legend(figure, result.models)
    add_foot(figure, result, barrier_note(result))
    return figure


def barrier_table(result: BarrierResult) -> list[dict[str, Any]]:
    """The drawn numbers: a row for each pair and point, and one for each pair and measure."""
    low, high = result.gap_interval()
    rows: list[dict[str, Any]] = []
    for i, name in enumerate(result.models):
        head = {"pair": name, "first": result.states[i][0], "second": result.states[i][1]}
        for j, alpha in enumerate(result.alphas):
            for quantity, values in (("loss", result.loss), ("accuracy", result.accuracy)):
                value = {"value": float(values[i, j]), "low": np.nan, "high": np.nan}
                rows.append(head | {"quantity": quantity, "alpha": float(alpha)} | value)
            gap = {"value": float(result.gap[i, j]), "low": float(low[i, j]), "high": float(high[i, j])}
            rows.append(head | {"quantity": "gap", "alpha": float(alpha)} | gap)
        for measure in result.measures():
            value = dict(zip(("value", "low", "high"), measure.interval(i), strict=True))
            rows.append(head | {"quantity": measure.name, "alpha": None} | value)
    return rows


def barrier_note(result: BarrierResult) -> str:
    """What the numbers are of, and what may not be concluded from them."""
    where = " ".join(str(part) for part in (result.dataset, result.split, result.samples_name) if part)
    run = ", ".join(part for part in (result.device, result.precision) if part)
    unit = f" {result.loss_unit}".rstrip()
    bias = np.abs(result.selection_bias()).max()
    ends = "; ".join(
        f"{name}: {first} to {second}"
        for name, (first, second) in zip(result.models, result.states, strict=True)
    )
    return (
        f"{ends}. {result.num_images:,} {where}, {result.augmentation or 'unaugmented'}; {len(result.alphas)} points; "
        f"{_STATISTICS[result.statistics].format(result.samples_name)}{'; ' + run if run else ''}. "
        f"Intervals: 95 % of {DRAWS:,} bootstraps over {result.samples_name}, the same for all pairs; of a maximum over α corrected "
        f"for its bias (at most {bias:.1g}{unit} here). They are of these checkpoints, not over trainings. A barrier on "
        "the straight line need not be one on every path, and one between two epochs does not show that the training "
        "jumped over it."
    )


def _draw_lines(
    panel: Axes, result: BarrierResult, values: np.ndarray, marks: dict[str, Mark], gid: str
) -> None:
    for i, name in enumerate(result.models):
        color, marker = marks[name]
        look: dict[str, Any] = {"color": color, "marker": marker, "ms": 2.8, "mew": 0, "lw": 1.0}
        panel.plot(result.alphas, values[i], gid=f"{gid}:{name}", **look)
