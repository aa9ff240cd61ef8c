"""A figure whose note stands below its panels."""

from __future__ import annotations

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from ralr_viz.plots.fit_text import wrap_text
from ralr_viz.plots.style import new_figure

_NOTE = 6.5  # points
_LINE = _NOTE * 1.4 / 72  # inches


def figure_with_foot(height: float, note: str) -> Figure:
    """A new figure of the style's width: so many inches for panels and what is above them, then the note, wrapped."""
    width = mpl.rcParams["figure.figsize"][0]
    wrapped = wrap_text(note, _NOTE, 0.97 * (width - 0.1), lines=99)
    foot = (wrapped.count("\n") + 1) * _LINE + 0.08
    figure = new_figure(height + foot)
    whole = figure.get_figheight()
    engine = figure.get_layout_engine()
    assert isinstance(engine, ConstrainedLayoutEngine)
    engine.set(rect=(0, foot / whole, 1, 1 - foot / whole))
    figure.text(
        0.05 / width, (foot - 0.04) / whole, wrapped, size=_NOTE, va="top", linespacing=1.15, gid="note"
    )  # fmt: skip
    return figure
