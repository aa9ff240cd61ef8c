"""The table of a study: every seed's accuracy in every cell, what they say together, and against a reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from ralr_viz.errors import UnknownNameError
from ralr_viz.results.fields import LARGEST, Array, Axis, OneOf, PlaceOn, Within
from ralr_viz.results.of_loss import ScoredResult

METRICS = ("last", "median_last5", "best")
"""Test score (of images, accuracy in per cent) after the last epoch, its median over the last five, and at the epoch of the lowest
validation loss (training loss where nothing is held out). The best epoch on the test set is none of them."""

NOT_PLANNED = "not run"
"""State of a seed that a cell does not have."""

STATES = ("finished", "diverged", "failed", "running", "stopped", "pending", NOT_PLANNED)

SUMMARY = ("n", "mean", "std", "low", "high")
"""Runs, mean, standard deviation (ddof = 1) and ends of the 95 % t interval of the mean."""

COMPARISON = (
    "difference", "low", "high", "df", "p", "holm_p",
    "pairs", "correlation", "paired_difference", "paired_low", "paired_high", "paired_p", "paired_holm_p",
    "sign_flip_p", "sign_flip_floor", "permutation_p", "permutation_floor",
    "g", "g_low", "g_high", "improvement",
)  # fmt: skip
"""Cell minus reference: Welch's 95 % interval, degrees of freedom and p, paired by seed, exact tests with their
floors, Hedges' g and the probability of improvement; see `ralr_viz.study.statistics.SeedContrast`. Holm is over all
comparisons of the table in this metric, those that could not be tested among them."""

ALPHA = 0.05


@dataclass(frozen=True, eq=False)
class StudyResult(ScoredResult):
    """C cells of a table at S training seeds, in the M metrics of `METRICS`.

    Attributes:
        name, title, note: Of the study.
        axes: Names of the grid's axes, A of them.
        labels: (C, A) label of each cell on each axis, as a tuple of tuples.
        rows, columns: Names of the axes that make the rows and the columns of the table.
        methods: Of each cell, what its runs were trained by.
        seeds: Training seeds.
        values: (C, S, M) float64 scores, for images per cent; NaN where a run has none, and where it diverged
            unless the score says what that counts as.
        states: (C, S) of `STATES`.
        references: (C,) int64 index of the cell that each is compared with; −1 where there is none.
        paper: (C, 2) float64 mean and standard deviation that the paper prints, in the score's unit; NaN where none.
        summaries: (C, M, 5) float64, the last axis as `SUMMARY`.
        comparisons: (C, M, 21) float64, the last axis as `COMPARISON`; NaN without a reference and where either
            side has a diverged run: what survived is no sample of what the method does.
        conditions: Distinct values of what the runs were trained with, such as ``device`` or ``precision``;
            more than one where the runs differ.
        notes: What a reader should know, a sentence each.
    """

    kind: ClassVar[str] = "study"
    schema: ClassVar[int] = 1

    name: str
    title: str
    note: str
    axes: Annotated[tuple[str, ...], Axis(("axes",))]
    labels: Annotated[tuple[tuple[str, ...], ...], Axis(("cells", "axes"))]
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    methods: Annotated[tuple[str, ...], Axis(("cells",))]
    seeds: Annotated[tuple[int, ...], Axis(("seeds",))]
    values: Annotated[np.ndarray, Array("float", ("cells", "seeds", len(METRICS)), unit="%")]
    states: Annotated[np.ndarray, Array("text", ("cells", "seeds")), OneOf(STATES)]
    references: Annotated[np.ndarray, Array("integer", ("cells",)), PlaceOn("cells", lowest=-1)]
    paper: Annotated[np.ndarray, Array("float", ("cells", 2), unit="%")]
    summaries: Annotated[np.ndarray, Array("float", ("cells", len(METRICS), len(SUMMARY)))]
    comparisons: Annotated[
        np.ndarray, Array("float", ("cells", len(METRICS), len(COMPARISON))), Within(-LARGEST, LARGEST)
    ]
    conditions: dict[str, tuple[Any, ...]]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if not np.isfinite(self.summaries[..., SUMMARY.index("n")]).all():
            raise ValueError("`summaries` holds a number of runs that is not finite")
        if sorted(self.rows + self.columns) != sorted(self.axes):
            raise ValueError(
                f"`rows` {self.rows} and `columns` {self.columns} must name each of `axes` {self.axes} once"
            )

    @property
    def num_compared(self) -> int:
        """Cells with a reference: the comparisons that Holm's correction is over."""
        return int((self.references >= 0).sum())

    @property
    def withheld(self) -> np.ndarray:
        """(C,) bool: compared with nothing, since a run of the cell or of its reference diverged and has no score."""
        diverged = ((self.states == "diverged") & ~self.scored_diverged).any(axis=1)
        return (self.references >= 0) & (diverged | diverged[self.references])

    @property
    def scored_diverged(self) -> np.ndarray:
        """(C, S) bool: diverged, and counted as the score says."""
        scored: np.ndarray = (self.states == "diverged") & np.isfinite(self.values).any(axis=2)
        return scored

    def without_diverged(self, cell: int, metric: str) -> tuple[int, float, float]:
        """Runs of a cell that did not diverge, their mean and their standard deviation (ddof = 1)."""
        left = self.values[cell, ~self.scored_diverged[cell], metric_index(metric)]
        left = left[np.isfinite(left)]
        mean = float(left.mean()) if len(left) else np.nan
        return len(left), mean, float(left.std(ddof=1)) if len(left) > 1 else np.nan

    def count(self, cell: int, state: str) -> int:
        """Runs of a cell in a state."""
        return int((self.states[cell] == state).sum())

    def planned(self, cell: int) -> int:
        """Training seeds of a cell."""
        return len(self.seeds) - self.count(cell, NOT_PLANNED)

    def label(self, cell: int, axes: tuple[str, ...] | None = None) -> tuple[str, ...]:
        """Labels of a cell on some axes; on all when left out."""
        return tuple(
            self.labels[cell][self.axes.index(axis)] for axis in (self.axes if axes is None else axes)
        )

    def summary(self, cell: int, metric: str) -> dict[str, float]:
        """The numbers of `SUMMARY`."""
        return dict(zip(SUMMARY, self.summaries[cell, metric_index(metric)].tolist(), strict=True))

    def comparison(self, cell: int, metric: str) -> dict[str, float]:
        """The numbers of `COMPARISON`."""
        return dict(zip(COMPARISON, self.comparisons[cell, metric_index(metric)].tolist(), strict=True))

    def excludes_zero(self, cell: int, metric: str) -> bool:
        """Whether Welch's interval of the difference from the reference excludes 0."""
        found = self.comparison(cell, metric)
        return found["low"] > 0 or found["high"] < 0

    def survives_holm(self, cell: int, metric: str) -> bool:
        """Whether Holm's p of Welch's test is below 0.05."""
        return self.comparison(cell, metric)["holm_p"] < ALPHA

    def records(self) -> list[dict[str, Any]]:
        """A row for each cell and metric with every number at full precision; None where there is none."""
        return [self._record(cell, metric) for cell in range(len(self.labels)) for metric in METRICS]

    def _record(self, cell: int, metric: str) -> dict[str, Any]:
        reference, m = int(self.references[cell]), metric_index(metric)
        seeds = {f"seed{s}": v for s, v in zip(self.seeds, self.values[cell, :, m].tolist(), strict=True)}
        states = {f"seed{s} state": str(v) for s, v in zip(self.seeds, self.states[cell], strict=True)}
        mean, std = self.paper[cell].tolist()
        found = self.summary(cell, metric)
        numbers = {
            f"mean {name}" if name in ("low", "high") else name: value for name, value in found.items()
        }
        row = {
            "trained by": self.methods[cell],
            "metric": metric,
            **numbers,
            "n": int(found["n"]),
            "seeds": self.planned(cell),
            "diverged": self.count(cell, "diverged"),
            "failed": self.count(cell, "failed"),
            "paper mean": mean,
            "paper std": std,
            "minus paper": found["mean"] - mean,
            "reference": None if reference < 0 else ", ".join(self.labels[reference]),
            "withheld": bool(self.withheld[cell]),
            **self.comparison(cell, metric),
            "pairs": None if reference < 0 else int(np.nan_to_num(self.comparison(cell, metric)["pairs"])),
            "excludes 0": self.excludes_zero(cell, metric) if reference >= 0 else None,
            **seeds,
            **states,
        }
        if self.scored_diverged.any():
            n, mean, std = self.without_diverged(cell, metric)
            row |= {"n without diverged": n, "mean without diverged": mean, "std without diverged": std}
        known = {f"axis {axis}" if axis in row else axis: self.label(cell, (axis,))[0] for axis in self.axes}
        return {"study": self.name} | known | {k: None if v != v else v for k, v in row.items()}


def metric_index(metric: str) -> int:
    """Index in `METRICS`.

    Raises:
        UnknownNameError: None of them.
    """
    if metric not in METRICS:
        raise UnknownNameError("metric", metric, METRICS)
    return METRICS.index(metric)
