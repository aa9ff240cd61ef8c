"""Deletion, insertion and ROAD against hand-computed numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from ralr_viz.analysis.localisation.faithfulness import (
    deletion,
    insertion,
    measure_faithfulness,
    pixel_order,
    road_score,
)
from ralr_viz.analysis.localisation.imputation import Imputer
from ralr_viz.comparison import Comparison, compare
from ralr_viz.errors import InputError
from ralr_viz.models.registry import build_model

MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)


def seen_by(model, images, label, batch=None) -> Comparison:
    settings = {"mean": MEAN, "std": STD, "device": "cpu", "batch": batch}
    return compare({"net": model}, images=images, labels=np.full(len(images), label), **settings)


def total(pictures):
    return pictures.reshape(len(pictures), -1).sum(axis=1)


def test_deletion_and_insertion_by_hand():
    """A network that sums its pixels; two steps of two pixels each."""
    picture = np.array([[[0.4, 0.3], [0.2, 0.1]]])
    order = pixel_order(picture[0], np.random.default_rng(0))
    # deletion: 1, .3, 0 and insertion: 0, .7, 1, by trapezia
    assert deletion(picture, order, total, 2) == pytest.approx(0.4)
    assert insertion(picture, order, total, 2) == pytest.approx(0.6)
    assert deletion(picture, order[::-1], total, 2) == pytest.approx(0.6)


def test_pixel_order_breaks_ties_at_random_but_not_ranks():
    pixels = np.array([[0.0, 2.0, 0.0], [1.0, 0.0, 0.0]])
    orders = [pixel_order(pixels, np.random.default_rng(seed)) for seed in range(40)]
    assert all(order[:2].tolist() == [1, 3] for order in orders)
    assert {order[2] for order in orders} == {0, 2, 4, 5}
    np.testing.assert_array_equal(orders[3], pixel_order(pixels, np.random.default_rng(3)))


def test_road_takes_away_exactly_as_many_pixels_whatever_is_tied():
    seen = []

    def count(pictures):
        seen.extend((pictures != 1).any(axis=1).sum(axis=(1, 2)))
        return np.zeros(len(pictures))

    picture, noise = np.ones((3, 10, 10), np.float32), np.ones((3, 10, 10))
    order = pixel_order(np.zeros((10, 10)), np.random.default_rng(0))  # all tied, as zeros of a ReLU are
    assert road_score(picture, order, count, Imputer((10, 10)), noise) == 0
    assert seen == [20, 20, 40, 40, 60, 60, 80, 80]


class Spot(nn.Module):
    """Says class 1 the surer, the brighter the upper left quarter is."""

    def forward(self, x):
        bright = x[:, :, :4, :4].mean((1, 2, 3))
        return torch.stack([-2 * bright, 2 * bright], 1)


def test_faithful_maps_gain_and_others_lose():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 80, (6, 8, 8, 3), dtype=np.uint8)
    images[:, :4, :4] += 170
    maps = np.zeros((6, 4, 4), np.float32)
    maps[:, :2, :2] = 1
    compared = seen_by(Spot(), images, 1)
    found = measure_faithfulness(compared, 0, maps)
    assert found.gains.shape == (3, 2, 6)
    assert (found.gains.mean(axis=2) > 0.05).all()
    worst = measure_faithfulness(compared, 0, -maps)
    assert (worst.gains.mean(axis=2)[:2] < 0).all() and worst.gains.mean(axis=2)[2, 0] < 0


def test_faithfulness_is_the_same_for_a_seed_and_leaves_no_trace():
    images = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
    maps = np.random.default_rng(1).standard_normal((3, 4, 4)).astype(np.float32)
    compared = seen_by(build_model("resnet20", 4).train(), images, 0)
    model = compared.networks[0].source
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    first = measure_faithfulness(compared, 0, maps, steps=3)
    again = measure_faithfulness(seen_by(model, images, 0, batch=2), 0, maps, steps=3)
    np.testing.assert_allclose(first.gains, again.gains, atol=1e-5)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert model.training and all(p.grad is None for p in model.parameters())
    with pytest.raises(RuntimeError, match="stop"):
        measure_faithfulness(compared, 0, maps, progress=stop)
    assert model.training and all(module.training for module in model.modules())


def stop(done, total, what):
    assert what == "faithfulness of net"
    raise RuntimeError("stop")


def test_faithfulness_refuses_other_maps_and_steps():
    images = np.zeros((2, 8, 8, 3), np.uint8)
    with pytest.raises(
        InputError, match=r"`maps` is \(1, 4, 4\), `steps` = 10: one map for each of 2 images"
    ):
        measure_faithfulness(seen_by(Spot(), images, 1), 0, np.zeros((1, 4, 4)))
    with pytest.raises(InputError, match="`steps` = 0"):
        measure_faithfulness(seen_by(Spot(), images, 1), 0, np.zeros((2, 4, 4)), steps=0)
