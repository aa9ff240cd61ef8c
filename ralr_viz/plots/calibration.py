"""Calibration drawn: a reliability diagram for each network, and the classes whose accuracy changed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from ralr_viz.plots.fit_text import fit_text
from ralr_viz.plots.foot import add_foot
from ralr_viz.plots.measure_panels import (
    Mark,
    add_model_legend,
    is_wide,
    measure_rows,
    model_marks,
)
from ralr_viz.plots.style import GREY, legend_name, new_figure
from ralr_viz.results.calibration import METRICS, CalibrationResult

_MOST_CLASSES = 24
"""In a panel; of more, as many as there is room for from both ends."""
_NAME = 1.0  # inches
_SMALL = 6.5  # points
_ROW = 0.115  # inches


def draw_calibration(result: CalibrationResult) -> Figure:
    """Draw reliability diagrams above the per-class differences from the first network.

    Above, accuracy over confidence in bins of equal mass with Wilson intervals, a panel for each network,
    all with the same limits. Below, for each other network, every class by its difference in accuracy with
    the paired interval; of more than 24 classes the 12 at each end. Full marks: the interval excludes 0.

    Returns:
        A figure of the current style's width.
    """
    wide, m = is_wide(), len(result.models)
    columns, columns_below = min(m, 3 if wide else 2), min(max(m - 1, 1), 2 if wide else 1)
    rows, rows_below = math.ceil(m / columns), math.ceil((m - 1) / columns_below)
    heights = [
        rows * (1.9 if wide else 1.7),
        rows_below * (0.6 + _ROW * min(len(result.classes), _MOST_CLASSES + 1)),
    ]
    figure = new_figure(0.9 + sum(heights))
    # two parts, so that long names of classes take no room from the panels above
    parts = figure.subfigures(
        1 + bool(rows_below), 1, height_ratios=heights[: 1 + bool(rows_below)], squeeze=False
    )
    marks, low = model_marks(result.models), _lowest(result)
    for i, (panel, model) in enumerate(_panels(parts[0, 0], rows, columns, result.models)):
        _draw_reliability(panel, result, i, marks[model], low)
        if i % columns:
            panel.tick_params(labelleft=False)
        else:
            panel.set_ylabel("accuracy", fontsize=_SMALL)
    if rows_below:
        below = _panels(parts[1, 0], rows_below, columns_below, result.models[1:])
        for i, (panel, model) in enumerate(below, 1):
            _draw_classes(panel, result, i, marks[model])
    add_model_legend(figure, result.models, hollow=False)
    add_foot(figure, result, _note(result))
    return figure


def calibration_table(result: CalibrationResult) -> list[dict[str, Any]]:
    """All numbers, a row each: measures, bins, classes, and the images that changed hands."""
    rows = [
        _row("measure", r["model"], r["measure"], **{k: r[k] for k in ("value", "low", "high")})
        | {k: r[k] for k in ("minus_first", "minus_first_low", "minus_first_high")}
        for r in measure_rows(result.measures(), result.models)
    ]
    for i, model in enumerate(result.models):
        mean, high = result.ece_floor[i]
        rows.append(_row("measure", model, "ece_floor", value=mean, high=high))
        if _is_scaled(result):
            mean, high = result.scaled_floor[i]  # type: ignore[index]
            rows.append(_row("measure", model, "ece_scaled_floor", value=mean, high=high))
        for b, confidence in enumerate(result.bin_confidence[i]):
            accuracy, low, high = (v[i, b] for v in (result.bin_accuracy, result.bin_low, result.bin_high))
            rows.append(_row("bin", model, str(b), x=confidence, value=accuracy, low=low, high=high))
        for c, label in enumerate(result.classes.tolist()):
            difference, low, high = result.class_difference[i, c] if i else (None, None, None)
            row = _row("class", model, result.class_name(label), value=result.class_accuracy[i, c])
            rows.append(row | {"minus_first": difference, "minus_first_low": low, "minus_first_high": high})
        if i:
            rows.append(_row("changed", model, "mcnemar_p", value=result.mcnemar_p(i)))
            for what, found in (("fixed", result.fixed(i)), ("broken", result.broken(i))):
                rows += [_row(what, model, str(index)) for index in found.tolist()]
    return rows


def _row(
    part: str,
    model: str,
    item: str,
    *,
    x: float | None = None,
    value: float | None = None,
    low: float | None = None,
    high: float | None = None,
) -> dict[str, Any]:
    empty = dict.fromkeys(("minus_first", "minus_first_low", "minus_first_high"))
    return {
        "part": part,
        "model": model,
        "item": item,
        "x": x,
        "value": value,
        "low": low,
        "high": high,
        **empty,
    }


def _panels(part: SubFigure, rows: int, columns: int, models: Sequence[str]) -> list[tuple[Axes, str]]:
    """A panel for each network; what is left of the grid stays empty."""
    grid = part.add_gridspec(rows, columns)
    return [(part.add_subplot(grid[divmod(i, columns)]), model) for i, model in enumerate(models)]


def _lowest(result: CalibrationResult) -> float:
    """Where the axes of the reliability diagrams begin: a tenth below all that is drawn."""
    drawn = np.concatenate([result.bin_confidence.ravel(), result.bin_low.ravel()])
    return max(0.0, math.floor(10 * drawn[np.isfinite(drawn)].min(initial=1)) / 10)


def _draw_reliability(panel: Axes, result: CalibrationResult, i: int, mark: Mark, low: float) -> None:
    margin = 0.03 * (1 - low)
    panel.plot([low, 1], [low, 1], color=GREY, lw=0.6, zorder=1.5, gid="diagonal")
    x, y = result.bin_confidence[i], result.bin_accuracy[i]
    for at, bottom, top in zip(x, result.bin_low[i], result.bin_high[i], strict=True):
        panel.plot([at, at], [bottom, top], color=mark.color, lw=0.9, gid="interval")
    panel.plot(x, y, color=mark.color, marker=mark.marker, ms=3, lw=0.5, gid="bins")
    panel.set(xlim=(low - margin, 1 + margin), ylim=(low - margin, 1 + margin))
    ece = list(METRICS).index("ece")
    value, bottom, top = result.measures()[ece].interval(i)
    ends = "" if math.isnan(bottom) else f" [{bottom:.2f}, {top:.2f}]"
    between = ", " if is_wide() else "\n"
    text = f"ECE {value:.2f} %{ends}{between}floor {result.ece_floor[i, 0]:.2f} %"
    if _is_scaled(result):
        t, scaled, floor = result.temperature[i], result.scaled_ece[i], result.scaled_floor[i, 0]  # type: ignore[index]
        text += f"\nat T = {t:.2f}: ECE {scaled:.2f} %, floor {floor:.2f} %"
    panel.set_xlabel(f"confidence\n{text}", fontsize=_SMALL)
    panel.tick_params(labelsize=_SMALL)
    title = fit_text(legend_name(result.models[i]), 7.5, mpl.rcParams["figure.figsize"][0] / 3.6)
    panel.set_title(title, fontsize=7.5)


def _draw_classes(panel: Axes, result: CalibrationResult, i: int, mark: Mark) -> None:
    order = np.argsort(-result.class_difference[i, :, 0], kind="stable")
    shown = _ends(order.tolist())
    for row, c in enumerate(shown):
        if c is None:
            continue
        value, low, high = result.class_difference[i, c]
        panel.plot([low, high], [row, row], color=mark.color, lw=0.9, gid="interval")
        full = low > 0 or high < 0
        look: dict[str, Any] = {"mec": mark.color, "mfc": mark.color if full else "white", "mew": 0.8}
        panel.plot([value], [row], ls="", marker=mark.marker, ms=3, gid="difference", **look)
    panel.axvline(0, color=GREY, lw=0.6, zorder=1.5)
    names = ["⋮" if c is None else _name(result, c) for c in shown]
    panel.set_yticks(range(len(shown)), names, fontsize=_SMALL)
    panel.set_ylim(len(shown) - 0.4, -0.6)
    panel.tick_params(axis="y", length=0)
    panel.grid(False, axis="y")
    title = fit_text(
        f"{legend_name(result.models[i])} minus {legend_name(result.models[0])}",
        7.5,
        mpl.rcParams["figure.figsize"][0] / (2.6 if is_wide() else 1.6),
    )
    panel.set_title(title, fontsize=7.5)
    counts = f"{len(result.fixed(i)):,} images fixed, {len(result.broken(i)):,} broken"
    p = result.mcnemar_p(i)
    tail = f"McNemar p {'< 0.001' if p < 0.001 else f'= {p:.3f}'}"
    panel.set_xlabel(f"difference in accuracy (points)\n{counts}, {tail}", fontsize=_SMALL)
    panel.tick_params(axis="x", labelsize=_SMALL)


def _ends(order: Sequence[int]) -> list[int | None]:
    """All classes, or as many from both ends of their order as there is room for, with a gap between."""
    if len(order) <= _MOST_CLASSES:
        return list(order)
    half = _MOST_CLASSES // 2
    return [*order[:half], None, *order[-half:]]


def _name(result: CalibrationResult, position: int) -> str:
    return fit_text(result.class_name(int(result.classes[position])), _SMALL, _NAME)


def _is_scaled(result: CalibrationResult) -> bool:
    return result.temperature is not None and result.watched > 0


def _note(result: CalibrationResult) -> str:
    where = " ".join(part for part in (result.dataset, result.split) if part)
    run = ", ".join(part for part in (result.device, result.precision) if part)
    count, bins = len(result.classes), result.bin_confidence.shape[1]
    sentences = [
        f"{len(result.labels):,} {where + ' ' if where else ''}images, BatchNorm in eval mode"
        f"{', ' + run if run else ''}. {bins} bins of equal mass, 95 % Wilson intervals; the floor is the mean ECE "
        "if every confidence were right.",
    ]
    if _is_scaled(result):
        sentences.append(
            f"At T: after the logits are divided by the temperature that fits {result.watched:,} watched images best; a "
            "raw ECE may differ by the scale of the logits alone."
        )
    if len(result.models) > 1:
        shown = ""
        if count > _MOST_CLASSES:
            shown = f", the {_MOST_CLASSES // 2} at each end of {count} (chosen by outcome)"
        sentences.append(
            f"Classes sorted by their difference{shown}; 95 % intervals of paired proportions (Bonett and Price), "
            f"full marks exclude 0: of {count} classes {0.05 * count:.1f} would by chance."
        )
        sentences.append(
            "p: exact, that as many images are fixed as broken between these two checkpoints; an association of this "
            "pair, not of the methods."
        )
    sentences.append("Intervals do not cover training seeds.")
    return " ".join(sentences)
