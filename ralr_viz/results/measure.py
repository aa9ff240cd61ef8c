"""One number of each of several networks, with what is known about its uncertainty."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ralr_viz.results.uncertainty import (
    bootstrap_interval,
    error_interval,
    paired_shares_interval,
    student_interval,
    wilson_interval,
)

_NO_ENDS = (np.nan, np.nan)
_LONGEST = 1e12  # beyond, all digits are harder to read than an exponent
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
        share: What an image counts that has something, 100 of per cents or 1, where a value is the share of those that
            have it; 0 for other numbers. The intervals are then Wilson's and Bonett and Price's: where hardly an image
            has it, or changes, the draws hardly vary, and of none not at all.
    """

    name: str
    label: str
    unit: str
    values: np.ndarray
    draws: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    resampled: str = ""
    count: int | None = None
    each: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    share: float = 0.0

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
        if not self._can_tell(draws):
            return float(value), *_NO_ENDS
        if self.share and self.count:
            ends = wilson_interval(value / self.share, self.count)
            return _around(value, self.share * ends[0], self.share * ends[1])
        return _around(value, *bootstrap_interval(draws, self.count))

    def difference(self, i: int, j: int) -> tuple[float, float, float]:
        """Value of network j minus that of i, and the ends of its paired 95 % interval, as in `interval`."""
        value, draws, each = (table[j] - table[i] for table in (self.values, self.draws, self.each))
        if len(each) > 1:
            return _around(value, *student_interval(each))
        if not self._can_tell(draws):
            return float(value), *_NO_ENDS
        if self.share and self.count:
            error = float(draws.std(ddof=1))
            low, high = paired_shares_interval(value / self.share, error / self.share, self.count)
            return _around(value, self.share * low, self.share * high)
        return _around(value, *error_interval(value, draws, self.count))

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


def finite_or_none(value: float) -> float | None:
    """For a table: an empty cell where it is not finite."""
    return float(value) if math.isfinite(value) else None


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


def _around(value: float, low: float | np.ndarray, high: float | np.ndarray) -> tuple[float, float, float]:
    """Value and ends; NaN ends where the value is not between them: the draws are then of something else."""
    value, low, high = float(value), float(low), float(high)
    slack = 1e-9 * max(abs(value), abs(low), abs(high))
    if not low - slack <= value <= high + slack:
        return value, *_NO_ENDS
    return value, min(low, value), max(high, value)  # equal but for rounding


def list_measures(models: Sequence[str], measures: Sequence[Measure]) -> list[str]:
    """A line for each measure: the value of each network, then each one minus the first, with intervals, or why there is none."""
    return [_line(models, measure) for measure in measures]


def _line(models: Sequence[str], measure: Measure) -> str:
    unit = f" ({measure.unit})" if measure.unit else ""
    parts = [f"{name} {format_interval(*measure.interval(i))}" for i, name in enumerate(models)]
    parts += [
        f"{name} minus {models[0]} {format_interval(*measure.difference(0, i), signed=True)}"
        for i, name in enumerate(models)
        if i
    ]
    refusal = f" ({measure.refusal})" if measure.refusal else ""
    return f"{measure.label}{unit}: {'; '.join(parts)}{refusal}"
