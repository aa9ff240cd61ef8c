"""What the units of a layer return at two states of a training: the paper's Figure 2, drawn as what differs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from ralr_viz.plots.fit_text import fit_text, measure_text
from ralr_viz.plots.foot import add_foot
from ralr_viz.plots.measure_panels import is_wide, model_marks
from ralr_viz.plots.style import (
    GREY,
    LEGEND_LINE,
    Look,
    legend_name,
    legend_text_size,
    method_looks,
    new_figure,
)
from ralr_viz.results.activations import ActivationsResult

BINS = 60
SHOWN = 0.999
"""Share of the non-zero values that the axis covers, of all rows and both states together."""

_HISTOGRAM, _NOISE = "#bbbbbb", "#e3e3e3"
_LABEL = 7.5  # points
_PLAIN, _DIFFERENCE, _DOTS = 0.6, 0.95, 0.12  # inches: of panels, and of a row of dots
_NARROWEST, _LEFT, _BETWEEN = 0.52, 0.4, 0.26  # inches: of a panel, its label, the ticks beside it
_MOST_BESIDE = 4  # layers whose panels leave room for the dots beside them


class DrawnBins(NamedTuple):
    """What is drawn of one layer: counts (R, 2, k) between edges (k + 1,); whether values lie outside."""

    edges: np.ndarray
    counts: np.ndarray
    cut: bool


def draw_activations(result: ActivationsResult) -> Figure:
    """Draw, for each layer, one plain histogram, and below it how every pair's later histogram differs from its earlier one.

    The band behind the differences is what other images alone would make of them. Two histograms may be equal while every
    unit moves: a dot plot shows by how much a unit's answer to the same image changes, layers × pairs, with its interval.

    Args:
        result: Of any number of rows and layers. Layers that do not fit the width are continued below.

    Returns:
        A figure of the current style's width.

    References:
        Figure 2.
    """
    page = mpl.rcParams["figure.figsize"][0]
    most = max(1, int((page - _LEFT) / (_NARROWEST + _BETWEEN)))
    beside = is_wide() and result.num_layers <= _MOST_BESIDE
    blocks = 1 if beside else math.ceil(result.num_layers / most)
    columns = math.ceil(result.num_layers / blocks)
    dots = 0.55 + _DOTS * max(result.num_layers, 2) * (1 + 0.25 * len(result.rows))
    each = _PLAIN + _DIFFERENCE + 0.55
    handles = _handles(result)
    legend_columns = _fitting(handles, page)
    height = blocks * each + 0.17 * math.ceil(len(handles) / legend_columns) + 0.1
    figure = new_figure(height if beside else height + dots)
    if beside:
        grid = figure.add_gridspec(1, 2, width_ratios=(0.9 * columns, 1.35))
        places: list[SubplotSpec] = [grid[0, 0]]
        rest = grid[0, 1]
    else:
        grid = figure.add_gridspec(blocks + 1, 1, height_ratios=[each] * blocks + [dots])
        places, rest = [grid[i, 0] for i in range(blocks)], grid[blocks, 0]
    room = ((0.52 if beside else 1) * page - _LEFT) / columns - _BETWEEN
    for block, place in enumerate(places):
        inner = place.subgridspec(2, columns, height_ratios=(_PLAIN, _DIFFERENCE))
        for column, layer in enumerate(range(block * columns, min((block + 1) * columns, result.num_layers))):
            panels = [figure.add_subplot(inner[row, column]) for row in range(2)]
            _draw_layer(panels, result, layer, room)
            if column == (columns - 1) // 2:
                panels[1].set_xlabel("activation")
            if not column:
                panels[0].set_ylabel("units" if result.num_images == 1 else "density")
                panels[1].set_ylabel(_difference_name(result))
    _draw_changes(figure.add_subplot(rest), result)
    figure.legend(handles=handles, loc="outside upper center", ncols=legend_columns)
    add_foot(figure, result, activations_note(result))
    return figure


def activations_table(result: ActivationsResult) -> list[dict[str, Any]]:
    """The drawn bars: one row for each row, layer, state and bin, and one for the exact zeros, from 0 to 0; then the measures.

    ``share`` is of all units on all images; ``density`` is it over the width of the bin, None for the zeros.
    Bins outside the drawn axis are left out. A measure (shares of zeros, distance and its bound, the floor, correlation,
    relative change) has its value and, where it has one, its 95 % interval.
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
    return table + [numbers for row in result.summary() for numbers in _measure_rows(row)]


