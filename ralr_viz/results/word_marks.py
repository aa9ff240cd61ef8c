"""In which words two sentences differ."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher


def mark_words(first: str, second: str) -> tuple[str, str]:
    """Both sentences, with brackets around the words of each that the other has not in this place.

    Example:
        >>> mark_words("ein Hund rennt .", "ein Hund läuft schnell .")
        ('ein Hund [rennt] .', 'ein Hund [läuft schnell] .')
    """
    words = first.split(), second.split()
    marked: tuple[list[str], list[str]] = ([], [])
    for what, *ends in SequenceMatcher(None, *words, autojunk=False).get_opcodes():
        for line, of, (start, end) in zip(marked, words, (ends[:2], ends[2:]), strict=True):
            if what == "equal":
                line += of[start:end]
            elif start < end:
                line.append(f"[{' '.join(of[start:end])}]")
    return " ".join(marked[0]), " ".join(marked[1])


def mark_all(sentences: Sequence[str]) -> list[str]:
    """Of two, as `mark_words`; of more, the first as it is and the others by what differs from it."""
    if len(sentences) == 2:
        return list(mark_words(*sentences))
    return [*sentences[:1], *(mark_words(sentences[0], other)[1] for other in sentences[1:])]
