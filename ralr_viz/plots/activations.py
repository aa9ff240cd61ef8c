"""Activation histograms as the paper's Figure 2 shows them: a row a training, a column a layer, two epochs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from ralr_viz.plots.fit_text import fit_text, measure_text, wrap_text
from ralr_viz.plots.foot import add_foot
from ralr_viz.plots.style import legend_name, new_figure
from ralr_viz.results.activations import ActivationsResult

# Not those of the methods, which this figure does not compare by colour: the paper's blue and red as a light
# one and a dark one of Okabe and Ito's and of Tol's palettes, so that grey keeps them apart.
COLORS = ("#56B4E9", "#882255")
OPACITY = 0.5
BINS = 60
SHOWN = 0.999
"""Share of the non-zero values that the axis covers, of all rows and both states together."""

# points
_LABEL, _NUMBERS = 8.0, 6.5
_LINE = 1.2  # height of a line of text over its size

# inches
_PANEL_HEIGHT = 0.95
_NARROWEST = 0.82  # of a panel, which the longest of its numbers needs
_LEFT, _BETWEEN, _BELOW = 0.7, 0.38, 0.22  # labels of a row, ticks beside and under a panel


class DrawnBins(NamedTuple):
    """What is drawn of one layer: counts (R, 2, k) between edges (k + 1,); whether values lie outside."""

    edges: np.ndarray
    counts: np.ndarray
    cut: bool


def draw_activations(result: ActivationsResult) -> Figure:
    """Draw the histograms of each pair's two states over each other, with the numbers behind them.

    Bins and axes are the same in a column. The height is the share of all units per unit of activation, so
    that the area is one minus the share of exact zeros; on a single image it is the number of units, as in the paper.
    Above each panel stand the zeros of both states, the distance with its bound and interval, and what
    happened to the same unit on the same image.

    Args:
        result: Of any number of rows and layers. Layers that do not fit the width are continued below.

    Returns:
        A figure of the current style's width.

    References:
        Figure 2.
    """
    page, rows = mpl.rcParams["figure.figsize"][0], len(result.rows)
    most = max(1, int((page - _LEFT) / (_NARROWEST + _BETWEEN)))
    blocks = math.ceil(result.num_layers / most)
    columns = math.ceil(result.num_layers / blocks)
    width = (page - _LEFT) / columns - _BETWEEN
    numbers = _numbers(result, width)
    figure = new_figure(_height(result, blocks, numbers[0][0].count("\n") + 1), width=page)
    add_foot(figure, result, _note(result))
    panels = figure.subplots(blocks * rows, columns, squeeze=False)
    for layer in range(result.num_layers):
        block, column = divmod(layer, columns)
        below = list(panels[block * rows : (block + 1) * rows, column])
        _draw_column(below, result, layer)
        for row, panel in enumerate(below):
            heading = row == 0 or result.layers[row] != result.layers[0]
            _write_above(panel, numbers[row][layer], _heading(result, row, layer, width) if heading else None)
            if column == 0:
                panel.set_ylabel("units" if result.num_images == 1 else "density")
                _name_row(panel, result, row)
        below[-1].set_xlabel("activation")
    for panel in panels.flat:
        if not panel.has_data():
            panel.remove()
    figure.legend(handles=_handles(result), loc="outside upper center", ncols=2)
    return figure


def activations_table(result: ActivationsResult) -> list[dict[str, Any]]:
    """The drawn bars: one row for each row, layer, state and bin, and one for the exact zeros, from 0 to 0.

    ``share`` is of all units on all images; ``density`` is it over the width of the bin, None for the zeros.
    Bins outside the drawn axis are left out.
    """
    table = []
    for layer in range(result.num_layers):
        bins = drawn_bins(result, layer)
        for row, state in np.ndindex(len(result.rows), 2):
            total = result.num_images * int(result.units[row, layer])
            head = {
                "row": result.rows[row],
                "layer": result.layers[row][layer],
                "checkpoint": result.checkpoints[row][state],
            }
            zeros = int(result.zeros[row, state, layer])
            table.append(head | _bar(0.0, 0.0, zeros, total))
            for left, right, count in zip(
                bins.edges[:-1].tolist(),
                bins.edges[1:].tolist(),
                bins.counts[row, state].tolist(),
                strict=True,
            ):
                table.append(head | _bar(left, right, count, total))
    return table


def drawn_bins(result: ActivationsResult, layer: int) -> DrawnBins:
    """About `BINS` bins of a layer, each the sum of as many neighbouring bins, over `SHOWN` of the values."""
    counts = result.histogram(layer)
    start, width = int(result.bin_starts[layer]), float(result.bin_widths[layer])
    index = start + np.arange(counts.shape[-1])
    total = counts.sum(axis=(0, 1))
    sides = [bool(total[index < 0].any()), bool(total[index >= 0].any())]
    tail = (1 - SHOWN) / max(1, sum(sides)) * total.sum()
    # zero is always on the axis: it is where the values that are not drawn stand
    low = int(index[np.cumsum(total) > tail][0]) if sides[0] else 0
    high = int(index[np.cumsum(total[::-1])[::-1] > tail][-1]) + 1 if sides[1] else 0
    high = max(high, low + 1)
    merged = max(1, math.ceil((high - low) / BINS))
    first, last = math.floor(low / merged), math.ceil(high / merged)
    padded = np.zeros((*counts.shape[:2], (last - first) * merged), dtype=np.int64)
    taken = (index >= first * merged) & (index < last * merged)
    padded[..., index[taken] - first * merged] = counts[..., taken]
    grouped = padded.reshape(*counts.shape[:2], last - first, merged).sum(axis=-1)
    edges = np.arange(first, last + 1) * merged * width
    return DrawnBins(edges, grouped, bool(total[~taken].any()))


def _bar(left: float, right: float, count: int, total: int) -> dict[str, Any]:
    density = count / total / (right - left) if right > left else None
    return {"bin_left": left, "bin_right": right, "units": count, "share": count / total, "density": density}


def _draw_column(panels: Sequence[Axes], result: ActivationsResult, layer: int) -> None:
    bins = drawn_bins(result, layer)
    heights = bins.counts.astype(float)
    if result.num_images > 1:
        heights /= (result.num_images * result.units[:, layer])[:, None, None] * np.diff(bins.edges)
    top = 1.05 * heights.max() or 1
    for row, panel in enumerate(panels):
        for state, color in enumerate(COLORS):
            panel.stairs(
                heights[row, state],
                bins.edges,
                fill=True,
                facecolor=to_rgba(color, OPACITY),
                edgecolor=color,
                linewidth=0.8,
                gid=f"{result.rows[row]}:{result.layers[row][layer]}:{state}",
            )
        panel.set(xlim=(bins.edges[0], bins.edges[-1]), ylim=(0, top))
        panel.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        panel.yaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 5, 10]))
        panel.tick_params(labelbottom=row == len(panels) - 1)


def _write_above(panel: Axes, numbers: str, heading: tuple[str, str] | None) -> None:
    beside: dict[str, Any] = {"textcoords": "offset points", "annotation_clip": False, "va": "bottom"}
    above = panel.annotate(
        numbers, (0, 1), (0, 3), xycoords="axes fraction", size=_NUMBERS, linespacing=_LINE, **beside
    )
    if heading is not None:
        name = panel.annotate(
            heading[0], (0, 1), (0, 2), xycoords=above, size=_LABEL, weight="bold", **beside
        )
        panel.annotate(heading[1], (1, 0), (4, 0), xycoords=name, size=_NUMBERS, **beside)


def _name_row(panel: Axes, result: ActivationsResult, row: int) -> None:
    """Rotated, left of the label of the y axis: the method in bold, what else there is to say below it."""
    name, _, rest = result.rows[row].partition(", ")
    states = "" if _common_states(result) else " → ".join(result.checkpoints[row])
    lines = [(text, _NUMBERS, "normal") for text in (states, rest) if text]
    lines += [
        (text, _LABEL, "bold")
        for text in reversed(
            wrap_text(legend_name(name), _LABEL, _PANEL_HEIGHT, lines=2, bold=True).split("\n")
        )
    ]
    beside: Any = panel.yaxis.label
    for text, size, weight in lines:
        beside = panel.annotate(
            fit_text(text, size, 1.6 * _PANEL_HEIGHT, bold=weight == "bold"),
            (0, 0.5),
            (-2, 0),
            xycoords=beside,
            textcoords="offset points",
            annotation_clip=False,
            rotation=90,
            size=size,
            weight=weight,
            ha="right",
            va="center",
        )


def _handles(result: ActivationsResult) -> list[Patch]:
    return [
        Patch(facecolor=to_rgba(color, OPACITY), edgecolor=color, linewidth=0.8, label=label)
        for color, label in zip(COLORS, _common_states(result) or ("earlier", "later"), strict=True)
    ]


def _common_states(result: ActivationsResult) -> tuple[str, str] | None:
    """The names of the two states, where they are those of every row."""
    return result.checkpoints[0] if len(set(result.checkpoints)) == 1 else None


def _heading(result: ActivationsResult, row: int, layer: int, width: float) -> tuple[str, str]:
    """A layer's name and, as far as there is room, its shape and what sampling makes of W₁."""
    name = fit_text(result.layers[row][layer], _LABEL, width, bold=True)
    room = width - measure_text(name, _LABEL, bold=True) - 4 / 72
    shape = "×".join(map(str, result.shapes[row][layer]))
    floor = "" if len(result.group_images) == 1 else f"floor {result.floors[:, :, layer].max():.2g}"
    choices = (f"{shape}, {floor}".strip(", "), floor, shape)
    return name, next((text for text in choices if measure_text(text, _NUMBERS) <= room), "")


