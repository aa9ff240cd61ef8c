"""A diagnostic and the score of trainings that differ in a dose, and of others beside them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from ralr_viz.results.bundle import Result
from ralr_viz.results.fields import Array, Axis
from ralr_viz.results.measure import finite_or_none, format_interval, format_number
from ralr_viz.results.uncertainty import student_interval

ALPHA = 0.05
WIDE = 20.0
"""A measure above 0 that spans a larger factor is drawn, and its line fitted, in logarithms."""


@dataclass(frozen=True, eq=False)
class DoseResult(Result):
    """k measures of a diagnostic in m trainings, some with a dose, some beside.

    Arrays are float64, NaN where something was not measured. Order 0 is among doses within a seed, order 1 among seeds
    within a dose.

    Attributes:
        noun: The diagnostic.
        measures, labels, units: Of the k measures.
        dose_name: What the dose is, such as ``factor``.
        score_name, score_unit: Of the score.
        runs: m unique names.
        arms: What each is called: its dose, or the method of one beside.
        seeds: (m,) training seeds.
        dose: (m,); NaN of a training beside.
        values: (k, m) of the last states.
        score: (m,) after the last epoch.
        dose_tau, dose_p: (k,) Kendall's τ of measure and dose within seeds, and its permutation p.
        tau, p: (k, 2) of measure and score, in the two orders.
        predicted: (k, m) score by the line through the trainings with a dose, a level for each seed.
        slope: (k,) of that line, in points of score a unit of the measure, or of its logarithm.
        logarithmic: (k,) bool, whether the line is in the measure's logarithm: it spans more than a factor of `WIDE`.
        notes: What a reader should know, a sentence each.
    """

    kind: ClassVar[str] = "dose"
    schema: ClassVar[int] = 1

    noun: str
    measures: Annotated[tuple[str, ...], Axis(("measures",), unique=True)]
    labels: Annotated[tuple[str, ...], Axis(("measures",))]
    units: Annotated[tuple[str, ...], Axis(("measures",))]
    dose_name: str
    score_name: str
    score_unit: str
    runs: Annotated[tuple[str, ...], Axis(("runs",), unique=True)]
    arms: Annotated[tuple[str, ...], Axis(("runs",))]
    seeds: Annotated[tuple[int, ...], Axis(("runs",))]
    dose: Annotated[np.ndarray, Array("float", ("runs",))]
    values: Annotated[np.ndarray, Array("float", ("measures", "runs"))]
    score: Annotated[np.ndarray, Array("float", ("runs",))]
    dose_tau: Annotated[np.ndarray, Array("float", ("measures",))]
    dose_p: Annotated[np.ndarray, Array("float", ("measures",))]
    tau: Annotated[np.ndarray, Array("float", ("measures", 2))]
    p: Annotated[np.ndarray, Array("float", ("measures", 2))]
    predicted: Annotated[np.ndarray, Array("float", ("measures", "runs"))]
    slope: Annotated[np.ndarray, Array("float", ("measures",))]
    logarithmic: Annotated[np.ndarray, Array("boolean", ("measures",))]
    notes: tuple[str, ...] = ()

    @property
    def beside(self) -> tuple[str, ...]:
        """The arms without a dose."""
        return tuple(
            dict.fromkeys(arm for arm, dose in zip(self.arms, self.dose, strict=True) if math.isnan(dose))
        )

    def rows_of(self, arm: str) -> np.ndarray:
        """(m,) bool, the trainings of an arm."""
        return np.array([name == arm for name in self.arms])

    def off_line(self, measure: int, arm: str) -> tuple[float, float, float]:
        """Mean over an arm's seeds of score minus prediction, and the ends of its 95 % t interval, NaN of one seed.

        The line's own uncertainty is not in it.
        """
        off = (self.score - self.predicted[measure])[self.rows_of(arm)]
        off = off[np.isfinite(off)]
        if len(off) < 2:
            return (float(off[0]) if len(off) else math.nan), math.nan, math.nan
        low, high = student_interval(off[None])
        return float(off.mean()), float(low[0]), float(high[0])

    def verdict(self, measure: int) -> str:
        """Whether the measure may carry what the dose does to the score, as a clause."""
        (across, within), (p_across, p_within) = self.tau[measure], self.p[measure]
        if not (math.isfinite(self.dose_p[measure]) and self.dose_p[measure] < ALPHA):
            return "does not move with the dose here"
        if not (math.isfinite(p_across) and p_across < ALPHA):
            return "moves with the dose, and does not order the scores"
        if math.isfinite(p_within) and p_within < ALPHA and across * within > 0:
            return "moves with the dose and orders the scores, also at equal dose: it may carry the effect"
        return "moves with the dose as the score does; at equal dose it is not shown to order the scores"

    def describe(self) -> list[str]:
        """Of each measure its rank agreements, the verdict, and how far the others lie from the line."""
        counted = np.isfinite(self.dose)
        lines = [
            f"{self.noun} and {self.score_name} of {counted.sum()} trainings with a {self.dose_name} "
            f"({', '.join(f'{d:g}' for d in np.unique(self.dose[counted]))}) and {(~counted).sum()} beside"
        ]
        for k, (label, unit) in enumerate(zip(self.labels, self.units, strict=True)):
            named = f"{label} ({unit})" if unit else label
            (across, within), (p_across, p_within) = self.tau[k], self.p[k]
            told = [
                f"τ with the {self.dose_name} {_signed(self.dose_tau[k])} (p {_p(self.dose_p[k])})",
                f"with the score among doses {_signed(across)} (p {_p(p_across)})",
                f"among seeds of a dose {_signed(within)} (p {_p(p_within)})",
            ]
            lines.append(f"{named}: {self.verdict(k)}; {', '.join(told)}")
            for arm in self.beside:
                unit_ = "points" if self.score_unit == "%" else self.score_unit
                shown = format_interval(*self.off_line(k, arm), 3, signed=True)
                lines.append(f"{named}: {arm} is {shown} {unit_}".rstrip() + " off the line")
        return lines

    def remarks(self) -> list[str]:
        """The notes."""
        return list(self.notes)

    def rows(self) -> list[dict[str, Any]]:
        """A row for each measure and training."""
        return [
            {
                "noun": self.noun,
                "measure": measure,
                "unit": self.units[k],
                "run": run,
                "arm": self.arms[i],
                "seed": self.seeds[i],
                "dose": finite_or_none(self.dose[i]),
                "value": finite_or_none(self.values[k, i]),
                "score": finite_or_none(self.score[i]),
                "predicted_score": finite_or_none(self.predicted[k, i]),
                "tau_dose": finite_or_none(self.dose_tau[k]),
                "p_dose": finite_or_none(self.dose_p[k]),
                "tau_among_doses": finite_or_none(self.tau[k, 0]),
                "p_among_doses": finite_or_none(self.p[k, 0]),
                "tau_among_seeds": finite_or_none(self.tau[k, 1]),
                "p_among_seeds": finite_or_none(self.p[k, 1]),
            }
            for k, measure in enumerate(self.measures)
            for i, run in enumerate(self.runs)
        ]


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−") if math.isfinite(value) else "not defined"


def _p(value: float) -> str:
    return format_number(value, 2)
