"""A study as a dot plot: every seed of each cell beside the difference from its reference."""

from __future__ import annotations

import math
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ralr_viz.plots.fit_text import measure_text
from ralr_viz.plots.foot import add_foot
from ralr_viz.plots.study_layout import (
    Row,
    cells_of,
    difference_limits,
    drawn_papers,
    lay_out_panels,
    name_rows,
    set_rows,
    value_limits,
)
from ralr_viz.plots.style import GREY, LEGEND_LINE, legend_text_size, method_looks, new_figure
from ralr_viz.results.study import StudyResult, metric_index
from ralr_viz.results.study_caption import (
    describe_faults,
    describe_notes,
    describe_paper,
    describe_reading,
    describe_runs,
    name_references,
)

_ROW, _LOWEST_ROW = 0.24, 0.16  # inches; lower where all rows would not be on a page
_PAGE, _AXIS = 7.5, 0.42  # inches of all rows, and of the ticks of a panel
_DOTS, _MEAN, _PAPER = -0.2, 0.12, 0.36  # where in a row, in rows
_FAN = 0.24  # height over which the seeds' dots are spread, in rows


def draw_study(result: StudyResult, metric: str = "last") -> Figure:
    """Draw every seed's accuracy, a row for each cell, grouped as the rows of the table.

    On the left are the seeds as dots, fanned out in their order, the mean as a bar with its 95 % t interval and
    the paper's mean ± std where it is on the same scale; on the right the difference of the means from the cell's
    reference with Welch's 95 % interval. Groups that lie far apart have scales of their own.

    Args:
        result: Of any state; the first 60 cells are drawn.
        metric: Of `METRICS`.

    Returns:
        A figure of the current style's width.

    Raises:
        UnknownNameError: No such metric.
    """
    m = metric_index(metric)
    panels = lay_out_panels(result, m)
    compared = bool(np.isfinite(result.comparisons[cells_of(panels), m, 0]).any())
    page = mpl.rcParams["figure.figsize"][0]
    handles = _handles(result, m, panels, compared)
    columns = _legend_columns(handles, page)
    rows = [len(panel) for panel in panels]
    row_height = min(_ROW, max(_LOWEST_ROW, _PAGE / sum(rows)))
    figure = new_figure(row_height * sum(rows) + _AXIS * len(rows), width=page)
    figure.set_figheight(figure.get_figheight() + _legend_height(len(handles) / columns))
    add_foot(figure, result, " ".join(_note(result, metric, panels, compared)))
    grid = figure.subplots(len(rows), 1 + compared, squeeze=False, height_ratios=rows)
    limits = difference_limits(result, m, cells_of(panels)) if compared else (0.0, 0.0)
    for axes, panel in zip(grid, panels, strict=True):
        _draw_values(axes[0], result, panel, m)
        name_rows(axes[0], result, panel, lines=2 if row_height > 0.9 * _ROW else 1)
        if compared:
            _draw_differences(axes[1], result, panel, metric, limits)
            axes[1].set_yticklabels([])
    grid[-1, 0].set_xlabel(f"test {result.score_label}")
    if compared:
        unit = f" ({result.score_difference_unit})" if result.score_difference_unit else ""
        name = f"difference from {name_references(result)}{unit}"
        fits = measure_text(name, float(mpl.rcParams["axes.labelsize"])) < 0.27 * page
        grid[-1, 1].set_xlabel(name if fits else f"difference{unit}")
    figure.legend(handles=handles, loc="outside upper center", ncols=columns)
    return figure


def study_table(result: StudyResult) -> list[dict[str, Any]]:
    """A row for each cell and metric with every number of the result."""
    return result.records()


def _legend_height(lines: float) -> float:
    """Inches of the legend above all panels."""
    return (math.ceil(lines) + 1.7) * legend_text_size() * 1.4 / 72


def _draw_values(axes: Axes, result: StudyResult, panel: list[Row], m: int) -> None:
    colors, cells = row_colors(result), cells_of([panel])
    low, high = value_limits(result, m, cells)
    fan = np.linspace(-0.5, 0.5, len(result.seeds)) * _FAN if len(result.seeds) > 1 else np.zeros(1)
    for y, (_, cell) in enumerate(panel):
        if cell is None:
            continue
        color, values = colors[cell], result.values[cell, :, m]
        axes.plot(values, y + _DOTS + fan, "o", ms=2.6, mew=0, color=color, gid=f"values:{cell}")
        _, mean, _, start, end = result.summaries[cell, m].tolist()
        _draw_interval(axes, start, end, y + _MEAN, (low, high), color, f"interval:{cell}")
        axes.plot([mean], [y + _MEAN], "|", ms=6, mew=1.4, color=color, gid=f"mean:{cell}")
        paper, std = result.paper[cell].tolist()
        if low <= paper <= high:
            spread = 0.0 if np.isnan(std) else std
            ends = paper - spread, paper + spread
            _draw_interval(axes, *ends, y + _PAPER, (low, high), GREY, f"paper std:{cell}", width=0.6)
            look: dict[str, Any] = {"mec": GREY, "mfc": "white", "mew": 0.7}
            axes.plot([paper], [y + _PAPER], "D", ms=2.8, gid=f"paper:{cell}", **look)
    axes.set_xlim(low, high)
    set_rows(axes, panel)
    if not np.isfinite(result.values[cells, :, m]).any():
        axes.set_xticks([])
        box = {"facecolor": "white", "edgecolor": "none"}
        axes.text(
            0.5, (len(panel) - 1) / 2, "no finished run", ha="center", va="center", color=GREY, bbox=box
        )


