"""The section of learning: who keeps and who loses an image, epoch by epoch."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import numpy as np
import pytest

from ralr_viz.report.learning import build_learning, list_strips
from ralr_viz.report.page import build_report
from ralr_viz.results.learning import LearningResult

EPOCHS, N = 6, 5
# of each run, epochs × examples: example 0 is kept by the second run only, example 3 by the first only
RIGHT = np.ones((2, EPOCHS, N), bool)
RIGHT[0, [0, 3, 4, 5], 0] = False
RIGHT[1, :, 3] = False


def make_learning(**changes: Any) -> LearningResult:
    chosen = np.array([0, 3])
    zeros, shares = np.zeros((2, EPOCHS)), np.full((2, N), 0.5)
    events = np.zeros((2, N), np.int64)
    events[0, 0], events[1, 3] = 1, -1
    first = np.ones((2, N), np.int64)
    first[0, 0], first[1, 3] = 2, 0
    fields: dict[str, Any] = {
        "models": ("baseline", "RALR"),
        "methods": ("baseline", "ralr"),
        "seeds": (0, 0),
        "epoch": np.arange(1, EPOCHS + 1),
        "factor": np.array([[1.0] * EPOCHS, [1, 2, 1, 1, 3, 1]]),
        "accuracy": zeros,
        "forgotten": zeros,
        "learned": zeros,
        "places": 10 * np.arange(N),
        "events": events,
        "first": first,
        "confidence": shares,
        "variability": shares / 2,
        "ease": RIGHT.mean(1),
        "late": RIGHT[:, 4:].mean(1),
        "agreement": np.eye(2),
        "disagreement": 0.4 * (1 - np.eye(2)),
        "chosen": chosen,
        "timeline": RIGHT[:, :, chosen],
        "examples": "val",
        "dataset": "clouds",
        "split": "train",
    }
    return LearningResult(**fields | changes)


@pytest.fixture
def inputs(make_inputs: Any, make_images: Any) -> Any:
    images, labels = make_images(2, (32, 32)), np.array([1, 0])
    return make_inputs(learning=make_learning(), learned_images=images, learned_labels=labels)


def test_strips_are_the_record_of_each_run(inputs: Any) -> None:
    baseline, ralr = list_strips(inputs, inputs.learning, 0)
    assert (baseline.right, baseline.amplified) == ([(1, 2)], [])
    assert baseline.told == "right in 2 of 6 epochs, first with epoch 2, forgotten 1 ×"
    assert (ralr.right, ralr.amplified) == ([(0, 6)], [1, 4])
    assert list_strips(inputs, inputs.learning, 1)[1].told == "right in 0 of 6 epochs, never learned"
    constant = dataclasses.replace(inputs.learning, factor=np.full((2, EPOCHS), 1.5))
    assert not any(strip.amplified for strip in list_strips(inputs, constant, 0))


def test_section_says_who_keeps_and_who_loses(inputs: Any) -> None:
    html = str(build_learning(inputs).html)
    kept = html.index("Right late more often in RALR than in baseline")
    lost = html.index("Right late more often in baseline than in RALR")
    assert kept < html.index("#0<") < lost < html.index("#30<")
    assert html.count("data:image/webp;base64,") == 2 and html.count("<svg") == 4
    assert html.count('class="amplified"') == 4 and "amplified" in html
    assert "&lt;script&gt;" in html and "<script" not in html  # a class is called so
    assert "other method, same seed 40 % (1 pairs)" in html


def test_section_of_one_method_shows_what_is_forgotten_most(make_inputs: Any) -> None:
    alone = make_inputs(sides=1, learning=make_learning(methods=("baseline", "baseline"), seeds=(0, 1)))
    html = str(build_learning(alone).html)
    assert "Forgotten most often" in html and "Right late" not in html
    assert "<img" not in html


def test_page_has_the_section_where_there_is_a_record(inputs: Any) -> None:
    sections = re.findall(r'<section id="([a-z]+)"', build_report(inputs))
    assert sections[-2:] == ["learning", "provenance"]
    without = dataclasses.replace(inputs, learning=None)
    assert "learning" not in re.findall(r'<section id="([a-z]+)"', build_report(without))
