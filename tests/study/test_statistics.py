"""Statistics of few seeds, against closed forms, scipy and slow twins; a warning is an error."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from ralr_viz.analysis.paired import compare_paired
from ralr_viz.study.statistics import MOST_ASSIGNMENTS, contrast, summarise

pytestmark = pytest.mark.filterwarnings("error")


def _seeds(values) -> dict[int, float]:
    return dict(enumerate(np.asarray(values, dtype=float).tolist()))


def _draw(n: int, m: int, seed: int = 0, shift: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(70, 1, n), rng.normal(70 + shift, 2, m)


def test_summarise_is_the_t_interval():
    found = summarise([1.0, 2.0, 3.0, 4.0])
    std = math.sqrt(5 / 3)  # ddof = 1
    half = 3.1824463 * std / 2  # t of 3 degrees of freedom
    assert found.n == 4 and found.mean == 2.5 and found.std == pytest.approx(std)
    assert (found.low, found.high) == pytest.approx((2.5 - half, 2.5 + half))
    assert found.values == (1.0, 2.0, 3.0, 4.0)


def test_summarise_leaves_out_what_is_missing():
    assert summarise([2.0, np.nan, 4.0])[:2] == (2, 3.0)
    one, none = summarise([2.0, np.nan]), summarise([np.nan])
    assert one[:2] == (1, 2.0) and np.isnan(one[2:5]).all()
    assert none.n == 0 and np.isnan(none[1:5]).all() and none.values == ()


def test_summarise_of_equal_values_has_no_spread():
    assert summarise([3.0, 3.0, 3.0])[:5] == (3, 3.0, 0.0, 3.0, 3.0)


@pytest.mark.parametrize(("n", "m"), [(4, 4), (2, 3), (4, 3), (12, 5)])
def test_compare_is_welchs_test(n, m):
    a, b = _draw(n, m, seed=n + m)
    found, twin = contrast(_seeds(a), _seeds(b)), stats.ttest_ind(b, a, equal_var=False)
    interval = twin.confidence_interval(0.95)
    assert found.difference == pytest.approx(b.mean() - a.mean())
    assert (found.p, found.df) == pytest.approx((twin.pvalue, twin.df))
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert (found.n_a, found.n_b) == (n, m)


@pytest.mark.parametrize(("n", "m"), [(4, 4), (2, 3), (5, 3), (1, 4)])
def test_compare_permutation_p_is_exact(n, m):
    a, b = _draw(n, m, seed=3 * n + m)
    found = contrast(_seeds(a), _seeds(b))
    pooled, observed = np.concatenate([a, b]), b.mean() - a.mean()
    differences = []
    for chosen in itertools.combinations(range(n + m), n):
        rest = [i for i in range(n + m) if i not in chosen]
        differences.append(pooled[rest].mean() - pooled[list(chosen)].mean())
    lower = np.mean([d <= observed + 1e-9 for d in differences])
    upper = np.mean([d >= observed - 1e-9 for d in differences])
    assert found.permutation_p == pytest.approx(min(1, 2 * min(lower, upper)))
    if n > 1:  # scipy takes no side of one
        twin = stats.permutation_test((a, b), lambda x, y: np.mean(x) - np.mean(y), n_resamples=np.inf)
        assert found.permutation_p == pytest.approx(twin.pvalue)
    assert found.permutation_floor == pytest.approx(2 / math.comb(n + m, n))


def test_compare_permutation_reaches_its_floor_where_the_sides_do_not_overlap():
    found = contrast(_seeds([1, 2, 3, 4]), _seeds([5, 6, 7, 8]))
    assert found.permutation_p == found.permutation_floor == pytest.approx(2 / 70)
    assert found.improvement == 1


def test_compare_permutation_counts_ties_that_rounding_parts():
    # in tenths, which are whole: 42 of the 70 assignments are as far from the mean or farther, on either side
    a, b = [2, 5, 3, 0], [4, 4, 5, 1]
    whole = contrast(_seeds(a), _seeds(b)).permutation_p
    assert contrast(_seeds(70 + np.divide(a, 10)), _seeds(70 + np.divide(b, 10))).permutation_p == whole
    assert whole == pytest.approx(42 / 70)


def test_compare_permutation_of_many_runs_is_drawn_and_repeatable():
    a, b = _draw(9, 9, seed=5, shift=1.2)
    assert math.comb(18, 9) > MOST_ASSIGNMENTS
    found = contrast(_seeds(a), _seeds(b))
    exact = stats.permutation_test(
        (a, b), lambda x, y, axis: x.mean(axis) - y.mean(axis), vectorized=True, n_resamples=np.inf
    ).pvalue
    error = math.sqrt(exact / MOST_ASSIGNMENTS)
    assert found.permutation_p == pytest.approx(exact, abs=5 * error)
    assert found.permutation_floor == 2 / (MOST_ASSIGNMENTS + 1)
    assert contrast(_seeds(a), _seeds(b)).permutation_p == found.permutation_p


def test_compare_improvement_is_the_share_of_pairs():
    a, b = [70.0, 71.0, 72.0, 73.0], [71.0, 74.0, 70.0]
    u = stats.mannwhitneyu(b, a).statistic
    assert contrast(_seeds(a), _seeds(b)).improvement == pytest.approx(u / 12)
    assert contrast(_seeds(a), _seeds(a)).improvement == 0.5


@pytest.mark.parametrize(("n", "m"), [(4, 4), (3, 6)])
def test_compare_g_is_d_times_the_exact_correction(n, m):
    a, b = _draw(n, m, seed=n)
    found, df = contrast(_seeds(a), _seeds(b)), n + m - 2
    pooled = math.sqrt(((n - 1) * a.var(ddof=1) + (m - 1) * b.var(ddof=1)) / df)
    j = math.gamma(df / 2) / (math.sqrt(df / 2) * math.gamma((df - 1) / 2))
    assert j == pytest.approx(1 - 3 / (4 * df - 1), abs=0.002)
    assert found.g == pytest.approx(j * (b.mean() - a.mean()) / pooled)
    t, scale = stats.ttest_ind(b, a).statistic, math.sqrt(1 / n + 1 / m)
    assert stats.nct.cdf(t, df, found.g_low / scale) == pytest.approx(0.975, abs=1e-5)
    assert stats.nct.cdf(t, df, found.g_high / scale) == pytest.approx(0.025, abs=1e-5)


def test_compare_pairs_the_common_seeds():
    a, b = {0: 70.0, 1: 71.0, 2: 73.0, 7: 60.0}, {2: 74.0, 0: 70.5, 1: 71.2, 9: 90.0}
    found = contrast(a, b)
    assert found.pairs == 3
    assert found.paired == compare_paired([0.5, 71.2 - 71.0, 1.0])
    assert found.correlation == pytest.approx(stats.pearsonr([70, 71, 73], [70.5, 71.2, 74]).statistic)


def test_compare_of_one_run_each_has_a_difference_and_no_test():
    found = contrast({0: 70.0}, {0: 71.0})
    assert found.difference == 1 and found.permutation_p == found.permutation_floor == 1
    assert np.isnan([found.low, found.high, found.df, found.p, found.g, found.g_low, found.correlation]).all()
    assert found.paired.mean == 1 and np.isnan(found.paired.p)


def test_compare_of_constants_does_not_pretend_to_know_their_spread():
    found = contrast(_seeds([1, 1, 1]), _seeds([2, 2, 2]))
    assert found.difference == 1 and found.improvement == 1
    assert np.isnan([found.low, found.high, found.p, found.g, found.correlation]).all()
    # one side varies: that is Welch's to judge
    assert np.isfinite(contrast(_seeds([1, 1, 1]), _seeds([2, 3, 4]))[3:7]).all()


def test_compare_leaves_out_what_is_missing():
    a, b = {0: 70.0, 1: 71.0, 2: np.nan}, {0: 72.0, 1: np.nan, 2: 73.0}
    found = contrast(a, b)
    assert (found.n_a, found.n_b, found.pairs) == (2, 2, 1)
    assert found.difference == 2


@pytest.mark.parametrize(("a", "b"), [({}, {}), ({0: 1.0}, {}), ({0: np.nan}, {0: 1.0})])
def test_compare_with_nothing_is_nan(a, b):
    found = contrast(a, b)
    assert found.pairs == 0
    assert np.isnan([found.difference, found.p, found.permutation_p, found.g, found.improvement]).all()
    assert np.isnan(found.paired).all()


def test_compare_without_common_seeds_has_no_paired_test():
    found = contrast({0: 1.0, 1: 2.0}, {2: 3.0, 3: 5.0})
    assert found.pairs == 0 and np.isnan(found.paired).all() and np.isfinite(found.p)


def test_summarise_interval_covers_at_its_level():
    rng, count = np.random.default_rng(0), 4000
    covered = 0
    for _ in range(count):
        found = summarise(rng.normal(70.0, 0.3, size=4))
        covered += found.low < 70.0 < found.high
    assert stats.binomtest(covered, count, 0.95).pvalue > 1e-3


# Welch's degrees of freedom are approximate at n = 4: coverage of scipy's interval in 200,000 draws
@pytest.mark.parametrize(("ratio", "expected"), [(1, 0.959), (3, 0.946)])
def test_compare_interval_covers_near_its_level(ratio, expected, monkeypatch):
    # the paired part is tested elsewhere, and the slow one
    monkeypatch.setattr("ralr_viz.study.statistics.compare_paired", lambda d: compare_paired([0.0]))
    rng, count = np.random.default_rng(ratio), 2500
    covered = standardised = 0
    for _ in range(count):
        a, b = rng.normal(70.0, 1, size=4), rng.normal(71.0, ratio, size=4)
        found = contrast(_seeds(a), _seeds(b))
        covered += found.low < 1.0 < found.high
        standardised += found.g_low < 1.0 < found.g_high
    assert stats.binomtest(covered, count, expected).pvalue > 1e-3
    if ratio == 1:  # the interval of g takes equal variances
        assert stats.binomtest(standardised, count, 0.95).pvalue > 1e-3