def _draw_differences(
    axes: Axes, result: StudyResult, panel: list[Row], metric: str, limits: tuple[float, float]
) -> None:
    colors = row_colors(result)
    for y, (_, cell) in enumerate(panel):
        if cell is None or result.references[cell] < 0:
            continue
        found, color = result.comparison(cell, metric), colors[cell]
        _draw_interval(axes, found["low"], found["high"], y, limits, color, f"welch:{cell}")
        fill = color if result.excludes_zero(cell, metric) else "white"
        look: dict[str, Any] = {"marker": "o", "ms": 3.6, "mec": color, "mfc": fill, "mew": 0.9}
        if np.isnan(found["low"]):
            look |= {"marker": "x"}
        axes.plot([found["difference"]], [y], gid=f"difference:{cell}", **look)
    axes.axvline(0, color=GREY, lw=0.6, zorder=1.5)
    axes.set_xlim(limits)
    set_rows(axes, panel)


def row_colors(result: StudyResult) -> list[str]:
    """Colour of each cell: that of its row's name, whatever it was trained from.

    The first name of a method has the method's colour. Further names of one that amplifies, such as other ranges, are
    shades of it; other schedules than the baseline's are methods of their own.
    """
    columns = result.columns or result.rows
    several = len({result.label(cell, columns) for cell in range(len(result.labels))}) > 1
    texts = [
        ", ".join(result.label(cell, columns if several else result.rows))
        for cell in range(len(result.labels))
    ]
    names: dict[str, str] = {}
    for text, method in zip(texts, result.methods, strict=True):
        if text not in names:
            names[text] = (
                method
                if method not in names.values()
                else text
                if method == "baseline"
                else f"{text} {method}"
            )
    looks = method_looks(list(names.values()))
    return [looks[names[text]].color for text in texts]


def _draw_interval(
    axes: Axes,
    low: float,
    high: float,
    y: float,
    limits: tuple[float, float],
    color: str,
    gid: str,
    *,
    width: float = 1.0,
) -> None:
    """A line that ends in an arrow where it leaves the panel."""
    ends = np.clip([low, high], *limits)
    axes.plot(ends, [y, y], color=color, lw=width, solid_capstyle="butt", gid=gid)
    for end, whole, marker in zip(ends, (low, high), ("<", ">"), strict=True):
        if end != whole and np.isfinite(whole):
            axes.plot([end], [y], marker, ms=3.5, mew=0, color=color, clip_on=False, gid=f"cut:{gid}")


def _handles(result: StudyResult, m: int, panels: list[list[Row]], compared: bool) -> list[Line2D]:
    handles = [
        Line2D([], [], ls="", marker="o", ms=2.6, mew=0, color=GREY, label="a seed"),
        Line2D([], [], marker="|", ms=6, mew=1.4, lw=1.0, color=GREY, label="mean, 95 % interval"),
    ]
    if drawn_papers(result, m, panels):
        look: dict[str, Any] = {"mec": GREY, "mfc": "white", "mew": 0.7, "lw": 0.6, "color": GREY}
        handles.append(Line2D([], [], marker="D", ms=2.8, label="paper, mean ± std", **look))
    if compared:
        look = {"mec": GREY, "mfc": "white", "mew": 0.9}
        handles.append(Line2D([], [], ls="", marker="o", ms=3.6, label="hollow: includes 0", **look))
    return handles


def _legend_columns(handles: list[Line2D], page: float) -> int:
    size = legend_text_size()
    widths = [measure_text(str(h.get_label()), size) + (LEGEND_LINE + 0.5) * size / 72 for h in handles]
    if sum(widths) <= page:
        return len(handles)
    return max(1, min(len(handles), int(page / max(widths))))


def _note(result: StudyResult, metric: str, panels: list[list[Row]], compared: bool) -> list[str]:
    cells, m = cells_of(panels), metric_index(metric)
    said = [
        *describe_reading(result, metric),
        "Bars: 95 % t interval of the mean; an arrow where it goes on.",
    ]
    if len(cells) < len(result.labels):
        said.append(f"The first {len(cells)} of {len(result.labels):,} cells.")
    if len(panels) > 1:
        said.append("The scores of each group have a scale of their own.")
    said += describe_faults(result)
    if compared:
        held = sum(result.survives_holm(cell, metric) for cell in range(len(result.labels)))
        of = f"{result.num_compared} comparisons" if result.num_compared > 1 else "one comparison"
        said.append(
            f"Right: difference of the means from {name_references(result)}, Welch's 95 % interval, uncorrected. "
            f"Below 0.05 after Holm over the {of}: {held or 'none'}."
        )
        if np.isnan(result.comparisons[cells, m, 1:2][np.isfinite(result.comparisons[cells, m, :1])]).any():
            said.append("×: a side has one run, or neither varies.")
    if drawn := drawn_papers(result, m, panels):
        said += describe_paper(result)
    papers = np.isfinite(result.paper[cells, 0]).sum()
    if off := int(papers) - len(drawn):
        said.append(f"Off the scale and not drawn: {off} of the paper's means.")
    return [*said, *describe_runs(result), *describe_notes(result)]
