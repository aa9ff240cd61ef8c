"""What the diagnostics say of two methods and a control over training seeds, and the verdict on each claim."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, NamedTuple

import numpy as np

from ralr_viz.results.bundle import Result
from ralr_viz.results.fields import Array, Axis
from ralr_viz.results.measure import format_interval, format_number


class Claim(NamedTuple):
    """One of the paper's explanations as a test that was stated before looking.

    Attributes:
        text: What A's change is claimed to do.
        diagnostic: Where the numbers that decide are.
        measures: These numbers; of several each must say so, and the largest p counts.
        sign: +1 where the claim says that they grow, −1 where they fall.
        control: Method that the control must be of, where not any will do.
    """

    text: str
    diagnostic: str
    measures: tuple[str, ...]
    sign: int
    control: str = ""


CLAIMS = (
    Claim("flatter minima", "sharpness, matched loss", ("sharpness",), -1),
    Claim("weights still move late", "movement", ("late_angular_path", "function_change"), 1, "matched"),
    Claim("more precise class activation maps", "localisation", ("rank_small",), 1),
    Claim("classes tighter and further apart", "collapse, matched loss", ("nc1_test",), -1),
)
"""The four primary claims; Holm's correction is over these. All other measures explore."""

_ONCE = (
    ("sharpness", "sharpness"), ("movement", "late_path_per_lr"), ("localisation", "rank_small"), ("collapse", "nc1_test"),
)  # fmt: skip
"""Diagnostic and measures that decided the claims in results that do not say which."""

COMPARISONS = ("b − a", "b − control", "control − a")