def _numbers(result: ActivationsResult, width: float) -> list[list[str]]:
    """What stands above each panel, R × L, broken in the same places so that all have as many lines."""
    panels = [
        [_describe(result, row, layer) for layer in range(result.num_layers)]
        for row in range(len(result.rows))
    ]
    flat = [panel for row in panels for panel in row]
    wide = [
        [max(measure_text(panel[i][j] + " ", _NUMBERS) for panel in flat) for j in range(len(line))]
        for i, line in enumerate(flat[0])
    ]
    return [
        ["\n".join(_pack(*line, width) for line in zip(panel, wide, strict=True)) for panel in row]
        for row in panels
    ]


def _describe(result: ActivationsResult, row: int, layer: int) -> list[list[str]]:
    """The lines of a panel, each in the pieces that it may be broken into."""
    measured = {name: result.measure(name) for name in ("distance", "correlation", "relative_change")}
    ends = {name: [float(end[row, layer]) for end in estimate] for name, estimate in measured.items()}
    distance, interval = _show(*ends["distance"])
    change, change_interval = _show(*(100 * end for end in ends["relative_change"]))
    zeros = " → ".join(f"{100 * share:.1f}" for share in result.zero_share[row, :, layer])
    correlation = ends["correlation"][0]
    return [
        [f"zeros {zeros} %"],
        [f"W₁ {distance} ± {result.distance_bound[row, layer]:.2g}", interval],
        [f"change {change} %", change_interval, "r –" if math.isnan(correlation) else f"r {correlation:.4f}"],
    ]


