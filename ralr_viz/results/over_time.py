"""The numbers of a diagnostic after each kept epoch of two or three arms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from ralr_viz.results.bundle import Result
from ralr_viz.results.fields import Array, Axis, OneOf
from ralr_viz.results.measure import finite_or_none, format_number
from ralr_viz.results.names import method_name
from ralr_viz.results.uncertainty import student_interval

AXES = {"epoch": "epoch", "sum-lr": "Σ LR", "train-loss": "training loss"}
"""What the numbers may be drawn against, with its title."""


@dataclass(frozen=True, eq=False)
class OverTimeResult(Result):
    """k measures of m networks, or of m pairs of them, after each of E epochs.

    Arrays are float64, NaN where something was not measured or recorded.

    Attributes:
        noun: The diagnostic.
        measures, labels, units: k names of the measures, what they are called, and their units.
        columns: m unique names.
        groups: What each is averaged with: an arm, or two arms, or two seeds of one.
        seeds: (m,) int64 training seed of each.
        epoch: (E,) int64, growing.
        values: (k, m, E).
        sum_lr: (m, E) Σ of the learning rates of the epochs so far; of a pair the mean of both.
        train_loss: (m, E) training loss after the epoch in eval mode, or the epoch's running mean; likewise.
        amplified: (m, E) bool, whether the learning rate of the epoch was amplified, in either of a pair.
        axis: What they are drawn against, one of `AXES`.
        notes: What a reader should know, a sentence each.
    """

    kind: ClassVar[str] = "over_time"
    schema: ClassVar[int] = 1

    noun: str
    measures: Annotated[tuple[str, ...], Axis(("measures",), unique=True)]
    labels: Annotated[tuple[str, ...], Axis(("measures",))]
    units: Annotated[tuple[str, ...], Axis(("measures",))]
    columns: Annotated[tuple[str, ...], Axis(("columns",), unique=True)]
    groups: Annotated[tuple[str, ...], Axis(("columns",))]
    seeds: Annotated[tuple[int, ...], Axis(("columns",))]
    epoch: Annotated[np.ndarray, Array("integer", ("epochs",), fewest=2)]
    values: Annotated[np.ndarray, Array("float", ("measures", "columns", "epochs"))]
    sum_lr: Annotated[np.ndarray, Array("float", ("columns", "epochs"))]
    train_loss: Annotated[np.ndarray, Array("float", ("columns", "epochs"))]
    amplified: Annotated[np.ndarray, Array("boolean", ("columns", "epochs"))]
    axis: Annotated[str, OneOf(tuple(AXES))] = "epoch"
    notes: tuple[str, ...] = ()

    @property
    def along(self) -> np.ndarray:
        """(m, E) what they are drawn against."""
        epochs = np.broadcast_to(self.epoch.astype(np.float64), self.sum_lr.shape)
        return {"epoch": epochs, "sum-lr": self.sum_lr, "train-loss": self.train_loss}[self.axis]

    def rows_of(self, group: str) -> list[int]:
        """Places of its columns."""
        return [i for i, name in enumerate(self.groups) if name == group]

    def mean(self, measure: int, group: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Along the axis: its places (p,), the mean over the group's seeds, and the ends of its 95 % t interval.

        Against the epoch all seeds have the same places. Else each seed's line is read, between its own points, at as many
        places of the range that all of them have; of the training loss at that of its lowest so far, in its logarithm.
        Ends are NaN of a single seed.
        """
        rows = self.rows_of(group)
        values = self.values[measure, rows]
        if self.axis == "epoch":
            along = self.epoch.astype(np.float64)
        else:
            along, values = self._read_along(rows, values)
        if len(rows) < 2 or not along.size:
            nothing = np.full(along.shape, np.nan)
            return along, values.mean(0), nothing, nothing
        low, high = student_interval(values.T)
        return along, values.mean(0), low, high

    def _read_along(self, rows: list[int], values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        sign = -1.0 if self.axis == "train-loss" else 1.0
        lines = []
        for x, y in zip(self.along[rows], values, strict=True):
            if sign < 0:
                x = -np.log(np.minimum.accumulate(np.where(x > 0, x, np.nan)))
            fine = np.isfinite(x) & np.isfinite(y)
            at, last = np.unique(
                x[fine][::-1], return_index=True
            )  # of equal ones the last, which a loss comes back to
            lines.append((at, y[fine][::-1][last]))
        if any(len(x) < 2 for x, _ in lines):
            return np.zeros(0), np.zeros((len(rows), 0))
        first, last_ = max(x[0] for x, _ in lines), min(x[-1] for x, _ in lines)
        if first >= last_:
            return np.zeros(0), np.zeros((len(rows), 0))
        grid = np.linspace(first, last_, len(self.epoch))
        read = np.stack([np.interp(grid, x, y) for x, y in lines])
        return (np.exp(-grid) if sign < 0 else grid), read

    def describe(self) -> list[str]:
        """What was looked at, then of each measure the mean of each group after the first, the middle and the last epoch."""
        places = sorted({0, len(self.epoch) // 2, len(self.epoch) - 1})
        lines = [
            f"{self.noun} of {len(self.columns)} {'pairs' if '–' in self.columns[0] else 'networks'} after "
            f"{len(self.epoch)} epochs from {self.epoch[0]} to {self.epoch[-1]}"
        ]
        for k, (label, unit) in enumerate(zip(self.labels, self.units, strict=True)):
            told = []
            for group in dict.fromkeys(self.groups):
                means = self.values[k, self.rows_of(group)].mean(0)
                shown = ", ".join(f"{format_number(means[p])} ({self.epoch[p]})" for p in places)
                told.append(f"{method_name(group)} {shown}")
            lines.append(f"{label}{f' ({unit})' if unit else ''}, mean over seeds (epoch): {'; '.join(told)}")
        return lines

    def remarks(self) -> list[str]:
        """The notes."""
        return list(self.notes)

    def rows(self) -> list[dict[str, Any]]:
        """A row for each measure, column and epoch."""
        return [
            {
                "noun": self.noun,
                "measure": measure,
                "unit": self.units[k],
                "group": self.groups[i],
                "column": column,
                "seed": self.seeds[i],
                "epoch": int(epoch),
                "sum_lr": finite_or_none(self.sum_lr[i, e]),
                "train_loss": finite_or_none(self.train_loss[i, e]),
                "amplified": bool(self.amplified[i, e]),
                "value": finite_or_none(self.values[k, i, e]),
            }
            for k, measure in enumerate(self.measures)
            for i, column in enumerate(self.columns)
            for e, epoch in enumerate(self.epoch)
        ]
