"""Maps of features side by side, as the paper's Figure 4 shows them, with three of the numbers that they stand for."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec
from matplotlib.markers import MarkerStyle
from matplotlib.patheffects import Normal, Stroke
from matplotlib.ticker import MaxNLocator

from ralr_viz.plots.embedding_layout import (
    METRIC_NAMES,
    MOST_NAMED,
    NAME,
    embedding_note,
    find_limits,
    named_classes,
    panel_letter,
    place_names,
    short_class,
)
from ralr_viz.plots.fit_text import fit_text
from ralr_viz.plots.foot import add_foot
from ralr_viz.plots.measure_panels import is_wide, model_marks
from ralr_viz.plots.style import GREY, legend_name, new_figure
from ralr_viz.results.embedding import EmbeddingResult, holds_value

_TITLE = 8.0  # points
_MARKERS = "os^DvPX<>p"
_UNNAMED = "#cfcfcf"
_SHOWN = ("compactness", "separability", "silhouette")
_FLATNESS = (0.6, 1.0)  # height of a map over its width
_GAP, _DOT_ROW, _DOT_REST, _ABOVE = 0.16, 0.16, 0.45, 0.27  # inches
_SHORT = 12  # letters of a name beside which its dots have most of the width


def draw_embedding(result: EmbeddingResult) -> Figure:
    """Draw the map of each network in a panel of its own, the classes named on their clusters, and three numbers as dots.

    Points are drawn in the same order in all panels, at random, so that no class hides another. Of more than ten classes, the
    ten tightest (mean silhouette of the features) have colours and names, the others are grey. A dot is full where the
    paired interval of the difference from the first network excludes 0.

    Args:
        result: Of any number of networks and classes.

    Returns:
        A figure of the current style's width.
    """
    page, count = mpl.rcParams["figure.figsize"][0], len(result.models)
    beside = is_wide() and count <= 2
    columns = min(count, 3 if is_wide() else 2)
    columns = -(-count // -(-count // columns))
    rows = -(-count // columns)
    wide = page / (columns + 0.9 * beside) - _GAP
    flatness = _flatness(result.coordinates)
    high = wide * flatness
    dots = _DOT_REST + _DOT_ROW * count
    above = rows * (high + _ABOVE)
    figure = new_figure(max(above, 3 * dots) if beside else above + dots)
    if beside:
        outer = figure.add_gridspec(1, 2, width_ratios=(columns, 0.9))
        maps, numbers = outer[0, 0], outer[0, 1].subgridspec(3, 1)
    else:
        outer = figure.add_gridspec(2, 1, height_ratios=(rows * (high + _ABOVE), dots))
        maps, numbers = outer[0, 0], outer[1, 0].subgridspec(1, 3)
    _draw_maps(figure, maps, result, (rows, columns), (wide, high))
    for k, name in enumerate(_SHOWN):
        panel = figure.add_subplot(numbers[k, 0] if beside else numbers[0, k])
        _draw_numbers(panel, result, name, named=beside or k == 0)
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


def _draw_maps(
    figure: Figure,
    place: SubplotSpec,
    result: EmbeddingResult,
    shape: tuple[int, int],
    size: tuple[float, float],
) -> None:
    """All maps, each in a frame of that many inches."""
    grid = place.subgridspec(*shape)
    order = np.random.default_rng(result.seed).permutation(len(result.labels))
    named = named_classes(result)
    for i, model in enumerate(result.models):
        axes = figure.add_subplot(grid[divmod(i, shape[1])])
        limits = find_limits(result.coordinates[i], size)
        _draw_points(axes, result, i, order, named, size[0])
        axes.set(xlim=limits[0], ylim=limits[1], xticks=[], yticks=[])
        axes.set_aspect("equal")
        axes.grid(False)
        axes.spines[:].set(visible=True, color="#bbbbbb")
        title = fit_text(f"({panel_letter(i)}) {legend_name(model)}", _TITLE, size[0], bold=True)
        axes.set_title(title, size=_TITLE, weight="bold")
        for label, (x, y) in place_names(result, i, named, limits, size).items():
            text = axes.text(
                x, y, short_class(result, label), size=NAME, ha="center", va="center", gid=f"class:{label}"
            )
            text.set_path_effects([Stroke(linewidth=1.8, foreground="white"), Normal()])


def _flatness(coordinates: np.ndarray) -> float:
    """Height of a panel over its width: that of the maps, within reason."""
    width, height = np.ptp(coordinates, axis=1).max(axis=0)
    return float(np.clip(height / width, *_FLATNESS)) if width else _FLATNESS[1]


def _draw_points(
    axes: Axes, result: EmbeddingResult, model: int, order: np.ndarray, named: list[int], side: float
) -> None:
    labels = result.labels[order]
    if len(result.classes) > len(named):  # the grey ones behind
        order = order[np.argsort(np.isin(labels, named), kind="stable")]
        labels = result.labels[order]
    palette = _palette(len(named))
    colors = np.full((len(labels), 3), mpl.colors.to_rgb(_UNNAMED))
    for color, label in zip(palette, named, strict=True):
        colors[labels == label] = color
    size = float(np.clip(0.1 * (72 * side) ** 2 / len(order), 0.6, 14))
    sizes = np.where(np.isin(labels, named), size * (3 if len(result.classes) > len(named) else 1), size)
    x, y = result.coordinates[model, order].T
    points = axes.scatter(x, y, s=sizes, c=colors, linewidths=0, alpha=0.85, rasterized=True, gid="points")
    looks = [MarkerStyle(m).get_path().transformed(MarkerStyle(m).get_transform()) for m in _MARKERS]
    marker = {label: looks[k % len(looks)] for k, label in enumerate(named)}
    points.set_paths([marker.get(label, looks[0]) for label in labels.tolist()])


def _palette(count: int) -> list[tuple[float, float, float]]:
    from seaborn import color_palette  # it imports pyplot

    return list(color_palette("colorblind", MOST_NAMED))[:count]


def _draw_numbers(panel: Axes, result: EmbeddingResult, name: str, *, named: bool) -> None:
    marks = model_marks(result.models) if len(set(result.models)) == len(result.models) else {}
    for i, model in enumerate(result.models):
        value, low, high = result.metric(name)[i]
        color, marker = marks.get(model, (GREY, "o"))
        _, start, end = difference = result.difference(name)[i]
        full = not i or (holds_value(difference) and (start > 0 or end < 0))
        if holds_value(result.metric(name)[i]):
            panel.plot([low, high], [i, i], color=color, lw=1.0, gid=f"interval:{name}:{model}")
        look: dict[str, Any] = {"mec": color, "mfc": color if full else "white", "mew": 0.9}
        panel.plot([value], [i], ls="", marker=marker, ms=4, gid=f"value:{name}:{model}", **look)
    room = (0.2 if is_wide() else 0.17) * mpl.rcParams["figure.figsize"][0]
    size = mpl.rcParams["ytick.labelsize"]
    names = [fit_text(legend_name(model), size, room) for model in result.models]
    panel.set_yticks(range(len(names)), names if named else [""] * len(names))
    panel.set_ylim(len(names) - 0.5, -0.5)
    panel.tick_params(axis="y", length=0)
    panel.grid(False, axis="y")
    panel.margins(x=0.15)
    roomy = (
        is_wide() and max(map(len, names)) <= _SHORT
    )  # for two ticks at least, without which there is no scale
    locator = MaxNLocator(3 if is_wide() else 2, steps=[1, 2, 5, 10], min_n_ticks=1 + roomy)
    panel.xaxis.set_major_locator(locator)
    panel.ticklabel_format(axis="x", useOffset=False)
    panel.set_title(METRIC_NAMES[name], size=7.0)