def _pack(pieces: Sequence[str], wide: Sequence[float], width: float) -> str:
    """Pieces in lines of at most ``width`` inches, given how wide each of them may be."""
    lines, used = [pieces[0]], wide[0]
    for piece, size in zip(pieces[1:], wide[1:], strict=True):
        if used + size <= width:
            lines[-1] = f"{lines[-1]} {piece}".rstrip()
            used += size if piece else 0
        else:
            lines.append(piece)
            used = size
    return "\n".join(lines)


def _show(value: float, low: float, high: float) -> tuple[str, str]:
    """A value and its interval in brackets; empty where there is none.

    To one digit of the interval's half width, and to two of the value.
    """
    half = (high - low) / 2
    if math.isnan(half):
        return ("–" if math.isnan(value) else f"{value:.3g}"), ""
    sizes = [math.floor(math.log10(size)) + more for size, more in ((half, 0), (abs(value), -1)) if size > 0]
    digits = min(max(0, *(-size for size in sizes)), 5) if sizes else 3
    return f"{value:.{digits}f}", f"[{low:.{digits}f}, {high:.{digits}f}]"


def _note(result: ActivationsResult) -> str:
    groups, many = len(result.group_images), result.samples_name
    one = many.removesuffix("s")
    cut = any(drawn_bins(result, layer).cut for layer in range(result.num_layers))
    sentences = [
        f"{result.selection[:1].upper()}{result.selection[1:]}.",
        "Exact zeros are counted, not drawn"
        + (f"; the axis covers {100 * SHOWN:g} % of the other values." if cut else "."),
        "W₁: Wasserstein-1 distance of the two distributions ± bound of the binning error",
        f"r: correlation of a unit's two activations on {'an' if one == 'image' else 'a'} {one}; change: their rms difference over their rms value.",
    ]
    if result.num_images > 1:
        sentences[1] = sentences[1].replace("drawn", "drawn (density is relative to all units)")
    if groups > 1:
        sentences[2] += f"; floor: the largest between two halves of the {many} in one network."
        sentences.append(
            f"[ ]: 95 % interval, jackknife over {groups} groups of the {many} (not over trainings)."
        )
    else:
        sentences[2] += "."
        sentences.append(f"A single {one} has no interval.")
    return " ".join(sentences)


def _height(result: ActivationsResult, blocks: int, number_lines: int) -> float:
    """Inches for all blocks of rows and legend."""
    row = _PANEL_HEIGHT + number_lines * _NUMBERS * _LINE / 72 + _BELOW
    return blocks * (len(result.rows) * row + 0.35) + 0.4
