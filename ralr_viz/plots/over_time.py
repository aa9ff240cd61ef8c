"""Draw the numbers of a diagnostic over the epochs of two or three arms."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ralr_viz.plots.fit_text import wrap_text
from ralr_viz.plots.foot import add_foot
from ralr_viz.plots.run_lines import FINE, WIDE, draw_runs_legend
from ralr_viz.plots.style import (
    GREY,
    Look,
    method_looks,
    new_figure,
)
from ralr_viz.results.over_time import AXES, OverTimeResult

_NARROW = 5.0  # inches: below this width the panels stand two in a row
_FEWEST = 3  # seeds of a band: Student's interval of two is twelve standard errors wide
MOST_PANELS = 6
"""Measures that are drawn; the table has all."""


def draw_over_time(result: OverTimeResult) -> Figure:
    """Draw up to six measures against epoch, Σ LR or training loss.

    Seeds are fine lines, their mean a wide one, of three or more in its 95 % t interval; ticks below mark the epochs whose rate was
    amplified in one of a group's runs.

    Args:
        result: What `over_time` returned.

    Returns:
        A figure of the current style's width.
    """
    looks = _looks(result)
    count = min(len(result.measures), MOST_PANELS)
    width = mpl.rcParams["figure.figsize"][0]
    columns = 2 if count == 4 else min(count, 3 if width >= _NARROW else 2)
    rows = -(-count // columns)
    figure = new_figure(0.35 + 1.8 * rows)
    add_foot(figure, result, over_time_note(result))
    draw_runs_legend(figure, result.groups, looks, counted="", each="each")
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for k, panel in enumerate(panels):
        if k >= count:
            panel.set_axis_off()
            continue
        _draw_measure(panel, result, k, looks)
        panel.set_title(f"({'abcdef'[k]})", fontweight="bold")
    return figure


def over_time_table(result: OverTimeResult) -> list[dict[str, Any]]:
    """A row for each measure, column and epoch, those that are not drawn among them."""
    return result.rows()


def over_time_note(result: OverTimeResult) -> str:
    """What the lines are, and what may not be concluded from them."""
    parts = [
        f"{result.noun} after {len(result.epoch)} epochs from {result.epoch[0]} to {result.epoch[-1]}, of the states that "
        "all runs have kept."
    ]
    if len(set(result.seeds)) >= _FEWEST:
        parts.append(
            "Bands: 95 % t interval over training seeds, each epoch by itself, cut at the range of the lines."
        )
    else:
        parts.append("So few seeds have no interval: a difference may be that of two seeds.")
    if result.amplified.any() and result.axis == "epoch":
        parts.append("Ticks: epochs whose rate was amplified.")
    if result.axis == "train-loss":
        parts.append("Against the lowest training loss so far: states of equal loss stand above each other.")
    if len(result.measures) > MOST_PANELS:
        parts.append(f"{MOST_PANELS} of {len(result.measures)} measures; the table has all.")
    return " ".join(parts)


def _looks(result: OverTimeResult) -> dict[str, Look]:
    """Of each group: an arm's own; two seeds of an arm are grey."""
    groups = list(dict.fromkeys(result.groups))
    ends = {group: group.rpartition(" – ")[2] for group in groups}
    looks = method_looks([ends[group] for group in groups if not group.startswith("two seeds of ")])
    return {group: looks.get(ends[group], Look(GREY, (0, (2, 0.8)))) for group in groups}


def _draw_measure(panel: Axes, result: OverTimeResult, k: int, looks: dict[str, Look]) -> None:
    bands: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}
    for group, (color, line) in looks.items():
        rows = result.rows_of(group)
        along, mean, low, high = result.mean(k, group)
        for i in rows:
            alone = len(rows) == 1
            look = {"lw": WIDE, "ls": line} if alone else {"lw": FINE, "alpha": 0.6}
            x, y = result.along[i], result.values[k, i]
            at = np.isfinite(x) & np.isfinite(y)
            panel.plot(x[at], y[at], color=color, gid=f"{result.measures[k]}:{result.columns[i]}", **look)
        if len(rows) > 1:
            panel.plot(
                along, mean, color=color, lw=WIDE, ls=line, gid=f"{result.measures[k]}:mean of {group}"
            )
        if len(rows) >= _FEWEST and along.size:
            bands[group] = (along, low, high)
    bottom, top = panel.get_ylim()  # of the lines: a band of few seeds would leave them flat
    for group, (along, low, high) in bands.items():
        panel.fill_between(
            along, low, high, color=looks[group].color, alpha=0.15, lw=0, gid=f"interval:{group}"
        )
    panel.set_ylim(bottom, top)
    unit = result.units[k]
    label = f"{result.labels[k]} ({unit})" if unit else result.labels[k]
    size = (
        float(mpl.rcParams["axes.labelsize"])
        if isinstance(mpl.rcParams["axes.labelsize"], int | float)
        else 8.0
    )
    panel.set_ylabel(wrap_text(label, size, 1.6, lines=3), size=size)
    panel.set_xlabel(AXES[result.axis])
    if result.axis == "train-loss":
        panel.set_xscale("log")
        panel.invert_xaxis()
    elif result.axis == "epoch":
        panel.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))
        _mark_amplified(panel, result, looks)


def _mark_amplified(panel: Axes, result: OverTimeResult, looks: dict[str, Look]) -> None:
    marked = [group for group in looks if result.amplified[result.rows_of(group)].any()]
    for place, group in enumerate(marked):
        at = result.epoch[result.amplified[result.rows_of(group)].any(0)]
        panel.plot(
            at, np.full(len(at), 0.02 + 0.035 * place), "|", color=looks[group].color, ms=3, mew=0.7,
            transform=panel.get_xaxis_transform(), gid=f"amplified:{group}", clip_on=False,
        )  # fmt: skip
