"""The table of classes: the numbers of the verdict, in rows that can be sorted and downloaded."""

from __future__ import annotations

import re

import numpy as np
import pytest

from ralr_viz.report.classes import build_classes, class_rows
from ralr_viz.results.verdict import ClassScores


@pytest.fixture
def scores():
    return ClassScores(
        labels=np.array([0, 2]),
        counts=np.array([1200, 4]),
        accuracy=np.array([[50.0, 25.0], [60.0, 25.0]]),
        difference=np.array([[10.0, 5.0, 15.0], [0.0, -20.0, 20.0]]),
        confused_with=np.array([[2, -1], [1, 0]]),
        confused_counts=np.array([[30, 0], [20, 3]]),
    )


def test_class_rows_say_names_intervals_and_confusions(make_inputs, scores):
    inputs = make_inputs(class_names=("cat", "dog & fox", "<b>"))
    first, second = class_rows(inputs, scores)
    assert (first["name"], first["count"], first["decided"]) == ("cat", 1200, True)
    assert first["text"] == "+10.0 [+5.0, +15.0]"
    assert first["confused"] == [{"name": "<b>", "count": 30}, {"name": "dog & fox", "count": 20}]
    assert second["confused"][0] == {"name": "–", "count": 0}
    assert not second["decided"] and second["text"] == "+0.0 [−20.0, +20.0]"
    # the drawing's middle is 0, its ends the widest interval of all
    assert first["drawing"] == pytest.approx([62.5, 75.0, 87.5])
    assert second["drawing"] == pytest.approx([0.0, 50.0, 100.0])


def test_build_classes_has_a_row_a_class_with_the_numbers_to_sort_by(make_inputs):
    inputs = make_inputs()
    section, scores = build_classes(inputs), inputs.verdict.classes
    rows = re.findall(r"<tr data-label.*?>", section.html, re.S)
    assert len(rows) == 4
    for i, row in enumerate(rows):
        found = dict(re.findall(r'data-(\w+)="(.*?)"', row))
        assert int(found["label"]) == i and int(found["n"]) == scores.counts[i]
        assert float(found["accuracy1"]) == scores.accuracy[1, i]
        assert float(found["difference"]) == scores.difference[i, 0]
        low, high = scores.difference[i, 1:]
        assert found["decided"] == str(not low <= 0 <= high).lower()
    assert "<script>" not in section.html and "&lt;script&gt;window.hurt = 1&lt;/script&gt;" in section.html
    assert section.html.count('aria-sort="none"') == 7
    excluding = sum(row["decided"] for row in class_rows(inputs, scores))
    assert re.search(rf"\b{excluding} of 4 excludes? 0;", section.html)


def test_build_classes_downloads_every_number_unrounded(make_inputs):
    inputs = make_inputs()
    section, scores = build_classes(inputs), inputs.verdict.classes
    assert section.data["header"] == [
        "label", "class", "n", "accuracy baseline (%)", "accuracy RALR (%)", "difference (points)", "low", "high",
        "top confusion baseline", "top confusion baseline (n)", "top confusion RALR", "top confusion RALR (n)",
    ]  # fmt: skip
    row = section.data["rows"][1]
    assert (
        row[:3] == [1, inputs.class_names[1], scores.counts[1]] and row[5:8] == scores.difference[1].tolist()
    )
    assert row[9] == scores.confused_counts[0, 1] and len(row) == len(section.data["header"])


def test_build_classes_of_one_side_has_no_difference(make_inputs):
    section = build_classes(make_inputs(sides=1))
    assert "difference" not in section.html and "data-decided" not in section.html
    assert section.data["header"][3:] == [
        "accuracy baseline (%)",
        "top confusion baseline",
        "top confusion baseline (n)",
    ]


def test_build_classes_without_predictions_says_why(make_inputs):
    section = build_classes(
        make_inputs(verdict=None, missing={"classes": "run `ralr-viz data download toy`"})
    )
    assert "<code>ralr-viz data download toy</code>" in section.html and section.scripts == ()
