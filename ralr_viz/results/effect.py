"""What one amplification does to the epochs after it, estimated from the draws of the runs themselves."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, NamedTuple

import numpy as np

from ralr_viz.results.columns import BY_NAME
from ralr_viz.results.fields import MOST_DRAWS, Array, Axis, Keys, OneOf, Within
from ralr_viz.results.of_loss import LossResult

LEVEL = 0.95
"""Of the simultaneous bands; 1 − LEVEL is the level of the tests."""
POWER = 0.8
"""Probability with which the minimum detectable effect would be found."""

FEW_DRAWS = 40
"""Below so many at lag 0 a band's level is not to be relied on where draws differ in their effect."""


class Outcome(NamedTuple):
    """How an outcome is written."""

    label: str
    unit: str


_NAMES = ("train_loss_eval", "val_loss", "test_loss", "val_acc", "test_acc")
OUTCOMES = {name: Outcome(BY_NAME[name].title, BY_NAME[name].difference_unit) for name in _NAMES} | {
    "step_length": Outcome(BY_NAME["step_length"].title, "ln"),
    "forgotten": Outcome("examples forgotten", "points"),
}
"""The outcomes, named as in the metrics; losses in nats, accuracies in percentage points. Of the length of an
epoch's weight step the natural logarithm is taken: it spans the decades that the base LR does. Of examples that are
recorded one by one, the share that the epoch forgot counts."""


IN_LOGARITHMS = ("step_length",)
"""Outcomes whose logarithm is taken, on that of the factor."""
TREATMENTS = ("factor − 1", "ln factor")
"""What an effect is per unit of."""

LAW = {"low": float, "high": float, "probability": float, "draw": str, "interval": int}
"""Of the draws of the amplification."""


