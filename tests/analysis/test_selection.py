"""Images chosen by a printed, seeded rule."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ralr_viz.analysis.selection import select_images
from ralr_viz.errors import InputError, UnknownNameError


def test_select_images_is_a_function_of_the_seed_and_says_its_rule() -> None:
    indices, text = select_images(10_000, 8, 0)
    again, _ = select_images(10_000, 8, 0)
    other, _ = select_images(10_000, 8, 1)
    assert text == "8 of 10,000 test images, random, seed 0"
    assert indices.tolist() == again.tolist() != other.tolist()
    # pinned: a figure that is drawn again next year shows the same images
    assert indices.tolist() == [4905, 1090, 2167, 4333, 875, 3106, 966, 7913]


@given(n=st.integers(1, 300), count=st.integers(1, 320), seed=st.integers(0, 2**63))
def test_select_images_gives_distinct_indices_and_prefixes(n: int, count: int, seed: int) -> None:
    indices, _ = select_images(n, count, seed)
    more, _ = select_images(n, count + 1, seed)
    assert len(set(indices.tolist())) == len(indices) == min(n, count)
    assert ((indices >= 0) & (indices < n)).all()
    assert more[: len(indices)].tolist() == indices.tolist()


def test_select_images_draws_each_image_equally_often() -> None:
    counts = np.bincount(
        np.concatenate([select_images(10, 3, seed)[0] for seed in range(2000)]), minlength=10
    )
    assert abs(counts - 600).max() < 5 * np.sqrt(2000 * 0.3 * 0.7)


def test_select_images_leaves_global_generators_alone() -> None:
    state = np.random.get_state()[1].copy()
    select_images(100, 5, 3)
    assert (np.random.get_state()[1] == state).all()


def test_select_images_takes_all_where_there_are_fewer() -> None:
    indices, text = select_images(3, 8, 0, split="val")
    assert sorted(indices.tolist()) == [0, 1, 2]
    assert text == "all 3 val images"


def test_select_images_by_classes_takes_them_in_turn() -> None:
    labels = np.repeat([0, 1, 2, 3], [500, 300, 3, 1])
    indices, text = select_images(len(labels), 9, 4, labels, rule="classes")
    chosen = labels[indices]
    assert sorted(chosen[:4].tolist()) == [0, 1, 2, 3]
    assert sorted(chosen[4:7].tolist()) == [0, 1, 2]
    assert sorted(chosen[7:].tolist())[0] in (0, 1, 2)
    assert text == "9 of 804 test images, random, classes in turn, seed 4"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_total": 0}, "no test images to choose from"),
        ({"count": 0}, "number of images 0 must be at least 1"),
        ({"seed": -1}, "`--seed` = -1 must not be negative"),
        ({"rule": "classes"}, "needs labelled images"),
    ],
)
def test_select_images_refuses(arguments: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        select_images(**{"n_total": 10, "count": 2, "seed": 0, **arguments})


def test_select_images_offers_the_nearest_rule() -> None:
    with pytest.raises(UnknownNameError, match="did you mean `random`"):
        select_images(10, 2, 0, rule="randm")
