"""Measures of several networks and their paired differences."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from ralr_viz.results.measure import (
    Measure,
    format_interval,
    format_number,
)
from ralr_viz.results.uncertainty import (
    bootstrap_interval,
    error_interval,
    paired_proportions_interval,
    student_interval,
)


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


def _covered(interval, truth):
    low, high = interval
    return np.mean((low <= truth) & (truth <= high))


@pytest.mark.parametrize(("n", "lowest"), [(50, 0.90), (100, 0.93), (250, 0.93)])
def test_intervals_of_images_cover_as_often_as_they_say(n, lowest):
    """2,000 samples: the mean of a skewed loss, and a paired difference that few images decide."""
    replicates, rng = 2000, np.random.default_rng(n)
    loss = rng.gamma(0.7, size=(replicates, n))  # skewness 2.4
    changed = rng.standard_t(6, (replicates, n)) * (rng.random((replicates, n)) < 0.5) - 0.1
    # the same resamples for all samples, which know nothing of them
    weights = rng.multinomial(n, np.full(n, 1 / n), 400).T / n
    means, differences = loss @ weights, changed @ weights
    assert lowest <= _covered(bootstrap_interval(means, n), 0.7) <= 0.97
    assert lowest <= _covered(error_interval(changed.mean(axis=1), differences, n), -0.1) <= 0.97


def test_interval_over_eight_directions_is_students_and_covers():
    rises = np.random.default_rng(0).normal(size=(4000, 8))
    assert _covered(student_interval(rises), 0) == pytest.approx(0.95, abs=0.012)
    picks = np.random.default_rng(1).integers(8, size=(300, 8))
    plain = np.percentile(rises[:, picks].mean(axis=2), (2.5, 97.5), axis=1)
    assert _covered(plain, 0) < 0.91  # what it was
    measure = Measure("s", "s", "", rises[:2].mean(axis=1), resampled="directions", count=8, each=rises[:2])
    expected = stats.ttest_rel(rises[1], rises[0]).confidence_interval()
    assert measure.difference(0, 1)[1:] == pytest.approx(expected)


@pytest.mark.parametrize("n", [1, 20, 49])
def test_few_images_have_a_value_but_no_interval_and_a_reason(n):
    draws = np.random.default_rng(0).normal(size=(2, 100))
    few = Measure("loss", "loss", "nats", np.zeros(2), draws, "images", n)
    assert np.isnan([*few.interval(0)[1:], *few.difference(0, 1)[1:]]).all()
    assert few.refusal == f"no interval of {n} images, which would be too narrow: take 50 or more"
    enough = Measure("loss", "loss", "nats", np.zeros(2), draws, "images", 50)
    assert not enough.refusal and np.isfinite(enough.interval(0)).all()


def test_interval_of_equal_draws_is_the_value():
    exact = Measure("loss", "loss", "", np.full(2, 0.1), np.full((2, 50), 0.1), "images", 100)
    assert exact.interval(0) == pytest.approx((0.1, 0.1, 0.1)) and exact.difference(0, 1) == (0, 0, 0)


def test_interval_of_a_share_is_no_point_where_no_image_counts_or_changes():
    """Resamples of none are all alike: they would say that there never is one."""
    none = Measure("churn", "churn", "%", np.zeros(2), np.zeros((2, 50)), "images", 100, share=100.0)
    assert none.interval(0) == pytest.approx((0, 0, 100 * 1.96**2 / (100 + 1.96**2)), abs=1e-3)
    _, low, high = none.difference(0, 1)
    assert low == -high == pytest.approx(100 * -1.96 * np.sqrt(2 / 102 / 102), abs=1e-3)


def test_difference_of_shares_is_bonett_and_prices_by_the_spread_of_the_draws():
    rng = np.random.default_rng(0)
    changed = np.repeat([1.0, -1.0, 0.0], [20, 8, 172])
    draws = rng.multinomial(200, np.full(200, 1 / 200), 4000) @ changed / 2
    measure = Measure(
        "accuracy", "", "%", np.array([50, 56.0]), np.stack([0 * draws, draws]), "images", 200, share=100.0
    )
    expected = 100 * np.array(paired_proportions_interval(20, 8, 200))
    assert measure.difference(0, 1) == pytest.approx((6, *expected), abs=0.2)


def test_interval_that_does_not_hold_its_value_is_none():
    draws = np.random.default_rng(0).normal(5, 0.1, (1, 100))
    assert np.isnan(Measure("x", "x", "", np.zeros(1), draws, "images", 100).interval(0)[1:]).all()


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (-99.6, 2, "−100"),
        (12345.6, 4, "12350"),
        (3e-16, 4, "3e−16"),
        (-0.0, 3, "−0"),
        (np.inf, 4, "not defined"),
        (np.nan, 4, "not defined"),
    ],
)
def test_format_number_has_no_exponent_and_no_nan(value, digits, text):
    assert format_number(value, digits) == text


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ((-87.4, -104.2, -71.0), "−87.4 [−104, −71]"),
        ((1.246, 1.244, 1.248), "+1.25 [+1.24, +1.25]"),
        ((0.232, np.nan, np.nan), "+0.232"),
        ((0.232, 0.233, 0.242), "+0.232"),
        ((0.232, 0.2, np.inf), "+0.232"),
        ((np.inf, np.nan, np.nan), "not defined"),
    ],
)
def test_format_interval_holds_its_value_or_is_left_out(numbers, text):
    assert format_interval(*numbers, 3, signed=True) == text
