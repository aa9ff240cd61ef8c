"""The same effects in each phase between two decays by itself, and what the treatment of an outcome is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from ralr_viz.analysis.effect.flips import Flips
from ralr_viz.results.effect import IN_LOGARITHMS, TREATMENTS

_LEAST = 1e-12  # of a factor whose logarithm is taken


class Treated(NamedTuple):
    """What an outcome is regressed on, as recorded and as redrawn: the doses, or the logarithms of the factors."""

    flips: Flips
    redrawn: np.ndarray
    name: str


def treat(outcome: str, flips: Flips, redrawn: np.ndarray) -> Treated:
    """A step is λ times as long, whatever its length: in logarithms that is a slope of 1, at any λ.

    Per unit of factor − 1 the logarithm of a step has no slope: ln λ is concave in it.

    Args:
        outcome: Its name.
        flips: With the recorded doses.
        redrawn: (R, S, E) doses.
    """
    if outcome not in IN_LOGARITHMS:
        return Treated(flips, redrawn, TREATMENTS[0])
    dose, drawn = (np.log(np.maximum(1 + d, _LEAST)) for d in (flips.dose, redrawn))
    return Treated(replace(flips, dose=dose), drawn, TREATMENTS[1])


def find_phases(flips: Flips) -> list[np.ndarray]:
    """Whether each epoch (E,) is of a phase in which something is drawn; empty where there is one such phase only.

    Over all phases an effect is an average of what may differ by decades, since a step is as long as the base rate.
    """
    known = np.isfinite(flips.dose).any(axis=0)
    drawn = known & (np.arange(len(known)) >= flips.masked)
    phases = [flips.phase == number for number in np.unique(flips.phase[drawn])]
    return phases if len(phases) > 1 else []


def within(values: np.ndarray, phases: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
    """The outcome (S, E) in each phase alone, NaN elsewhere, so that no window sees another phase."""
    return (np.where(inside, values, np.nan) for inside in phases)


def collect_phases(
    phases: Sequence[np.ndarray], found: Sequence[Sequence[Any]], table: Callable[[Any, str], np.ndarray]
) -> dict[str, Any]:
    """Fields of an `EffectResult` (m, P, L) of what was inferred for each outcome in each phase.

    Args:
        phases: P.
        found: For each outcome, an inference in each phase.
        table: An inference's array (L,) by name.
    """
    if not phases:
        return {}
    columns = {
        name: np.array([[table(one, name) for one in of_outcome] for of_outcome in found])
        for name in ("estimate", "error", "p", "rows")
    }
    margin = (
        np.array([[one.critical for one in of_outcome] for of_outcome in found])[..., None] * columns["error"]
    )
    ends = np.array([[np.flatnonzero(inside)[i] + 1 for i in (0, -1)] for inside in phases])
    return {
        "phase_epochs": ends.astype(np.int64),
        "phase_low": columns["estimate"] - margin,
        "phase_high": columns["estimate"] + margin,
        **{f"phase_{name}": values for name, values in columns.items()},
    }
