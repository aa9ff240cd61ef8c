"""What a study that decides says: its rule, how far its runs are and, when all are there, the verdict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from ralr_viz.results.bundle import Result
from ralr_viz.results.fields import Array, Axis, Keys, OneOf, PlaceOn
from ralr_viz.results.study import NOT_PLANNED, STATES

MEASURED = (
    "outcome", "official", "train_acc", "loss_fall", "first_factor", "last_factor", "sum_lr", "sum_lr_squared",
)  # fmt: skip
"""Of a run: accuracy (%) on the images that the rule judges by, and on the official test images alone; training
accuracy (%) in the last epoch and the fall of the training loss (nats) over the last tenth of the training; factor of
the first and of the last epoch; Σ LR and Σ LR² over the epochs."""

ESTIMATE = (
    "pairs", "mean", "low", "high", "sd", "p", "floor", "hodges_lehmann", "hl_low", "hl_high",
    "narrow_low", "narrow_high",
)  # fmt: skip
"""Of paired differences: their number; mean, ends of its 95 % t interval and standard deviation (ddof = 1); p of the
exact sign flips and the smallest it can be; Hodges and Lehmann's estimate with its exact 95 % interval; ends of the
90 % t interval, which equivalence is judged by."""

ANSWERS = ("higher", "lower", "no difference shown", "not tested", "withheld")
"""Of a test: it rejects with the arm higher or lower; it does not; a test before it in its family did not; or runs
are missing."""

DONE = ("finished", "diverged")


RULE = {
    "outcome": str, "baseline": str, "support": str, "collapse": float, "equivalence": float, "resolution": float,
    "families": tuple[dict[str, Any], ...],
}  # fmt: skip
"""What is read of the rule, see `ralr_viz.study.rule.Rule`."""


@dataclass(frozen=True, eq=False)
class DecisionResult(Result):
    """A arms at S seeds, of which the main ones are compared by C tests.

    As long as a main run is missing, ``measured`` holds only what the draws decide, and no estimate is there.

    Attributes:
        name, title, note: Of the study.
        rule: ``[decision]`` of its file.
        arms, methods: Label of each arm and what trained it.
        main: (A,) bool, whether the rule is over the arm.
        seeds: Training seeds.
        states: (A, S) of `STATES`, or ``not run`` where the arm has no such seed.
        measured: (A, S, 8) float64, the last axis as `MEASURED`; a diverged run counts at chance. NaN where there
            is none, or where it is withheld.
        families: Of each test, the name of its family.
        levels: (C,) float64.
        contrasts: (C, 2) int64 arm and reference of each test.
        estimates: (C, 12) float64, the last axis as `ESTIMATE`; NaN where withheld.
        answers: Of each test, of `ANSWERS`.
        explored: (A, 12) float64 likewise, of each other arm minus the baseline; NaN for the main arms.
        conditions: Distinct values of what the runs were trained with.
        notes: What a reader should know, a sentence each.
    """

    kind: ClassVar[str] = "decision"
    schema: ClassVar[int] = 1

    name: str
    title: str
    note: str
    rule: Annotated[dict[str, Any], Keys(RULE)]
    arms: Annotated[tuple[str, ...], Axis(("arms",))]
    methods: Annotated[tuple[str, ...], Axis(("arms",))]
    main: Annotated[np.ndarray, Array("boolean", ("arms",))]
    seeds: Annotated[tuple[int, ...], Axis(("seeds",))]
    states: Annotated[np.ndarray, Array("text", ("arms", "seeds")), OneOf(STATES)]
    measured: Annotated[np.ndarray, Array("float", ("arms", "seeds", len(MEASURED)))]
    families: Annotated[tuple[str, ...], Axis(("tests",))]
    levels: Annotated[np.ndarray, Array("float", ("tests",))]
    contrasts: Annotated[np.ndarray, Array("integer", ("tests", 2)), PlaceOn("arms")]
    estimates: Annotated[np.ndarray, Array("float", ("tests", len(ESTIMATE)))]
    answers: Annotated[tuple[str, ...], Axis(("tests",)), OneOf(ANSWERS)]
    explored: Annotated[np.ndarray, Array("float", ("arms", len(ESTIMATE)))]
    conditions: dict[str, tuple[Any, ...]]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rule["baseline"] not in self.arms:
            raise ValueError(f"`rule` has the baseline {self.rule['baseline']!r}, must be one of `arms`")

    @property
    def baseline(self) -> int:
        """Index of the arm that the others are held against."""
        return self.arms.index(self.rule["baseline"])

    @property
    def planned(self) -> np.ndarray:
        """(A, S) bool: runs of the study."""
        return self.states != NOT_PLANNED

    @property
    def done(self) -> np.ndarray:
        """(A, S) bool: runs with a result; a divergence is one."""
        return np.isin(self.states, DONE)

    @property
    def complete(self) -> bool:
        """Whether every main run is there, so that nothing is withheld."""
        return bool(self.done[self.main].all())

    @property
    def collapsed(self) -> np.ndarray:
        """(A, S) bool: more than the rule's points below the baseline of the same seed; False where withheld."""
        outcome = self.value("outcome")
        return outcome < outcome[self.baseline] - float(self.rule["collapse"])

    @property
    def band(self) -> float:
        """Half the width of the band of equivalence, points; NaN where withheld."""
        return float(self.rule["equivalence"]) * (100 - float(self.value("outcome")[self.baseline].mean()))

    @property
    def equivalent(self) -> tuple[bool, ...]:
        """Of each test, whether the 90 % interval lies within ± `band`."""
        low, high = (self.estimates[:, ESTIMATE.index(f"narrow_{end}")] for end in ("low", "high"))
        return tuple(bool(x) for x in (low > -self.band) & (high < self.band))

    @property
    def supported(self) -> bool:
        """Whether all tests of the rule's family reject with the arm higher."""
        answers = [
            a for a, family in zip(self.answers, self.families, strict=True) if family == self.rule["support"]
        ]
        return all(answer == "higher" for answer in answers)

    def value(self, quantity: str) -> np.ndarray:
        """(A, S) of one of `MEASURED`."""
        return self.measured[:, :, MEASURED.index(quantity)]

    def estimate(self, test: int) -> dict[str, float]:
        """The numbers of `ESTIMATE` of a test."""
        return dict(zip(ESTIMATE, self.estimates[test].tolist(), strict=True))

    def contrast(self, test: int) -> str:
        """``arm − reference`` of a test."""
        arm, reference = self.contrasts[test]
        return f"{self.arms[arm]} − {self.arms[reference]}"

    def records(self) -> list[dict[str, Any]]:
        """A row for each run, each test and each exploratory difference; None where there is nothing."""
        rows: list[dict[str, Any]] = []
        for a, s in zip(*np.nonzero(self.planned), strict=True):
            row = {"row": "run", "arm": self.arms[a], "main": bool(self.main[a]), "seed": self.seeds[s]}
            row |= {
                "state": str(self.states[a, s]),
                **dict(zip(MEASURED, self.measured[a, s].tolist(), strict=True)),
            }
            rows.append(row | {"collapsed": bool(self.collapsed[a, s]) if self.complete else None})
        for c, family in enumerate(self.families):
            test = {"family": family, "level": float(self.levels[c]), "answer": self.answers[c]}
            ends = {
                "equivalence band": self.band,
                "equivalent": self.equivalent[c] if self.complete else None,
            }
            rows.append({"row": "test", "arm": self.contrast(c), **test, **self.estimate(c), **ends})
        for a in np.flatnonzero(~self.main):
            difference = f"{self.arms[a]} − {self.arms[self.baseline]}"
            numbers = dict(zip(ESTIMATE, self.explored[a].tolist(), strict=True))
            rows.append({"row": "exploratory", "arm": difference, **numbers})
        names = list(dict.fromkeys(name for row in rows for name in row))
        return [{n: None if (v := row.get(n)) != v else v for n in names} for row in rows]
