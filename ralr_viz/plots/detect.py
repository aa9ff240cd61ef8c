"""Detections beside the objects that there are: a column an image, a row a network."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import PlaceHolderLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.patheffects import Normal, Stroke

from ralr_viz.errors import InputError
from ralr_viz.plots.cam import overlay_maps
from ralr_viz.plots.cam_layout import short_name
from ralr_viz.plots.fit_text import fit_text, wrap_text, write_beside
from ralr_viz.plots.foot import add_foot
from ralr_viz.plots.letters import LiteralFigure
from ralr_viz.plots.style import legend_name
from ralr_viz.results.cam import normalise_cam
from ralr_viz.results.detect import DetectResult
from ralr_viz.results.origin import name_networks

_LABEL, _CAPTION, _NAME = 8.0, 6.5, 5.0
"""Points: of rows, under pictures, at boxes."""
_LINE = 1.25 / 72  # inches of a line of text per point
_LEFT, _GAP, _BLOCK_GAP, _MARGIN = 0.32, 0.06, 0.1, 0.03
_SMALLEST_CELL, _LARGEST_CELL = 1.45, 2.4
_MOST_NAMED = 8
"""Boxes of a picture that bear their class; of more none can be read."""
_MOST_PICTURES = 400


class Pen(NamedTuple):
    """How a box is drawn: told apart by its line as well as by its colour, which the colour-blind tell apart."""

    color: str
    dashes: Any
    width: float


TRUE, FALSE, MISSED, TRUTH = (
    Pen("#0072B2", "-", 0.9),
    Pen("#D55E00", (0, (3.2, 1.4)), 1.0),
    Pen("#000000", (0, (0.9, 1.1)), 1.2),
    Pen("#000000", "-", 0.8),
)


@dataclass(frozen=True)
class Grid:
    """Where the pictures stand, in inches."""

    columns: int
    cell: float
    high: float
    rows: int
    width: float
    footer: tuple[str, ...]
    images: int

    @property
    def row_height(self) -> float:
        return self.high + _CAPTION * _LINE + _GAP

    @property
    def block_height(self) -> float:
        return self.rows * self.row_height + _CAPTION * _LINE + _BLOCK_GAP

    @property
    def body(self) -> float:
        return math.ceil(self.images / self.columns) * self.block_height

    @property
    def height(self) -> float:
        return self.body + (1.6 + len(self.footer)) * _CAPTION * _LINE

    def place(self, image: int, row: int) -> tuple[float, float, float, float]:
        """Of an axes, in fractions of the figure."""
        block, column = divmod(image, self.columns)
        left = _LEFT + column * (self.cell + _GAP)
        top = block * self.block_height + _CAPTION * _LINE + 0.04 + row * self.row_height
        return (
            left / self.width,
            1 - (top + self.high) / self.height,
            self.cell / self.width,
            self.high / self.height,
        )


def draw_detect(result: DetectResult) -> Figure:
    """Draw the images with their objects above what every network finds in them.

    True detections have solid lines, false ones dashed, objects that are missed dotted; a detection of a difficult
    object is none of these and not drawn. Classes are written in images of at most eight objects, and of false detections
    where these are at most eight.
    Maps are drawn each from its own minimum to its own maximum over the grey image, with the box of their detection.

    Returns:
        A figure of at most the current style's width.

    Raises:
        InputError: More pictures than a figure holds.
    """
    rows: list[tuple[int, bool]] = [(-1, False)]
    for model in range(len(result.models)):
        rows.append((model, False))
        if result.maps is not None:
            rows.append((model, True))
    n = len(result.indices)
    if n * len(rows) > _MOST_PICTURES:
        raise InputError(
            f"{n} images in {len(rows)} rows are {n * len(rows)} pictures, a figure holds at most {_MOST_PICTURES}: "
            "take fewer images (`--count`) or fewer checkpoints"
        )
    grid = _lay_out(result, len(rows))
    engine = PlaceHolderLayoutEngine(adjust_compatible=True, colorbar_gridspec=True)
    figure = LiteralFigure(figsize=(grid.width, grid.height), layout=engine)
    for row, (model, of_maps) in enumerate(rows):
        for image in range(n):
            axes = figure.add_axes(grid.place(image, row))
            axes.set_axis_off()
            if of_maps:
                caption = _draw_map(axes, result, model, image)
            elif model < 0:
                caption = _draw_truth(axes, result, image)
            else:
                caption = _draw_found(axes, result, model, image)
            write_beside(axes, fit_text(caption, _CAPTION, grid.cell), (0.5, 0), (0, -2), _CAPTION, va="top")
            if row == 0:
                write_beside(axes, f"#{result.indices[image]}", (0.5, 1), (0, 3), _CAPTION, va="baseline")
            if image % grid.columns == 0:
                _label(axes, result, model, of_maps, grid.high)
    _draw_footer(figure, grid)
    add_foot(figure, result, detect_note(result), line=False)  # the footer says what was selected
    return figure


def detect_note(result: DetectResult) -> str:
    """What the boxes and the maps mean."""
    sentences = [
        f"{result.selection[:1].upper()}{result.selection[1:]}.",
        "Solid: true detections; dashed: false ones; dotted: objects that are missed; a detection of a difficult object is none of "
        "these and not drawn.",
        "Maps: gradient × activation, each from its own minimum to its own maximum, of the detection whose box is drawn."
        if result.maps is not None
        else "",
        "A few images are an illustration, no measurement.",
    ]
    return " ".join(filter(None, sentences))


def detect_table(result: DetectResult) -> list[dict[str, Any]]:
    """A row for each object, and for each network's detection and missed object, boxes in fractions of the image."""
    rows = [_row(result, "object", "", i) for i in range(len(result.truth_image))]
    for model, name in enumerate(result.models):
        for i in result.found(model).tolist():
            box, label, score = result.detection(i)
            state = "true" if result.found_true[i] else "false"
            found = int(result.found_object[i])
            rows.append(
                _boxed(result, state, name, int(result.found_image[i]), label, box)
                | {"score": score, "object": found if found >= 0 else None}
            )
        rows += [_row(result, "missed", name, i) for i in result.missed(model).tolist()]
        if result.maps is not None and result.mapped is not None:
            energy, area = result.energy_in_box(model), result.box_area(model)
            for image, row in enumerate(result.mapped[model].tolist()):
                if row >= 0:
                    box, label, score = result.detection(row)
                    rows.append(
                        _boxed(result, "map", name, image, label, box)
                        | {
                            "score": score,
                            "energy_in_box": float(energy[image]) if np.isfinite(energy[image]) else None,
                            "box_area": float(area[image]) if np.isfinite(area[image]) else None,
                        }
                    )
    return rows


