"""Whether a table that was made again holds the same numbers."""

from __future__ import annotations

import math
from typing import NamedTuple

from ralr_viz.results.table_csv import read_table


class TableDifference(NamedTuple):
    """What two tables differ in.

    Attributes:
        numbers: Cells that are numbers in both.
        largest: Of their differences, in shares of the largest magnitude in their column; 0 where all are equal to the bit.
        where: The first difference beyond what is allowed, such as ``row 3, `val_acc`: 91.2 was published, 91.4 made``;
            empty where there is none.
    """

    numbers: int
    largest: float
    where: str


def compare_tables(published: str, made: str, tolerance: float = 0.0) -> TableDifference:
    """Compare two CSV files cell by cell: texts must be equal, numbers within a tolerance.

    Args:
        published, made: As `write_table` wrote them.
        tolerance: Allowed difference of two numbers in shares of the largest magnitude in their column.
    """
    ours, theirs = read_table(published), read_table(made)
    headers = [list(rows[0]) if rows else [] for rows in (ours, theirs)]
    if headers[0] != headers[1]:
        odd = next(iter(set(headers[0]) ^ set(headers[1])), "their order")
        return TableDifference(0, math.inf, f"the columns differ (`{odd}`)")
    if len(ours) != len(theirs):
        return TableDifference(0, math.inf, f"{len(ours)} rows were published, {len(theirs)} made")
    numbers, largest, first = 0, 0.0, ""
    for name in headers[0]:
        column = [(_number(a[name]), _number(b[name])) for a, b in zip(ours, theirs, strict=True)]
        scale = max((abs(a) for a, _ in column if math.isfinite(a)), default=0.0)
        for i, (a, b) in enumerate(column):
            both = not (math.isnan(a) or math.isnan(b))
            share = _share(a, b, scale) if both else 0.0 if ours[i][name] == theirs[i][name] else math.inf
            numbers, largest = numbers + both, max(largest, share)
            if share > tolerance and not first:
                first = f"row {i + 1}, `{name}`: {ours[i][name]} was published, {theirs[i][name]} made"
    return TableDifference(numbers, largest, first)


def _share(a: float, b: float, scale: float) -> float:
    if a == b:
        return 0.0
    return abs(a - b) / scale if scale and math.isfinite(a - b) else math.inf


def _number(text: str) -> float:
    """NaN for what is none, and for ``nan``."""
    try:
        return float(text)
    except ValueError:
        return math.nan
