"""Maps of both networks' features side by side, linked point by point, and the numbers that they stand for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ralr_viz.plots.embedding_layout import METHOD_NAMES, METRIC_NAMES
from ralr_viz.report.chart import new_chart
from ralr_viz.report.inputs import ReportInputs, Side, whose_checkpoints
from ralr_viz.report.samples import LONGEST_SIDE, largest_map, pack_samples
from ralr_viz.report.section import Section, missing_section, render_template
from ralr_viz.results.embedding import INTERVALS, EmbeddingResult, holds_value, interval_text

if TYPE_CHECKING:
    from bokeh.models import ColumnDataSource, Range1d
    from bokeh.plotting import figure as BokehFigure

TITLE = "Maps of the features"
MARKERS = (
    "circle",
    "square",
    "triangle",
    "diamond",
    "inverted_triangle",
    "star",
    "hex",
    "plus",
    "square_pin",
    "triangle_pin",
)
"""Of the classes, in turn: no class is told by its colour alone."""
MOST_CLASSES = 20
"""In the legend; of more, the colours only follow the order of the labels."""

_MISSING = "the images were not mapped: ralr-viz embed makes a map of their features"
_GREY = "#8a8a8a"
_FLATTEST = 0.7  # height of a map over its width, at least
_TOOLS = 0.06  # height of the tools above it, over its width
# Of what is right in one network only, the colour is the network's own. Purple is no method's, and neither
# it nor the grey is lost on a light or a dark page.
_BOTH, _NEITHER = ("#8a8a8a", "circle"), ("#9b59d0", "diamond")


class Number(NamedTuple):
    """A line of the table of numbers: a value a network, and each other network minus the first.

    Attributes:
        differences: Text, and whether the interval excludes 0.
    """

    label: str
    values: tuple[str, ...]
    differences: tuple[tuple[str, bool], ...] = ()


def build_embeddings(inputs: ReportInputs) -> Section:
    """The section of the maps; it also carries the samples, which the gallery draws.

    Hovering, tapping or stepping with the arrow keys chooses an image: rings mark its places in both maps,
    and a card beside them shows it, its maps and what both networks say of it.
    """
    result, samples = inputs.embedding, pack_samples(inputs)
    if result is None or samples is None:
        missing = missing_section("embeddings", TITLE, inputs.missing.get("embeddings", _MISSING))
        return missing if samples is None else replace(missing, data={"samples": samples})
    source, cursor = _sources(result)
    panels = [_draw_panel(result, i, source, cursor) for i in range(len(result.models))]
    numbers = list_numbers(result)
    html = render_template(
        "embeddings.html",
        sides=[side.name for side in inputs.sides],
        count=len(result.labels),
        sampling=inputs.sampling,
        modes=_color_modes(inputs),
        numbers=numbers,
        without_interval=any(
            "[" not in text
            for line in numbers
            for text in (*line.values, *(text for text, _ in line.differences))
            if text not in ("", "–")
        ),
        caveats=list_caveats(result, inputs.sides),
        has_maps=any(side["maps"] for side in samples["sides"]),
        reduced=max(samples["imageSize"]) > LONGEST_SIDE,
        longest=LONGEST_SIDE,
        coarser=_coarser_map(inputs),
    )
    return Section(
        key="embeddings",
        title=TITLE,
        html=html,
        figures={f"map-{i}": panel for i, panel in enumerate(panels)},
        scripts=("samples.js", "embeddings.js"),
        styles=("samples.css",),
        data={"samples": samples, "look": _look(result), "k": result.k},
        whose=whose_checkpoints(inputs.sides),
    )


def _coarser_map(inputs: ReportInputs) -> int | None:
    """Positions of the longer side of the page's maps where a network's have more."""
    found = [side.predictions for side in inputs.sides if side.predictions is not None]
    largest = largest_map(0 if inputs.indices is None else len(inputs.indices))
    return largest if any(max(p.true_maps.shape[1:]) > largest for p in found) else None


def list_numbers(result: EmbeddingResult) -> list[Number]:
    """The numbers of `EmbeddingResult.metrics` as text, in its order, and the share of kept neighbours."""
    lines = []
    compared = len(result.models) > 1
    for name, label in METRIC_NAMES.items():
        values = tuple(interval_text(name, numbers) for numbers in result.metric(name))
        differences = tuple(
            (
                interval_text(name, difference, signed=True),
                holds_value(difference) and bool(difference[1] > 0 or difference[2] < 0),
            )
            for difference in result.difference(name)[1:]
        )
        named = f"{label} among the nearest {result.k}" if name == "map_recall" else label
        lines.append(Number(named, values, differences))
    if compared:
        kept = [interval_text("neighbours_kept", numbers) for numbers in result.mean_kept[1:]]
        named = f"neighbours kept (by chance {result.chance_kept:.3f})"
        lines.append(Number(named, ("–", *kept), (("", False),) * len(kept)))
    return lines


def list_caveats(result: EmbeddingResult, sides: Sequence[Side]) -> list[str]:
    """What the maps are, and what must not be read from them, a sentence each."""
    engine = (
        f"perplexity {result.perplexity:g}" if result.method == "tsne" else f"{result.neighbours} neighbours"
    )
    sentences = [
        f"{METHOD_NAMES[result.method]} of the penultimate features ({engine}, seed {result.seed}), "
        f"{len(result.labels):,} images.",
        "Distances between clusters, their sizes and their densities mean little in such a map; the numbers "
        "above are of the features themselves, except map recall, which says how far the map can be trusted.",
    ]
    if len(result.models) > 1:
        sentences.append(_describe_alignment(result, sides[0].name, sides[1].name))
    return [*sentences, f"{INTERVALS[0].upper()}{INTERVALS[1:]}.", *result.notes]


def _describe_alignment(result: EmbeddingResult, a: str, b: str) -> str:
    if result.align == "none":
        return "The maps are independent: places in one cannot be compared with places in the other."
    how = (
        f"The map of {b} starts from that of {a}, which favours {a}'s arrangement"
        if result.align == "init"
        else "The maps are laid out together, which pulls an image's places together"
    )
    return (
        f"{how}: the median image is displaced by {result.displacement[1]:.2f} of the RMS radius, and by "
        f"{result.noise_floor:.2f} when the map of {a} is only made again."
    )


def _sources(result: EmbeddingResult) -> tuple[ColumnDataSource, ColumnDataSource]:
    """One source of the points of all panels, which so share the selection, and one of the chosen point."""
    from bokeh.models import ColumnDataSource

    n = len(result.labels)
    points: dict[str, Any] = {
        "color": [_GREY] * n,  # the script sets these three
        "marker": ["circle"] * n,
        "alpha": np.full(n, 0.8, np.float32),
    }
    chosen: dict[str, list[float]] = {}
    for i, coordinates in enumerate(result.coordinates.astype(np.float32)):
        points |= {f"x{i}": coordinates[:, 0], f"y{i}": coordinates[:, 1]}
        chosen |= {f"x{i}": [], f"y{i}": []}
    return (
        ColumnDataSource(points, name="map-points"),
        ColumnDataSource(chosen, name="map-cursor"),
    )


def _draw_panel(
    result: EmbeddingResult, index: int, source: ColumnDataSource, cursor: ColumnDataSource
) -> BokehFigure:
    from bokeh.models import BoxSelectTool, CustomJS, LassoSelectTool, PanTool, ResetTool, WheelZoomTool

    ranges = _ranges(result, index)
    box = BoxSelectTool(description="Select by a box")
    panel = new_chart(
        f"map-{index}",
        tools=[box, LassoSelectTool(), PanTool(), WheelZoomTool(), ResetTool()],
        active_drag=box,
        active_scroll=None,  # scrolling the page must not zoom a map
        height=None,
        aspect_ratio=1 / (_flatness(result) + _TOOLS),
        x_range=ranges[0],
        y_range=ranges[1],
        min_border=4,
        lod_threshold=None,
    )
    panel.axis.visible = False
    panel.grid.visible = False
    x, y = f"x{index}", f"y{index}"
    look = {"fill_color": "color", "line_color": "color", "marker": "marker"}
    panel.scatter(
        x,
        y,
        source=source,
        size=_size(len(result.labels)),
        line_width=0.5,
        fill_alpha="alpha",
        line_alpha="alpha",
        **look,
    )
    # on the layer above, so that choosing another point does not draw all of them again
    above: dict[str, Any] = {"source": cursor, "level": "overlay"}
    if result.align != "none" and len(result.models) > 1:
        panel.segment("x0", "y0", "x1", "y1", line_color=_GREY, line_width=1.5, line_dash="4 3", **above)
    # white inside black: seen on every ground
    ring: dict[str, Any] = {"size": 17, "fill_color": None} | above
    panel.scatter(x, y, line_color="black", line_width=4, **ring)
    panel.scatter(x, y, line_color="white", line_width=2, **ring)
    for event in ("mousemove", "tap"):
        detail = f"{{panel: {index}, kind: '{event}', x: cb_obj.x, y: cb_obj.y}}"
        code = f"document.dispatchEvent(new CustomEvent('report-map', {{detail: {detail}}}))"
        panel.js_on_event(event, CustomJS(code=code))
    return panel


def _flatness(result: EmbeddingResult) -> float:
    """Height of a panel over its width: that of the maps, within reason."""
    width, height = np.ptp(result.coordinates, axis=(0, 1))
    return float(np.clip(height / width, _FLATTEST, 1)) if width > 0 else 1.0


def _ranges(result: EmbeddingResult, index: int) -> tuple[Range1d, Range1d]:
    """Ranges around the points, of one scale; the same for all maps where their places can be compared."""
    from bokeh.models import Range1d

    coordinates = result.coordinates if result.align != "none" else result.coordinates[index : index + 1]
    low, high = coordinates.min(axis=(0, 1)).astype(float), coordinates.max(axis=(0, 1)).astype(float)
    flatness = _flatness(result)
    half = 0.53 * max(high[0] - low[0], (high[1] - low[1]) / flatness, 1e-6) * np.array([1, flatness])
    start, end = ((low + high) / 2 - half).tolist(), ((low + high) / 2 + half).tolist()
    return Range1d(start=start[0], end=end[0]), Range1d(start=start[1], end=end[1])


def _size(count: int) -> float:
    """Pixels across a point: they cover a fifth of the map, within reason."""
    return float(np.clip(np.sqrt(0.2 * 400**2 / count), 3, 10))


def _color_modes(inputs: ReportInputs) -> list[tuple[str, str]]:
    """Value and label of each way to colour the points."""
    names = [side.name for side in inputs.pair]
    if len(names) == 1:
        return [("class", "class"), ("correct", "right or wrong")]
    return [
        ("class", "class"),
        ("correct", f"right in {names[0]}, {names[1]}, both or neither"),
        ("kept", "share of its neighbours kept"),
    ]


def _look(result: EmbeddingResult) -> dict[str, Any]:
    """Colours and shapes of the points by class, by who is right, and by kept neighbours."""
    import matplotlib as mpl
    from matplotlib.colors import to_hex
    from seaborn import color_palette  # it imports pyplot

    classes = result.classes.tolist()
    few = len(classes) <= 10
    palette = color_palette("colorblind" if few else "husl", len(classes))  # as in the paper's Figure 4
    return {
        "labels": classes,
        "classColors": [to_hex(color) for color in palette],
        "markers": MARKERS,
        "mostClasses": MOST_CLASSES,
        "both": _BOTH,
        "neither": _NEITHER,
        "ramp": [to_hex(color) for color in mpl.colormaps["viridis"](np.linspace(0, 1, 32))],
    }
