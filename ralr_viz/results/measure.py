"""One number of each of several networks, with what is known about its uncertainty."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

_TAILS = (2.5, 97.5)  # per cent


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
    """

    name: str
    label: str
    unit: str
    values: np.ndarray
    draws: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    resampled: str = ""

    def __post_init__(self) -> None:
        values = np.asarray(self.values, dtype=np.float64)
        draws = np.asarray(self.draws, dtype=np.float64)
        if values.ndim != 1:
            raise ValueError(f"`values` of `{self.name}` is {values.shape}, expects one axis")
        if not draws.size:
            draws = np.zeros((len(values), 0))
        if draws.ndim != 2 or len(draws) != len(values):
            raise ValueError(f"`draws` of `{self.name}` is {draws.shape}, expects ({len(values)}, R)")
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "draws", draws)

    def interval(self, i: int) -> tuple[float, float, float]:
        """Value of network i and the ends of its 95 % percentile interval; NaN ends without draws."""
        return float(self.values[i]), *_ends(self.draws[i])

    def difference(self, i: int, j: int) -> tuple[float, float, float]:
        """Value of network j minus that of i, and the ends of its paired 95 % percentile interval."""
        return float(self.values[j] - self.values[i]), *_ends(self.draws[j] - self.draws[i])


def _ends(draws: np.ndarray) -> tuple[float, float]:
    if len(draws) < 2 or not np.isfinite(draws).all():
        return np.nan, np.nan
    low, high = np.percentile(draws, _TAILS)
    return float(low), float(high)
