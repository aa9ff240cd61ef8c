"""Barriers of given losses: closed forms, and the bias of a maximum."""

from __future__ import annotations

import numpy as np
import pytest

from ralr_viz.results.barrier import BarrierResult, line_gap
from ralr_viz.results.bundle import load_result, save_result

ALPHAS = np.arange(11) / 10


def result(losses: np.ndarray, **changes) -> BarrierResult:
    """Of losses (m, A, n)."""
    m, _, n = losses.shape
    values = {
        "models": tuple("abcdef"[:m]),
        "states": (("epoch 1", "epoch 2"),) * m,
        "alphas": ALPHAS,
        "losses": losses.astype(np.float32),
        "correct": np.ones(losses.shape, bool),
        "distances": np.ones(m),
        "statistics": "recomputed",
        "indices": np.arange(n),
    }
    return BarrierResult(**(values | changes))


def measure(of: BarrierResult, name: str):
    return next(m for m in of.measures() if m.name == name)


def test_barrier_of_a_quadratic_is_its_closed_form():
    # L = c·(α − ½)²·d²: a bowl has no barrier, a hill one of d²/4 in the middle
    bowl = 2 + 3 * (ALPHAS - 0.5) ** 2
    tilted = 1 - 3 * (ALPHAS - 0.5) ** 2 + 0.5 * ALPHAS
    both = result(np.stack([bowl, tilted])[:, :, None].repeat(60, axis=2))
    np.testing.assert_allclose(measure(both, "barrier").values, [0, 0.75], atol=1e-6)
    np.testing.assert_allclose(measure(both, "middle_rise").values, [-0.75, 0.75], atol=1e-6)
    # L(0.6) = 1.27, the higher end is 0.75
    np.testing.assert_allclose(measure(both, "rise_over_ends").values, [0, 0.52], atol=1e-6)
    assert measure(both, "barrier").interval(1) == pytest.approx((0.75, 0.75, 0.75), abs=1e-6)
    assert both.measures()[0].name == "barrier"


def test_line_gap_is_zero_at_both_ends():
    values = np.random.default_rng(0).normal(size=(5, 11))
    assert not line_gap(ALPHAS, values)[:, [0, -1]].any()


def test_barrier_draws_are_not_pushed_up_by_the_maximum():
    rng = np.random.default_rng(1)
    flat = result(rng.normal(1, 1, (1, 11, 200)))  # no barrier: every rise of a point is noise
    barrier = measure(flat, "barrier")
    value, low, high = barrier.interval(0)
    assert value > 0.05 and flat.selection_bias()[0] > 0.03  # what is to be corrected
    assert low == 0 and value - flat.selection_bias()[0] < high
    assert abs(np.median(barrier.draws)) < value
    hill = np.sin(np.pi * ALPHAS)[None, :, None] + rng.normal(0, 1, (1, 1, 200))
    certain = result(hill)  # the noise is the images', the same at every point
    assert measure(certain, "barrier").interval(0) == pytest.approx((1, 1, 1), abs=1e-5)


def test_barrier_draws_are_common_to_the_pairs():
    rng = np.random.default_rng(2)
    noise = rng.normal(1, 0.3, (1, 11, 100))
    both = result(np.concatenate([noise, noise + np.sin(np.pi * ALPHAS)[None, :, None]]))
    _, low, high = measure(both, "middle_rise").difference(0, 1)
    assert (low, high) == pytest.approx((1, 1), abs=1e-5)
    first_low, first_high = measure(both, "first_loss").interval(0)[1:]
    assert first_high - first_low == pytest.approx(2 * 1.96 * 0.03, rel=0.25)


def test_barrier_counts_accuracy_below_the_line_in_points():
    correct = np.ones((1, 11, 10), bool)
    correct[0, 5, :4] = False
    assert measure(result(np.ones((1, 11, 10)), correct=correct), "accuracy_barrier").values == [40]


def test_barrier_result_survives_saving_and_refuses_other_shapes(tmp_path):
    one = result(np.random.default_rng(3).normal(size=(2, 11, 5)))
    assert load_result(save_result(one, tmp_path / "r")) == one
    with pytest.raises(ValueError, match="losses"):
        result(np.ones((1, 10, 5)))
    with pytest.raises(ValueError, match="1/2"):
        result(np.ones((1, 4, 5)), alphas=np.array([0, 0.3, 0.6, 1]))
    with pytest.raises(ValueError, match="unique"):
        result(np.ones((2, 11, 5)), models=("a", "a"))
