"""Names drawn as they are: no formula is read in them, and letters that the style lacks come from other fonts.

Results keep names raw, and anything may be a name: ``$x$`` of a class, a file that is not UTF-8, 猫. `LiteralFigure` looks
at all its texts when it is drawn, so that no ``draw_`` function has to escape.
"""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Container, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backend_bases import RendererBase
from matplotlib.font_manager import FontProperties, fontManager, get_font
from matplotlib.text import Text
from matplotlib.ticker import Formatter, LogFormatter, NullFormatter, ScalarFormatter

from ralr_viz.foreign import one_line
from ralr_viz.plots.notebook import ShownFigure

FORMULA = "formula"
"""The gid of a text in which matplotlib shall read formulas; numbers of an axis are such without it."""
_BOX = "□"
"""What stands for a letter that no font has; DejaVu Sans, which comes with matplotlib, has it."""
# Boxes or specimens for every letter, and sets of symbols under the codes of Latin letters.
_NO_LETTERS = ("Last Resort", "LastResort", "Adobe Blank", "cm", "STIXSize", "STIXNonUnicode")
_NUMBERS = (ScalarFormatter, LogFormatter, NullFormatter)


class Lettering(NamedTuple):
    """Text that can be drawn, the font families that have its letters, and the letters that none has."""

    text: str
    families: tuple[str, ...]
    missing: frozenset[str]


class LiteralFigure(ShownFigure):
    """A figure that draws its texts literally, except those whose gid is `FORMULA` and the numbers of axes.

    Attributes:
        missing_letters: Those that no installed font has, known once it was drawn.
        caption: What a methods section needs to know of it, on one line; empty where it was not given.
        origin: Of the caption, the part that says what the figure is of.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.missing_letters: frozenset[str] = frozenset()
        self.caption = ""
        self.origin = ""

    def draw(self, renderer: RendererBase) -> None:
        """Draw the figure, its texts as they are."""
        self.missing_letters |= _write_literally(self)
        with quiet_fonts():
            super().draw(renderer)


@contextlib.contextmanager
def quiet_fonts() -> Iterator[None]:
    """Keep matplotlib from logging that a font of last resort comes in another weight than was asked for."""
    logger = logging.getLogger("matplotlib.font_manager")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def escape_labels(axes: Axes) -> None:
    """Let a legend that the caller makes of these axes, in a figure of their own, read no formula in a name."""
    for artist in axes.get_children():
        label = one_line(artist.get_label(), None)
        if "$" in label:
            artist.set_label(label.replace("$", r"\$"))


def letter(text: str, families: Iterable[str], weight: Any = "normal", style: Any = "normal") -> Lettering:
    """How a text is drawn in these families, and in which others where these lack its letters.

    Args:
        text: Of any number of lines.
        families: Names of fonts, of which the first that has a letter draws it.
        weight: As matplotlib takes it.
        style: normal, italic or oblique.
    """
    text = "\n".join(one_line(line, None) for line in text.split("\n"))
    families = tuple(families)
    if text.isascii():
        return Lettering(text, families, frozenset())
    lacking = frozenset(c for c in text if not c.isascii() and not _has(families, weight, style, c))
    if not lacking:
        return Lettering(text, families, frozenset())
    more, missing = _other_families(lacking)
    if missing:
        text = "".join(_BOX if c in missing else c for c in text)
        more = (*more, "DejaVu Sans")
    return Lettering(text, tuple(dict.fromkeys((*families, *more))), missing)


class _Names(Formatter):
    """The names of another formatter, as they can be drawn in these families."""

    def __init__(self, names: Formatter, families: Sequence[str]) -> None:
        self.names = names
        self._families = families

    def __call__(self, x: float, pos: int | None = None) -> str:
        return letter(self.names(x, pos), self._families).text

    def set_axis(self, axis: Any) -> None:
        super().set_axis(axis)
        self.names.set_axis(axis)

    def set_locs(self, locs: Any) -> None:
        self.names.set_locs(locs)


def _write_literally(root: Artist) -> frozenset[str]:
    """Make all texts below an artist literal; return the letters that no font has."""
    missing: frozenset[str] = frozenset()
    on_axes: set[Text] = set()
    for axis in root.findobj(Axis):
        ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
        on_axes |= {label for tick in ticks for label in (tick.label1, tick.label2)} | {axis.offsetText}
        missing |= _write_tick_labels(axis)
    for text in root.findobj(Text):
        if text not in on_axes and text.get_gid() != FORMULA:
            found = _letter_as(text, text.get_text())
            text.set_text(found.text)
            missing |= found.missing
    return missing


def _write_tick_labels(axis: Axis) -> frozenset[str]:
    """The same for the names at an axis, which it writes anew whenever it is drawn; numbers stay formulas."""
    ticks, formatter = axis.get_major_ticks(), axis.get_major_formatter()
    if not ticks or ticks[0].label1.get_gid() == FORMULA or isinstance(formatter, _NUMBERS):
        return frozenset()
    if not isinstance(formatter, _Names):
        formatter = _Names(formatter, ticks[0].label1.get_fontfamily())
        axis.set_major_formatter(formatter)
    names = "\n".join(formatter.names.format_ticks(axis.get_majorticklocs().tolist()))
    labels = [label for tick in ticks for label in (tick.label1, tick.label2)]
    return frozenset().union(*(_letter_as(label, names).missing for label in labels))


def _letter_as(label: Text, words: str) -> Lettering:
    """Make a text literal and give it the fonts that these words need."""
    label.set_parse_math(False)
    families = label.get_fontfamily()
    found = letter(words, families, label.get_fontweight(), label.get_fontstyle())
    if found.families != tuple(families):
        label.set_fontfamily(list(found.families))
    return found


def _has(families: Sequence[str], weight: Any, style: Any, character: str) -> bool:
    return any(ord(character) in _characters(family, weight, style) for family in families)


@functools.cache
def _characters(family: str, weight: Any = "normal", style: Any = "normal") -> Container[int]:
    """Code points that a family has letters for; none where it is not installed."""
    try:
        font = FontProperties(family=[family], weight=weight, style=style)
        with quiet_fonts():
            path = fontManager.findfont(font, fallback_to_default=False)
        return get_font(path).get_charmap().keys()
    except (ValueError, OSError, RuntimeError):  # not installed, or since removed
        return ()


@functools.cache
def _other_families(letters: frozenset[str]) -> tuple[tuple[str, ...], frozenset[str]]:
    """Installed families that have these letters, as few as it takes, and the letters that none has."""
    # TrueType first: matplotlib embeds other outlines in a way that not all readers of PDF like
    plain = {font.name: not font.fname.lower().endswith(".ttf") for font in fontManager.ttflist}
    names = [name for name in plain if not name.startswith(_NO_LETTERS)]
    names.sort(key=lambda name: ("Mono" in name, plain[name], not name.endswith("SC"), name))
    chosen: list[str] = []
    left = set(letters)
    while left:
        best = max(names, key=lambda name: sum(ord(c) in _characters(name) for c in left), default=None)
        covered = {c for c in left if best is not None and ord(c) in _characters(best)}
        if best is None or not covered:
            break
        chosen.append(best)
        left -= covered
    return tuple(chosen), frozenset(left)
