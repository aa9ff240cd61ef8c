"""Text that keeps to its place: measured in the current style's font, broken and cut to a width."""

from __future__ import annotations

import re
from typing import Literal

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.font_manager import FontProperties
from matplotlib.text import Annotation

from ralr_viz.foreign import one_line
from ralr_viz.plots.letters import letter, quiet_fonts

_DPI = 720  # so fine that hinting does not matter


def measure_text(text: str, size: float, *, bold: bool = False) -> float:
    """Width in inches of one line of ``size`` points."""
    weight = "bold" if bold else "normal"
    lettering = letter(one_line(text, None), mpl.rcParams["font.family"], weight)
    font = FontProperties(family=list(lettering.families), size=size, weight=weight)
    with quiet_fonts():
        renderer = RendererAgg(1, 1, _DPI)
        return renderer.get_text_width_height_descent(lettering.text, font, ismath=False)[0] / _DPI


def fit_text(text: str, size: float, width: float, *, bold: bool = False) -> str:
    """The text, cut with an ellipsis where it is wider than ``width`` inches."""
    text = one_line(text, None)
    if measure_text(text, size, bold=bold) <= width:
        return text
    while text and measure_text(text + "…", size, bold=bold) > width:
        text = text[:-1]
    return text.rstrip() + "…"


def wrap_text(text: str, size: float, width: float, *, lines: int, bold: bool = False) -> str:
    """At most ``lines`` lines of at most ``width`` inches, broken after spaces, hyphens and underscores.

    What does not fit is cut with an ellipsis.
    """
    pieces = re.findall(r"[^\s_-]*[\s_-]+|[^\s_-]+$", one_line(text, None))
    done: list[str] = []
    for piece in pieces:
        fits = done and measure_text((done[-1] + piece).rstrip(), size, bold=bold) <= width
        if fits or len(done) == lines:
            done[-1] += piece
        else:
            done.append(piece)
    return "\n".join(fit_text(line.rstrip(), size, width, bold=bold) for line in done)


def break_axis_name(name: str, room: float) -> str:
    """The name of an axis, in two lines where it is longer than ``room`` inches: it would run into what is beside."""
    size = FontProperties(size=mpl.rcParams["axes.labelsize"]).get_size_in_points()
    return wrap_text(name, size, room, lines=2)


def write_beside(
    axes: Axes,
    text: str,
    at: tuple[float, float],
    offset: tuple[float, float],
    size: float,
    *,
    ha: Literal["left", "center", "right"] = "center",
    va: Literal["center", "top", "baseline"] = "center",
    linespacing: float | None = 1.0,
) -> Annotation:
    """Write ``size`` points beside an axes: ``at`` in its fractions, plus an offset in points."""
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
        linespacing=linespacing,
    )
