"""Class activation maps as the paper's Figure 3 shows them: a column an image, a row a network."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import PlaceHolderLayoutEngine
from matplotlib.patches import Rectangle
from matplotlib.patheffects import Normal, Stroke
from matplotlib.text import Annotation

from ralr_viz.plots.fit_text import fit_text, measure_text, wrap_text
from ralr_viz.plots.style import method_name
from ralr_viz.results.cam import CamResult

COLORMAP = "inferno"  # perceptually uniform, and readable without colour
HEAT = 0.6
"""Opacity of the map over the grey image."""
METHOD_NAMES = {"cam": "CAM", "grad-cam": "Grad-CAM"}

# points
_LABEL, _TITLE, _CAPTION = 8.0, 7.0, 6.5
_LINE = 1.25  # height of a line of text over its size

# inches
_MARGIN, _GAP, _BLOCK_GAP = 0.03, 0.05, 0.08
_SMALLEST_CELL, _LARGEST_CELL = 0.7, 1.1
_NARROWEST = 3.25  # one column of a page, which holds the colour bar
_CAPTION_HEIGHT = 2 * _CAPTION * _LINE / 72
_FOOTER_LINE = 0.16
_BAR_WIDTH, _BAR_HEIGHT = 1.0, 0.08
_BAR_LABEL = "class activation (per-image min–max)"


def draw_cam(result: CamResult) -> Figure:
    """Draw the images, with their boxes, above the maps of every network.

    Under each map stand the predicted class, whether it is right (✓ or ✗, where the truth is known) and its
    probability. Colours run from each map's own minimum to its own maximum: they compare places within a map.
    Where the images do not fit the width of the page, further blocks continue them.

    Args:
        result: Of any number of networks and images.

    Returns:
        A figure of at most the current style's width.
    """
    grid = _lay_out(result, mpl.rcParams["figure.figsize"][0])
    # every place is given here; without an engine of its own, saving would bring back the style's
    engine = PlaceHolderLayoutEngine(adjust_compatible=True, colorbar_gridspec=True)
    figure = Figure(figsize=(grid.width, grid.height), layout=engine)
    grey = result.images @ np.array([0.299, 0.587, 0.114]) / 255  # ITU-R BT.601 luma
    for row in range(1 + len(result.models)):
        pictures = _overlay(result.display_maps(row - 1), grey) if row else result.images
        for i, picture in enumerate(pictures):
            axes = figure.add_axes(grid.cell(i, row))
            axes.set_axis_off()
            axes.imshow(picture, interpolation="nearest", rasterized=True)
            _draw_box(axes, result, i)
            if row:
                _annotate(
                    axes, _caption(result, row - 1, i, grid.cell_width), (0.5, 0), (0, -2), _CAPTION, va="top"
                )
            else:
                _annotate(axes, grid.titles[i], (0.5, 1), (0, 4), _TITLE, va="baseline")
            if i % grid.columns == 0:
                _draw_label(axes, grid.labels[row])
    _draw_footer(figure, result, grid)
    return figure


def cam_table(result: CamResult) -> list[dict[str, Any]]:
    """The numbers behind the picture, a row for each network and image; None where there is none.

    ``energy_in_box`` is the share of the map's positive activation inside the box, ``box_area`` what a map
    that knows nothing would have.
    """
    rows = []
    area = result.box_area()
    for model, name in enumerate(result.models):
        energy = result.energy_in_box(model)
        for i, label in enumerate(result.labels.tolist()):
            target, predicted = int(result.targets[model, i]), int(result.predictions[model, i])
            known = label >= 0
            box = [None] * 4 if result.boxes is None or result.boxes[i, 0] < 0 else result.boxes[i].tolist()
            rows.append(
                {
                    "model": name,
                    "method": result.methods[model],
                    "layer": result.layers[model],
                    "image": int(result.indices[i]),
                    "file": result.image_names[i] if result.image_names else None,
                    "label": result.class_name(label) if known else None,
                    "target": result.class_name(target),
                    "target_probability": float(result.target_probabilities[model, i]),
                    "prediction": result.class_name(predicted),
                    "prediction_probability": float(result.prediction_probabilities[model, i]),
                    "correct": predicted == label if known else None,
                    **dict(zip(("x0", "y0", "x1", "y1"), box, strict=True)),
                    "box_area": float(area[i]) if np.isfinite(area[i]) else None,
                    "energy_in_box": float(energy[i]) if np.isfinite(energy[i]) else None,
                    "map_is_zero": bool((result.raw_maps(model)[i] <= 0).all()),
                }
            )
    return rows


class _Line(NamedTuple):
    """A line of a row's label."""

    text: str
    size: float
    weight: str


