"""Text that needs no download: numbers in English words, and their digits."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ralr_viz.data.parallel import Lines, ParallelText, write_text

NUMBERS = "numbers"
_COUNTS = {"train": 3000, "val": 200, "test": 200}
_ONES = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_LOWEST, _HIGHEST = 1_000, 1_000_000


def spell(number: int) -> str:
    """A number in [0, 1,000,000) as one says it: ``two hundred and five thousand and twelve``."""
    if number < 20:
        return _ONES[number]
    if number < 100:
        rest = number % 10
        return _TENS[number // 10 - 2] + (f" {_ONES[rest]}" if rest else "")
    unit, word = (100, "hundred") if number < 1000 else (1000, "thousand")
    rest = number % unit
    joint = " and " if rest < 100 else " "
    return f"{spell(number // unit)} {word}" + (f"{joint}{spell(rest)}" if rest else "")


def make_numbers(root: Path) -> ParallelText:
    """Store the numbers, which are the same everywhere; no number is in two splits."""
    # a multiplicative walk through the residues of a prime, so that no library's generator decides what the data are
    prime, factor, value = 999_983, 4099, 12_345
    numbers: list[int] = []
    while len(numbers) < sum(_COUNTS.values()):
        value = value * factor % prime
        if _LOWEST <= value < _HIGHEST:
            numbers.append(value)
    ends = np.cumsum(list(_COUNTS.values())).tolist()
    pairs = {
        split: _pairs(numbers[end - count : end])
        for (split, count), end in zip(_COUNTS.items(), ends, strict=True)
    }
    return write_text(NUMBERS, root, ("en", "nn"), pairs, origin="ralr_viz.data.number_words")


def _pairs(numbers: list[int]) -> Lines:
    return [spell(number) for number in numbers], [" ".join(str(number)) for number in numbers]
