"""Resamples, Student's interval and the test of paired counts; intervals by draws are in `test_measure.py`."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from ralr_viz.results.uncertainty import (
    bootstrap_counts,
    bootstrap_places,
    mcnemar_p,
    multinomial_counts,
    percentile_interval,
    student_interval,
    t_quantile,
)


@given(st.integers(1, 40), st.integers(1, 20), st.integers(1, 25), st.integers(0, 2**32))
def test_bootstrap_places_are_the_same_however_many_at_a_time(n, resamples, size, seed):
    (whole,) = bootstrap_places(n, resamples, seed)
    parts = list(bootstrap_places(n, resamples, seed, size=size))
    assert max(map(len, parts)) <= size
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    counts = np.concatenate(list(bootstrap_counts(n, resamples, seed, size=size)))
    literal = [[(row == unit).sum() for unit in range(n)] for row in whole]
    np.testing.assert_array_equal(counts, literal)


def test_multinomial_counts_draw_as_many_as_there_are():
    counts = multinomial_counts(7, 2000, (3, 7))
    assert (counts.sum(axis=1) == 7).all()
    assert counts.mean(axis=0) == pytest.approx(np.ones(7), abs=0.1)


@pytest.mark.parametrize("level", [0.9, 0.95])
def test_student_interval_is_scipys(level):
    values = np.random.default_rng(0).normal(size=(3, 8))
    found = stats.ttest_1samp(values, 0, axis=1).confidence_interval(level)
    np.testing.assert_allclose(student_interval(values, level), found)
    assert t_quantile(7, level) == pytest.approx(stats.t.ppf((1 + level) / 2, 7))


def test_percentile_interval_is_along_its_axis():
    draws = np.arange(101.0)[:, None] * np.ones(2)
    np.testing.assert_allclose(percentile_interval(draws, axis=0), [[2.5, 2.5], [97.5, 97.5]])
    np.testing.assert_allclose(percentile_interval(draws.T, tail=0.05), [[5, 5], [95, 95]])


@pytest.mark.parametrize(("fixed", "broken"), [(0, 0), (5, 5), (1, 9), (30, 12)])
def test_mcnemar_p_is_the_exact_binomial_test(fixed, broken):
    p = mcnemar_p(fixed, broken)
    n, k = fixed + broken, min(fixed, broken)
    literal = min(1.0, 2 * sum(stats.binom.pmf(i, n, 0.5) for i in range(k + 1)))
    assert p == pytest.approx(literal)
