"""An interval held against a simulation of its own case: data of a law whose true value is known, many times."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ralr_viz.results.measure import Measure

REPLICATES = 2000
LOW, HIGH = 0.93, 0.97
_AT_ONCE = 200


@dataclass(frozen=True)
class Row:
    """One interval of a case.

    Attributes:
        interval: What the interval is of.
        low, high: Between which the measured coverage must be.
        says: Where it does not cover 95 %: what the interval's text says of that, word for word.
        text: The text that says so.
    """

    interval: str
    low: float = LOW
    high: float = HIGH
    says: str = ""
    text: Callable[[], str] = field(default=lambda: "")


@dataclass(frozen=True)
class Case:
    """Intervals that one simulation is about.

    Attributes:
        name: Unique.
        printed: The commands that print them.
        law: What the data are drawn from.
        n: How many there are of what.
        rows: Its intervals.
        simulate: Whether each replicate's interval holds the truth, (REPLICATES,) bool, or 0, 1 and NaN where none is
            printed; by the rows' ``interval``.
    """

    name: str
    printed: str
    law: str
    n: str
    rows: tuple[Row, ...]
    simulate: Callable[[], Mapping[str, np.ndarray]]


@dataclass(frozen=True)
class Coverage:
    """What a simulation found.

    Attributes:
        share: Of the printed intervals, those that hold the truth.
        error: Its Monte-Carlo standard error.
        printed: Share of the replicates that have an interval.
    """

    share: float
    error: float
    printed: float


def measure_coverage(held: np.ndarray) -> Coverage:
    """Of one row's replicates."""
    held = np.asarray(held, dtype=np.float64)
    known = held[np.isfinite(held)]
    if not len(known):
        return Coverage(math.nan, math.nan, 0.0)
    share = float(known.mean())
    return Coverage(share, math.sqrt(share * (1 - share) / len(known)), len(known) / len(held))


def holds(low: float | np.ndarray, high: float | np.ndarray, truth: float | np.ndarray) -> np.ndarray:
    """Whether the truth is between the ends, within rounding; NaN where an end is NaN."""
    low, high, truth = np.broadcast_arrays(*(np.asarray(v, dtype=np.float64) for v in (low, high, truth)))
    slack = 1e-9 * np.maximum(np.abs(truth), 1e-3)
    held = ((low - slack <= truth) & (truth <= high + slack)).astype(np.float64)
    return np.where(np.isnan(low) | np.isnan(high), np.nan, held)


Make = Callable[[np.random.Generator, int, int], Iterable[Measure]]
"""``make(rng, m, seed)``: measures of m networks with data of their own each, but 2k and 2k + 1 on the same images."""


def cover_measures(
    make: Make,
    truth: Mapping[str, float],
    *,
    differences: Mapping[str, float] | None = None,
    replicates: int = REPLICATES,
) -> dict[str, np.ndarray]:
    """Held or not, of `Measure.interval` of every second network and of `Measure.difference` of each two.

    A block of networks shares its resamples, as those of a command do; blocks have other ones.

    Args:
        make: Of the measures.
        truth: By name of the measure.
        differences: Likewise; those of ``truth`` are 0, or not looked at, where left out.
        replicates: How many.
    """
    found: dict[str, list[np.ndarray]] = {}
    for block in range(replicates // _AT_ONCE):
        measures = {m.name: m for m in make(np.random.default_rng([7, block]), 2 * _AT_ONCE, block)}
        for name, value in truth.items():
            ends = np.array([measures[name].interval(2 * k)[1:] for k in range(_AT_ONCE)])
            found.setdefault(name, []).append(holds(ends[:, 0], ends[:, 1], value))
        for name, value in (differences or {}).items():
            ends = np.array([measures[name].difference(2 * k, 2 * k + 1)[1:] for k in range(_AT_ONCE)])
            found.setdefault(f"{name} difference", []).append(holds(ends[:, 0], ends[:, 1], value))
    return {name: np.concatenate(parts) for name, parts in found.items()}


def expected_values(make: Make, names: Sequence[str]) -> dict[str, float]:
    """Means of the measures' values over a hundred networks: with many images each, the truth."""
    measures = {m.name: m for m in make(np.random.default_rng(8), 100, 0)}
    return {name: float(np.nanmean(measures[name].values)) for name in names}
