"""The four claims as `ralr-viz why` tested them, as text."""

from __future__ import annotations

import math
from typing import Any

from ralr_viz.report.section import format_number
from ralr_viz.results.measure import format_interval
from ralr_viz.results.why import CLAIMS, WhyResult


def claims_table(why: WhyResult) -> dict[str, Any]:
    """Header and rows of the four claims, and the note that goes with them."""
    names = {"a": why.arms[0], "b": why.arms[1], "control": why.arms[-1]}
    arrows = [" − ".join(names[part] for part in c.split(" − ")) for c in why.comparisons]
    rows = []
    for k, claim in enumerate(CLAIMS):
        for m in (places := why.measures_of(k)):
            rows.append(
                [
                    claim.text,
                    *_cells(why, m),
                    format_number(float(why.corrected_p[k]), ".3g"),
                    why.verdicts[k],
                ]
            )
        if not places:
            rows.append([claim.text, "–", *["–"] * (len(why.arms) + len(arrows) + 1), why.verdicts[k]])
    n = len(why.seeds)
    note = (
        f"{n} training seeds, paired; 95 % t intervals over seeds; a paired t test, Holm-corrected over the "
        "four claims, decides, and supported or contradicted needs the same sign against the control."
        if n > 1
        else "One training seed: intervals are over images or directions, and hold for these checkpoints only."
    )
    return {
        "header": ["claim", "measure", *why.arms, *arrows, "p, Holm", "verdict"],
        "rows": rows,
        "note": note,
    }


def _cells(why: WhyResult, m: int) -> list[str]:
    """Label, arms and differences of a measure."""
    unit = f" ({why.units[m]})" if why.units[m] else ""
    cells = [why.labels[m] + unit] + [
        format_number(float(value), ".4g") for value in why.values[m].mean(axis=1)
    ]
    for c in range(len(why.comparisons)):
        mean, low, high, _ = why.interval(m, c)
        cells.append("–" if math.isnan(mean) else format_interval(mean, low, high, 3, signed=True))
    return cells
