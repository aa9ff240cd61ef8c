"""What is not known of a number: resamples, intervals and the test of paired counts, one way for each.

Results and analyses take them from here, so that two figures of the same numbers have the same intervals.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from scipy.special import ndtr, ndtri, stdtrit

_TAIL = 0.025
_Z = float(ndtri(1 - _TAIL))
_PIECE = 1 << 17
"""Draws of a resample that are counted at a time: 1 MB."""
_STEEPEST = 0.1
"""Of the correction for skewness: beyond, as where half of the draws are 0, it is not one of a mean."""


def bootstrap_places(
    n: int, resamples: int, seed: int | Sequence[int], *, size: int | None = None
) -> Iterator[np.ndarray]:
    """Places int64 (at most ``size``, n) of the units of each resample, drawn from n; ``resamples`` rows in all.

    The draws are the same for every ``size``; without one, all come at once.
    """
    rng, size = np.random.default_rng(seed), size or resamples
    for start in range(0, resamples, size):
        yield rng.integers(n, size=(min(size, resamples - start), n))


def bootstrap_counts(
    n: int, resamples: int, seed: int | Sequence[int], *, size: int | None = None
) -> Iterator[np.ndarray]:
    """How often each of n units is in a resample of `bootstrap_places`, int64 (at most ``size``, n)."""
    return (_count(places, n) for places in bootstrap_places(n, resamples, seed, size=size))


def multinomial_counts(n: int, resamples: int, seed: int | Sequence[int]) -> np.ndarray:
    """How often each of n units is in a resample, int64 (resamples, n), drawn as counts: quicker where n is small."""
    return np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=resamples)


def bootstrap_weights(
    bounds: Sequence[tuple[int, int]], resamples: int, size: int, seed: int
) -> Iterator[np.ndarray]:
    """How much each image counts in a resample, float64 (at most ``size``, n) at a time, ``resamples`` in all.

    Of a group of k images k − 1 are drawn with replacement, each counting k / (k − 1) times: then the mean of
    even two images varies as much as its standard error says, where k draws would give half the variance.

    Args:
        bounds: Start and end of each group among the images: of each class, in the order of their class, for
            what is made of the means of the classes; of all images for what is a mean over these, which within
            classes of one or two images would hardly vary.

    References:
        Rao & Wu, Resampling inference with complex survey data, JASA 83, 1988.
    """
    rng = np.random.default_rng(seed)
    for start in range(0, resamples, size):
        rows = min(size, resamples - start)
        weights = np.empty((rows, sum(last - first for first, last in bounds)))
        place = 0
        for first, last in bounds:
            n = last - first
            each = max(1, _PIECE // n)  # as drawn at once, to the bit
            for row in range(0, rows, each):
                some = weights[row : row + each, place : place + n]
                drawn = rng.integers(n, size=(len(some), max(n - 1, 1)))
                np.multiply(_count(drawn, n), n / max(n - 1, 1), out=some)
            place += n
        yield weights


def t_quantile(df: float, level: float = 0.95) -> float:
    """Upper end of the interval that Student's t with ``df`` degrees of freedom is in with that probability."""
    return float(stdtrit(df, (1 + level) / 2))


