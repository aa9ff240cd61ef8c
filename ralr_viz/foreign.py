"""Text that others wrote, such as names in an archive, a checkpoint or a log, made fit to be shown.

A name may hold escape codes that a terminal obeys, marks that turn what follows around, or a newline and a
forged second line. Names are kept as they are; whoever shows one passes it through `one_line`.
"""

from __future__ import annotations

import re
import unicodedata

LONGEST_NAME = 200
LONGEST_MESSAGE = 2000
_NOT_ONE_LINE = frozenset(
    {"Cc", "Cs", "Zl", "Zp"}
)  # control characters, halves of surrogates, line separators
_ESCAPED = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"})
"""Categories that no terminal shows as a character: of text direction, of no width, unassigned, too."""
_ASCII = re.compile(r"[ -~]*")


def one_line(value: object, longest: int | None = LONGEST_NAME) -> str:
    r"""A foreign text as one line that is safe to print, also in ASCII-only spelling of what cannot be seen.

    Control characters, newlines, marks of text direction, characters of no width and bytes that were no UTF-8
    are shown as Python writes them, such as ``\x1b``, ``\n``, ``\u202e``. What is shown so may be passed again.
    An exception's message, which libraries break into lines, has its whitespace merged instead.

    Args:
        value: A text, an exception, or anything with a ``str``.
        longest: Characters that are kept, at least 2, the middle left out; None for all.

    Example:
        >>> one_line("x\ndone\x1b[31m")
        'x\\ndone\\x1b[31m'
    """
    text = " ".join(str(value).split()) if isinstance(value, BaseException) else str(value)
    if longest is not None and len(text) > longest:  # before and after: an escape is up to ten characters
        text = _shorten(text, longest)
    if _ASCII.fullmatch(text) is None:
        text = "".join(_escape(c) if unicodedata.category(c) in _ESCAPED else c for c in text)
    return text if longest is None else _shorten(text, longest)


def is_one_line(text: str) -> bool:
    """Whether a name is text in one line: no control character, no line separator, nothing that is no UTF-8.

    Marks of text direction and joiners pass: names in Arabic or Persian need them.
    """
    return not any(unicodedata.category(c) in _NOT_ONE_LINE for c in text)


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _shorten(text: str, longest: int) -> str:
    """Without its middle: of a path the end tells the file, of a message the remedy."""
    if len(text) <= longest:
        return text
    end = (longest - 1) // 3
    return f"{text[: longest - 1 - end]}…{text[len(text) - end :]}"


def describe_error(error: BaseException) -> str:
    """Somebody's exception on one line: what it is and what it says."""
    return f"{type(error).__name__}: {one_line(error)}"
