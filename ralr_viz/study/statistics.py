"""Few seeds of few cells: what a mean, and a difference of two means, say at n = 4."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
from scipy.special import gammaln, nctdtrinc, stdtr

from ralr_viz.analysis.paired import PairedComparison, compare_paired
from ralr_viz.results.uncertainty import t_quantile

LEVEL = 0.95
"""Of all intervals."""
MOST_ASSIGNMENTS = 20_000
"""Assignments up to which all are tried (8 against 8 runs), beyond it so many random ones."""

_NO_PAIRS = PairedComparison(np.nan, np.nan, np.nan, np.nan, np.nan, np.nan)


class Summary(NamedTuple):
    """What n values say of their mean.

    Attributes:
        n: Finite values.
        mean: NaN where n = 0.
        std: Of a sample (ddof = 1); NaN where n < 2.
        low, high: Ends of the 95 % t interval of the mean; NaN where n < 2.
        values: The finite values as given.
    """

    n: int
    mean: float
    std: float
    low: float
    high: float
    values: tuple[float, ...]


class SeedContrast(NamedTuple):
    """What the runs of two cells say of B − A; NaN where they are too few.

    Attributes:
        n_a, n_b: Finite values of each.
        difference: Of the means.
        low, high, df, p: Welch's 95 % interval, its degrees of freedom and two-sided p; NaN where a side has
            less than two values, or neither varies: two constants say nothing of how much seeds differ. At n = 4 it covers
            94 to 96 %, of two runs a side it covers 98 %.
        pairs: Common seeds.
        correlation: Pearson's, of A and B over the common seeds: pairing pays only where it is well above 0.
        paired: Of the differences at the common seeds, see `compare_paired`.
        permutation_p: Two-sided, over the assignments of the values to A and B: twice the smaller tail.
        permutation_floor: The smallest that ``permutation_p`` can be.
        g: Hedges' g, the difference over the pooled standard deviation × J, with the exact J.
        g_low, g_high: Ends of the exact 95 % interval of the population's standardised difference, for normal
            values of equal variance.
        improvement: U/(n_a·n_b): the share of all pairs of a run of A and a run of B in which B is higher, a tie
            counting half.
    """

    n_a: int
    n_b: int
    difference: float
    low: float
    high: float
    df: float
    p: float
    pairs: int
    correlation: float
    paired: PairedComparison
    permutation_p: float
    permutation_floor: float
    g: float
    g_low: float
    g_high: float
    improvement: float


def summarise(values: Iterable[float]) -> Summary:
    """Mean, standard deviation (ddof = 1) and 95 % t interval.

    Args:
        values: One of each run; NaN is a missing one.
    """
    x = _finite(values)
    n, mean, std = _moments(x)
    half = t_quantile(n - 1, LEVEL) * std / math.sqrt(n) if n > 1 else math.nan
    return Summary(n, mean, std, mean - half, mean + half, tuple(x.tolist()))


def contrast(a: Mapping[int, float], b: Mapping[int, float]) -> SeedContrast:
    """Compare B with A, unpaired and paired by seed.

    Args:
        a, b: Value of each seed; NaN is a missing one.

    References:
        Welch, Biometrika 34, 1947; Hedges, Journal of Educational Statistics 6, 1981.
    """
    a, b = ({seed: v for seed, v in x.items() if math.isfinite(v)} for x in (a, b))
    x, y = _finite(a.values()), _finite(b.values())
    common = sorted(a.keys() & b.keys())
    pairs = np.array([[a[seed], b[seed]] for seed in common]).reshape(-1, 2)
    difference = _moments(y)[1] - _moments(x)[1]
    higher = np.sign(y[:, None] - x)
    return SeedContrast(
        len(x),
        len(y),
        difference,
        *_welch(x, y),
        len(common),
        _correlation(pairs),
        compare_paired(pairs[:, 1] - pairs[:, 0]) if common else _NO_PAIRS,
        *_permutation(x, y),
        *_hedges(x, y),
        0.5 + float(higher.mean()) / 2 if higher.size else math.nan,
    )


def _finite(values: Iterable[float]) -> np.ndarray:
    x = np.array(list(values), dtype=np.float64)
    return x[np.isfinite(x)]


def _moments(x: np.ndarray) -> tuple[int, float, float]:
    n = len(x)
    return n, float(x.mean()) if n else math.nan, float(x.std(ddof=1)) if n > 1 else math.nan


def _welch(x: np.ndarray, y: np.ndarray) -> tuple[float, float, float, float]:
    """Ends of the interval of ȳ − x̄, degrees of freedom and p.

    As `scipy.stats.ttest_ind`, which takes half a millisecond: too long for the thousands of a large table.
    """
    (n, mean_x, std_x), (m, mean_y, std_y) = _moments(x), _moments(y)
    if min(n, m) < 2 or np.ptp(x) == np.ptp(y) == 0:
        return math.nan, math.nan, math.nan, math.nan
    of_x, of_y = std_x**2 / n, std_y**2 / m
    df = (of_x + of_y) ** 2 / (of_x**2 / (n - 1) + of_y**2 / (m - 1))
    error, difference = math.sqrt(of_x + of_y), mean_y - mean_x
    half = t_quantile(df, LEVEL) * error
    return difference - half, difference + half, df, 2 * float(stdtr(df, -abs(difference) / error))


def _correlation(pairs: np.ndarray) -> float:
    if len(pairs) < 3 or not np.ptp(pairs, axis=0).all():  # two points are always on a line
        return math.nan
    return float(np.corrcoef(pairs.T)[0, 1])


def _permutation(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Two-sided p of the difference of the means, and its floor.

    As `scipy.stats.permutation_test`; here one matrix of assignments serves all comparisons of a table.
    """
    n, m = len(x), len(y)
    if not n or not m:
        return math.nan, math.nan
    assignments, exact = _assignments(n, m)
    pooled = np.concatenate([x, y])
    pooled -= pooled.mean()  # the sum of x then orders the assignments as the difference of the means does
    sums, observed = assignments @ pooled, pooled[:n].sum()
    slack = 1e-12 * (1 + np.abs(pooled).sum())  # equal but for rounding
    tail = int(min((sums <= observed + slack).sum(), (sums >= observed - slack).sum()))
    extra = 0 if exact else 1  # the observed assignment is one of all, not of the random ones
    total = len(assignments) + extra
    return min(1.0, 2 * (tail + extra) / total), min(1.0, 2 / total)


