"""The curves: losses, accuracy and learning rate over the epochs, with one cursor through all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ralr_viz.report.chart import new_chart
from ralr_viz.report.inputs import ReportInputs, side_colors
from ralr_viz.report.section import Section, missing_section, render_template
from ralr_viz.results.columns import BY_NAME, CURVES
from ralr_viz.results.curves import CurvesResult
from ralr_viz.results.tasks import ACCURACY

if TYPE_CHECKING:
    from bokeh.models import Range
    from bokeh.plotting import figure

TITLE = "Curves"
DASHES = ("dashed", "solid", "dotted")
"""Of A, B and the control, as in the figures of a baseline and of RALR: never told apart by colour alone."""

_RAW: dict[str, Any] = {"line_width": 1}  # paler ones would be lost on a light or on a dark page
_GREY = "#8a9099"
_DIGITS = 7  # significant, of the numbers that the page keeps
_QUANTITIES = {name: BY_NAME[name].label for name in CURVES}


class Panel(NamedTuple):
    """One chart: its name, what the axis says, and (num_runs, num_epochs) values."""

    name: str
    label: str
    values: np.ndarray


def build_curves(inputs: ReportInputs) -> Section:
    """Charts one under another: raw values of each run, and each side's smoothed mean over its runs."""
    result = inputs.curves
    if result is None:
        return missing_section("curves", TITLE, inputs.missing.get("curves", "no training log was given"))
    sides = side_of_runs(result, inputs)
    colors = side_colors(inputs.sides)
    window = smoothing_window(len(result.epoch))
    panels = list_panels(result)
    charts = _draw_panels(panels, result, sides, colors, window)
    legend = [
        {"name": side.name, "color": colors[i], "dash": DASHES[i], "runs": len(side.runs)}
        for i, side in enumerate(inputs.sides)
        if side.runs
    ]
    html = render_template(
        "curves.html",
        panels=[(panel.name, panel.label) for panel in panels],
        legend=legend,
        amplified=bool(result.amplified.any()),
        has_rate=panels[-1].name == "curves-lr",
        window=window,
        several=any(len(side.runs) > 1 for side in inputs.sides),
        last=len(result.epoch) - 1,
        epoch=int(result.epoch[-1]),
        summary=[row | {"run": name} for row, name in zip(result.summary(), inputs.name_runs(), strict=True)],
        score=result.score_label,
        unit=f" ({result.score_unit})" if result.score_unit else "",
        gap=result.in_unit("overfitting gap"),
    )
    data = _data(result) | {"runs": inputs.name_runs()}
    return Section("curves", TITLE, html, charts, scripts=("curves.js",), data=data)


