"""The gallery's groups and their counts."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from ralr_viz.report.gallery import build_gallery, list_groups
from ralr_viz.report.inputs import ReportInputs

Make = Callable[..., ReportInputs]


def right(inputs: ReportInputs) -> list[np.ndarray]:
    found = [side.predictions for side in inputs.sides]
    return [p.logits.argmax(1) == p.labels for p in found if p is not None]


def test_list_groups_counts_over_the_whole_split(make_inputs: Make) -> None:
    inputs = make_inputs(n=90, sampled=30)
    a, b = right(inputs)
    fixed, broken, random = list_groups(inputs)
    assert (fixed.key, broken.key, random.key) == ("fixed", "broken", "random")
    assert fixed.total == f"{sum(~a & b)} of 90 test images" and sum(~a & b)
    assert broken.total == f"{sum(a & ~b)} of 90 test images"


def test_list_groups_leave_unknown_labels_out(make_inputs: Make) -> None:
    inputs = make_inputs(n=90)
    sides = []
    for side in inputs.sides:
        assert side.predictions is not None
        labels = np.where(np.arange(90) < 40, -1, side.predictions.labels)
        sides.append(replace(side, predictions=replace(side.predictions, labels=labels)))
    a, b = right(inputs)
    fixed = list_groups(replace(inputs, sides=tuple(sides)))[0]
    assert fixed.total == f"{sum((~a & b)[40:])} of 50 test images"


def test_list_groups_of_one_network_are_its_errors(make_inputs: Make) -> None:
    inputs = make_inputs(sides=1, n=90)
    wrong, random = list_groups(inputs)
    assert (wrong.key, random.key) == ("wrong", "random")
    assert wrong.total.startswith(f"{sum(~right(inputs)[0])} of 90")


def test_build_gallery_random_order_is_a_permutation_and_repeats(make_inputs: Make) -> None:
    inputs = make_inputs(n=90, sampled=30)
    order = np.frombuffer(base64.b64decode(build_gallery(inputs).data["order"]), "<i4")
    assert sorted(order) == list(range(30)) and list(order) != list(range(30))
    assert build_gallery(inputs).data == build_gallery(make_inputs(n=90, sampled=30)).data


def test_build_gallery_draws_by_the_seed_of_the_command(make_inputs: Make) -> None:
    inputs = make_inputs(n=90, sampled=30)
    other = build_gallery(replace(inputs, seed=5))
    assert other.data["order"] != build_gallery(inputs).data["order"]
    assert other.html.count("(seed 5)") == 2


@pytest.mark.parametrize("what", ["images", "indices"])
def test_build_gallery_without_samples_says_why(make_inputs: Make, what: str) -> None:
    inputs = replace(make_inputs(n=12), **{what: None}, missing={"gallery": "no data: <ralr-viz data>"})
    section = build_gallery(inputs)
    assert "&lt;ralr-viz data&gt;" in section.html and not section.data


def test_build_gallery_without_maps_speaks_of_none(make_inputs: Make) -> None:
    assert "class activation map" in build_gallery(make_inputs(n=12)).html
    assert "class activation map" not in build_gallery(make_inputs(n=12, maps=False)).html
