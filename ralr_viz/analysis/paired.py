"""Comparisons of two methods over training seeds: the unit is the seed, and the seeds are paired."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats
from scipy.special import stdtr

from ralr_viz.results.uncertainty import (
    bootstrap_places,
    percentile_interval,
    student_interval,
    t_quantile,
)

_LEVEL = 0.95
_EXACT = 16  # seeds up to which all 2ⁿ flips are tried


class PairedComparison(NamedTuple):
    """What n paired differences say of their mean.

    Attributes:
        mean: Of the differences.
        low, high: Ends of the 95 % t interval; NaN where n < 2 or all differences are equal.
        p: Two-sided, of the paired t test; NaN likewise.
        sign_flip_p: Two-sided, of all 2ⁿ sign flips (of 2¹⁶ random ones beyond 16 seeds); 1 where n < 2.
        floor: The smallest value that ``sign_flip_p`` can take, 2 / 2ⁿ.
    """

    mean: float
    low: float
    high: float
    p: float
    sign_flip_p: float
    floor: float


def compare_paired(differences: Sequence[float] | np.ndarray) -> PairedComparison:
    """Paired t interval and test, and the exact sign-flip test, of differences over seeds.

    Args:
        differences: (n,) one of each seed, n ≥ 1.

    Returns:
        All NaN but the floor where a difference is NaN.
    """
    d = np.asarray(differences, dtype=np.float64)
    n, floor = len(d), 2.0 ** (1 - len(d))
    if not np.isfinite(d).all():
        return PairedComparison(np.nan, np.nan, np.nan, np.nan, np.nan, floor)
    mean = float(d.mean())
    if n < 2:
        return PairedComparison(mean, np.nan, np.nan, np.nan, 1.0, floor)
    if np.ptp(d) == 0:  # equal differences say nothing of their spread, so there is no interval
        return PairedComparison(mean, np.nan, np.nan, np.nan, _sign_flip_p(d), floor)
    # as stats.ttest_1samp, whose half millisecond is too long for the thousands of comparisons of a study
    error = float(d.std(ddof=1)) / math.sqrt(n)
    half = t_quantile(n - 1, _LEVEL) * error
    p = 2 * float(stdtr(n - 1, -abs(mean) / error))
    return PairedComparison(mean, mean - half, mean + half, p, _sign_flip_p(d), floor)


def paired_interval(differences: Sequence[float] | np.ndarray, level: float = _LEVEL) -> tuple[float, float]:
    """Ends of the t interval of the mean of paired differences.

    Args:
        differences: (n,) one of each seed.
        level: Of confidence, in (0, 1).

    Returns:
        NaN where n < 2, or where all differences are equal: that says nothing of their spread.
    """
    d = np.asarray(differences, dtype=np.float64)
    if len(d) < 2 or np.ptp(d) == 0:
        return np.nan, np.nan
    low, high = student_interval(d, level)
    return float(low), float(high)


class HodgesLehmann(NamedTuple):
    """Median of the Walsh averages of n differences, and its distribution-free interval.

    Attributes:
        estimate: NaN where n = 0.
        low, high: Ends of the exact interval of at least the level; NaN where n is too small for one.
    """

    estimate: float
    low: float
    high: float


def hodges_lehmann(differences: Sequence[float] | np.ndarray, level: float = _LEVEL) -> HodgesLehmann:
    """The centre of symmetric differences that one outlier does not move.

    The interval holds the shifts that Wilcoxon's signed rank test does not reject: between the (k+1)-th smallest
    and the (k+1)-th largest of the n (n + 1) / 2 Walsh averages, with the largest k whose two tails are together at
    most 1 − level.

    Args:
        differences: (n,) one of each seed, n ≤ 50.
        level: Of confidence, in (0, 1).

    References:
        Hodges & Lehmann, Annals of Mathematical Statistics 34, 1963.
    """
    d = np.asarray(differences, dtype=np.float64)
    n = len(d)
    if not n or not np.isfinite(d).all():
        return HodgesLehmann(np.nan, np.nan, np.nan)
    first, second = np.triu_indices(n)
    walsh = np.sort((d[first] + d[second]) / 2)
    counts = np.ones(1)  # of the sign patterns with each sum of ranks
    for rank in range(1, n + 1):
        counts = np.convolve(counts, np.concatenate([[1.0], np.zeros(rank - 1), [1.0]]))
    tails = 2 * np.cumsum(counts) / 2.0**n
    k = int(np.searchsorted(tails, 1 - level, side="right")) - 1  # tails[k] is of rank sums ≤ k
    if k < 0:
        return HodgesLehmann(float(np.median(walsh)), np.nan, np.nan)
    return HodgesLehmann(float(np.median(walsh)), float(walsh[k]), float(walsh[-k - 1]))


def holm(p: Sequence[float] | np.ndarray) -> np.ndarray:
    """Holm's step-down correction of p values, (m,) float64.

    A NaN is a hypothesis that could not be tested: it counts in m, so that leaving one out makes nothing
    significant, and stays NaN.

    References:
        Holm, Scandinavian Journal of Statistics 6, 1979.
    """
    values = np.asarray(p, dtype=np.float64)
    known = np.where(np.isnan(values), 1.0, values)
    order = np.argsort(known, kind="stable")
    steps = known[order] * np.arange(len(known), 0, -1)
    corrected = np.empty_like(known)
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return np.where(np.isnan(values), np.nan, corrected)


def seed_image_interval(draws: np.ndarray, *, seed: int = 0) -> tuple[float, float]:
    """95 % percentile interval of the mean difference over resampled seeds and images (or directions).

    Args:
        draws: (n, R) differences of each seed, draw r of all seeds on the same resampled images.
        seed: Of the draws of the seeds.

    Returns:
        NaN ends where there are no draws. With few seeds a bootstrap interval is too narrow (at n = 4 it
        covers about 80 % where seeds differ much more than images), so it stands beside the t interval and decides nothing.
    """
    n, count = draws.shape
    if count < 2 or not np.isfinite(draws).all():
        return np.nan, np.nan
    (chosen,) = bootstrap_places(n, count, seed)
    means = draws[chosen, np.arange(count)[:, None]].mean(axis=1)
    low, high = percentile_interval(means, tail=(1 - _LEVEL) / 2)
    return float(low), float(high)


def _sign_flip_p(d: np.ndarray) -> float:
    if len(d) <= _EXACT:
        sums, slack = _flips(len(d)) @ d, 1e-12 * np.abs(d).sum()  # equal but for rounding
        return float((np.abs(sums) >= abs(d.sum()) - slack).mean())
    found = stats.permutation_test((d,), np.mean, permutation_type="samples", n_resamples=2**_EXACT, rng=0)
    return float(found.pvalue)


@functools.lru_cache(maxsize=4)
def _flips(n: int) -> np.ndarray:
    """(2ⁿ, n) float64, every way to sign n differences."""
    return np.array(list(itertools.product((1.0, -1.0), repeat=n)))