def smooth(values: np.ndarray, window: int) -> np.ndarray:
    """Centred moving mean of (n,) values; near the ends the window shrinks evenly, so that nothing is shifted.

    Args:
        values: (n,) float64 without NaN.
        window: Odd number of epochs; 1 changes nothing.
    """
    n = len(values)
    half = np.minimum(window // 2, np.minimum(np.arange(n), np.arange(n)[::-1]))
    total = np.concatenate([[0.0], np.cumsum(values)])
    at = np.arange(n)
    return (total[at + half + 1] - total[at - half]) / (2 * half + 1)


def smoothing_window(num_epochs: int) -> int:
    """An odd number of epochs, about a thirtieth of the training, 3 or more; 1 for a handful of epochs."""
    return 1 if num_epochs < 6 else max(3, num_epochs // 30 | 1)


def side_of_runs(result: CurvesResult, inputs: ReportInputs) -> list[int]:
    """Index of the side of each run: the curves hold the runs of A, then those of B."""
    sides = [i for i, side in enumerate(inputs.sides) for _ in side.runs]
    if len(sides) != len(result.run):
        raise ValueError(f"`curves` has {len(result.run)} runs, the sides have {len(sides)}")
    return sides


def list_panels(result: CurvesResult) -> list[Panel]:
    """What is drawn; quantities that no run has measured have no panel, the learning rate comes last."""
    training = result.train_loss if np.isfinite(result.train_loss).any() else result.train_loss_eval
    split = result.split or "evaluation"
    found = [
        Panel("curves-training", "training loss", training),
        Panel("curves-loss", f"{split} loss", result.loss),
        Panel("curves-accuracy", f"{split} {result.score_label}", result.acc),
        Panel("curves-lr", "learning rate", result.lr),
    ]
    return [panel for panel in found if np.isfinite(panel.values).any()]


def _draw_panels(
    panels: Sequence[Panel],
    result: CurvesResult,
    sides: Sequence[int],
    colors: Sequence[str],
    window: int,
) -> dict[str, figure]:
    from bokeh.models import BoxZoomTool, CustomJS, PanTool, Range1d, ResetTool, SaveTool, Span

    first, last = float(result.epoch[0]), float(result.epoch[-1])
    margin = 0.02 * (last - first) or 0.5
    shared: Range = Range1d(first - margin, last + margin, bounds="auto")
    charts = {}
    for i, panel in enumerate(panels):
        is_rate = panel.name == "curves-lr"
        zoom = BoxZoomTool(dimensions="width")
        chart = new_chart(
            panel.name,
            height=150 if is_rate else 210,
            x_range=shared,
            y_axis_type="log" if is_rate and np.nanmin(panel.values) > 0 else "linear",
            y_axis_label=panel.label,
            tools=[zoom, PanTool(dimensions="width"), ResetTool(), SaveTool()],
            toolbar_location="above" if i == 0 else None,
            active_drag=zoom,
            min_border_left=78,
        )
        if i == len(panels) - 1:
            chart.xaxis.axis_label = "epoch"
        else:
            chart.xaxis.major_label_text_font_size = "0px"
        _mark_amplified(chart, result, sides, colors, dots=is_rate)
        if is_rate:
            _draw_rates(chart, panel, result, sides, colors)
        else:
            _draw_losses(chart, panel, result, sides, colors, window)
        cursor = Span(name=f"cursor-{panel.name}", dimension="height", location=last, line_color=_GREY)
        chart.add_layout(cursor)
        chart.js_on_event("mousemove", CustomJS(code="report.curves.move(cb_obj.x)"))
        charts[panel.name] = chart
    return charts


def _draw_losses(
    chart: figure,
    panel: Panel,
    result: CurvesResult,
    sides: Sequence[int],
    colors: Sequence[str],
    window: int,
) -> None:
    """Each run as a fine line, the mean of a side's runs, smoothed, as a wide one."""
    for side, color in enumerate(colors):
        rows = panel.values[[i for i, s in enumerate(sides) if s == side]]
        rows = rows[np.isfinite(rows).any(axis=1)]
        for row in rows:
            there = np.isfinite(row)
            chart.line(
                result.epoch[there], row[there], color=color, line_dash=DASHES[side], name="raw", **_RAW
            )
            if there.sum() == 1:  # a line of one point cannot be seen
                chart.scatter(result.epoch[there], row[there], color=color, size=6, name="raw")
        if len(rows):
            mean = rows.mean(axis=0)  # as far as all of them measured
            there = np.isfinite(mean)
            chart.line(
                result.epoch[there],
                smooth(mean[there], window),
                color=color,
                line_width=3,
                line_dash=DASHES[side],
                name="smoothed",
            )
    _cut_explosion(chart, panel)


def _draw_rates(
    chart: figure,
    panel: Panel,
    result: CurvesResult,
    sides: Sequence[int],
    colors: Sequence[str],
) -> None:
    """The scheduled rate in grey, the rate in use as steps."""
    for base in np.unique(result.base_lr[np.isfinite(result.base_lr).any(axis=1)], axis=0):
        there = np.isfinite(base)
        chart.step(result.epoch[there], base[there], mode="center", color=_GREY, line_width=4, line_alpha=0.4)
    for row, side in zip(panel.values, sides, strict=True):
        there = np.isfinite(row)
        chart.step(
            result.epoch[there],
            row[there],
            mode="center",
            color=colors[side],
            line_width=1.5,
            line_dash=DASHES[side],
        )


def _mark_amplified(
    chart: figure, result: CurvesResult, sides: Sequence[int], colors: Sequence[str], *, dots: bool
) -> None:
    """A pale band at each amplified epoch, darker where more runs amplified it, and a dot on the rate."""
    amplified = result.amplified
    for side, color in enumerate(colors):
        runs = [i for i, s in enumerate(sides) if s == side]
        share = amplified[runs].mean(axis=0) if runs else np.zeros(0)
        if not share.any():
            continue
        at = np.flatnonzero(share)
        chart.vstrip(
            x0=result.epoch[at] - 0.5,
            x1=result.epoch[at] + 0.5,
            fill_alpha=0.14 * share[at],
            fill_color=color,
            line_color=None,
            level="underlay",
            name="amplified",
        )
        for run in runs if dots else ():
            on = amplified[run] & np.isfinite(result.lr[run])
            chart.scatter(result.epoch[on], result.lr[run][on], color=color, size=5)


def _cut_explosion(chart: figure, panel: Panel) -> None:
    """Cut the axis off above values that explode, which would flatten all others (as in Figure 1)."""
    if panel.name == "curves-accuracy":
        return
    finite = panel.values[np.isfinite(panel.values)]
    first = [row[np.isfinite(row)][0] for row in panel.values if np.isfinite(row).any()]
    top = max(5 * np.percentile(finite, 75), 2 * np.median(first))
    if finite.max() > top:
        chart.y_range.end = float(top)
        chart.yaxis.axis_label = f"{panel.label} (axis cut)"


def _data(result: CurvesResult) -> dict[str, Any]:
    """Every number of every run and epoch, for the cursor's table, the full one and the CSV."""
    measured = [name for name in _QUANTITIES if np.isfinite(getattr(result, name)).any()]
    return {
        "epoch": result.epoch,
        "labels": [_name_quantity(result, name) for name in measured],
        "values": [_rounded(getattr(result, name)) for name in measured],
        "amplified": result.amplified,
    }


def _name_quantity(result: CurvesResult, name: str) -> str:
    """The label of a column; what is called accuracy is the score of the task."""
    return _QUANTITIES[name].replace(str(ACCURACY), result.score_label)


def _rounded(values: np.ndarray) -> list[list[float]]:
    return [[float(f"{value:.{_DIGITS}g}") for value in row] for row in values.tolist()]
