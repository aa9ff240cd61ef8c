"""CSV of our own tables: numbers to the last bit, and texts that no spreadsheet takes for a formula."""

import ast
import csv
import io
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ralr_viz
from ralr_viz.results.table_csv import read_table, write_table

PACKAGE = Path(ralr_viz.__file__).parent
FIGURES = PACKAGE.parent / "figures"
FORMULAS = ["=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(1)", "\t=1", "\r=1", "\n=1", "＝1+1", "-", "=", "'=1"]
NUMBERS = [-0.3, -3, np.float32(-0.1), np.int64(-7), -1e-7, float("-inf"), True, 0.1 + 0.2]

texts = st.text(st.sampled_from("=+-@'\"\t\r\n,;ab1.\x00é＝")) | st.text(st.characters(codec="utf-8"))


def cells(text: str) -> list[list[str]]:
    """As any other program reads the file."""
    return list(csv.reader(io.StringIO(text, newline="")))


@pytest.mark.parametrize("text", FORMULAS)
def test_table_formula_is_quoted_in_cells_and_header(text):
    assert cells(write_table([{text: text}])) == [["'" + text], ["'" + text]]
    assert cells(write_table({text: np.array([text])})) == [["'" + text], ["'" + text]]


@pytest.mark.parametrize("number", NUMBERS)
def test_table_number_is_never_quoted(number):
    text = write_table({"x": [number]}).splitlines()[1]
    assert text == (repr(number) if type(number) is float else str(number))


@pytest.mark.parametrize("text", ["-0.3", "+2", "-1e-07", "-.5", "−0.3", "a=b", "airplane", "1-2", " =1"])
def test_table_plain_text_and_numbers_made_of_text_stay(text):
    assert write_table({"x": [text]}) == f"x\n{text}\n"


@given(st.lists(texts, min_size=1, max_size=4, unique=True), st.lists(texts, min_size=4, max_size=4))
def test_table_texts_come_back_as_they_were(header, row):
    rows = [dict(zip(header, row, strict=False))] * 2
    assert read_table(write_table(rows)) == rows


@given(texts)
def test_table_text_never_begins_as_a_formula(text):
    (_, (cell,)) = cells(write_table({"x": [text]}))
    assert not re.match(r"[=+\-@\t\r\n]", cell) or re.fullmatch(r"[+-]?[0-9.]+([eE][+-]?[0-9]+)?", cell)


@given(st.lists(st.floats() | st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=5))
def test_table_numbers_come_back_bit_by_bit(numbers):
    read = [
        type(n)(row["x"]) for n, row in zip(numbers, read_table(write_table({"x": numbers})), strict=True)
    ]
    np.testing.assert_equal(read, numbers)


def test_published_figures_hold_nothing_that_would_be_quoted_now():
    for file in FIGURES.rglob("*.csv"):
        rows = cells(file.read_text(encoding="utf-8"))
        assert all(
            cell == "" or write_table({"x": [cell]}) in (f"x\n{cell}\n", f'x\n"{cell}"\n')
            for row in rows
            for cell in row
        )


def test_package_has_one_csv_writer():
    found = {
        file.relative_to(PACKAGE).as_posix()
        for file in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute)
        and (
            node.attr in ("to_csv", "DictWriter")
            or (node.attr == "writer" and ast.unparse(node) == "csv.writer")
        )
    }
    assert found == {"results/table_csv.py"}
