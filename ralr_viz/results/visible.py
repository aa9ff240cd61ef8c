"""Names as they can be shown: what no screen, page or UTF-8 file holds stands as its Python escape."""

from __future__ import annotations

import unicodedata


def visible(text: str) -> str:
    r"""Text on one line in which every character shows: a line break as ``\n``, an escape code as ``\x1b``.

    File names that are not UTF-8 come from the system with each bad byte ``0xE9`` as the surrogate ``\udce9``,
    which stands as these six characters here, in tables and in JSON. Results keep names as they are.
    """
    if text.isprintable():
        return text
    return "".join(c if _shows(c) else c.encode("unicode_escape").decode("ascii") for c in text)


def _shows(character: str) -> bool:
    return character.isprintable() or unicodedata.category(character) == "Zs"  # thin and no-break spaces
