"""Where the images, maps and words of the class activation figure stand."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ralr_viz.errors import InputError
from ralr_viz.nouns.cam import METHOD_NAMES
from ralr_viz.plots.fit_text import fit_text, measure_text, wrap_text
from ralr_viz.plots.style import legend_name
from ralr_viz.results.cam import CamResult, distinct_parts
from ralr_viz.results.origin import name_networks

# points
LABEL, TITLE, CAPTION = 8.0, 7.0, 6.5
LINE = 1.25  # height of a line of text over its size

# inches
MARGIN, FOOTER_LINE, BAR_HEIGHT = 0.03, 0.16, 0.08
END_GAP, LABEL_GAP = 4 / 72, 6 / 72  # between a bar and the numbers at its ends, between these and its label
_GAP, _BLOCK_GAP = 0.05, 0.08
_SMALLEST_CELL, _LARGEST_CELL = 0.7, 1.1
_SMALLEST_ALONE = 0.59  # where that saves a second block: eight images on the narrowest page
_NARROWEST = 3.25  # one column of a page, which holds the colour bars
_LONGEST_BAR, _SHORTEST_BAR = 1.0, 0.4
MOST_PICTURES = 1000
"""Images and maps of one figure, whose PDF then takes about a gigabyte of memory."""
_SLACK = 0.97  # hinting makes long lines wider on coarse screens than they are in print


class Row(NamedTuple):
    """A row of pictures: the images (model −1), a model's maps, or their difference from the first model's."""

    model: int = -1
    difference: bool = False


class Line(NamedTuple):
    """A line of a row's label."""

    text: str
    size: float
    weight: str


class Bar(NamedTuple):
    """A colour bar: its label and the numbers at its ends."""

    label: str
    low: str
    high: str

    def width(self, bar: float) -> float:
        """Inches of its line of the footer."""
        words = sum(measure_text(text, CAPTION) for text in self)
        return words + bar + 2 * END_GAP + LABEL_GAP


@dataclass(frozen=True)
class Footer:
    """Colour bars at the right, one a line, and the rule of selection beside or below them."""

    bars: tuple[Bar, ...]
    bar_width: float
    rule: tuple[str, ...]
    beside: bool

    @property
    def lines(self) -> int:
        return len(self.bars) if self.beside else len(self.bars) + len(self.rule)


@dataclass(frozen=True)
class Grid:
    """Where everything stands; inches from the left and the top."""

    rows: tuple[Row, ...]
    columns: int
    cell_width: float
    cell_height: float
    left: float
    width: float
    titles: tuple[str, ...]
    labels: tuple[tuple[Line, ...], ...]
    caption_lines: tuple[int, ...]
    footer: Footer

    @property
    def title_height(self) -> float:
        return (max(title.count("\n") + 1 for title in self.titles) * TITLE * LINE + 3) / 72

    @property
    def block_height(self) -> float:
        return self._top(len(self.rows)) + _BLOCK_GAP

    @property
    def body_height(self) -> float:
        return math.ceil(len(self.titles) / self.columns) * self.block_height

    @property
    def height(self) -> float:
        return self.body_height + self.footer.lines * FOOTER_LINE

    def cell(self, image: int, row: int) -> tuple[float, float, float, float]:
        """Left, bottom, width and height of an axes in fractions of the figure."""
        block, column = divmod(image, self.columns)
        left = self.left + column * (self.cell_width + _GAP)
        top = block * self.block_height + self._top(row)
        return self.fractions(left, top, self.cell_width, self.cell_height)

    def fractions(
        self, left: float, top: float, width: float, height: float
    ) -> tuple[float, float, float, float]:
        return left / self.width, 1 - (top + height) / self.height, width / self.width, height / self.height

    def _top(self, row: int) -> float:
        words = sum(self.caption_lines[:row]) * CAPTION * LINE / 72
        return self.title_height + row * (self.cell_height + _GAP) + words


