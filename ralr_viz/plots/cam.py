"""Class activation maps as the paper's Figure 3 shows them: a column an image, a row a network."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import PlaceHolderLayoutEngine
from matplotlib.patches import Rectangle
from matplotlib.patheffects import Normal, Stroke

from ralr_viz.plots import cam_layout as layout
from ralr_viz.plots.cam_layout import Bar, Grid, Line, Row, lay_out, short_name
from ralr_viz.plots.fit_text import fit_text, measure_text, write_beside
from ralr_viz.plots.foot import add_foot
from ralr_viz.plots.letters import LiteralFigure
from ralr_viz.plots.style import GREY
from ralr_viz.results.box_metrics import clip_boxes
from ralr_viz.results.cam import CamResult

COLORMAP = "inferno"  # perceptually uniform, and readable without colour
DIFFERENCE_COLORMAP = "RdBu_r"  # told apart by the colour-blind; white where nothing changed
HEAT = 0.6
"""Opacity of the map over the grey image."""
_PIXELATED = 64
"""Longest side in pixels of images whose pixels are shown as squares."""
_INSIDE_SCALE = 99.0
"""Per cent of the pixels whose differences the colours tell apart."""


def draw_cam(result: CamResult) -> Figure:
    """Draw the images, with their boxes, above the maps of every network.

    Under each map stand the predicted class, whether it is right (✓ or ✗, where the truth is known) and its
    probability. Colours run from each map's own minimum to its own maximum: they compare places within a map.
    Where the result asks for differences, rows of them follow, all on one scale that is symmetric about zero;
    under each stands how much of the mass moved, and by how much the share inside the box changed.
    Where the images do not fit the width of the page, further blocks continue them.

    Args:
        result: Of any number of networks and images.

    Returns:
        A figure of at most the current style's width.

    Raises:
        InputError: More pictures than a figure holds, see `cam_layout.check_pictures`.
    """
    layout.check_pictures(len(result.images), len(result.models), difference=result.difference)
    rows = layout.list_rows(result)
    differences = {row.model: result.difference_maps(row.model) for row in rows if row.difference}
    limit, clipped = _limit(list(differences.values()))
    grid = lay_out(result, mpl.rcParams["figure.figsize"][0], _bars(limit, clipped, bool(differences)))
    # every place is given here; without an engine of its own, saving would bring back the style's
    engine = PlaceHolderLayoutEngine(adjust_compatible=True, colorbar_gridspec=True)
    figure = LiteralFigure(figsize=(grid.width, grid.height), layout=engine)
    # pixels of small images are shown as they are; larger ones have more than print has, which would leave some out
    smoothing = "nearest" if max(result.image_size) <= _PIXELATED else "antialiased"
    grey = result.images @ np.array([0.299, 0.587, 0.114]) / 255  # ITU-R BT.601 luma
    for number, row in enumerate(rows):
        if row.difference:
            pictures = _diverge(differences[row.model], limit)
        else:
            pictures = result.images if row.model < 0 else overlay_maps(result.display_maps(row.model), grey)
        captions = _captions(result, row, grid.cell_width)
        for i, picture in enumerate(pictures):
            axes = figure.add_axes(grid.cell(i, number))
            axes.imshow(picture, interpolation=smoothing)
            _frame(axes, row)
            _draw_box(axes, result, i, dark=row.difference)
            if row.model < 0:
                write_beside(axes, grid.titles[i], (0.5, 1), (0, 4), layout.TITLE, va="baseline")
            else:
                write_beside(axes, captions[i], (0.5, 0), (0, -2), layout.CAPTION, va="top")
            if i % grid.columns == 0:
                _draw_label(axes, grid.labels[number])
    _draw_footer(figure, grid)
    add_foot(figure, result, cam_note(result), line=False)  # the footer says what was selected
    return figure


def cam_note(result: CamResult) -> str:
    """What the maps and the words under them mean."""
    sizes = " or ".join(dict.fromkeys(f"{high} × {wide}" for high, wide in result.map_sizes))
    known = bool((result.labels >= 0).any())
    sentences = [
        f"{result.selection[:1].upper()}{result.selection[1:]}.",
        f"Maps of {sizes} positions, interpolated to the image; colours run from each map's own minimum to its own maximum, so "
        "they compare places within a map, not maps.",
        f"Under each: the predicted class{', whether it is right (✓ or ✗)' if known else ''} and its probability.",
        "Boxes are the data set's." if result.boxes is not None else "",
        "Differences: each map is divided by its sum; red: more than in the first network, blue: less; under each, the share of "
        "the mass that moved and the change of the share inside the box."
        if result.difference
        else "",
        *(f"{note.rstrip('.')}." for note in result.notes),
        "A few images are an illustration, no measurement.",
    ]
    return " ".join(filter(None, sentences))


def cam_table(result: CamResult) -> list[dict[str, Any]]:
    """The numbers behind the picture, a row for each network and image; None where there is none.

    ``energy_in_box`` is the share of the map's positive activation inside the box, ``rank_accuracy`` the
    share of its highest pixels, as many as the box has. ``box_area`` is what a map that knows nothing has of
    both, the columns with ``centre`` what a Gaussian in the middle of the image has. ``moved_from_first`` is
    the share of the mass by which the map differs from the first network's.
    """
    rows = []
    boxes = {
        "box_area": result.box_area(),
        "centre_energy_in_box": result.centre_energy_in_box(),
        "centre_rank_accuracy": result.centre_rank_accuracy(),
    }
    for model, name in enumerate(result.models):
        numbers = boxes | {
            "energy_in_box": result.energy_in_box(model),
            "rank_accuracy": result.rank_accuracy(model),
            "moved_from_first": result.moved_mass(model) if model else np.full(len(result.images), np.nan),
        }
        for i, label in enumerate(result.labels.tolist()):
            target, predicted = int(result.targets[model, i]), int(result.predictions[model, i])
            known = label >= 0
            box = (
                [None] * 4
                if result.boxes is None or (result.boxes[i] == -1).all()
                else result.boxes[i].tolist()
            )
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
                    **{
                        column: float(values[i]) if np.isfinite(values[i]) else None
                        for column, values in numbers.items()
                    },
                    "map_is_zero": bool((result.raw_maps(model)[i] <= 0).all()),
                }
            )
    return rows


def _limit(differences: list[np.ndarray]) -> tuple[float, bool]:
    """End of the differences' scale, and whether some pixels lie beyond it.

    One map of a few hot pixels would take the colour from all others, so a hundredth of the pixels may.
    """
    sizes = np.abs(differences) if differences else np.zeros(1)
    limit = float(np.percentile(sizes, _INSIDE_SCALE)) or float(sizes.max())
    return limit, bool(sizes.max() > limit)


def _bars(limit: float, clipped: bool, differences: bool) -> tuple[Bar, ...]:
    bars = [Bar("class activation (per-image min–max)", "0", "1")]
    if differences:
        low, high = ("≤ ", "≥ ") if clipped else ("", "")
        end = f"{100 * limit:.2g}"
        bars.append(Bar("difference of maps (% of mass per pixel)", f"{low}−{end}", f"{high}+{end}"))
    return tuple(bars)


def overlay_maps(maps: np.ndarray, grey: np.ndarray) -> np.ndarray:
    """Maps (..., H, W) in [0, 1] as colours (..., H, W, 3) over grey images."""
    return HEAT * mpl.colormaps[COLORMAP](maps)[..., :3] + (1 - HEAT) * grey[..., None]


def _diverge(differences: np.ndarray, limit: float) -> np.ndarray:
    """Differences (..., H, W) as colours (..., H, W, 3): white at zero, one colour beyond ±limit."""
    return mpl.colormaps[DIFFERENCE_COLORMAP](0.5 + differences / (2 * limit or 1))[..., :3]


def _frame(axes: Axes, row: Row) -> None:
    """A hairline around differences, which are white at the border; nothing else around the others."""
    if not row.difference:
        axes.set_axis_off()
        return
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set(visible=True, color=GREY, linewidth=0.4)


def _draw_box(axes: Axes, result: CamResult, image: int, *, dark: bool) -> None:
    if result.boxes is None or not np.isfinite(result.box_area()[image]):
        return
    x0, y0, x1, y1 = clip_boxes(result.boxes[[image]], result.image_size)[0].tolist()
    line, halo = ("black", "white") if dark else ("white", "black")
    # pixel i covers [i − ½, i + ½], and the last pixel belongs to the box
    box = Rectangle((x0 - 0.5, y0 - 0.5), x1 - x0 + 1, y1 - y0 + 1, fill=False, edgecolor=line, linewidth=0.7)
    box.set_path_effects([Stroke(linewidth=1.5, foreground=halo), Normal()])
    box.set_clip_on(False)
    axes.add_patch(box)


def _draw_label(axes: Axes, lines: tuple[Line, ...]) -> None:
    """Rotated, beside the row; the last line is nearest to it."""
    offset = -4.0
    for line in reversed(lines):
        text = write_beside(axes, line.text, (0, 0.5), (offset, 0), line.size, ha="right")
        text.set(rotation=90, weight=line.weight)
        offset -= line.size * layout.LINE


def _draw_footer(figure: Figure, grid: Grid) -> None:
    footer, end, size = grid.footer, layout.END_GAP, layout.CAPTION
    for number, bar in enumerate(footer.bars):
        right = grid.width - layout.MARGIN - measure_text(bar.high, size) - end
        top = grid.body_height + number * layout.FOOTER_LINE + 0.03
        place = grid.fractions(right - footer.bar_width, top, footer.bar_width, layout.BAR_HEIGHT)
        axes = figure.add_axes(place)
        axes.set_axis_off()
        scale = np.linspace(0, 1, 256)[None]
        # the colours of the maps as they look over a medium grey
        colours = _diverge(scale - 0.5, 0.5) if number else overlay_maps(scale, np.full((1, 256), 0.5))
        axes.imshow(colours, extent=(0, 1, 0, 1), aspect="auto", rasterized=True)
        write_beside(axes, bar.low, (0, 0.5), (-72 * end, 0), size, ha="right")
        write_beside(axes, bar.high, (1, 0.5), (72 * end, 0), size, ha="left")
        offset = end + measure_text(bar.low, size) + layout.LABEL_GAP
        write_beside(axes, bar.label, (0, 0.5), (-72 * offset, 0), size, ha="right")
    first = 0 if footer.beside else len(footer.bars)
    for number, line in enumerate(footer.rule, first):
        top = grid.body_height + number * layout.FOOTER_LINE + 0.03 + layout.BAR_HEIGHT / 2
        left, middle, _, _ = grid.fractions(grid.left, top, 0, 0)
        figure.text(left, middle, line, size=size, ha="left", va="center")


def _captions(result: CamResult, row: Row, width: float) -> list[str]:
    """The words under each picture of a row."""
    if row.model < 0:
        return [""] * len(result.images)
    if row.difference:
        change = result.energy_in_box(row.model) - result.energy_in_box(0)
        return [
            f"{100 * moved:.0f} % moved" + ("" if np.isnan(inside) else f"\n{_points(inside)} % in box")
            for moved, inside in zip(result.moved_mass(row.model), change, strict=True)
        ]
    return [_caption(result, row.model, i, width) for i in range(len(result.images))]


def _points(share: float) -> str:
    """Percentage points with a sign; 0 has none."""
    return f"{round(100 * share):+d}".replace("-", "−").replace("+0", "0")


def _caption(result: CamResult, model: int, image: int, width: float) -> str:
    predicted, label = int(result.predictions[model, image]), int(result.labels[image])
    mark = "" if label < 0 else "✓ " if predicted == label else "✗ "
    name = fit_text(short_name(result.class_name(predicted)), layout.CAPTION, width)
    return f"{name}\n{mark}{result.prediction_probabilities[model, image]:.2f}"
