"""Images chosen by a printed, seeded rule."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ralr_viz.analysis.selection import check_rule, select_by_outcome, select_images, select_pictures
from ralr_viz.comparison import Comparison, compare
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


NAMES = ("baseline", "RALR")
FIRST = np.array([0.5, 0.75, 0.25, 0.5, 0.125, 0.5])
SECOND = np.array([0.75, 0.125, 0.5, 0.5, np.nan, 0.75])


def test_select_by_outcome_takes_the_largest_differences_and_says_so() -> None:
    gain, text = select_by_outcome(FIRST, SECOND, 2, rule="gain", names=NAMES, split="cifar10 test")
    assert gain.tolist() == [0, 2]  # 0.25 each, as the last has: the lower index first
    assert text == (
        "2 of 6 cifar10 test images where RALR's probability of the true class exceeds baseline's the most: "
        "chosen by outcome, not typical"
    )
    loss, text = select_by_outcome(FIRST, SECOND, 2, rule="loss", names=NAMES)
    assert loss.tolist() == [1]  # it falls short on one image only; an equal one is no loss
    assert text == (
        "1 of 6 test images where RALR's probability of the true class falls short of baseline's the most: "
        "chosen by outcome, not typical"
    )


@given(seed=st.integers(0, 1000), n=st.integers(2, 40), count=st.integers(1, 10))
def test_select_by_outcome_equals_a_literal_sort(seed: int, n: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = rng.integers(0, 5, (2, n)) / 4  # with ties
    differences = sorted((-(b - a), i) for i, (a, b) in enumerate(zip(first, second, strict=True)) if b > a)
    if not differences:
        return
    chosen, _ = select_by_outcome(first, second, count, rule="gain", names=NAMES)
    assert chosen.tolist() == [i for _, i in differences[:count]]
    assert chosen.dtype == np.int64
    mirrored, _ = select_by_outcome(second, first, count, rule="loss", names=NAMES)
    assert mirrored.tolist() == chosen.tolist()


def test_select_by_outcome_refuses_where_there_is_nothing_to_show() -> None:
    with pytest.raises(InputError) as caught:
        select_by_outcome(FIRST, FIRST, 2, rule="gain", names=NAMES)
    assert str(caught.value) == (
        "on none of the 6 test images RALR's probability of the true class exceeds baseline's: choose by `random`"
    )
    with pytest.raises(InputError, match="number of images 0 must be at least 1"):
        select_by_outcome(FIRST, SECOND, 0, rule="gain", names=NAMES)
    with pytest.raises(UnknownNameError, match="did you mean `gain`"):
        select_by_outcome(FIRST, SECOND, 2, rule="gains", names=NAMES)


def pair_of_constants(first: np.ndarray, second: np.ndarray) -> Comparison:
    """Networks that give each of 2×2 images, which hold their number, a probability of class 1 of their own."""

    class Looks(nn.Module):
        def __init__(self, logits: np.ndarray) -> None:
            super().__init__()
            self.table = nn.Parameter(torch.from_numpy(logits).float())
            self.conv = nn.Conv2d(3, 2, 1)
            self.linear = nn.Linear(2, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            place = (x[:, 0, 0, 0] * 255).round().long()
            right = self.table[place]
            return self.linear(self.conv(x).mean((2, 3))) * 0 + torch.stack([-right, right], 1)

    images = np.broadcast_to(
        np.arange(len(first), dtype=np.uint8)[:, None, None, None], (len(first), 2, 2, 3)
    )
    scale = {"mean": (0, 0, 0), "std": (1, 1, 1)}
    return compare(
        {"a, epoch 1": Looks(first), "a, epoch 2": Looks(second)}, images=images,
        labels=np.ones(len(first), int), boxes=np.arange(4 * len(first)).reshape(-1, 4), device="cpu", **scale,
    )  # fmt: skip


def test_select_pictures_by_outcome_keeps_the_networks_and_all_that_is_known_of_the_images() -> None:
    first, second = np.zeros(6), np.array([0.1, -0.5, 3, -2, 0, 1])
    pair = pair_of_constants(first, second)
    gain = select_pictures(pair, rule="gain", count=2)
    assert gain.samples.indices.tolist() == [2, 5]
    assert gain.samples.images[:, 0, 0, 0].tolist() == [2, 5]
    assert gain.samples.boxes.tolist() == [[8, 9, 10, 11], [20, 21, 22, 23]]
    assert gain.networks == pair.networks
    assert gain.samples.selection == (
        "2 of 6 given images where epoch 2's probability of the true class exceeds epoch 1's the most: chosen by "
        "outcome, not typical"
    )
    assert select_pictures(pair, rule="loss", count=9).samples.indices.tolist() == [3, 1]


def test_select_pictures_at_random_chooses_as_select_images_does() -> None:
    pair = pair_of_constants(np.zeros(9), np.zeros(9))
    indices, words = select_images(9, 4, 3, split="given")
    found = select_pictures(pair, count=4, seed=3).samples
    assert found.indices.tolist() == indices.tolist() and found.selection == words


def test_check_rule_refuses_what_does_not_go_together() -> None:
    pair = pair_of_constants(np.zeros(2), np.zeros(2))
    with pytest.raises(UnknownNameError, match="unknown --rows `best`"):
        select_pictures(pair, rule="best")
    with pytest.raises(InputError, match="`--rows gain` compares the first two checkpoints, got 1"):
        select_pictures(replace(pair, networks=pair.networks[:1]), rule="gain")
    with pytest.raises(InputError, match="`--rows classes` chooses images of a split"):
        check_rule("classes", 1, from_files=True)


def test_select_pictures_by_hand_shows_these_in_this_order_and_says_so() -> None:
    pair = pair_of_constants(np.zeros(9), np.zeros(9)).take(np.array([1, 4, 6, 8]))
    found = select_pictures(pair, indices=(8, 4)).samples
    assert found.indices.tolist() == [8, 4] and found.images[:, 0, 0, 0].tolist() == [8, 4]
    assert found.selection == "2 of 4 given images, chosen by hand"
    with pytest.raises(InputError, match="`--indices 5` is no image of the 4 given ones"):
        select_pictures(pair, indices=(5,))
    with pytest.raises(InputError, match="twice among 4, 4"):
        select_pictures(pair, indices=(4, 4))