@dataclass(frozen=True, eq=False)
class EffectResult(LossResult):
    """Effect of one unit of dose (LR × 2 instead of × 1 for one draw), for m outcomes and L lags.

    Arrays of shape (m, L) are float64, NaN where a lag cannot be estimated, unless another type is named.

    Attributes:
        outcomes: m names of OUTCOMES.
        lag: Epochs from the (first) epoch of the draw to the one after which the outcome is measured, int64
            (L,): 0, 1, …
        estimate: Change of the outcome per unit of dose, averaged over draws and phases.
        error: Its heteroscedasticity-robust standard error (HC2), (m, L).
        low, high: Ends of the band that covers all lags of an outcome with probability LEVEL, (m, L).
        mde: Minimum detectable effect, > 0: in a share POWER of redrawn experiments with this effect the test
            over all lags would find it at this lag, (m, L).
        p: p-value of each lag, adjusted for looking at all lags of the outcome (max-|t|), in (0, 1]: the level
            at which the band would reach 0.
        rows: Draws that the estimate rests on, int64 (m, L).
        parameters: Of the regression, int64 (m, L); 0 where it was not made.
        critical: |t| at which the band ends, (m,).
        overall_p: p-value of no effect at any lag, (m,): exact, up to the number of redraws, where no draw
            changes the outcome at all, so that it may reject where a band, which assumes more, does not.
            Over the outcomes, all measured on the same weights, nothing is corrected.
        runs: S names, without a path.
        draws, amplified: Draws of each run, and how many of them changed the LR, int64 (S,).
        law: ``low``, ``high``, ``probability``, ``draw`` and ``interval`` (epochs per draw).
        schedule: The phases in words.
        resamples: Redraws of all flips.
        seed: Of the redraws.
        notes: What a reader should know of these runs.
        treatments: Of each outcome, what its effects are per unit of; empty in results from before any but the first of
            `TREATMENTS` was taken.
        phase_epochs: (P, 2) int64 first and last epoch of each phase between two decays; None, as what follows, where there
            is one phase only and in results from before they were told apart.
        phase_estimate, phase_error, phase_low, phase_high, phase_p, phase_rows: (m, P, L) as those without ``phase_``, of
            the draws of each phase alone; a band covers the lags of one outcome in one phase.
    """

    kind: ClassVar[str] = "effect"
    schema: ClassVar[int] = 1

    outcomes: Annotated[tuple[str, ...], Axis(("outcomes",)), OneOf(tuple(OUTCOMES))]
    lag: Annotated[np.ndarray, Array("integer", ("lags",), unit="epochs")]
    estimate: Annotated[np.ndarray, Array("float", ("outcomes", "lags"))]
    error: Annotated[np.ndarray, Array("float", ("outcomes", "lags"))]
    low: Annotated[np.ndarray, Array("float", ("outcomes", "lags"))]
    high: Annotated[np.ndarray, Array("float", ("outcomes", "lags"))]
    mde: Annotated[np.ndarray, Array("float", ("outcomes", "lags"))]
    p: Annotated[np.ndarray, Array("float", ("outcomes", "lags"))]
    rows: Annotated[np.ndarray, Array("integer", ("outcomes", "lags"))]
    parameters: Annotated[np.ndarray, Array("integer", ("outcomes", "lags"))]
    critical: Annotated[np.ndarray, Array("float", ("outcomes",))]
    overall_p: Annotated[np.ndarray, Array("float", ("outcomes",))]
    runs: Annotated[tuple[str, ...], Axis(("runs",))]
    draws: Annotated[np.ndarray, Array("integer", ("runs",))]
    amplified: Annotated[np.ndarray, Array("integer", ("runs",))]
    law: Annotated[dict[str, Any], Keys(LAW)]
    schedule: str
    resamples: Annotated[int, Within(1, MOST_DRAWS)]
    seed: Annotated[int, Within(0)]
    notes: tuple[str, ...] = ()
    treatments: Annotated[tuple[str, ...], OneOf(TREATMENTS), Axis(("outcomes",), optional=True)] = ()
    phase_epochs: Annotated[np.ndarray | None, Array("integer", ("phases", 2), unit="epochs")] = None
    phase_estimate: Annotated[np.ndarray | None, Array("float", ("outcomes", "phases", "lags"))] = None
    phase_error: Annotated[np.ndarray | None, Array("float", ("outcomes", "phases", "lags"))] = None
    phase_low: Annotated[np.ndarray | None, Array("float", ("outcomes", "phases", "lags"))] = None
    phase_high: Annotated[np.ndarray | None, Array("float", ("outcomes", "phases", "lags"))] = None
    phase_p: Annotated[np.ndarray | None, Array("float", ("outcomes", "phases", "lags"))] = None
    phase_rows: Annotated[np.ndarray | None, Array("integer", ("outcomes", "phases", "lags"))] = None

    @property
    def phases(self) -> tuple[str, ...]:
        """The phases that are told apart, such as ``epochs 1–12``; empty where none are."""
        if self.phase_epochs is None:
            return ()
        return tuple(f"epochs {a}–{b}" for a, b in self.phase_epochs.tolist())

    @property
    def estimable(self) -> np.ndarray:
        """Whether a lag has an estimate, bool (m, L)."""
        return np.isfinite(self.estimate)

    @property
    def few_draws(self) -> bool:
        """Whether no outcome has FEW_DRAWS draws at the first lag."""
        return int(self.rows[:, 0].max(initial=0)) < FEW_DRAWS

    def outcome(self, name: str) -> Outcome:
        """How one of the outcomes is written."""
        found = OUTCOMES[name]
        if (
            name in self.outcomes
            and self.treatments
            and self.treatments[self.outcomes.index(name)] == TREATMENTS[1]
        ):
            return Outcome(found.label, "ln per ln λ")
        if name.endswith("_acc"):
            return Outcome(found.label.replace("accuracy", self.score_name), self.score_difference_unit)
        return Outcome(found.label, self.loss_unit if "loss" in name else found.unit)

    def summary(self) -> list[dict[str, Any]]:
        """One row for each outcome and lag, then those of each phase.

        Returns:
            Rows with ``outcome, label, unit, lag, phase`` (``all`` for the average of the phases); ``n`` (draws in the estimate), ``runs``, ``parameters``;
            ``estimate, error, low, high`` per unit of dose; ``p`` (of the lag), ``overall_p`` (of all
            lags) and ``mde``. NaN where not estimable; ``parameters``, ``overall_p`` and ``mde`` are not of a phase.
        """
        pooled = [
            {
                "outcome": name,
                **self.outcome(name)._asdict(),
                "lag": int(lag),
                "phase": "all",
                "n": int(self.rows[i, j]),
                "runs": len(self.runs),
                "parameters": int(self.parameters[i, j]),
                **{key: float(getattr(self, key)[i, j]) for key in ("estimate", "error", "low", "high", "p")},
                "overall_p": float(self.overall_p[i]),
                "mde": float(self.mde[i, j]),
            }
            for i, name in enumerate(self.outcomes)
            for j, lag in enumerate(self.lag)
        ]
        return [*pooled, *(row for i in range(len(self.outcomes)) for row in self._rows_of_phases(i))]

    def _rows_of_phases(self, i: int) -> list[dict[str, Any]]:
        name, found = self.outcomes[i], {}
        for key in ("estimate", "error", "low", "high", "p", "rows"):
            found[key] = getattr(self, f"phase_{key}")
        return [
            {
                "outcome": name,
                **self.outcome(name)._asdict(),
                "lag": int(lag),
                "phase": phase,
                "n": int(found["rows"][i, k, j]),
                "runs": len(self.runs),
                "parameters": 0,
                **{key: float(found[key][i, k, j]) for key in ("estimate", "error", "low", "high", "p")},
                "overall_p": np.nan,
                "mde": np.nan,
            }
            for k, phase in enumerate(self.phases)
            for j, lag in enumerate(self.lag)
        ]

    def describe(self) -> list[str]:
        """What was drawn, then a line for each outcome and lag, of all phases and of each."""
        law = self.law
        head = (
            f"{len(self.runs)} run(s), {self.draws.sum()} draws of law low {law['low']:g}, high {law['high']:g}, "
            f"probability {law['probability']:g} ({law['draw']}), {self.amplified.sum()} amplified; {self.schedule}"
        )
        return [head, *(_describe_row(row) for row in self.summary())]


def _describe_row(row: dict[str, Any]) -> str:
    of_phase = row["phase"] != "all"
    head = f"{row['label']}, lag {row['lag']}{', ' + row['phase'] if of_phase else ''}: "
    if math.isnan(row["estimate"]):
        return f"{head}not estimable (n = {row['n']})"
    if of_phase:
        shown = f"{row['estimate']:+.4g} {row['unit']} [{row['low']:+.4g}, {row['high']:+.4g}]"
        return f"{head}{shown}, p {row['p']:.4f}, n = {row['n']}"
    return (
        f"{head}{row['estimate']:+.4g} {row['unit']} [{row['low']:+.4g}, {row['high']:+.4g}], p {row['p']:.4f} "
        f"(no draw acts at any lag, exact: {row['overall_p']:.4f}), minimum detectable effect {row['mde']:.4g}, n = {row['n']}"
    )
