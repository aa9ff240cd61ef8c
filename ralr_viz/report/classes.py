"""The classes: how accurate each side is on each of them, and what they are taken for."""

from __future__ import annotations

import math
from typing import Any

from ralr_viz.report.inputs import ReportInputs, whose_checkpoints
from ralr_viz.report.section import Section, format_number, missing_section, render_template
from ralr_viz.results.verdict import ClassScores

TITLE = "Classes"
_HALF = 50.0
"""Half the width of the little interval drawings, in their units."""


def build_classes(inputs: ReportInputs) -> Section:
    """A table that can be sorted, filtered and downloaded; choosing a class filters the other sections."""
    verdict = inputs.verdict
    scores = None if verdict is None else verdict.classes
    if verdict is None or scores is None:
        return missing_section("classes", TITLE, inputs.missing.get("classes", "no predictions were given"))
    rows = class_rows(inputs, scores)
    pair = verdict.num_sides == 2
    excluding = sum(row["decided"] for row in rows)
    html = render_template(
        "classes.html",
        names=verdict.names,
        pair=pair,
        rows=rows,
        excluding=excluding,
        by_chance=f"{0.05 * len(rows):.1f}",
    )
    header = ["label", "class", "n", *(f"accuracy {name} (%)" for name in verdict.names)]
    if pair:
        header += ["difference (points)", "low", "high"]
    for name in verdict.names:
        header += [f"top confusion {name}", f"top confusion {name} (n)"]
    table = [_csv_row(row, pair) for row in rows]
    return Section(
        "classes",
        TITLE,
        html,
        scripts=("classes.js",),
        data={"header": header, "rows": table},
        whose=whose_checkpoints(inputs.sides),
    )


def class_rows(inputs: ReportInputs, scores: ClassScores) -> list[dict[str, Any]]:
    """What the table shows of each class, in label order."""
    ends = scores.difference[:, 1:]
    reach = float(abs(ends).max()) if math.isfinite(float(ends.sum())) else 0.0
    rows = []
    for i, label in enumerate(scores.labels.tolist()):
        value, low, high = scores.difference[i].tolist()
        known = math.isfinite(value)
        rows.append(
            {
                "label": label,
                "name": inputs.class_name(label),
                "count": int(scores.counts[i]),
                "accuracy": scores.accuracy[:, i].tolist(),
                "difference": value,
                "low": low,
                "high": high,
                "decided": known and not low <= 0 <= high,
                "text": f"{format_number(value, '+.1f')} [{format_number(low, '+.1f')}, {format_number(high, '+.1f')}]",
                "drawing": [_HALF * (1 + end / reach) for end in (low, value, high)] if known else None,
                "confused": [_confusion(inputs, scores, side, i) for side in range(len(scores.accuracy))],
            }
        )
    return rows


def _confusion(inputs: ReportInputs, scores: ClassScores, side: int, i: int) -> dict[str, Any]:
    label, count = int(scores.confused_with[side, i]), int(scores.confused_counts[side, i])
    return {"name": inputs.class_name(label) if label >= 0 else "–", "count": count}


def _csv_row(row: dict[str, Any], pair: bool) -> list[Any]:
    cells = [row["label"], row["name"], row["count"], *row["accuracy"]]
    if pair:
        cells += [row["difference"], row["low"], row["high"]]
    for confusion in row["confused"]:
        cells += [confusion["name"], confusion["count"]]
    return cells