@dataclass(frozen=True)
class _Grid:
    """Where everything stands; inches from the left and the top."""

    columns: int
    cell_width: float
    cell_height: float
    left: float
    width: float
    titles: tuple[str, ...]
    labels: tuple[tuple[_Line, ...], ...]
    footer_lines: int

    @property
    def title_height(self) -> float:
        return (max(title.count("\n") + 1 for title in self.titles) * _TITLE * _LINE + 3) / 72

    @property
    def block_height(self) -> float:
        rows = len(self.labels)
        return (
            self.title_height + rows * (self.cell_height + _GAP) + (rows - 1) * _CAPTION_HEIGHT + _BLOCK_GAP
        )

    @property
    def body_height(self) -> float:
        return math.ceil(len(self.titles) / self.columns) * self.block_height

    @property
    def height(self) -> float:
        return self.body_height + self.footer_lines * _FOOTER_LINE

    def cell(self, image: int, row: int) -> tuple[float, float, float, float]:
        """Left, bottom, width and height of an axes in fractions of the figure."""
        block, column = divmod(image, self.columns)
        left = self.left + column * (self.cell_width + _GAP)
        top = block * self.block_height + self.title_height + row * (self.cell_height + _GAP)
        return self.fractions(
            left, top + max(0, row - 1) * _CAPTION_HEIGHT, self.cell_width, self.cell_height
        )

    def fractions(
        self, left: float, top: float, width: float, height: float
    ) -> tuple[float, float, float, float]:
        return left / self.width, 1 - (top + height) / self.height, width / self.width, height / self.height


def _lay_out(result: CamResult, page: float) -> _Grid:
    n, aspect = len(result.images), result.image_size[0] / result.image_size[1]
    cell = _SMALLEST_CELL
    for _ in range(2):  # longer labels fit beside larger cells, and then leave more room for them
        labels = tuple(_label(result, row, cell * aspect) for row in range(1 + len(result.models)))
        left = max(sum(line.size for line in lines) for lines in labels) * _LINE / 72 + 2 * _MARGIN
        room = page - left - _MARGIN + _GAP
        most = max(1, int(room / (_SMALLEST_CELL + _GAP)))
        # blocks of equal length, and cells no larger than in a full one
        columns = math.ceil(n / math.ceil(n / most))
        cell = min(room / min(n, most) - _GAP, _LARGEST_CELL)
    width = min(page, max(_NARROWEST, left + columns * (cell + _GAP) - _GAP + _MARGIN))
    titles = tuple(wrap_text(_title(result, i), _TITLE, cell, lines=2) for i in range(n))
    footer = measure_text(result.selection, _CAPTION) + measure_text(_BAR_LABEL, _CAPTION) + _BAR_WIDTH + 0.5
    footer_lines = 1 if footer <= width - left - _MARGIN else 2
    return _Grid(columns, cell, cell * aspect, left, width, titles, labels, footer_lines)


def _overlay(maps: np.ndarray, grey: np.ndarray) -> np.ndarray:
    """Maps (..., H, W) in [0, 1] as colours (..., H, W, 3) over grey images."""
    return HEAT * mpl.colormaps[COLORMAP](maps)[..., :3] + (1 - HEAT) * grey[..., None]