def _row(result: DetectResult, what: str, model: str, i: int) -> dict[str, Any]:
    image, label = int(result.truth_image[i]), int(result.truth_label[i])
    return _boxed(result, what, model, image, label, result.truth_box[i]) | {
        "object": i,
        "difficult": bool(result.truth_difficult[i]),
    }


def _boxed(
    result: DetectResult, what: str, model: str, image: int, label: int, box: np.ndarray
) -> dict[str, Any]:
    return {
        "what": what,
        "model": model,
        "image": int(result.indices[image]),
        "class": result.class_names[label],
        **dict(zip(("x0", "y0", "x1", "y1"), box.tolist(), strict=True)),
        **dict.fromkeys(("score", "object", "difficult", "energy_in_box", "box_area")),
    }


def _lay_out(result: DetectResult, rows: int) -> Grid:
    page, n = float(mpl.rcParams["figure.figsize"][0]), len(result.indices)
    room = page - _LEFT - _MARGIN + _GAP
    most = max(1, int(room / (_SMALLEST_CELL + _GAP)))
    columns = math.ceil(n / math.ceil(n / most))
    cell = min(room / columns - _GAP, _LARGEST_CELL)
    aspect = float(np.median(result.shapes[:, 0] / result.shapes[:, 1]))
    text = ", ".join(filter(None, (result.selection, name_networks(result))))
    footer = wrap_text(text, _CAPTION, 0.97 * (page - _LEFT - _MARGIN), lines=6)
    return Grid(columns, cell, cell * min(aspect, 1.5), rows, page, tuple(footer.split("\n")), n)


def _show(axes: Axes, picture: np.ndarray) -> None:
    """In fractions of the image, in its own shape."""
    height, width = picture.shape[:2]
    axes.imshow(picture, extent=(0, 1, 1, 0), aspect=height / width, interpolation="antialiased")


def _draw_truth(axes: Axes, result: DetectResult, image: int) -> str:
    _show(axes, result.picture(image))
    rows = np.flatnonzero(result.truth_image == image)
    for i in rows.tolist():
        _draw_box(
            axes, result.truth_box[i], TRUTH._replace(dashes=":") if result.truth_difficult[i] else TRUTH
        )
        if len(rows) <= _MOST_NAMED:
            _name(axes, result, result.truth_box[i], int(result.truth_label[i]), TRUTH)
    return f"{len(rows)} object{'' if len(rows) == 1 else 's'}"


