"""The end of learning curves, which is where runs differ: its values written, and the last third drawn larger."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from ralr_viz.plots.style import Look
from ralr_viz.results.curves import CurvesResult

_END, _PANEL = 6.5, 1.3  # points of the last values, and inches of a panel
ENDS = ("loss", "score", "gap")
"""Panels whose end is shown."""
_FEWEST_EPOCHS = 9  # whose last third is worth an inset
_CORNERS = ((0.42, 0.44, 0.57, 0.54), (0.42, 0.02, 0.57, 0.54), (0.42, 0.02, 0.57, 0.44))
"""Of an inset with its ticks, in fractions of a panel."""


def write_ends(panel: Axes, result: CurvesResult, looks: Mapping[str, Look], name: str) -> None:
    """The last value of each method, right of the axis at its height, moved where two would touch."""
    values, digits = {"loss": (result.loss, 3), "score": (result.acc, 1), "gap": (result.gap, 3)}[name]
    ends = {}
    for group in looks:
        rows = [i for i, other in enumerate(result.group) if other == group and np.isfinite(values[i]).any()]
        mean = values[rows].mean(axis=0) if rows else np.zeros(0)
        known = np.flatnonzero(np.isfinite(mean))
        if known.size:
            ends[group] = float(mean[known[-1]])
    low, high = panel.get_ylim()
    order = sorted(ends, key=lambda group: ends[group])
    places = np.array([np.clip((ends[group] - low) / (high - low), 0, 1) for group in order])
    step = 1.15 * _END / 72 / _PANEL
    for k in range(1, len(places)):  # upwards, then all down to the middle of what they are of
        places[k] = max(places[k], places[k - 1] + step)
    if len(places):
        places -= max(0.0, float(places[-1]) - 1.0)
    for group, place in zip(order, places, strict=True):
        panel.annotate(
            f"{ends[group]:.{digits}f}".replace("-", "−"), (1, place), (3, 0), xycoords="axes fraction",
            textcoords="offset points", va="center", size=_END, color=looks[group].color, annotation_clip=False,
            gid=f"end:{name}:{group}",
        )  # fmt: skip


def draw_inset(panel: Axes, result: CurvesResult) -> None:
    """The last third of the epochs larger, in a corner that no line runs through; none where there is no such corner."""
    first = result.epoch[-1] - (result.epoch[-1] - result.epoch[0]) / 3
    drawn = [(line, np.asarray(line.get_xydata())) for line in panel.lines if line.get_gid()]
    drawn = [(line, points) for line, points in drawn if len(points) > 1]
    late = [points[points[:, 0] >= first] for _, points in drawn]
    late = [points for points in late if len(points) > 1]
    if len(result.epoch) < _FEWEST_EPOCHS or not late:
        return
    (left, right), (low, high) = panel.get_xlim(), panel.get_ylim()
    span = np.array([right - left, high - low])
    places = [(points - np.array([left, low])) / span for _, points in drawn]
    place = next((corner for corner in _CORNERS if not any(_runs_through(p, corner) for p in places)), None)
    if place is None:
        return
    x, y, wide, high_ = place
    inset = panel.inset_axes((x + 0.1 * wide, y + 0.16 * high_, 0.88 * wide, 0.8 * high_), gid="inset")
    for line, points in drawn:
        look: dict[str, Any] = {
            "color": line.get_color(),
            "ls": line.get_linestyle(),
            "lw": line.get_linewidth(),
        }
        inset.plot(*points.T, alpha=line.get_alpha(), drawstyle=line.get_drawstyle(), **look)
    inset.set_xlim(first, result.epoch[-1])
    every = np.concatenate([points[:, 1] for points in late])
    margin = 0.06 * float(np.ptp(every)) or 0.01
    inset.set_ylim(float(every.min()) - margin, float(every.max()) + margin)
    inset.tick_params(labelsize=_END, length=1.5, pad=1)
    inset.xaxis.set_major_locator(MaxNLocator(2, integer=True, steps=[1, 2, 5, 10]))
    inset.yaxis.set_major_locator(MaxNLocator(2, steps=[1, 2, 5, 10]))
    inset.spines[:].set(visible=True, color="#999999", linewidth=0.5)


def _runs_through(line: np.ndarray, corner: tuple[float, float, float, float]) -> bool:
    """Whether a line (n, 2) has a point in a rectangle, between its points, too."""
    x, y, wide, high = corner
    dense = np.linspace(0, len(line) - 1, 20 * len(line))
    points = np.stack([np.interp(dense, np.arange(len(line)), line[:, axis]) for axis in (0, 1)], axis=1)
    inside = (points[:, 0] > x) & (points[:, 0] < x + wide) & (points[:, 1] > y) & (points[:, 1] < y + high)
    return bool(inside.any())
