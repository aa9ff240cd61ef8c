"""Draw dose, diagnostic and score of trainings."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ralr_viz.plots.fit_text import measure_text, wrap_text
from ralr_viz.plots.foot import add_foot
from ralr_viz.plots.style import GREY, legend_name, legend_text_size, method_looks, new_figure
from ralr_viz.results.dose import DoseResult
from ralr_viz.results.measure import format_interval

_POINT, _STAR = 3.0, 6.0  # points
MOST_ROWS = 3
"""Measures that are drawn; the table has all."""


def draw_dose(result: DoseResult) -> Figure:
    """Draw up to three measures: left against the dose, right the score against the measure.

    Points are trainings, their colour the dose; stars are the trainings beside, joined to the score that the line of the
    doses predicts for them.

    Args:
        result: What `dose_response` returned.

    Returns:
        A figure of the current style's width.
    """
    count = min(len(result.measures), MOST_ROWS)
    figure = new_figure(0.15 + 1.95 * count)
    add_foot(figure, result, dose_note(result))
    panels = figure.subplots(count, 2, squeeze=False)
    colors = _colors(result)
    for k, (left, right) in enumerate(panels):
        _draw_dose(left, result, k, colors)
        _draw_score(right, result, k, colors)
        left.set_title(f"({'ace'[k]}) {_tau(result.dose_tau[k], result.dose_p[k])}")
        right.set_title(f"({'bdf'[k]}) {_tau(result.tau[k, 0], result.p[k, 0])}")
    return figure


def dose_table(result: DoseResult) -> list[dict[str, Any]]:
    """A row for each measure and training, those that are not drawn among them."""
    return result.rows()


def dose_note(result: DoseResult) -> str:
    """What the marks mean, and what each measure was found to do."""
    counted = np.isfinite(result.dose)
    parts = [
        f"{counted.sum()} trainings with a {result.dose_name}, seeds {', '.join(map(str, sorted(set(result.seeds))))}. Thin lines: a "
        "seed. τ: Kendall's, within seeds, p by shuffling within seeds. Grey line: least squares with a level for each seed, "
        "at their mean."
    ]
    if result.beside:
        parts.append("Stars have no dose; a dotted stroke leads to what the line predicts for that seed.")
    for k, label in enumerate(result.labels[:MOST_ROWS]):
        told = [f"{label} {result.verdict(k)}"]
        for arm in result.beside:
            off, low, high = result.off_line(k, arm)
            if np.isfinite(off):
                shown = format_interval(off, low, high, 3, signed=True)
                told.append(f"{legend_name(arm)} {shown} off the line")
        parts.append("; ".join(told) + ".")
    if len(result.measures) > MOST_ROWS:
        parts.append(f"{MOST_ROWS} of {len(result.measures)} measures; the table has all.")
    return " ".join(parts)


def _colors(result: DoseResult) -> dict[str, Any]:
    doses = list(dict.fromkeys(arm for arm in result.arms if arm not in result.beside))
    shades = mpl.colormaps["cividis"](np.linspace(0.0, 0.8, len(doses)))
    looks = method_looks(list(result.beside))
    return dict(zip(doses, shades, strict=True)) | {arm: looks[arm].color for arm in result.beside}


def _draw_dose(panel: Axes, result: DoseResult, k: int, colors: dict[str, Any]) -> None:
    names = list(colors)
    place = {name: i + (0.4 if name in result.beside else 0.0) for i, name in enumerate(names)}
    x = np.array([place[arm] for arm in result.arms])
    for seed in dict.fromkeys(result.seeds):
        at = np.flatnonzero((np.array(result.seeds) == seed) & np.isfinite(result.dose))
        panel.plot(x[at], result.values[k, at], color=GREY, lw=0.5, zorder=1, gid=f"seed:{seed}")
    for name, color in colors.items():
        at = np.flatnonzero(result.rows_of(name))
        star = name in result.beside
        panel.plot(
            x[at], result.values[k, at], "*" if star else "o", color=color, ms=_STAR if star else _POINT, mew=0,
            gid=f"{result.measures[k]}:{name}",
        )  # fmt: skip
    shown = [legend_name(n) if n in result.beside else n for n in names]
    size = legend_text_size()
    room = mpl.rcParams["figure.figsize"][0] / 2.6 / len(names)  # inches of a category
    turned: dict[str, Any] = {"rotation": 35, "ha": "right", "rotation_mode": "anchor"}
    fits = max(measure_text(text, size) for text in shown) < room
    panel.set_xticks(list(place.values()), shown, **({} if fits else turned))
    panel.set_xlim(-0.5, max(place.values()) + 0.5)
    panel.set_xlabel(result.dose_name)
    panel.set_ylabel(_measure_label(result, k))
    if result.logarithmic[k]:
        panel.set_yscale("log")


def _draw_score(panel: Axes, result: DoseResult, k: int, colors: dict[str, Any]) -> None:
    x, y = result.values[k], result.score
    for name, color in colors.items():
        at = np.flatnonzero(result.rows_of(name))
        star = name in result.beside
        if star:
            for i in at:
                panel.plot(
                    [x[i], x[i]], [y[i], result.predicted[k, i]], color=color, lw=0.8, ls=":", zorder=1
                )
        panel.plot(
            x[at], y[at], "*" if star else "o", color=color, ms=_STAR if star else _POINT, mew=0, gid=f"score:{name}"
        )  # fmt: skip
    counted = np.isfinite(result.dose) & np.isfinite(result.predicted[k])
    if counted.any():
        along = np.log(x[counted]) if result.logarithmic[k] else x[counted]
        ends = np.array([along.min(), along.max()])
        line = result.predicted[k, counted].mean() + result.slope[k] * (ends - along.mean())
        panel.plot(
            np.exp(ends) if result.logarithmic[k] else ends, line, color=GREY, lw=1, zorder=0, gid="line"
        )
    panel.set_xlabel(_measure_label(result, k, 0.3 * mpl.rcParams["figure.figsize"][0]))
    unit = f" ({result.score_unit})" if result.score_unit else ""
    panel.set_ylabel(result.score_name + unit)
    if result.logarithmic[k]:
        panel.set_xscale("log")


def _measure_label(result: DoseResult, k: int, width: float = 1.4) -> str:
    unit = result.units[k]
    label = f"{result.labels[k]} ({unit})" if unit else result.labels[k]
    return wrap_text(label, 8.0, width, lines=3)


def _tau(tau: float, p: float) -> str:
    if not np.isfinite(tau):
        return "τ not defined"
    return f"τ {tau:+.2f}, p {p:.2g}".replace("-", "−")