@functools.lru_cache(maxsize=16)
def _assignments(n: int, m: int) -> tuple[np.ndarray, bool]:
    """(k, n + m) float64, 1 where a value goes to the first group of n; whether these are all."""
    if exact := math.comb(n + m, n) <= MOST_ASSIGNMENTS:
        chosen = np.array(list(itertools.combinations(range(n + m), n)))
    else:
        order = np.random.default_rng(0).random((MOST_ASSIGNMENTS, n + m))
        chosen = np.argpartition(order, n, axis=1)[:, :n]
    matrix = np.zeros((len(chosen), n + m))
    np.put_along_axis(matrix, chosen, 1.0, axis=1)
    return matrix, exact


def _hedges(x: np.ndarray, y: np.ndarray) -> tuple[float, float, float]:
    """g and the ends of the interval of the population's standardised difference."""
    (n, mean_x, _), (m, mean_y, _) = _moments(x), _moments(y)
    df = n + m - 2
    if min(n, m) < 1 or df < 2:
        return math.nan, math.nan, math.nan
    squares = float(((x - mean_x) ** 2).sum() + ((y - mean_y) ** 2).sum())
    if np.ptp(x) == np.ptp(y) == 0:
        return math.nan, math.nan, math.nan
    d, scale = (mean_y - mean_x) / math.sqrt(squares / df), math.sqrt(1 / n + 1 / m)
    j = math.exp(gammaln(df / 2) - gammaln((df - 1) / 2)) / math.sqrt(df / 2)
    low, high = (scale * float(nctdtrinc(df, q, d / scale)) for q in ((1 + LEVEL) / 2, (1 - LEVEL) / 2))
    return j * d, low, high