def student_interval(each: np.ndarray, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the t interval, of 95 % where no other level is given, of the mean of n ≥ 2 independent numbers.

    Args:
        each: (..., n) float64.
        level: Of confidence, in (0, 1).

    Returns:
        Two arrays (...); equal ends where all numbers are equal.
    """
    count, mean = each.shape[-1], each.mean(axis=-1)
    half = t_quantile(count - 1, level) * each.std(axis=-1, ddof=1) / math.sqrt(count)
    return mean - half, mean + half


def percentile_interval(
    draws: np.ndarray, *, tail: float = _TAIL, axis: int = -1
) -> tuple[np.ndarray, np.ndarray]:
    """Quantiles of draws along an axis that leave ``tail`` of them below and above; NaN where one is NaN."""
    low, high = np.quantile(draws, [tail, 1 - tail], axis=axis)
    return low, high


def bootstrap_interval(draws: np.ndarray, count: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    r"""Ends of the 95 % percentile interval of a number over resamples of ``count`` images.

    Plain percentiles are those of a normal law: too narrow for few images, and of a mean of skewed values, such
    as losses, too low. So they are taken at :math:`\Phi\left(a + \frac{a + z}{1 - a(a + z)}\right)` with
    :math:`z = \pm\sqrt{n/(n-1)}\,t_{n-1}` for Student's width, and :math:`a` a sixth of the draws' skewness,
    which is both the acceleration and the median bias of a mean. The ends stay in the range of the draws. Where one value
    or two of all are large, as losses where one image of 50 is wrong, it covers 87 %; of skewed losses of 50 images 90 to 92 %, of
    300 of them 92 to 95 %.

    Args:
        draws: (..., R) float64, R ≥ 2.
        count: n ≥ 2 resampled units; plain percentiles where it is not known.

    Returns:
        Two arrays (...).

    References:
        Efron, Better bootstrap confidence intervals, JASA 82, 1987 (BCa). Hesterberg, What teachers should know
        about the bootstrap, The American Statistician 69, 2015 (expanded percentiles).
    """
    if count is None:
        return percentile_interval(draws)
    centred = draws - draws.mean(axis=-1, keepdims=True)
    spread = np.sqrt(np.square(centred).mean(axis=-1))
    # equal draws are off their mean by rounding: that is no skew
    varies = spread > 1e-12 * np.abs(draws).max(axis=-1)
    skew = np.divide((centred**3).mean(axis=-1), spread**3, out=np.zeros_like(spread), where=varies)
    a = np.clip(skew / 6, -_STEEPEST, _STEEPEST)
    z = math.sqrt(count / (count - 1)) * t_quantile(count - 1)
    ranked, last = np.sort(draws, axis=-1), draws.shape[-1] - 1
    ends = []
    for side in (-z, z):
        rank = np.rint(ndtr(a + (a + side) / (1 - a * (a + side))) * last).astype(np.int64)
        ends.append(np.take_along_axis(ranked, rank[..., None], axis=-1)[..., 0])
    return ends[0], ends[1]


def error_interval(
    value: np.ndarray, draws: np.ndarray, count: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the 95 % t interval of a number whose standard error is the standard deviation of its draws.

    Few images decide a paired difference, and their skew in a sample says little of the law: percentiles, which
    follow it, cover less than Student's interval does.

    Args:
        value: (...), such as differences.
        draws: (..., R) float64 of them, R ≥ 2.
        count: n ≥ 2 resampled units; plain percentiles where it is not known.

    Returns:
        Two arrays (...).
    """
    if count is None:
        return bootstrap_interval(draws)
    half = t_quantile(count - 1) * draws.std(axis=-1, ddof=1)
    return value - half, value + half


def wilson_interval(share: np.ndarray, count: float | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the 95 % score interval of shares of ``count`` images.

    Unlike resamples, which of a share of 0 or 1 are all alike, it is no point where no image or each one counts. Where
    one image or two count it covers 91 to 98 %.

    References:
        Wilson, Probable inference, JASA 1927.
    """
    middle = (share + _Z**2 / (2 * count)) / (1 + _Z**2 / count)
    half = _Z / (1 + _Z**2 / count) * np.sqrt(share * (1 - share) / count + _Z**2 / (4 * count**2))
    return np.clip(middle - half, 0, 1), np.clip(middle + half, 0, 1)


def paired_proportions_interval(gained: float, lost: float, n: int) -> tuple[float, float]:
    """95 % interval of (gained − lost) / n, Bonett and Price's: one is added to each count, two to n.

    It covers more where few images change: at three changes expected about 99 %.

    References:
        Bonett and Price, Adjusted Wald Confidence Interval for a Difference of Binomial Proportions Based on
        Paired Data, J. Educ. Behav. Stat. 2012.
    """
    up, down = (gained + 1) / (n + 2), (lost + 1) / (n + 2)
    width = _Z * math.sqrt((up + down - (up - down) ** 2) / (n + 2))
    return max(up - down - width, -1.0), min(up - down + width, 1.0)


def paired_shares_interval(difference: float, error: float, n: int) -> tuple[float, float]:
    """`paired_proportions_interval` of a difference of two shares of n images and its standard error.

    The variance of the difference is n times smaller than the share of the images that changed, less the difference's
    square: the two together say how many were gained and lost.
    """
    changed = max(n * error**2 + difference**2, abs(difference))
    return paired_proportions_interval(n * (changed + difference) / 2, n * (changed - difference) / 2, n)


def mcnemar_p(fixed: int, broken: int) -> float:
    """Exact two-sided p that as many are fixed as broken, given how many changed; 1 where none did.

    References:
        McNemar, Psychometrika 1947.
    """
    changed = fixed + broken
    from scipy.stats import binomtest  # half a second, which a training need not wait for

    return float(binomtest(fixed, changed).pvalue) if changed else 1.0


def _count(places: np.ndarray, n: int) -> np.ndarray:
    """How often each of n places is in each row, int64 (rows, n)."""
    rows = len(places)
    return np.bincount((places + n * np.arange(rows)[:, None]).ravel(), minlength=rows * n).reshape(rows, n)