def _draw_found(axes: Axes, result: DetectResult, model: int, image: int) -> str:
    _show(axes, result.picture(image))
    rows, missed = result.found(model, image), result.missed(model, image)
    for i in missed.tolist():
        _draw_box(axes, result.truth_box[i], MISSED)
    true = result.found_true[rows]
    objects = int(
        (result.truth_image == image).sum()
    )  # as in the row above, so that all rows bear names or none
    for kind, pen, named in ((true, TRUE, objects), (~true, FALSE, int((~true).sum()))):
        for i in rows[kind].tolist():
            _draw_box(axes, result.found_box[i], pen)
            if named <= _MOST_NAMED:
                _name(axes, result, result.found_box[i], int(result.found_label[i]), pen)
    return f"{true.sum()} found, {len(missed)} missed, {(~true).sum()} false"


def _draw_map(axes: Axes, result: DetectResult, model: int, image: int) -> str:
    assert result.mapped is not None
    picture, row = result.picture(image), int(result.mapped[model, image])
    grey = picture @ np.array([0.299, 0.587, 0.114]) / 255  # ITU-R BT.601 luma
    size = (int(picture.shape[0]), int(picture.shape[1]))
    _show(axes, overlay_maps(normalise_cam(result.raw_maps(model)[[image]], size)[0], grey))
    if row < 0:
        return "nothing found"
    box, label, score = result.detection(row)
    _draw_box(axes, box, (TRUE if result.found_true[row] else FALSE)._replace(color="white"), halo="black")
    energy, area = result.energy_in_box(model)[image], result.box_area(model)[image]
    inside = "" if np.isnan(area) else f": {100 * energy:.0f} % in box ({100 * area:.0f} %)"
    return f"{short_name(result.class_names[label])} {score:.2f}{inside}"


def _draw_box(axes: Axes, box: np.ndarray, pen: Pen, *, halo: str = "white") -> None:
    x0, y0, x1, y1 = np.clip(box, 0, 1).tolist()
    patch = Rectangle(
        (x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor=pen.color, linewidth=pen.width, linestyle=pen.dashes
    )
    patch.set_path_effects([Stroke(linewidth=pen.width + 0.9, foreground=halo, alpha=0.75), Normal()])
    patch.set_clip_on(False)
    axes.add_patch(patch)


def _name(axes: Axes, result: DetectResult, box: np.ndarray, label: int, pen: Pen) -> None:
    """Inside the box's upper left corner; literal, whatever the class is called."""
    name = fit_text(short_name(result.class_names[label]), _NAME, 0.7)
    x0, y0 = np.clip(box[:2], 0, 0.97).tolist()
    text = axes.annotate(
        name,
        (x0, y0),
        (1.2, -1.2),
        textcoords="offset points",
        size=_NAME,
        color=pen.color,
        ha="left",
        va="top",
    )
    text.set_path_effects([Stroke(linewidth=1.2, foreground="white"), Normal()])


def _label(axes: Axes, result: DetectResult, model: int, of_maps: bool, room: float) -> None:
    """Rotated, beside the row: the network, and smaller what tells it from others of its name."""
    name, _, rest = ("objects", "", "") if model < 0 else result.models[model].partition(", ")
    lines = [(rest, _CAPTION, "normal")] if rest else []
    lines.append(("map" if of_maps else legend_name(name), _LABEL, "bold"))
    offset = -4.0
    for words, size, weight in lines:
        fitting = fit_text(words, size, room, bold=weight == "bold")
        text = write_beside(axes, fitting, (0, 0.5), (offset, 0), size, ha="right")
        text.set(rotation=90, weight=weight)
        offset -= size * 1.25


def _draw_footer(figure: Figure, grid: Grid) -> None:
    handles = [
        Line2D([], [], color=pen.color, ls=pen.dashes, lw=pen.width + 0.3, label=label)
        for pen, label in (
            (TRUE, "found, true"),
            (FALSE, "found, false"),
            (MISSED, "missed"),
            (TRUTH, "object"),
        )
    ]
    figure.legend(
        handles=handles, loc="upper left", bbox_to_anchor=(_LEFT / grid.width, 1 - grid.body / grid.height), ncols=4,
        fontsize=_CAPTION, borderpad=0, borderaxespad=0, handlelength=3,
    )  # fmt: skip
    for number, line in enumerate(grid.footer):
        top = grid.body + (1.4 + number) * _CAPTION * _LINE
        figure.text(_LEFT / grid.width, 1 - top / grid.height, line, size=_CAPTION, ha="left", va="top")
