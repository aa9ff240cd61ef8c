"""CSV of the package's own tables: numbers that read back to the same bits, and text that no spreadsheet runs.

A cell that begins with one of ``= + - @``, a tab or a line end is a formula to a spreadsheet, which may start
a program; a class or a study's label may be called so. Such text gets a quote ``'`` in front, as OWASP
recommends ("CSV injection"), and so does text that begins with that quote, so that `read_table` can take it
away again. Numbers are never touched.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

Table = Mapping[str, Sequence[Any] | np.ndarray] | Sequence[Mapping[str, Any]]
"""Columns (``{"epoch": [1, 2]}``) or rows (``[{"epoch": 1}]``)."""

_QUOTE = "'"
_FORMULA = re.compile(
    r"['=+\-@\t\r\n＝＋－＠]"
)  # the wide ones: Japanese spreadsheets take them for the narrow
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
"""A number that somebody has made text of; a spreadsheet shows it as that number."""


def write_table(table: Table) -> str:
    """A table as CSV with a header, a line each row, lines ended by a newline.

    Args:
        table: Numbers, texts and truth values. Floats are written so that reading them as their type gives the
            same bits; ``None`` is an empty cell.

    Raises:
        ValueError: Columns of different lengths, or rows with different columns.
    """
    if isinstance(table, Mapping):
        header, rows = list(table), list(zip(*table.values(), strict=True))
    else:
        header = list(table[0]) if table else []
        if any(list(row) != header for row in table):
            raise ValueError("all rows of a table have the same columns in the same order")
        rows = [tuple(row.values()) for row in table]
    lines: list[str] = []
    # with another end of line than this the writer would leave a lone "\r" bare, which ends a line to readers
    writer = csv.writer(SimpleNamespace(write=lines.append), lineterminator="\r\n")
    writer.writerow([_cell(name) for name in header])
    writer.writerows([_cell(value) for value in row] for row in rows)
    return "".join(line.removesuffix("\r\n") + "\n" for line in lines)


def read_table(text: str) -> list[dict[str, str]]:
    """Rows of a CSV that `write_table` wrote, its texts as they were before.

    Args:
        text: As `write_table` returned it; of a file, opened with ``newline=""``.

    Returns:
        A dictionary for each row, numbers as text.
    """
    header, *rows = [
        [cell.removeprefix(_QUOTE) for cell in row] for row in csv.reader(io.StringIO(text, newline=""))
    ]
    return [dict(zip(header, row, strict=True)) for row in rows]


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool | int | float | np.generic) and not isinstance(value, str):
        # NumPy's text has as many digits as the type needs: seven for float32, not the seventeen of its double
        return repr(value) if type(value) is float else str(value)
    text = str(value)
    formula = _FORMULA.match(text) and not _NUMBER.fullmatch(text)
    return _QUOTE + text if formula else text
