"""Intervals of the delete-one-group jackknife: closed forms, and how often they hold the truth."""

from __future__ import annotations

import numpy as np
from scipy import stats

from ralr_viz.results.jackknife import each_of_sums, jackknife_interval, pseudo_values


def test_jackknife_interval_of_a_mean_is_the_t_interval_of_the_group_means() -> None:
    groups = np.random.default_rng(0).standard_normal((10, 7))
    replicates = np.append(groups.mean(), [np.delete(groups, g, axis=0).mean() for g in range(10)])
    value, low, high = jackknife_interval(replicates, np.full(10, 7))
    means = groups.mean(axis=1)
    expected = stats.t.interval(0.95, 9, loc=means.mean(), scale=stats.sem(means))
    np.testing.assert_allclose([value, low, high], [means.mean(), *expected])


def test_jackknife_interval_of_unequal_groups_equals_the_formula() -> None:
    """Busing et al. 1999, equation 10: for a mean the pseudo-values are the group means."""
    rng = np.random.default_rng(1)
    sizes = np.array([3, 5, 4])
    values = rng.standard_normal(12)
    group = np.repeat(np.arange(3), sizes)
    replicates = np.append(values.mean(), [values[group != g].mean() for g in range(3)])
    means = np.array([values[group == g].mean() for g in range(3)])
    variance = np.mean((means - values.mean()) ** 2 / (12 / sizes - 1))
    value, low, high = jackknife_interval(replicates, sizes)
    half = stats.t.ppf(0.975, 2) * np.sqrt(variance)
    np.testing.assert_allclose([low, high], [value - half, value + half])


def test_jackknife_interval_covers_the_truth_at_its_level() -> None:
    """Correlation of 0.6 from 20 groups of 10; the interval misses it in about one case of twenty."""
    rng = np.random.default_rng(2)
    x, noise = rng.standard_normal((2, 400, 20, 10))
    pair = np.stack([x, 0.6 * x + 0.8 * noise])  # (2, samples, groups, images)

    def correlation(values: np.ndarray) -> np.ndarray:
        a, b = values - values.mean(axis=-1, keepdims=True)
        return (a * b).mean(-1) / (a.std(-1) * b.std(-1))

    without = [correlation(np.delete(pair, g, axis=2).reshape(2, 400, -1)) for g in range(20)]
    replicates = np.stack([correlation(pair.reshape(2, 400, -1)), *without], axis=-1)
    _, low, high = jackknife_interval(replicates, np.full(20, 10))
    assert 0.92 < np.mean((low < 0.6) & (high > 0.6)) < 0.98


def test_each_of_sums_is_the_jackknife_of_a_ratio_of_sums() -> None:
    above, below = np.random.default_rng(3).uniform(1, 2, (2, 4, 6))
    each = each_of_sums(np.divide, above, below)
    left_out = [np.delete(above, i, axis=1).sum(1) / np.delete(below, i, axis=1).sum(1) for i in range(6)]
    ratio = above.sum(1) / below.sum(1)
    _, away = pseudo_values(np.stack([ratio, *left_out], axis=1), np.ones(6))
    np.testing.assert_allclose(each, ratio[:, None] + away)
    np.testing.assert_allclose(each.mean(axis=1), ratio)
