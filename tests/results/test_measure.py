"""Measures of several networks and their paired differences."""

from __future__ import annotations

import numpy as np
import pytest

from ralr_viz.results.measure import Measure


def _measure(values, draws):
    return Measure("loss", "loss", "nats", np.array(values), np.array(draws), "images")


def test_measure_interval_is_percentiles():
    draws = np.arange(101.0)
    value, low, high = _measure([50.0], [draws]).interval(0)
    assert (value, low, high) == pytest.approx((50, 2.5, 97.5))


def test_measure_difference_is_paired():
    common = np.random.default_rng(0).normal(size=200)
    measure = _measure([1.0, 3.0], [1 + common, 3 + common])
    assert measure.difference(0, 1) == pytest.approx((2, 2, 2))
    assert measure.difference(1, 0) == pytest.approx((-2, -2, -2))


def test_measure_without_draws_has_no_interval():
    measure = Measure("path", "path", "", np.array([1.0, 2.0]))
    value, low, high = measure.difference(0, 1)
    assert value == 1
    assert np.isnan([low, high]).all()


@pytest.mark.parametrize(("values", "draws"), [([[1.0]], [[1.0]]), ([1.0, 2.0], [[1.0]])])
def test_measure_refuses_other_shapes(values, draws):
    with pytest.raises(ValueError, match="expects"):
        _measure(values, draws)
