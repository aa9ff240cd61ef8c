"""Draw the loss above the straight line between the two networks of each pair."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.ticker import MaxNLocator

from ralr_viz.plots.fit_text import fit_text
from ralr_viz.plots.foot import add_foot
from ralr_viz.plots.measure_panels import (
    Mark,
    add_model_legend,
    is_wide,
    model_marks,
)
from ralr_viz.plots.style import GREY, new_figure
from ralr_viz.results.barrier import DRAWS, BarrierResult
from ralr_viz.results.measure import Measure

_ROWS = {"barrier": "barrier", "middle_rise": "rise at ½", "rise_over_ends": "above the higher end"}
_STATISTICS = {
    "recomputed": "BatchNorm statistics recomputed on these {} at every point, the ends too",
    "interpolated": "BatchNorm statistics interpolated like the weights (they belong to other weights)",
    "": "networks without running statistics",
}


def draw_barrier(result: BarrierResult) -> Figure:
    """Draw the loss above the straight line between the ends of each pair, all pairs in one panel, with the ends by name.

    Bands are pointwise intervals over images; a line marks zero, above which there is a barrier. The losses themselves and
    the accuracies are in the CSV.

    Args:
        result: What `compute_barrier` returned.

    Returns:
        A figure of the current style's width.
    """
    figure = new_figure(2.4)
    panel = figure.subplots()
    marks = model_marks(result.models)
    low, high = result.gap_interval()
    panel.axhline(0, color=GREY, lw=0.6, zorder=1.5)
    for i, name in enumerate(result.models):
        look: dict[str, Any] = {"color": marks[name].color, "alpha": 0.18, "lw": 0, "gid": f"band:{name}"}
        panel.fill_between(result.alphas, low[i], high[i], **look)
    _draw_lines(panel, result, result.gap, marks, "gap")
    panel.set_ylabel(result.in_unit("loss above the line"))
    panel.set_xlabel("of the way, α")
    room = (0.2 if is_wide() else 0.32) * mpl.rcParams["figure.figsize"][0]
    ends = [_name_end(result, end, room) for end in (0, 1)]
    between = {0.25: "¼", 0.5: "½", 0.75: "¾"} if is_wide() else {0.5: "½"}
    panel.set_xticks([0, *between, 1], [ends[0], *between.values(), ends[1]])
    panel.get_xticklabels()[0].set_horizontalalignment("left")
    panel.get_xticklabels()[-1].set_horizontalalignment("right")
    panel.set_xlim(-0.03, 1.03)
    panel.yaxis.set_major_locator(MaxNLocator(5))
    add_model_legend(figure, result.models, hollow=False)
    add_foot(figure, result, barrier_note(result))
    return figure


def _name_end(result: BarrierResult, end: int, room: float) -> str:
    """What the pairs have at this end."""
    name = " or ".join(dict.fromkeys(states[end] for states in result.states))
    return fit_text(
        name, float(FontProperties(size=mpl.rcParams["xtick.labelsize"]).get_size_in_points()), room
    )


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
    measures = {measure.name: measure for measure in result.measures()}
    said = "; ".join(
        f"{label} {', '.join(f'{name} {_show(measures[key], i)}' for i, name in enumerate(result.models))}"
        for key, label in _ROWS.items()
        if key in measures
    )
    return (
        f"{ends}. Loss minus that of the line between the ends' losses{unit and ','}{unit}: {said}. {result.num_images:,} {where}, {result.augmentation or 'unaugmented'}; {len(result.alphas)} points; "
        f"{_STATISTICS[result.statistics].format(result.samples_name)}{'; ' + run if run else ''}. "
        f"Intervals: 95 % of {DRAWS:,} bootstraps over {result.samples_name}, the same for all pairs; of a maximum over α corrected "
        f"for its bias (at most {bias:.1g}{unit} here). They are of these checkpoints, not over trainings. A barrier on "
        "the straight line need not be one on every path, and one between two epochs does not show that the training "
        "jumped over it."
    )


def _show(measure: Measure, i: int) -> str:
    value, low, high = measure.interval(i)
    return (
        f"{value:.3g} [{low:.3g}, {high:.3g}]".replace("-", "−")
        if np.isfinite(low)
        else f"{value:.3g}".replace("-", "−")
    )


def _draw_lines(
    panel: Axes, result: BarrierResult, values: np.ndarray, marks: dict[str, Mark], gid: str
) -> None:
    for i, name in enumerate(result.models):
        color, marker = marks[name]
        look: dict[str, Any] = {"color": color, "marker": marker, "ms": 2.8, "mew": 0, "lw": 1.0}
        panel.plot(result.alphas, values[i], gid=f"{gid}:{name}", **look)