@dataclass(frozen=True, eq=False)
class WhyResult(Result):
    """M measures of two or three arms (A, B and perhaps a control) at S training seeds.

    Comparisons are the differences of `COMPARISONS`, paired by seed; without a control only the first, C = 1.

    Attributes:
        arms: Names of A, B and the control, where there is one.
        seeds: Paired training seeds.
        diagnostics: Of each measure, the diagnostic that gave it; a name such as ``sharpness, matched loss``
            where one ran twice.
        names, labels, units: Of each measure, see `Measure`.
        resampled: Of each measure, what its draws resample; empty where there are none.
        values: (M, arms, S) float64; NaN where not measured.
        within: (M, C, S, 2) float64 ends of the 95 % interval of each seed's own difference over resampled
            images or directions: what is known of *these checkpoints*.
        differences: (M, C, 3) float64 mean over the seeds and the ends of its 95 % t interval.
        p, sign_flip_p: (M, C) float64 of the paired t test, and exact over sign flips.
        sign_flip_floor: The smallest that ``sign_flip_p`` can be with S seeds.
        bootstrap: (M, C, 2) float64 ends of the 95 % interval over resampled seeds × images.
        corrected_p: (4,) float64 of `CLAIMS`, by Holm; NaN where a claim was not tested.
        verdicts: Of `CLAIMS`: ``supported``, ``contradicted``, ``not shown``, ``not testable …``, ``not measured``,
            or what these checkpoints show.
        notes: What a reader should know, a sentence each.
        deciding: Of `CLAIMS`, the diagnostic and then the measures that decided, whether measured or not.
    """

    kind: ClassVar[str] = "why"
    schema: ClassVar[int] = 1

    arms: Annotated[tuple[str, ...], Axis(("arms",))]
    seeds: Annotated[tuple[int, ...], Axis(("seeds",), fewest=1)]
    diagnostics: Annotated[tuple[str, ...], Axis(("measures",))]
    names: Annotated[tuple[str, ...], Axis(("measures",))]
    labels: Annotated[tuple[str, ...], Axis(("measures",))]
    units: Annotated[tuple[str, ...], Axis(("measures",))]
    resampled: Annotated[tuple[str, ...], Axis(("measures",))]
    values: Annotated[np.ndarray, Array("float", ("measures", "arms", "seeds"))]
    within: Annotated[np.ndarray, Array("float", ("measures", "comparisons", "seeds", 2))]
    differences: Annotated[np.ndarray, Array("float", ("measures", "comparisons", 3))]
    p: Annotated[np.ndarray, Array("float", ("measures", "comparisons"))]
    sign_flip_p: Annotated[np.ndarray, Array("float", ("measures", "comparisons"))]
    sign_flip_floor: float
    bootstrap: Annotated[np.ndarray, Array("float", ("measures", "comparisons", 2))]
    corrected_p: Annotated[np.ndarray, Array("float", (len(CLAIMS),))]
    verdicts: Annotated[tuple[str, ...], Axis((len(CLAIMS),))]
    notes: tuple[str, ...] = ()
    deciding: Annotated[tuple[tuple[str, ...], ...], Axis((len(CLAIMS),))] = _ONCE

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.arms) not in (2, 3) or self.p.shape[1] != len(self.comparisons):
            raise ValueError(
                f"`arms` has {len(self.arms)} names for {self.p.shape[1]} comparisons, expects 2 for 1 or 3 for "
                f"{len(COMPARISONS)}"
            )

    @property
    def comparisons(self) -> tuple[str, ...]:
        """The comparisons that these arms allow."""
        return COMPARISONS if len(self.arms) == 3 else COMPARISONS[:1]

    def find(self, diagnostic: str, name: str) -> int | None:
        """Index of a measure, or None where it was not measured."""
        for i, key in enumerate(zip(self.diagnostics, self.names, strict=True)):
            if key == (diagnostic, name):
                return i
        return None

    def claim_of(self, measure: int) -> int | None:
        """Index in `CLAIMS` of the claim that a measure decides, else None."""
        for k, (diagnostic, *names) in enumerate(self.deciding):
            if diagnostic == self.diagnostics[measure] and self.names[measure] in names:
                return k
        return None

    def measures_of(self, claim: int) -> list[int]:
        """Indices of the measures that decide a claim; empty where it has none."""
        diagnostic, *names = self.deciding[claim]
        return [m for name in names if (m := self.find(diagnostic, name)) is not None]

    def interval(self, measure: int, comparison: int) -> tuple[float, float, float, str]:
        """Mean difference, the ends of its interval and over what it is taken.

        Over seeds by the t distribution where there are two or more, else over the images or directions of
        the one pair of checkpoints.
        """
        mean, low, high = self.differences[measure, comparison].tolist()
        if len(self.seeds) > 1:
            return mean, low, high, "seeds"
        low, high = self.within[measure, comparison, 0].tolist()
        return mean, low, high, self.resampled[measure]

    def scale(self, measure: int) -> float:
        """What a measure's differences are divided by to be compared with others'; NaN where it has none.

        The standard deviation between seeds (ddof = 1), pooled over the arms; of one seed the standard error of b − a,
        from its interval.
        """
        if len(self.seeds) > 1:
            scale = float(np.sqrt(self.values[measure].var(axis=1, ddof=1).mean()))
        else:
            low, high = self.within[measure, 0, 0].tolist()
            scale = (high - low) / (2 * 1.96)
        return scale if scale > 0 else float("nan")

    def describe(self) -> list[str]:
        """The table as Markdown: the four claims first, then what explores."""
        header = ["claim", "measure", *self.arms, *_arrows(self), "p, Holm", "verdict"]
        rows = []
        for k, claim in enumerate(CLAIMS):
            for m in (places := self.measures_of(k)):
                p = "–" if math.isnan(self.corrected_p[k]) else f"{self.corrected_p[k]:.3g}"
                rows.append([claim.text, *_cells(self, m), p, self.verdicts[k]])
            if not places:
                rows.append([claim.text, "–", *["–"] * (len(header) - 4), "–", self.verdicts[k]])
        lines = [_caption(self), "", *_markdown(header, rows)]
        others = [m for m in range(len(self.names)) if self.claim_of(m) is None]
        if others:
            header = ["diagnostic", "measure", *self.arms, *_arrows(self), "p, uncorrected"]
            rows = [[self.diagnostics[m], *_cells(self, m), _number(float(self.p[m, 0]), 2)] for m in others]
            lines += [
                "",
                "Exploratory: no verdict, no correction for their number.",
                "",
                *_markdown(header, rows),
            ]
        return lines


def _caption(result: WhyResult) -> str:
    n = len(result.seeds)
    if n == 1:
        return (
            "One training seed: intervals are over images or directions, and hold for these checkpoints only."
        )
    text = f"{n} training seeds, paired: mean difference [95 % t interval over seeds]"
    text += f"; exact sign-flip p is {result.sign_flip_floor:.3g} at least."
    return text + (" With fewer than 3 seeds, these checkpoints only." if n < 3 else "")


def _arrows(result: WhyResult) -> list[str]:
    names = {"a": result.arms[0], "b": result.arms[1], "control": result.arms[-1]}
    return [" − ".join(names[part] for part in comparison.split(" − ")) for comparison in result.comparisons]


def _cells(result: WhyResult, m: int) -> list[str]:
    unit = f" ({result.units[m]})" if result.units[m] else ""
    cells = [result.labels[m] + unit] + [_number(float(v), 4) for v in result.values[m].mean(axis=1)]
    for c in range(len(result.comparisons)):
        mean, low, high, _ = result.interval(m, c)
        cells.append("–" if math.isnan(mean) else format_interval(mean, low, high, 3, signed=True))
    return cells


def _number(value: float, digits: int) -> str:
    return "–" if math.isnan(value) else format_number(value, digits)


def _markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    cells = [[cell.replace("|", "\\|") for cell in row] for row in (header, *rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |" for row in cells]
    return [lines[0], "|" + "|".join("-" * (w + 2) for w in widths) + "|", *lines[1:]]