def _measure_rows(summary: dict[str, Any]) -> list[dict[str, Any]]:
    """What was measured of one row and layer, in the columns of the bars and three more."""
    head = {"row": summary["row"], "layer": summary["layer"], "checkpoint": None}
    head |= dict.fromkeys(("bin_left", "bin_right", "units", "share", "density"))
    return [
        head
        | {"measure": name, "value": summary[name]}
        | {end: summary.get(f"{name}_{end}") for end in ("low", "high")}
        for name in (
            *("zero_share_earlier", "zero_share_later", "floor_earlier", "floor_later", "distance_bound"),
            *("distance", "distance_sd", "correlation", "relative_change"),
        )
    ]


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
    measured = dict.fromkeys(("measure", "value", "low", "high"))
    bar = {"bin_left": left, "bin_right": right, "units": count, "share": count / total, "density": density}
    return bar | measured


def _draw_layer(panels: Sequence[Axes], result: ActivationsResult, layer: int, width: float) -> None:
    """The plain histogram above, the differences of all rows below."""
    plain, differences = panels
    bins = drawn_bins(result, layer)
    heights, noise = bins.counts.astype(float), _noise(result, layer, bins)
    if result.num_images > 1:
        heights /= (result.num_images * result.units[:, layer])[:, None, None] * np.diff(bins.edges)
    look: dict[str, Any] = {"fill": True, "facecolor": _HISTOGRAM, "edgecolor": GREY, "lw": 0.5}
    plain.stairs(heights[0, 1], bins.edges, gid=f"plain:{result.layers[0][layer]}", **look)
    plain.set_ylim(bottom=0)
    plain.tick_params(labelbottom=False)
    names = " or ".join(dict.fromkeys(row[layer] for row in result.layers))
    plain.set_title(fit_text(names, _LABEL, width, bold=True), size=_LABEL, weight="bold")
    if np.isfinite(noise).all():
        differences.stairs(noise, bins.edges, baseline=-noise, fill=True, color=_NOISE, lw=0, gid="noise")
    differences.axhline(0, color=GREY, lw=0.5, zorder=1.5)
    for row, (name, look_of) in enumerate(_looks(result.rows).items()):
        change = heights[row, 1] - heights[row, 0]
        differences.stairs(
            change, bins.edges, baseline=None, color=look_of.color, ls=look_of.linestyle, lw=0.9, gid=f"difference:{name}:{layer}"
        )  # fmt: skip
    for panel in panels:
        panel.set_xlim(bins.edges[0], bins.edges[-1])
        panel.xaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 5, 10]))
        panel.yaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 5, 10], min_n_ticks=2))


def _noise(result: ActivationsResult, layer: int, bins: DrawnBins) -> np.ndarray:
    """Half the height of the noise band in each drawn bin, the largest of all rows; NaN where it is not known."""
    total = (result.num_images * result.units[:, layer])[:, None]
    share = bins.counts.mean(axis=1) / total
    spread = np.sqrt(2 * share * (1 - share) / total) * result.sampling_spread[:, layer, None]
    half: np.ndarray = 1.96 * spread.max(axis=0) / np.diff(bins.edges)
    return half


def _draw_changes(panel: Axes, result: ActivationsResult) -> None:
    value, low, high = (100 * np.asarray(end) for end in result.measure("relative_change"))
    step = 0.7 / max(len(result.rows), 2)
    for row, (name, (color, marker)) in enumerate(model_marks(result.rows).items()):
        y = np.arange(result.num_layers) + step * (row - (len(result.rows) - 1) / 2)
        panel.hlines(y, low[row], high[row], color=color, lw=1.0, gid=f"interval:{name}")
        panel.plot(value[row], y, ls="", marker=marker, ms=3.5, mew=0, color=color, gid=f"change:{name}")
    room = 0.3 * mpl.rcParams["figure.figsize"][0] if not is_wide() else 0.9
    names = [
        " or ".join(dict.fromkeys(row[layer] for row in result.layers)) for layer in range(result.num_layers)
    ]
    size = mpl.rcParams["ytick.labelsize"]
    panel.set_yticks(range(result.num_layers), [fit_text(name, size, room) for name in names])
    panel.set_ylim(result.num_layers - 0.5, -0.5)
    panel.tick_params(axis="y", length=0)
    panel.grid(False, axis="y")
    for layer in range(1, result.num_layers):
        panel.axhline(layer - 0.5, color="#bbbbbb", lw=0.4)
    panel.set_xlim(left=0)
    panel.margins(x=0.08)
    panel.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
    panel.set_xlabel("change of a unit (%)")


