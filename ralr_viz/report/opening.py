"""What the first screen shows beside its sentence: two small curves."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ralr_viz.report.curves import Panel, list_panels, side_of_runs, smooth, smoothing_window
from ralr_viz.report.inputs import ReportInputs, side_colors
from ralr_viz.report.section import format_number
from ralr_viz.results.curves import CurvesResult

WIDTH, HEIGHT = 300, 130
"""Of a small chart, in its own units."""
_LEFT, _RIGHT, _TOP, _BOTTOM = 4, 62, 8, 110
_APART = 14
"""Between two values at the right end, or one would lie on the other."""
_SKIPPED = 0.1
"""Share of the epochs, from the first, that decide nothing of the axis: a loss falls too far in them."""


class Line(NamedTuple):
    """One side's curve.

    Attributes:
        name: Of the side.
        color: ``#rrggbb``.
        dash: Of ``stroke-dasharray``.
        points: Of an SVG ``polyline``.
        end: The last value as text.
        place: Where that text stands, from above.
    """

    name: str
    color: str
    dash: str
    points: str
    end: str
    place: float


_DASHES = ("6 3", "", "2 3")
"""As `ralr_viz.report.curves.DASHES`."""


def small_curves(inputs: ReportInputs) -> list[dict[str, Any]]:
    """Evaluation loss and score, or as many of the losses as there are, each side's mean as one line."""
    result = inputs.curves
    if result is None:
        return []
    panels = [panel for panel in list_panels(result) if panel.name != "curves-lr"]
    return [_draw(panel, result, inputs) for panel in panels[-2:]]


def _draw(panel: Panel, result: CurvesResult, inputs: ReportInputs) -> dict[str, Any]:
    sides, colors = np.array(side_of_runs(result, inputs)), side_colors(inputs.sides)
    window = smoothing_window(len(result.epoch))
    means = []
    for i in range(len(inputs.sides)):
        rows = panel.values[sides == i]
        mean = rows.mean(axis=0) if len(rows) else np.full(len(result.epoch), np.nan)
        there = np.isfinite(mean)
        means.append((result.epoch[there], smooth(mean[there], window) if there.any() else mean[there]))
    low, high = _reach([values for _, values in means])
    first, last = float(result.epoch[0]), float(result.epoch[-1])
    across = (WIDTH - _LEFT - _RIGHT) / ((last - first) or 1)
    down = (_BOTTOM - _TOP) / ((high - low) or 1)
    lines = []
    for i, (epochs, values) in enumerate(means):
        if not len(values):
            continue
        heights = np.clip(_BOTTOM - (values - low) * down, _TOP, _BOTTOM)
        points = zip((_LEFT + (epochs - first) * across).tolist(), heights.tolist(), strict=True)
        end = format_number(float(values[-1]), ".2f" if panel.name == "curves-accuracy" else ".3f")
        lines.append(
            Line(
                inputs.sides[i].name,
                colors[i],
                _DASHES[i],
                " ".join(f"{x:.1f},{y:.1f}" for x, y in points),
                end,
                float(heights[-1]) + 4,
            )
        )
    told = "; ".join(f"{line.name} ends at {line.end}" for line in lines)
    return {
        "label": panel.label,
        "told": f"{panel.label}, epochs {first:g} to {last:g}: {told}",
        "first": f"{first:g}",
        "last": f"{last:g}",
        "lines": _spread(lines),
        "width": WIDTH,
        "height": HEIGHT,
        "right": WIDTH - _RIGHT,
        "bottom": _BOTTOM,
    }


def _reach(values: list[np.ndarray]) -> tuple[float, float]:
    """Ends of the axis: of all that comes after the first epochs."""
    late = np.concatenate([of[int(_SKIPPED * len(of)) :] for of in values])
    return (float(late.min()), float(late.max())) if len(late) else (0.0, 1.0)


def _spread(lines: list[Line]) -> list[Line]:
    """The lines whose end values stand apart."""
    placed: dict[str, float] = {}
    for line in sorted(lines, key=lambda line: line.place):
        placed[line.name] = max([line.place, *(place + _APART for place in placed.values())])
    excess = max([0.0, *(place - HEIGHT + 12 for place in placed.values())])
    return [line._replace(place=placed[line.name] - excess) for line in lines]
