"""The classes: how accurate each side is on each of them, and what they are taken for."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ralr_viz.report.inputs import ReportInputs, whose_checkpoints
from ralr_viz.report.section import (
    Section,
    format_number,
    missing_section,
    place_interval,
    render_template,
)
from ralr_viz.results.verdict import ClassScores

TITLE = "Classes"


def build_classes(inputs: ReportInputs) -> Section:
    """A table that can be sorted, filtered and downloaded; choosing a class filters the other sections."""
    verdict = inputs.verdict
    scores = None if verdict is None else verdict.classes
    if verdict is None or scores is None:
        return missing_section("classes", TITLE, inputs.missing.get("classes", "no predictions were given"))
    rows = class_rows(inputs, scores)
    pair, names = verdict.num_sides == 2, [side.name for side in inputs.sides]
    excluding = sum(row["decided"] for row in rows)
    html = render_template(
        "classes.html",
        names=names,
        pair=pair,
        rows=rows,
        excluding=excluding,
        by_chance=f"{0.05 * len(rows):.1f}",
    )
    header = ["label", "class", "n", *(f"accuracy {name} (%)" for name in names)]
    if pair:
        header += ["difference (points)", "low", "high"]
    if inputs.control is not None:
        header += [f"{names[1]} − {names[2]} (points)", "low", "high"]
    for name in names:
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
    control = None if inputs.against_control is None else inputs.against_control.classes
    rows = []
    for i, label in enumerate(scores.labels.tolist()):
        value, low, high = scores.difference[i].tolist()
        known = math.isfinite(value)
        rows.append(
            {
                "label": label,
                "name": inputs.class_name(label),
                "count": int(scores.counts[i]),
                "accuracy": [*scores.accuracy[:, i].tolist(), *([control.accuracy[0, i]] if control else [])],
                "difference": value,
                "low": low,
                "high": high,
                "decided": known and not low <= 0 <= high,
                "text": _show(scores.difference[i]),
                "against": [] if control is None else control.difference[i].tolist(),
                "against_text": "" if control is None else _show(control.difference[i]),
                "drawing": place_interval((value, low, high), reach) if known else None,
                "confused": [_confusion(inputs, scores, side, i) for side in range(len(scores.accuracy))]
                + ([] if control is None else [_confusion(inputs, control, 0, i)]),
            }
        )
    return rows


def _show(difference: np.ndarray) -> str:
    value, low, high = (format_number(float(end), "+.1f") for end in difference)
    return f"{value} [{low}, {high}]"


def _confusion(inputs: ReportInputs, scores: ClassScores, side: int, i: int) -> dict[str, Any]:
    label, count = int(scores.confused_with[side, i]), int(scores.confused_counts[side, i])
    return {"name": inputs.class_name(label) if label >= 0 else "–", "count": count}


def _csv_row(row: dict[str, Any], pair: bool) -> list[Any]:
    cells = [row["label"], row["name"], row["count"], *row["accuracy"]]
    if pair:
        cells += [row["difference"], row["low"], row["high"], *row["against"]]
    for confusion in row["confused"]:
        cells += [confusion["name"], confusion["count"]]
    return cells
