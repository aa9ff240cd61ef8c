"""The foot of a figure: one small line that says what it is of, or the whole caption where the style asks for it.

The caption belongs beside a figure, where a journal sets it: `save_figure` writes it there and into the metadata.
"""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from ralr_viz.foreign import one_line
from ralr_viz.plots.fit_text import wrap_text
from ralr_viz.plots.letters import LiteralFigure
from ralr_viz.plots.style import shows_captions
from ralr_viz.results.bundle import Result
from ralr_viz.results.origin import describe_origin

NOTE_SIZE = 6.5
"""Points."""
_LINE = NOTE_SIZE * 1.4 / 72  # inches
_ABOVE, _MARGIN = 0.04, 0.05  # inches
_MOST_LINES = 99


def add_foot(figure: Figure, result: Result, words: str, *, line: bool = True) -> None:
    """Give a figure its caption, and make room below everything that it has for the line that stays in the picture.

    Args:
        figure: What was drawn; of constrained layout, or with all its axes in place.
        result: What it was drawn from.
        words: What the marks mean and what a methods section needs.
        line: Whether the picture gets the line; one that says it already does not.
    """
    origin = describe_origin(result)
    caption = one_line(". ".join(part.rstrip(". ") for part in (origin, words) if part) + ".", None)
    if isinstance(figure, LiteralFigure):
        figure.caption = caption
        figure.origin = one_line(origin, None)
    width = figure.get_figwidth()
    shown = caption if shows_captions() else origin if line else ""
    if not shown:
        return
    # hinting makes some letters wider on screen
    wrapped = wrap_text(shown, NOTE_SIZE, 0.97 * (width - 2 * _MARGIN), lines=_MOST_LINES)
    foot = (wrapped.count("\n") + 1) * _LINE + 2 * _ABOVE
    _raise(figure, foot)
    height = figure.get_figheight()
    figure.text(
        _MARGIN / width, (foot - _ABOVE) / height, wrapped, size=NOTE_SIZE, va="top", linespacing=1.15, gid="note"
    )  # fmt: skip


def _raise(figure: Figure, foot: float) -> None:
    """Make the figure taller by so many inches at its foot."""
    before = figure.get_figheight()
    height = before + foot
    anchors = [
        legend.get_bbox_to_anchor().transformed(figure.transFigure.inverted()).bounds
        for legend in figure.legends
    ]
    figure.set_figheight(height)
    engine = figure.get_layout_engine()
    if isinstance(engine, ConstrainedLayoutEngine):
        engine.set(rect=(0, foot / height, 1, 1 - foot / height))
        return
    for axes in figure.axes:
        x, y, wide, high = axes.get_position(original=True).bounds
        axes.set_position((x, (y * before + foot) / height, wide, high * before / height))
    for text in figure.texts:
        x, y = text.get_position()
        text.set_position((x, (y * before + foot) / height))
    for legend, (x, y, wide, high) in zip(figure.legends, anchors, strict=True):
        place = (x, (y * before + foot) / height, wide, high * before / height)
        legend.set_bbox_to_anchor(place, figure.transFigure)