def lay_out(result: CamResult, page: float, bars: tuple[Bar, ...]) -> Grid:
    """The grid of a result on a page of so many inches, with the figure's colour bars."""
    rows = list_rows(result)
    n, aspect = len(result.images), result.image_size[0] / result.image_size[1]
    cell = _SMALLEST_CELL
    for _ in range(2):  # longer labels fit beside larger cells, and then leave more room for them
        labels = tuple(_label(result, row, cell * aspect) for row in rows)
        left = max(sum(line.size for line in lines) for lines in labels) * LINE / 72 + 2 * MARGIN
        room = page - left - MARGIN + _GAP
        most = max(1, int(room / (_SMALLEST_CELL + _GAP)))
        if n <= int(room / (_SMALLEST_ALONE + _GAP)):
            most = max(most, n)
        # blocks of equal length, and cells no larger than in a full one
        columns = math.ceil(n / math.ceil(n / most))
        cell = min(room / min(n, most) - _GAP, _LARGEST_CELL)
    width = min(page, max(_NARROWEST, left + columns * (cell + _GAP) - _GAP + MARGIN))
    titles = tuple(wrap_text(_title(result, i), TITLE, cell, lines=2) for i in range(n))
    boxed = bool(np.isfinite(result.box_area()).any())
    caption_lines = tuple(0 if row.model < 0 else 1 if row.difference and not boxed else 2 for row in rows)
    selection = ", ".join(filter(None, (result.selection, name_networks(result))))
    footer = _lay_out_footer(selection, bars, width - left - MARGIN)
    return Grid(rows, columns, cell, cell * aspect, left, width, titles, labels, caption_lines, footer)


def check_pictures(images: int, models: int, *, difference: bool) -> None:
    """Refuse more pictures than a figure holds.

    Raises:
        InputError: The images, the maps of all networks and their differences are more than `MOST_PICTURES`.
    """
    rows = 1 + models + (models - 1) * difference
    if images * rows > MOST_PICTURES:
        raise InputError(
            f"{images} images in {rows} rows are {images * rows:,} pictures, a figure holds at most {MOST_PICTURES:,}: "
            "take fewer images (`--count`) or fewer checkpoints"
        )


def list_rows(result: CamResult) -> tuple[Row, ...]:
    """The images, each model's maps, and where the result asks for them the differences."""
    models = range(len(result.models))
    return (
        Row(),
        *(Row(model) for model in models),
        *(Row(model, True) for model in models[1:] if result.difference),
    )


def short_name(name: str) -> str:
    """The first of several synonyms: WordNet separates them by commas."""
    return name.split(",")[0].replace("_", " ").strip()


def _lay_out_footer(selection: str, bars: tuple[Bar, ...], room: float) -> Footer:
    bar_width = max(_SHORTEST_BAR, min(_LONGEST_BAR, *(room - bar.width(0) for bar in bars)))
    beside = room - max(bar.width(bar_width) for bar in bars) - 2 * LABEL_GAP
    for width, most in ((beside, len(bars)), (_SLACK * room, len(selection))):
        rule = wrap_text(selection, CAPTION, width, lines=len(selection)).split("\n")
        if len(rule) <= most and "…" not in "".join(rule):
            break
    return Footer(bars, bar_width, tuple(rule), width == beside)


def _label(result: CamResult, row: Row, room: float) -> tuple[Line, ...]:
    if row.model < 0:
        return (Line("image", LABEL, "bold"),)
    if row.difference:
        first, second = (legend_name(n) for n in distinct_parts(result.models[0], result.models[row.model]))
        whole = f"{second} − {first}"
        fits = measure_text(whole, LABEL, bold=True) <= room
        parts = (whole,) if fits else (second, f"− {first}")
        return tuple(Line(fit_text(part, LABEL, room, bold=True), LABEL, "bold") for part in parts)
    name, _, rest = result.models[row.model].partition(", ")
    lines = [
        Line(t, LABEL, "bold")
        for t in wrap_text(legend_name(name), LABEL, room, lines=2 if rest else 3, bold=True).split("\n")
    ]
    if rest:
        lines.append(Line(fit_text(rest, CAPTION, room), CAPTION, "normal"))
    if set(result.methods) != {"cam"}:
        method = result.methods[row.model]
        lines.append(Line(METHOD_NAMES.get(method, method), CAPTION, "normal"))
    return tuple(lines)


def _title(result: CamResult, image: int) -> str:
    label = int(result.labels[image])
    if label >= 0:
        return short_name(result.class_name(label))
    return result.image_names[image] if result.image_names else f"#{result.indices[image]}"
