"""Which images a report shows."""

from __future__ import annotations

import numpy as np
import pytest

from ralr_viz.analysis.sample import sample_images, take_images
from ralr_viz.results.predictions import PredictionsResult


def predict(answers, labels):
    labels = np.asarray(labels)
    n = len(labels)
    maps = np.arange(n, dtype=np.float32)[:, None, None] * np.ones((1, 2, 2), np.float32)
    return PredictionsResult(
        model="net", indices=10 * np.arange(n), labels=labels,
        logits=np.eye(4, dtype=np.float32)[np.asarray(answers)], features=np.arange(2.0 * n).reshape(n, 2),
        feature_layer="fc", true_maps=maps, predicted_maps=-maps, map_layer="layer3",
    )  # fmt: skip


@pytest.fixture
def pair():
    """1,000 images of classes 0 (800), 1 (150) and 2 (50); 40 of them are disputed."""
    labels = np.repeat([0, 1, 2], [800, 150, 50])
    wrong = np.where(np.arange(1000) % 25 == 0, 3, labels)
    return [predict(wrong, labels), predict(labels, labels)]


def test_sample_holds_all_disputed_images_and_the_classes_in_proportion(pair):
    rows, rule = sample_images(pair, 240)
    assert len(rows) == 240 and (np.diff(rows) > 0).all()
    disputed = np.arange(0, 1000, 25)
    assert set(disputed) <= set(rows)
    drawn = np.bincount(pair[0].labels[np.setdiff1d(rows, disputed)])
    assert drawn.tolist() == [160, 30, 10]  # 200 of 960 = 768 + 144 + 48
    assert rule.startswith("240 of 1,000 images: all 40 that one side gets right and the other wrong")


def test_sample_of_few_caps_the_disputed_at_half(pair):
    rows, rule = sample_images(pair, 30)
    assert len(rows) == 30 and (rows % 25 == 0).sum() == 15
    assert "15 of the 40 that one side gets right" in rule


def test_sample_is_seeded_and_takes_all_where_there_are_few(pair):
    assert (sample_images(pair, 100, seed=1)[0] == sample_images(pair, 100, seed=1)[0]).all()
    assert (sample_images(pair, 100, seed=1)[0] != sample_images(pair, 100, seed=2)[0]).any()
    rows, rule = sample_images(pair, 1000)
    assert rows.tolist() == list(range(1000)) and rule == "all 1,000 images"


def test_sample_of_one_network_is_stratified_only(pair):
    rows, rule = sample_images(pair[:1], 100)
    assert np.bincount(pair[0].labels[rows]).tolist() == [80, 15, 5]
    assert "one side" not in rule


def test_take_images_takes_the_same_of_every_array(pair):
    rows = np.array([3, 7, 900])
    taken = take_images(pair[0], rows)
    assert taken.indices.tolist() == [30, 70, 9000] and taken.labels.tolist() == [0, 0, 1]
    assert (taken.features == pair[0].features[rows]).all() and taken.true_maps[1, 0, 0] == 7
    assert (taken.logits == pair[0].logits[rows]).all() and taken.predicted_maps[2, 0, 0] == -900


@pytest.mark.parametrize("sides", [1, 2])
def test_small_sample_holds_two_of_each_class_where_there_is_room(pair, sides):
    for count in (6, 7, 12, 20):
        rows, rule = sample_images(pair[:sides], count)
        assert len(rows) == len(set(rows)) == count and (np.diff(rows) > 0).all()
        assert np.bincount(pair[0].labels[rows], minlength=3).min() >= 2
        if sides == 2:
            assert f"{(rows % 25 == 0).sum()} of the 40 that one side" in rule
    rows, _ = sample_images(pair[:sides], 3)  # no room
    assert len(rows) == 3
    unknown = [predict(np.zeros(50, int), np.full(50, -1))]
    assert len(sample_images(unknown, 9)[0]) == 9
