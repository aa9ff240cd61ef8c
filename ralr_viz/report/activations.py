"""Activation histograms of two epochs, a panel a network, with the layer and the epochs to choose."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ralr_viz.plots.activations import SHOWN, drawn_bins
from ralr_viz.report.chart import new_chart
from ralr_viz.report.inputs import ReportInputs, whose_checkpoints
from ralr_viz.report.section import Section, format_number, missing_section, render_template
from ralr_viz.results.activations import ActivationsResult

if TYPE_CHECKING:
    from bokeh.models import Range1d
    from bokeh.plotting import figure as BokehFigure

TITLE = "Activations late in training"
COLORS = ("#56B4E9", "#CC6677")
"""Of the earlier and the later state, filled and outlined: seen on a light and on a dark page."""

_MISSING = "activations were not computed: ralr-viz activations compares two epochs of a training"


class Line(NamedTuple):
    """What the table says of one row and layer, as text."""

    row: str
    states: str
    layer: str
    zeros: str
    distance: str
    floor: str
    correlation: str
    change: str


def build_activations(inputs: ReportInputs) -> Section:
    """The section of the activation histograms."""
    result = inputs.activations
    if result is None:
        return missing_section("activations", TITLE, inputs.missing.get("activations", _MISSING))
    layers = [_pack_layer(result, layer) for layer in range(result.num_layers)]
    ranges = _ranges(layers[-1])
    charts = {
        f"activations-{row}": _draw_row(result, row, layers[-1], ranges) for row in range(len(result.rows))
    }
    html = render_template(
        "activations.html",
        rows=result.rows,
        layers=[
            " / ".join(dict.fromkeys(row[layer] for row in result.layers))
            for layer in range(result.num_layers)
        ],
        states=_common_states(result),
        states_of=result.checkpoints,
        colors=COLORS,
        lines=list_lines(result),
        selection=result.selection,
        groups=len(result.group_images),
        shown=f"{100 * SHOWN:g}",
    )
    return Section(
        key="activations",
        title=TITLE,
        html=html,
        figures=charts,
        scripts=("activations.js",),
        styles=("samples.css",),
        whose=whose_checkpoints(inputs.sides),
        data={"layers": layers, "rows": result.rows, "states": result.checkpoints},
    )


def list_lines(result: ActivationsResult) -> list[Line]:
    """The numbers of `ActivationsResult.summary` as text, layer by layer."""
    table = result.summary()
    # the networks stand below each other: they are compared at one layer
    ordered = [row for layer in range(result.num_layers) for row in table[layer :: result.num_layers]]
    return [
        Line(
            row=numbers["row"],
            states=f"{numbers['earlier']} → {numbers['later']}",
            layer=f"{numbers['layer']} ({numbers['shape']})",
            zeros=f"{100 * numbers['zero_share_earlier']:.1f} → {100 * numbers['zero_share_later']:.1f}",
            distance=_measured(numbers, "distance"),
            floor=format_number(max(numbers["floor_earlier"], numbers["floor_later"]), ".2g"),
            correlation=_measured(numbers, "correlation"),
            change=_measured(numbers, "relative_change", 100),
        )
        for numbers in ordered
    ]


def _measured(numbers: dict[str, Any], name: str, scale: float = 1) -> str:
    value, low, high = (scale * numbers[name + end] for end in ("", "_low", "_high"))
    interval = "" if math.isnan(low) else f" [{format_number(low, '.3g')}, {format_number(high, '.3g')}]"
    return format_number(value, ".3g") + interval


def _pack_layer(result: ActivationsResult, layer: int) -> dict[str, Any]:
    """Edges (k + 1,) and densities (R, 2, k) of a layer's histograms, and the share of exact zeros."""
    bins = drawn_bins(result, layer)
    total = (result.num_images * result.units[:, layer])[:, None, None]
    return {
        "edges": bins.edges,
        "density": bins.counts / total / np.diff(bins.edges),
        "zeros": result.zero_share[:, :, layer],
    }


def _ranges(layer: dict[str, Any]) -> tuple[Range1d, Range1d]:
    """Of all panels: the histograms are compared in place."""
    from bokeh.models import Range1d

    edges, top = layer["edges"], float(layer["density"].max())
    return Range1d(start=float(edges[0]), end=float(edges[-1])), Range1d(start=0, end=1.05 * top or 1.0)


def _draw_row(
    result: ActivationsResult, row: int, layer: dict[str, Any], ranges: tuple[Range1d, Range1d]
) -> BokehFigure:
    from bokeh.models import ColumnDataSource

    name = f"activations-{row}"
    chart = new_chart(
        name,
        x_range=ranges[0],
        y_range=ranges[1],
        x_axis_label="activation",
        y_axis_label="density",
        tools="xpan,xwheel_zoom,reset",
        height=240,
    )
    edges, (earlier, later) = layer["edges"], layer["density"][row]
    bars = {"left": edges[:-1], "right": edges[1:], "top": earlier}
    outline = {"x": edges, "y": np.append(later, 0)}
    chart.quad(
        left="left",
        right="right",
        top="top",
        bottom=0,
        source=ColumnDataSource(bars, name=f"{name}-bars"),
        fill_color=COLORS[0],
        fill_alpha=0.7,
        line_color=None,
        name=f"{name}-earlier",
    )
    # an outline over bars: the two states differ in more than colour
    chart.step(
        "x",
        "y",
        mode="after",
        source=ColumnDataSource(outline, name=f"{name}-outline"),
        line_color=COLORS[1],
        line_width=2,
        name=f"{name}-later",
    )
    return chart


def _common_states(result: ActivationsResult) -> tuple[str, str]:
    """The names of the two states, where they are those of every row."""
    return result.checkpoints[0] if len(set(result.checkpoints)) == 1 else ("earlier", "later")
