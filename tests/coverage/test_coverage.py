"""Every printed interval against a simulation of its own case, and the table that says what was found."""

from __future__ import annotations

import pytest

from tests.coverage.case import HIGH, LOW, Case, measure_coverage
from tests.coverage.table import CASES, NOT_YET, PAGE, first_cells, last_cell, read_rows


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_interval_covers_as_often_as_it_says(case: Case) -> None:
    found = case.simulate()
    for row in case.rows:
        assert row.low <= measure_coverage(found[row.interval]).share <= row.high, row.interval


def test_coverage_table_has_a_row_of_each_case_and_no_other() -> None:
    rows = read_rows(PAGE.read_text())
    wanted = {(case.name, row.interval): (case, row) for case in CASES for row in case.rows}
    assert set(rows) == set(wanted), "make it anew: python -m tests.coverage.table"
    for key, (case, row) in wanted.items():
        *first, measured, held_to = rows[key]
        assert (first, held_to) == (first_cells(case, row), last_cell(row)), key
        assert measured == NOT_YET or row.low <= float(measured.split()[0]) <= row.high, key


def test_interval_that_covers_something_else_says_so() -> None:
    others = [row for case in CASES for row in case.rows if (row.low, row.high) != (LOW, HIGH)]
    assert others
    for row in others:
        assert row.says and row.says in row.text(), row.interval