def _looks(rows: Sequence[str]) -> dict[str, Look]:
    """Of each row, in the colour of its mark."""
    keys = [name.lower() for name in rows]
    lines = method_looks(keys)
    return {
        name: Look(mark.color, lines[key].linestyle)
        for (name, mark), key in zip(model_marks(rows).items(), keys, strict=True)
    }


def _difference_name(result: ActivationsResult) -> str:
    """Of the axis: the later state minus the earlier one, by name where all rows have the same and these are short."""
    states = _common_states(result)
    named = states is not None and max(measure_text(state, _LABEL) for state in states) < 0.5 * _DIFFERENCE
    earlier, later = states if states and named else ("earlier", "later")
    return f"{later}\n− {earlier}"


def _handles(result: ActivationsResult) -> list[Line2D | Patch]:
    size, room = legend_text_size(), 0.9 * mpl.rcParams["figure.figsize"][0]
    marks = model_marks(result.rows)
    handles: list[Line2D | Patch] = [
        Line2D(
            [], [], color=look.color, ls=look.linestyle, lw=0.9, marker=marks[name].marker, ms=3.5, mew=0,
            label=fit_text(legend_name(name), size, room),
        )
        for name, look in _looks(result.rows).items()
    ]  # fmt: skip
    plain = f"{legend_name(result.rows[0])}, {result.checkpoints[0][1]}"
    handles.append(Patch(facecolor=_HISTOGRAM, edgecolor=GREY, lw=0.5, label=fit_text(plain, size, room)))
    if np.isfinite(result.floors).all():
        handles.append(Patch(facecolor=_NOISE, label="noise of sampling"))
    return handles


def _fitting(handles: Sequence[Line2D | Patch], page: float) -> int:
    """Columns of the legend."""
    size = legend_text_size()
    widths = [measure_text(str(handle.get_label()), size) + LEGEND_LINE * size / 72 for handle in handles]
    if sum(widths) <= page:
        return len(handles)
    return max(1, min(len(handles), int(page / max(widths))))


def _common_states(result: ActivationsResult) -> tuple[str, str] | None:
    """The names of the two states, where they are those of every row."""
    return result.checkpoints[0] if len(set(result.checkpoints)) == 1 else None


def activations_note(result: ActivationsResult) -> str:
    """What is drawn, and what may not be concluded from it."""
    groups, many = len(result.group_images), result.samples_name
    one = many.removesuffix("s")
    cut = any(drawn_bins(result, layer).cut for layer in range(result.num_layers))
    states = _common_states(result)
    pairs = "; ".join(
        f"{name}: {a} to {b}" for name, (a, b) in zip(result.rows, result.checkpoints, strict=True)
    )
    sentences = [
        f"{result.selection[:1].upper()}{result.selection[1:]}, {states[0]} to {states[1]}."
        if states
        else f"{result.selection[:1].upper()}{result.selection[1:]}; {pairs}.",
        f"Above: what all units of a layer return, {result.rows[0]} at {result.checkpoints[0][1]}; exact zeros are counted in the density, not drawn"
        + (f"; the axis covers {100 * SHOWN:g} % of the other values." if cut else "."),
        "Below: the later histogram minus the earlier one.",
    ]
    if groups > 1:
        sentences += [
            f"Band: 95 % of what two samples of as many {many} would differ by in a bin, if units were as alike within {'an' if one == 'image' else 'a'} {one} as the "
            f"distance between two halves of the {many} in one network says; both states see the same {many}, so it errs on the wide side.",
            f"Change: rms difference of a unit's two activations on the same {one} over their rms value, with its 95 % interval, jackknife over {groups} groups of the {many} (not over trainings).",
        ]
    else:
        sentences.append(
            f"Change: rms difference of a unit's two activations on the same {one} over their rms value. A single {one} has no interval."
        )
    return " ".join(sentences)
