"""Precision over recall of each class, differences of average precision, and errors by their kind."""

from __future__ import annotations

import math
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ralr_viz.plots.fit_text import fit_text
from ralr_viz.plots.foot import add_foot
from ralr_viz.plots.measure_panels import add_model_legend, is_wide, model_marks
from ralr_viz.plots.style import COLORS, GREY, legend_name, method_looks, new_figure
from ralr_viz.results.detection_errors import ERRORS, RECALLS, DetectionErrorsResult

_MOST_CLASSES = 20
"""Drawn; of more, as many from both ends of the order as there is room for."""
_SMALL = 6.5  # points
_NAME = 0.9  # inches


def draw_detection_errors(result: DetectionErrorsResult) -> Figure:
    """Draw a panel of precision over recall for each class, and below differences and errors.

    Marks on the curves are at the score of the highest F1. Below left, each class's average precision minus the first
    network's with its paired interval, full where that excludes 0; below right, the mAP that each kind of error costs
    with the number of its detections. Of more than 20 classes the 10 at each end of the differences.

    Returns:
        A figure of the current style's width.
    """
    shown, wide = _choose(result), is_wide()
    columns = min(len(shown), (5 if len(shown) > 8 else 4) if wide else 2)
    rows = math.ceil(len(shown) / columns)
    several = len(result.models) > 1
    above = rows * (1.35 if wide else 1.5)
    below = max(0.55 + 0.13 * max(len(shown) + 1, len(ERRORS) * len(result.models)), 1.7)
    heights = [above, below] if wide or not several else [above, below, below]
    figure = new_figure(0.75 + sum(heights))
    parts = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    grid = parts[0].add_gridspec(rows, columns)
    for at, label in enumerate(shown):
        panel = parts[0].add_subplot(grid[divmod(at, columns)])
        _draw_curves(panel, result, label, at % columns == 0, at + columns >= len(shown))
    if several and wide:
        left, right = parts[1].subplots(1, 2, width_ratios=(1, 1.25))
        _draw_differences(left, result, shown)
        _draw_costs(right, result)
    else:
        if several:
            _draw_differences(parts[1].subplots(), result, shown)
        _draw_costs(parts[-1].subplots(), result)
    mark = Line2D([], [], ls="", marker="o", ms=4, color=GREY, label="on a curve: score of highest F1")
    add_model_legend(figure, result.models, hollow=several, also=[mark])
    add_foot(figure, result, _note(result, len(shown)))
    return figure


def detection_errors_table(result: DetectionErrorsResult) -> list[dict[str, Any]]:
    """All numbers, a row each: precision by class, points of the curves, errors."""
    rows = []
    names = (*result.class_names, "mAP")
    for i, model in enumerate(result.models):
        values = np.append(result.precision[i], result.mean_precision[i])
        for c, name in enumerate(names):
            difference, low, high = result.difference[i, c]
            row = _row(model, "precision", name, values[c])
            row |= {"minus_first": difference, "minus_first_low": low, "minus_first_high": high}
            if c < len(result.class_names):
                recall, precision = result.operating[i, c]
                row |= {
                    "objects": int(result.objects[c]),
                    "area": result.area[i, c],
                    "recall": recall,
                    "precision_at_score": precision,
                }
            rows.append(row | {"score": result.thresholds[i]})
        for e, error in enumerate(ERRORS):
            rows.append(
                _row(model, "error", error, result.costs[i, e])
                | {"count": int(result.counts[i, e]), "count_from_score": int(result.shown_counts[i, e])}
            )
        for c, name in enumerate(result.class_names):
            for at, value in enumerate(result.curves[i, c]):
                rows.append(_row(model, "curve", name, value) | {"recall": at / (RECALLS - 1)})
    return rows


def _row(model: str, part: str, item: str, value: float) -> dict[str, Any]:
    empty = (
        "minus_first", "minus_first_low", "minus_first_high", "objects", "area", "recall", "precision_at_score",
        "score", "count", "count_from_score",
    )  # fmt: skip
    return {"part": part, "model": model, "item": item, "value": value, **dict.fromkeys(empty)}


