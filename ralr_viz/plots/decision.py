"""A study that decides: every seed's difference in each test, or how far the runs are while all of it is withheld."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ralr_viz.plots.fit_text import wrap_text
from ralr_viz.plots.foot import add_foot
from ralr_viz.plots.style import GREY, method_looks, new_figure
from ralr_viz.results.decision import ESTIMATE, DecisionResult
from ralr_viz.results.decision_caption import describe_conditions, describe_progress, describe_verdict

_ROW, _REST = 0.42, 1.1  # inches of a row, and of the axis and the legend
_LABELS = 0.3  # width of the rows' names, of the figure's
_FAN, _LIFT = 0.3, -0.2  # in rows: height over which the seeds are spread, and how far above the interval
_BAND = "#EEEEEE"


def draw_decision(result: DecisionResult) -> Figure:
    """Draw the tests of a study, and below them what explores.

    Each row is one difference: a dot for each seed, the mean with its 95 % paired t interval, thick its 90 % one,
    and behind the tests the band of equivalence. While runs are missing, bars show how many are there.

    Args:
        result: Of any state.

    Returns:
        A figure of the current style's width.
    """
    rows = _differences(result) if result.complete else []
    count = len(rows) if result.complete else len(result.arms)
    figure = new_figure(_ROW * count + _REST)
    axes = figure.subplots()
    said = describe_verdict(result) if result.complete else describe_progress(result)
    add_foot(figure, result, " ".join([*said, *describe_conditions(result.conditions)]))
    if result.complete:
        _draw_differences(axes, result, rows)
        figure.legend(handles=_handles(result), loc="outside upper center", ncols=2)
    else:
        _draw_progress(axes, result)
    return figure


def decision_table(result: DecisionResult) -> list[dict[str, Any]]:
    """A row for each run, test and exploratory difference."""
    return result.records()


def _differences(result: DecisionResult) -> list[tuple[str, str, np.ndarray, np.ndarray, bool]]:
    """Name, method, differences of the seeds, estimates and whether it is tested, of each row."""
    outcome = result.value("outcome")
    rows = []
    for test, (arm, reference) in enumerate(result.contrasts.tolist()):
        name, method = result.contrast(test), result.methods[arm]
        rows.append((name, method, outcome[arm] - outcome[reference], result.estimates[test], True))
    for arm in np.flatnonzero(np.isfinite(result.explored[:, 0])):
        name = f"{result.arms[arm]} − {result.arms[result.baseline]} (exploratory)"
        differences = outcome[arm] - outcome[result.baseline]
        rows.append((name, result.methods[arm], differences, result.explored[arm], False))
    return rows


def _draw_differences(axes: Axes, result: DecisionResult, rows: list[Any]) -> None:
    looks = method_looks(result.methods)
    fan = np.linspace(-0.5, 0.5, len(result.seeds)) * _FAN if len(result.seeds) > 1 else np.zeros(1)
    tested = sum(row[-1] for row in rows)
    axes.fill_betweenx([-0.5, tested - 0.5], -result.band, result.band, color=_BAND, lw=0, gid="band")
    axes.axvline(0, color=GREY, lw=0.6)
    for y, (_, method, differences, estimate, _) in enumerate(rows):
        color, found = looks[method].color, dict(zip(ESTIMATE, estimate.tolist(), strict=True))
        axes.plot(differences, y + _LIFT + fan, "o", ms=3, mew=0, color=color, alpha=0.75, gid=f"seeds:{y}")
        at = y - _LIFT
        axes.plot([found["low"], found["high"]], [at, at], color=color, lw=0.8, gid=f"interval:{y}")
        axes.plot(
            [found["narrow_low"], found["narrow_high"]], [at, at], color=color, lw=2.4, gid=f"narrow:{y}"
        )
        axes.plot(found["mean"], at, "|", ms=9, mew=1.4, color="black", gid=f"mean:{y}")
    _name_rows(axes, [row[0] for row in rows])
    axes.set_xlabel("difference of the accuracy (points)")


def _draw_progress(axes: Axes, result: DecisionResult) -> None:
    looks = method_looks(result.methods)
    planned, done = result.planned.sum(1), result.done.sum(1)
    at = range(len(result.arms))
    axes.barh(at, planned, height=0.5, color=_BAND)
    axes.barh(at, done, height=0.5, color=[looks[method].color for method in result.methods])
    for y in at:
        axes.text(
            float(planned[y]),
            y,
            f" {done[y]} of {planned[y]}",
            va="center",
            size=mpl.rcParams["ytick.labelsize"],
        )
    axes.set_xlim(0, 1.15 * planned.max())
    _name_rows(
        axes, [a if m else f"{a} (exploratory)" for a, m in zip(result.arms, result.main, strict=True)]
    )
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("runs that are done")


def _name_rows(axes: Axes, names: list[str]) -> None:
    size, width = float(mpl.rcParams["ytick.labelsize"]), _LABELS * mpl.rcParams["figure.figsize"][0]
    axes.set_yticks(range(len(names)))
    axes.set_yticklabels([wrap_text(name, size, width, lines=2) for name in names], linespacing=0.95)
    axes.set_ylim(len(names) - 0.5, -0.5)


def _handles(result: DecisionResult) -> list[Any]:
    return [
        Line2D([], [], ls="", marker="o", ms=3, mew=0, color=GREY, label="one seed"),
        Line2D([], [], ls="", marker="|", ms=9, mew=1.4, color="black", label="mean"),
        Line2D([], [], lw=0.8, color=GREY, label="95 % interval; thick: 90 %"),
        Patch(color=_BAND, label=f"± {result.band:.2f}: smaller than the paper's relative gain"),
    ]