def _draw_box(axes: Axes, result: CamResult, image: int) -> None:
    if result.boxes is None or not np.isfinite(result.box_area()[image]):
        return
    x0, y0, x1, y1 = result.boxes[image].tolist()
    # pixel i covers [i − ½, i + ½], and the last pixel belongs to the box
    box = Rectangle(
        (x0 - 0.5, y0 - 0.5), x1 - x0 + 1, y1 - y0 + 1, fill=False, edgecolor="white", linewidth=0.7
    )
    box.set_path_effects([Stroke(linewidth=1.5, foreground="black"), Normal()])
    box.set_clip_on(False)
    axes.add_patch(box)


def _draw_label(axes: Axes, lines: tuple[_Line, ...]) -> None:
    """Rotated, beside the row; the last line is nearest to it."""
    offset = -4.0
    for line in reversed(lines):
        text = _annotate(axes, line.text, (0, 0.5), (offset, 0), line.size, ha="right")
        text.set(rotation=90, weight=line.weight)
        offset -= line.size * _LINE


def _draw_footer(figure: Figure, result: CamResult, grid: _Grid) -> None:
    right = grid.width - _BAR_WIDTH - 0.12
    bar = figure.add_axes(grid.fractions(right, grid.body_height + 0.03, _BAR_WIDTH, _BAR_HEIGHT))
    bar.set_axis_off()
    # the colours as they look over a medium grey
    scale = _overlay(np.linspace(0, 1, 256)[None], np.full((1, 256), 0.5))
    bar.imshow(scale, extent=(0, 1, 0, 1), aspect="auto", rasterized=True)
    _annotate(bar, "0", (0, 0.5), (-4, 0), _CAPTION)
    _annotate(bar, "1", (1, 0.5), (4, 0), _CAPTION)
    _annotate(bar, _BAR_LABEL, (0, 0.5), (-10, 0), _CAPTION, ha="right")
    left, middle, _, _ = grid.fractions(grid.left, grid.height - _FOOTER_LINE + 0.03 + _BAR_HEIGHT / 2, 0, 0)
    rule = fit_text(result.selection, _CAPTION, grid.width - grid.left - _MARGIN)
    figure.text(left, middle, rule, size=_CAPTION, ha="left", va="center")


def _label(result: CamResult, row: int, room: float) -> tuple[_Line, ...]:
    if row == 0:
        return (_Line("image", _LABEL, "bold"),)
    name, _, rest = result.models[row - 1].partition(", ")
    method = result.methods[row - 1]
    lines = [
        _Line(t, _LABEL, "bold")
        for t in wrap_text(method_name(name), _LABEL, room, lines=2 if rest else 3, bold=True).split("\n")
    ]
    if rest:
        lines.append(_Line(fit_text(rest, _CAPTION, room), _CAPTION, "normal"))
    if set(result.methods) != {"cam"}:
        lines.append(_Line(METHOD_NAMES.get(method, method), _CAPTION, "normal"))
    return tuple(lines)


def _title(result: CamResult, image: int) -> str:
    label = int(result.labels[image])
    if label >= 0:
        return _short(result.class_name(label))
    return result.image_names[image] if result.image_names else f"#{result.indices[image]}"


def _caption(result: CamResult, model: int, image: int, width: float) -> str:
    predicted, label = int(result.predictions[model, image]), int(result.labels[image])
    mark = "" if label < 0 else "✓ " if predicted == label else "✗ "
    name = fit_text(_short(result.class_name(predicted)), _CAPTION, width)
    return f"{name}\n{mark}{result.prediction_probabilities[model, image]:.2f}"


def _short(name: str) -> str:
    """The first of several synonyms: WordNet separates them by commas."""
    return name.split(",")[0].replace("_", " ").strip()


def _annotate(
    axes: Axes,
    text: str,
    at: tuple[float, float],
    offset: tuple[float, float],
    size: float,
    *,
    ha: Literal["center", "right"] = "center",
    va: Literal["center", "top", "baseline"] = "center",
) -> Annotation:
    """Write beside an axes: ``at`` in its fractions, plus an offset in points."""
    return axes.annotate(
        text,
        at,
        offset,
        xycoords="axes fraction",
        textcoords="offset points",
        annotation_clip=False,
        size=size,
        ha=ha,
        va=va,
        linespacing=1.0,
    )