def _choose(result: DetectionErrorsResult) -> list[int]:
    """Classes with objects, all or those at both ends of the differences."""
    known = np.flatnonzero(result.objects > 0)
    if len(known) <= _MOST_CLASSES:
        return known.tolist()
    key = result.difference[-1, known, 0] if len(result.models) > 1 else result.precision[0, known]
    order = known[np.argsort(-key, kind="stable")]
    return [*order[: _MOST_CLASSES // 2].tolist(), *order[-(_MOST_CLASSES // 2) :].tolist()]


def _draw_curves(panel: Axes, result: DetectionErrorsResult, label: int, first: bool, last: bool) -> None:
    recalls, marks = np.arange(RECALLS) / (RECALLS - 1), model_marks(result.models)
    looks = method_looks([n.lower() if n.lower() in COLORS else n for n in result.models])
    for i, (model, look) in enumerate(zip(result.models, looks.values(), strict=True)):
        color, marker = marks[model]
        panel.plot(recalls, result.curves[i, label], color=color, ls=look.linestyle, lw=0.9, gid="curve")
        recall, precision = result.operating[i, label]
        panel.plot(
            [recall],
            [precision],
            ls="",
            marker=marker,
            ms=3.5,
            color=color,
            mec="white",
            mew=0.5,
            gid="at F1",
        )
    panel.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.04))
    panel.set_xticks([0, 0.5, 1])
    panel.set_yticks([0, 0.5, 1])
    panel.tick_params(labelsize=_SMALL, labelleft=first, labelbottom=last)
    if first:
        panel.set_ylabel("precision", fontsize=_SMALL)
    if last:
        panel.set_xlabel("recall", fontsize=_SMALL)
    values = ", ".join(f"{100 * value:.1f}" for value in result.precision[:, label][:3])
    room = mpl.rcParams["figure.figsize"][0] / (5.5 if is_wide() else 2.8)
    name = fit_text(result.class_names[label], 7, room)
    panel.set_title(f"{name}\nAP {values}{', …' if len(result.models) > 3 else ''} %", fontsize=7)


def _draw_differences(panel: Axes, result: DetectionErrorsResult, shown: list[int]) -> None:
    rows = [len(result.class_names), *shown]
    marks, others = model_marks(result.models), list(enumerate(result.models))[1:]
    step = 0.7 / max(len(others), 2)
    for y, c in enumerate(rows):
        for i, model in others:
            value, low, high = 100 * result.difference[i, c]
            color, marker = marks[model]
            at = y + step * (i - (len(others) + 1) / 2)
            panel.plot([low, high], [at, at], color=color, lw=0.9, gid="interval")
            face = color if low > 0 or high < 0 else "white"
            panel.plot(
                [value], [at], ls="", marker=marker, ms=3.5, mec=color, mfc=face, mew=0.8, gid="difference"
            )
    panel.axvline(0, color=GREY, lw=0.6, zorder=1.5)
    panel.axhline(0.5, color="#bbbbbb", lw=0.5)
    names = ["mAP", *(fit_text(result.class_names[c], _SMALL, _NAME) for c in shown)]
    panel.set_yticks(range(len(rows)), names, fontsize=_SMALL)
    panel.set_ylim(len(rows) - 0.4, -0.6)
    panel.tick_params(axis="y", length=0)
    panel.tick_params(axis="x", labelsize=_SMALL)
    panel.grid(False, axis="y")
    panel.set_xlabel(f"AP minus that of {legend_name(result.models[0])} (points)", fontsize=_SMALL)


def _draw_costs(panel: Axes, result: DetectionErrorsResult) -> None:
    marks, m = model_marks(result.models), len(result.models)
    high = 0.76 / m
    most = float(100 * result.costs.max(initial=0)) or 1.0
    for i, model in enumerate(result.models):
        for e in range(len(ERRORS)):
            value, y = 100 * float(result.costs[i, e]), e + high * (i - (m - 1) / 2)
            color, marker = marks[model]
            panel.plot([0, value], [y, y], color=color, lw=1.4, solid_capstyle="butt", gid="cost")
            panel.plot([value], [y], ls="", marker=marker, ms=3.5, color=color, gid="cost mark")
            words = f"{value:.1f} ({result.counts[i, e]:,}; {result.shown_counts[i, e]:,})"
            panel.annotate(
                words, (value, y), (5, 0), textcoords="offset points", fontsize=5.5, va="center", ha="left"
            )
    panel.set_yticks(range(len(ERRORS)), ERRORS, fontsize=_SMALL)
    panel.set_ylim(len(ERRORS) - 0.4, -0.6)
    panel.set_xlim(0, most * 1.45)
    panel.tick_params(axis="y", length=0)
    panel.tick_params(axis="x", labelsize=_SMALL)
    panel.grid(False, axis="y")
    panel.set_xlabel("mAP that the errors cost (points)", fontsize=_SMALL)


def _note(result: DetectionErrorsResult, shown: int) -> str:
    total = int((result.objects > 0).sum())
    sentences = [
        f"{result.images:,} {result.dataset} {result.split} images, {int(result.objects.sum()):,} objects. Average "
        "precision of eleven points at an overlap of .5 (VOC 2007); curves are the largest precision at a recall or more."
    ]
    if shown < total:
        sentences.append(f"The {shown // 2} classes at each end of {total}, chosen by outcome.")
    if len(result.models) > 1:
        sentences.append(
            f"Intervals: {result.refusal}."
            if result.refusal
            else f"95 % intervals of a paired bootstrap over images ({result.resamples:,} resamples); they do not cover training seeds."
        )
    judged = "validation" if result.judged == "val" else "training"
    sentences.append(
        "Kinds of errors as TIDE has them, in brackets how many there are, of all detections and from the score of the "
        f"highest F1 on {judged} images on."
    )
    return " ".join(sentences)
