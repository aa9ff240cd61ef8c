import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ralr_viz.data.split import split_train, unused_train
from ralr_viz.errors import InputError


@given(
    counts=st.lists(st.integers(4, 30), min_size=1, max_size=6),
    validation=st.floats(0, 0.5),
    seed=st.integers(0, 100),
)
def test_split_train_is_stratified_disjoint_and_whole(counts, validation, seed):
    labels = np.random.default_rng(1).permutation(np.repeat(np.arange(len(counts)), counts))
    train, held = split_train(labels, validation=validation, seed=seed)
    assert sorted([*train, *held]) == list(range(len(labels)))
    assert list(train) == sorted(train)
    for label, count in enumerate(counts):
        assert np.sum(labels[held] == label) == round(validation * count)


def test_split_train_subset_is_even_and_then_held_out():
    labels = np.tile(np.arange(10), 100)
    train, held = split_train(labels, validation=0.1, subset=205)
    assert len(train) + len(held) == 205
    sizes = np.bincount(labels[np.concatenate([train, held])])
    assert sizes.min() == 20
    assert sizes.max() == 21


def test_split_train_depends_on_its_seed_only():
    labels = np.tile(np.arange(10), 20)
    a, b, c = (split_train(labels, validation=0.2, seed=s)[1] for s in (0, 0, 1))
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, c)


def test_split_train_refuses_what_leaves_nothing():
    with pytest.raises(InputError, match="`subset` = 11 is more than the 10 training images"):
        split_train(np.zeros(10, int), validation=0, subset=11)
    with pytest.raises(InputError, match="class 1 has no training image left"):
        split_train(np.array([0, 0, 0, 1]), validation=0, subset=1)


def test_unused_train_is_what_neither_part_has():
    labels = np.repeat([0, 1, 2], 20)
    train, held = split_train(labels, validation=0.25, subset=24)
    parts = [*train, *held, *unused_train(60, train, held)]
    assert sorted(parts) == list(range(60))
    everything = split_train(labels, validation=0.25)
    assert len(unused_train(60, *everything)) == 0
