"""Which images a report shows."""

from __future__ import annotations

import numpy as np
import pytest

from ralr_viz.analysis.sample import sample_disputed, sample_images, take_images
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


def test_sample_is_of_the_classes_in_proportion_whatever_the_networks_say(pair):
    rows, rule = sample_images(pair[0], 100)
    assert np.bincount(pair[0].labels[rows]).tolist() == [80, 15, 5] and (np.diff(rows) > 0).all()
    assert (rows == sample_images(pair[1], 100)[0]).all()
    assert rule == "100 of 1,000 images, drawn at random in proportion to the classes"
    assert (rows != sample_images(pair[0], 100, seed=2)[0]).any()
    rows, rule = sample_images(pair[0], 1000)
    assert rows.tolist() == list(range(1000)) and rule == "all 1,000 images"


def test_disputed_images_are_added_once_and_up_to_a_number(pair):
    taken, _ = sample_images(pair[0], 100)
    more = sample_disputed(pair, taken, 500)
    assert set(more) == set(range(0, 1000, 25)) - set(taken) and (np.diff(more) > 0).all()
    assert len(sample_disputed(pair, taken, 7)) == 7
    assert len(sample_disputed(pair[:1], taken, 7)) == 0


def test_take_images_takes_the_same_of_every_array(pair):
    rows = np.array([3, 7, 900])
    taken = take_images(pair[0], rows)
    assert taken.indices.tolist() == [30, 70, 9000] and taken.labels.tolist() == [0, 0, 1]
    assert (taken.features == pair[0].features[rows]).all() and taken.true_maps[1, 0, 0] == 7
    assert (taken.logits == pair[0].logits[rows]).all() and taken.predicted_maps[2, 0, 0] == -900


def test_small_sample_holds_two_of_each_class_where_there_is_room(pair):
    for count in (6, 7, 20):
        rows, _ = sample_images(pair[0], count)
        assert len(rows) == len(set(rows)) == count and (np.diff(rows) > 0).all()
        assert np.bincount(pair[0].labels[rows], minlength=3).min() >= 2
    assert len(sample_images(pair[0], 3)[0]) == 3  # no room
    assert len(sample_images(predict(np.zeros(50, int), np.full(50, -1)), 9)[0]) == 9
