"""The four claims as `ralr-viz why` tested them, as text and as little drawings."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from ralr_viz.report.inputs import ReportInputs
from ralr_viz.report.section import format_number, place_interval
from ralr_viz.results.measure import format_interval
from ralr_viz.results.why import CLAIMS, WhyResult


class Difference(NamedTuple):
    """One comparison of a claim's measure.

    Attributes:
        name: Such as ``RALR − baseline``.
        text: The difference with its interval.
        drawing: Low end, value and high end, see `place_interval`.
    """

    name: str
    text: str
    drawing: list[float] | None


class ClaimLine(NamedTuple):
    """A claim in one line.

    Attributes:
        text: What is claimed.
        verdict: In words.
        claimed: Which direction, ``lower`` or ``higher``; empty where not measured.
        unit: Of the differences; empty for pure numbers.
        differences: B − A, then B − control where there is one.
    """

    text: str
    verdict: str
    claimed: str = ""
    unit: str = ""
    differences: tuple[Difference, ...] = ()


def claim_lines(inputs: ReportInputs, why: WhyResult) -> list[ClaimLine]:
    """A line a claim; of several measures that must all say so, the one whose test says so least.

    That one seed tests nothing stands above them once, see `claims_table`.
    """
    comparisons = name_comparisons(inputs, why)
    lines = []
    for k, claim in enumerate(CLAIMS):
        places, verdict = why.measures_of(k), why.verdicts[k].rpartition("these checkpoints: ")[2]
        if not places:
            lines.append(ClaimLine(claim.text, verdict))
            continue
        m = max(places, key=lambda place: (math.isnan(p := float(why.p[place, 0])), p))
        found = [why.interval(m, c)[:3] for c in range(min(2, len(comparisons)))]
        known = [abs(end) for ends in found for end in ends if math.isfinite(end)]
        reach = max(known, default=0.0)
        lines.append(
            ClaimLine(
                claim.text,
                verdict,
                "higher" if claim.sign > 0 else "lower",
                why.units[m],
                tuple(
                    Difference(name, _show(*ends, digits=2), place_interval(ends, reach))
                    for name, ends in zip(comparisons, found, strict=False)
                ),
            )
        )
    return lines


def claims_table(inputs: ReportInputs, why: WhyResult) -> dict[str, Any]:
    """Header and rows of the four claims, and the note that goes with them."""
    comparisons, arms = name_comparisons(inputs, why), [inputs.label_of(arm) for arm in why.arms]
    rows = []
    for k, claim in enumerate(CLAIMS):
        p = format_number(float(why.corrected_p[k]), ".3g")
        for m in (places := why.measures_of(k)):
            rows.append([claim.text, why.verdicts[k], *_cells(why, m), p])
        if not places:
            rows.append([claim.text, why.verdicts[k], *["–"] * (len(arms) + len(comparisons) + 2)])
    n = len(why.seeds)
    note = (
        f"{n} training seeds, paired; 95 % t intervals over seeds; a paired t test, Holm-corrected over the "
        "four claims, decides, and supported or contradicted needs the same sign against the control."
        if n > 1
        else "One training seed: intervals are over images or directions, and hold for these checkpoints only."
    )
    return {
        "header": ["claim", "verdict", "measure", *comparisons, *arms, "p, Holm"],
        "rows": rows,
        "note": note,
    }


def name_comparisons(inputs: ReportInputs, why: WhyResult) -> list[str]:
    """B − A and, with a control, B − control and control − A, as the page calls these."""
    arms = [inputs.label_of(arm) for arm in why.arms]
    names = {"a": arms[0], "b": arms[1], "control": arms[-1]}
    return [" − ".join(names[part] for part in comparison.split(" − ")) for comparison in why.comparisons]


def _label(why: WhyResult, m: int) -> str:
    return f"{why.labels[m]} ({why.units[m]})" if why.units[m] else why.labels[m]


def _show(mean: float, low: float, high: float, digits: int = 3) -> str:
    return "–" if math.isnan(mean) else format_interval(mean, low, high, digits, signed=True)


def _cells(why: WhyResult, m: int) -> list[str]:
    """Label, differences and arms of a measure."""
    differences = [_show(*why.interval(m, c)[:3]) for c in range(len(why.comparisons))]
    means = [format_number(float(value), ".4g") for value in why.values[m].mean(axis=1)]
    return [_label(why, m), *differences, *means]
