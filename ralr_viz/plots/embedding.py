"""Maps of features side by side, as the paper's Figure 4 shows them, with the numbers that they stand for."""

from __future__ import annotations

from functools import partial
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import PlaceHolderLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.markers import MarkerStyle

from ralr_viz.plots.embedding_layout import (
    GAP,
    LABEL,
    LINE,
    MARGIN,
    MOST_CLASSES,
    SMALL,
    TITLE,
    Plan,
    embedding_note,
    legend_labels,
    number_lines,
    panel_letter,
    plan_figure,
)
from ralr_viz.plots.fit_text import fit_text, write_beside
from ralr_viz.plots.foot import add_foot
from ralr_viz.plots.letters import LiteralFigure
from ralr_viz.plots.style import legend_name
from ralr_viz.results.embedding import EmbeddingResult

_MARKERS = "os^DvPX<>p"
_write = partial(write_beside, linespacing=None)  # None: as the font has it


def draw_embedding(result: EmbeddingResult) -> Figure:
    """Draw the map of each network in a panel of its own, with the numbers of `EmbeddingResult` below.

    All panels have the same limits and the same order of drawing, at random, so that no class hides another.
    Up to 20 classes differ in colour and mark and stand in a legend beside or above the panels.

    Args:
        result: Of any number of networks and classes.

    Returns:
        A figure of at most the current style's width.
    """
    plan = plan_figure(result, mpl.rcParams["figure.figsize"][0])
    # every place is given here; without an engine of its own, saving would bring back the style's
    engine = PlaceHolderLayoutEngine(adjust_compatible=True, colorbar_gridspec=True)
    figure = LiteralFigure(figsize=(plan.width, plan.height), layout=engine)
    limits = _limits(result.coordinates, plan.flatness)
    order = np.random.default_rng(result.seed).permutation(len(result.labels))
    for i in range(len(result.models)):
        axes = figure.add_axes(plan.panel(i))
        _draw_points(axes, result, i, order, plan.side)
        axes.set(xlim=limits[0], ylim=limits[1], xticks=[], yticks=[], aspect="equal")
        axes.grid(False)
        axes.spines[:].set(visible=True, color="#bbbbbb")
        _draw_title(axes, result, i, plan)
        _draw_numbers(axes, result, i, plan)
    _draw_legend(figure, result, plan)
    add_foot(figure, result, embedding_note(result))
    return figure


def embedding_table(result: EmbeddingResult) -> list[dict[str, Any]]:
    """The plotted points and what belongs to them, a row for each network and image."""
    rows = []
    for i, model in enumerate(result.models):
        for j, label in enumerate(result.labels.tolist()):
            x, y = result.coordinates[i, j]
            rows.append(
                {
                    "model": model,
                    "image": int(result.indices[j]),
                    "label": result.class_name(label),
                    "predicted": result.class_name(int(result.predicted[i, j])),
                    "correct": bool(result.predicted[i, j] == label),
                    "x": x,
                    "y": y,
                    "silhouette": result.silhouette[i, j],
                    "knn_label": result.class_name(int(result.knn_label[i, j])),
                    "map_recall": result.recall[i, j],
                    "neighbours_kept": result.kept[i, j],
                }
            )
    return rows


def _limits(coordinates: np.ndarray, flatness: float) -> np.ndarray:
    """Limits (2, 2) of a rectangle of that shape around all points."""
    low, high = coordinates.min(axis=(0, 1)), coordinates.max(axis=(0, 1))
    width = 1.06 * max(high[0] - low[0], (high[1] - low[1]) / flatness)
    half = np.array([width, width * flatness]) / 2
    centre = (low + high) / 2
    return np.stack([centre - half, centre + half], axis=1)


def _draw_points(axes: Axes, result: EmbeddingResult, model: int, order: np.ndarray, side: float) -> None:
    classes = result.classes
    codes = np.searchsorted(classes, result.labels[order])
    colors = np.array(_palette(len(classes)))
    size = float(np.clip(0.1 * (72 * side) ** 2 / len(order), 0.6, 14))
    x, y = result.coordinates[model, order].T
    points = axes.scatter(
        x, y, s=size, c=colors[codes], linewidths=0, alpha=0.85, rasterized=True, gid="points"
    )
    if len(classes) <= MOST_CLASSES:
        markers = _markers(len(classes))
        paths = [MarkerStyle(m).get_path().transformed(MarkerStyle(m).get_transform()) for m in markers]
        points.set_paths([paths[code] for code in codes])


def _palette(count: int) -> list[tuple[float, float, float]]:
    from seaborn import color_palette  # it imports pyplot

    return list(color_palette("colorblind", count) if count <= 10 else color_palette("husl", count))


def _markers(count: int) -> list[str]:
    # the first and the last hue are neighbours: they must not share a mark
    period = len(_MARKERS) - (count == len(_MARKERS) + 1)
    return [_MARKERS[i % period] for i in range(count)]


def _draw_title(axes: Axes, result: EmbeddingResult, model: int, plan: Plan) -> None:
    name, _, rest = result.models[model].partition(", ")
    title = fit_text(f"({panel_letter(model)}) {legend_name(name)}", TITLE, plan.side, bold=True)
    above = 3.0
    if rest:
        line = fit_text(rest, SMALL, plan.side)
        _write(axes, line, (0, 1), (0, above), SMALL, ha="left", va="baseline")
    if plan.title_lines > 1:
        above += SMALL * LINE
    _write(axes, title, (0, 1), (0, above), TITLE, ha="left", va="baseline").set(weight="bold")


def _draw_numbers(axes: Axes, result: EmbeddingResult, model: int, plan: Plan) -> None:
    below = -4.0
    for label, value in number_lines(result, model):
        _write(axes, label, (0, 0), (0, below), SMALL, ha="left", va="top")
        if plan.two_lines:
            below -= SMALL * LINE
        _write(axes, value, (1, 0), (0, below), SMALL, ha="right", va="top")
        below -= SMALL * LINE


def _draw_legend(figure: Figure, result: EmbeddingResult, plan: Plan) -> None:
    labels = legend_labels(result)
    if not labels:
        return
    look: dict[str, Any] = {"ls": "", "ms": 4.5, "mew": 0}
    handles = [
        Line2D([], [], color=color, marker=marker, label=label, **look)
        for label, color, marker in zip(labels, _palette(len(labels)), _markers(len(labels)), strict=True)
    ]
    if plan.beside:
        left = MARGIN + plan.columns * (plan.side + GAP)
        at = plan.fractions(left, plan.title_height, 0, 0)[:2]
    else:
        at = plan.fractions(MARGIN, 0.02, 0, 0)[:2]
        # matplotlib fills columns first, readers read rows
        handles = [h for column in range(plan.legend_columns) for h in handles[column :: plan.legend_columns]]
    figure.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=at,
        ncols=plan.legend_columns,
        fontsize=LABEL,
        borderpad=0,
        borderaxespad=0,
        handlelength=0.9,
        handletextpad=0.4,
        columnspacing=0.8,
        labelspacing=0.2,
    )
