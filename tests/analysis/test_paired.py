"""Paired comparisons over seeds, against closed forms and slow twins."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from ralr_viz.analysis.paired import (
    compare_paired,
    hodges_lehmann,
    holm,
    paired_interval,
    seed_image_interval,
)


def test_compare_paired_is_the_paired_t_test():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=5), rng.normal(size=5)
    found, twin = compare_paired(b - a), stats.ttest_rel(b, a)
    assert found.mean == pytest.approx((b - a).mean())
    assert found.p == pytest.approx(twin.pvalue)
    half = 2.7764451 * (b - a).std(ddof=1) / np.sqrt(5)  # t of 4 degrees of freedom
    assert (found.low, found.high) == pytest.approx((found.mean - half, found.mean + half))


def test_compare_paired_interval_covers_at_its_level():
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(1000):
        found = compare_paired(rng.normal(1.0, 2.0, size=4))
        covered += found.low < 1.0 < found.high
    assert stats.binomtest(covered, 1000, 0.95).pvalue > 1e-3


@pytest.mark.parametrize("d", [[0.5, 1.0, 2.0], [-1.0, 3.0, 2.0, -0.5], [1.0, 1.0, 1.0]])
def test_sign_flip_p_is_the_share_of_all_flips(d):
    means = [abs(np.mean(np.multiply(d, flip))) for flip in itertools.product((1, -1), repeat=len(d))]
    expected = np.mean([m >= abs(np.mean(d)) - 1e-12 for m in means])
    found = compare_paired(d)
    assert found.sign_flip_p == pytest.approx(expected)
    assert found.sign_flip_p >= found.floor == 2 / 2 ** len(d)


def test_compare_paired_of_one_seed_tests_nothing():
    found = compare_paired([0.3])
    assert found.mean == 0.3
    assert np.isnan([found.low, found.high, found.p]).all()
    assert found.sign_flip_p == found.floor == 1


def test_compare_paired_of_equal_differences():
    """Two digits runs that differ by the same one image: no interval, and surely no p of 0."""
    for d in (0.0, 2.0):
        found = compare_paired([d, d, d])
        assert found.mean == d
        assert np.isnan([found.low, found.high, found.p]).all()
    assert found.sign_flip_p == found.floor == 0.25


def test_compare_paired_of_what_was_not_measured_is_nan():
    assert np.isnan(compare_paired([1.0, np.nan, 2.0])[:5]).all()


def test_holm_is_its_textbook_example():
    # Holm 1979 by hand: 0.01·4, then 0.03·3 < 0.04 is kept monotone, …
    assert holm([0.03, 0.01, 0.04, 0.5]) == pytest.approx([0.09, 0.04, 0.09, 0.5])


def test_holm_counts_what_was_not_tested():
    assert holm([0.02, np.nan, np.nan, np.nan]) == pytest.approx([0.08, *[np.nan] * 3], nan_ok=True)


def test_holm_never_lowers_a_p_nor_changes_the_order():
    p = np.random.default_rng(2).uniform(size=20)
    corrected = holm(p)
    assert (corrected >= p).all() and corrected.max() <= 1
    assert (np.diff(corrected[np.argsort(p)]) >= 0).all()


def test_seed_image_interval_holds_both_spreads():
    rng = np.random.default_rng(3)
    draws = rng.normal(0, 1, (1, 4000)) + rng.normal(0, 2, (400, 1))  # common images, own seeds
    low, high = seed_image_interval(draws)
    expected = 1.96 * np.sqrt(1 + 4 / 400)
    assert (high - low) / 2 == pytest.approx(expected, rel=0.05)


def test_seed_image_interval_without_draws_is_unknown():
    assert np.isnan(seed_image_interval(np.zeros((3, 0)))).all()


@pytest.mark.parametrize("n", [6, 8, 11])
def test_hodges_lehmann_is_dual_to_wilcoxons_test(n):
    """The interval ends where SciPy's exact test of a shift begins to reject at 5 %."""
    d = np.random.default_rng(n).normal(size=n)
    found = hodges_lehmann(d)
    averages = [(a + b) / 2 for a, b in itertools.combinations_with_replacement(d, 2)]
    assert found.estimate == pytest.approx(np.median(averages))
    for end, outward in ((found.low, -1), (found.high, 1)):
        inside, outside = (
            stats.wilcoxon(d - end + t * outward * 1e-9, method="exact").pvalue for t in (1, -1)
        )
        assert inside > 0.05 >= outside


def test_hodges_lehmann_says_where_there_is_no_interval():
    assert hodges_lehmann([]) == pytest.approx((np.nan,) * 3, nan_ok=True)
    assert hodges_lehmann([1.0, np.nan]) == pytest.approx((np.nan,) * 3, nan_ok=True)
    found = hodges_lehmann(np.arange(5.0))  # no exact p of five is below .0625
    assert found.estimate == 2
    assert np.isnan([found.low, found.high]).all()


def test_hodges_lehmann_covers_at_its_level_or_above():
    rng = np.random.default_rng(7)
    ends = np.array([hodges_lehmann(rng.standard_t(3, 8))[1:] for _ in range(2000)])
    assert 0.945 < ((ends[:, 0] < 0) & (ends[:, 1] > 0)).mean() < 0.975  # exactly 0.961


def test_paired_interval_is_scipys():
    d = np.random.default_rng(2).normal(size=8)
    for level in (0.9, 0.95):
        twin = stats.ttest_1samp(d, 0).confidence_interval(level)
        assert paired_interval(d, level) == pytest.approx((twin.low, twin.high))
    assert np.isnan(paired_interval([1.0, 1.0])).all()
    assert np.isnan(paired_interval([1.0])).all()
