"""One number of each of several networks, with what is known about its uncertainty."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from scipy.special import ndtr, stdtrit

_TAIL = 0.025
_NO_ENDS = (np.nan, np.nan)
_LONGEST = 1e12  # beyond, all digits are harder to read than an exponent
_STEEPEST = 0.1
"""Of the correction for skewness: beyond, as where half of the draws are 0, it is not one of a mean."""
FEWEST_IMAGES = 50
"""Of fewer, intervals by resampling cover less than 90 % where they say 95 %: a share of few images has few values."""


@dataclass(frozen=True, eq=False)
class Measure:
    """A named number of each of m networks, and the same number on resampled images or directions.

    The draws are common to the networks: draw r of each rests on the same images (or directions), so the
    draws of a difference are the differences of the draws. They cover these checkpoints only; how the number
    varies from training to training, only training seeds can tell.

    Attributes:
        name: Unique among the measures of a result, in snake case.
        label: What a table says, without the unit.
        unit: ``nats``, ``%``, …; empty for a pure number.
        values: (m,) float64; NaN where it cannot be measured.
        draws: (m, R) float64 of resampled images or directions; (m, 0) where nothing is sampled.
        resampled: What a draw resamples, such as ``images``; empty where nothing is.
        count: How many of these there are; None where that is not known.
        each: (m, count) float64 whose means the values are, where these are few (directions, probes): the
            intervals are then Student's. (m, 0) where the intervals are of the draws.
    """

    name: str
    label: str
    unit: str
    values: np.ndarray
    draws: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    resampled: str = ""
    count: int | None = None
    each: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))

    def __post_init__(self) -> None:
        values = np.asarray(self.values, dtype=np.float64)
        if values.ndim != 1:
            raise ValueError(f"`values` of `{self.name}` is {values.shape}, expects one axis")
        object.__setattr__(self, "values", values)
        for name in ("draws", "each"):
            table = np.asarray(getattr(self, name), dtype=np.float64)
            if not table.size:
                table = np.zeros((len(values), 0))
            if table.ndim != 2 or len(table) != len(values):
                raise ValueError(f"`{name}` of `{self.name}` is {table.shape}, expects ({len(values)}, R)")
            object.__setattr__(self, name, table)

    @property
    def refusal(self) -> str:
        """Why there is no interval although images were resampled, as a clause; empty where there may be one."""
        return describe_refusal(self.count) if self.resampled == "images" and self.draws.size else ""

    def interval(self, i: int) -> tuple[float, float, float]:
        """Value of network i and the ends of its 95 % interval; NaN ends without draws or of too few images."""
        value, draws, each = self.values[i], self.draws[i], self.each[i]
        if len(each) > 1:
            return _around(value, *student_interval(each))
        return _around(value, *(bootstrap_interval(draws, self.count) if self._can_tell(draws) else _NO_ENDS))

    def difference(self, i: int, j: int) -> tuple[float, float, float]:
        """Value of network j minus that of i, and the ends of its paired 95 % interval, as in `interval`."""
        value, draws, each = (table[j] - table[i] for table in (self.values, self.draws, self.each))
        if len(each) > 1:
            return _around(value, *student_interval(each))
        return _around(
            value, *(error_interval(value, draws, self.count) if self._can_tell(draws) else _NO_ENDS)
        )

    def _can_tell(self, draws: np.ndarray) -> bool:
        return not self.refusal and len(draws) > 1 and bool(np.isfinite(draws).all())


def format_number(value: float, digits: int = 4, *, signed: bool = False) -> str:
    """A number to so many digits with a true minus sign and without ``e+02``; ``not defined`` where it is not finite."""
    if not math.isfinite(value):
        return "not defined"
    sign = "+" if signed else ""
    text = f"{value:{sign}.{digits}g}"
    if "e+" in text and abs(value) < _LONGEST:
        text = f"{float(text):{sign}.0f}"
    return text.replace("-", "−")


def format_interval(value: float, low: float, high: float, digits: int = 4, *, signed: bool = False) -> str:
    """``0.232 [0.228, 0.237]``: all to equally many digits, or the value might lie outside what is printed.

    The value alone where the ends are not finite or do not hold it.
    """
    text = format_number(value, digits, signed=signed)
    if not (math.isfinite(low) and math.isfinite(high) and low <= value <= high):
        return text
    return (
        f"{text} [{format_number(low, digits, signed=signed)}, {format_number(high, digits, signed=signed)}]"
    )


def describe_refusal(count: int | None) -> str:
    """Why so many images get no interval, as a clause; empty where they do, or where their number is not known."""
    if count is None or count >= FEWEST_IMAGES:
        return ""
    return f"no interval of {count} images, which would be too narrow: take {FEWEST_IMAGES} or more"


def student_interval(each: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the 95 % t interval of the mean of n ≥ 2 independent numbers.

    Args:
        each: (..., n) float64.

    Returns:
        Two arrays (...); equal ends where all numbers are equal.
    """
    count, mean = each.shape[-1], each.mean(axis=-1)
    half = _quantile(count) * each.std(axis=-1, ddof=1) / math.sqrt(count)
    return mean - half, mean + half


def bootstrap_interval(draws: np.ndarray, count: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    r"""Ends of the 95 % percentile interval of a number over resamples of ``count`` images.

    Plain percentiles are those of a normal law: too narrow for few images, and of a mean of skewed values, such
    as losses, too low. So they are taken at :math:`\Phi\left(a + \frac{a + z}{1 - a(a + z)}\right)` with
    :math:`z = \pm\sqrt{n/(n-1)}\,t_{n-1}` for Student's width, and :math:`a` a sixth of the draws' skewness,
    which is both the acceleration and the median bias of a mean. The ends stay in the range of the draws.

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
        low, high = np.quantile(draws, [_TAIL, 1 - _TAIL], axis=-1)
        return low, high
    centred = draws - draws.mean(axis=-1, keepdims=True)
    spread = np.sqrt(np.square(centred).mean(axis=-1))
    # equal draws are off their mean by rounding: that is no skew
    varies = spread > 1e-12 * np.abs(draws).max(axis=-1)
    skew = np.divide((centred**3).mean(axis=-1), spread**3, out=np.zeros_like(spread), where=varies)
    a = np.clip(skew / 6, -_STEEPEST, _STEEPEST)
    z = math.sqrt(count / (count - 1)) * _quantile(count)
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
    half = _quantile(count) * draws.std(axis=-1, ddof=1)
    return value - half, value + half


def _quantile(count: int) -> float:
    """Student's upper 2.5 % point of ``count`` − 1 degrees of freedom."""
    return float(stdtrit(count - 1, 1 - _TAIL))


def _around(value: float, low: float | np.ndarray, high: float | np.ndarray) -> tuple[float, float, float]:
    """Value and ends; NaN ends where the value is not between them: the draws are then of something else."""
    value, low, high = float(value), float(low), float(high)
    slack = 1e-9 * max(abs(value), abs(low), abs(high))
    if not low - slack <= value <= high + slack:
        return value, *_NO_ENDS
    return value, min(low, value), max(high, value)  # equal but for rounding
