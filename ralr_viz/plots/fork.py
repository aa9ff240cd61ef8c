"""Draw what followed from continuing checkpoints at several learning rates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import colormaps
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from ralr_viz.plots.fit_text import break_axis_name, measure_text
from ralr_viz.plots.foot import add_foot
from ralr_viz.plots.fork_note import MOST_DECAYS, fork_note
from ralr_viz.plots.style import (
    EXTRA_LINE_STYLES,
    GREY,
    LEGEND_LINE,
    LINE_STYLES,
    Look,
    legend_text_size,
    new_figure,
)
from ralr_viz.results.fork import CURVES, ForkResult, t_interval

_FINE, _WIDE = 0.4, 1.2  # points
_NARROW = 5.0  # inches: below this width the panels stand two in a row
_SHADE = "#eeeeee"
_RECORDED: dict[str, Any] = {"color": "black", "lw": 0.8, "ls": "", "marker": "x", "ms": 3.5, "mew": 0.8}
_TALL = 1.4  # inches: longer names of scores would run into the letter of their panel
_SPLITS = {"val": "validation", "test": "test"}
_MARKS = {"after the amplified epochs": "o", "at the end": "s", "at equal sum of LR": "D"}
_SHORT = {
    "after the amplified epochs": "after the amplified epochs",
    "at the end": "at the end",
    "at equal sum of LR": "at equal Σ LR",
}

Painter = Callable[[Axes, ForkResult, Mapping[float, Look]], None]


def draw_fork(result: ForkResult) -> Figure:
    """Draw the outcomes of each factor against the epoch since the fork, and at equal Σ LR.

    Loss and accuracy on `ForkResult.split`, training loss and distance from the checkpoint against the epoch,
    the amplified epochs shaded, decays of the base LR dotted; the loss against Σ LR, the largest value that
    all factors reach dashed; its difference from factor 1 at three moments, paired over the repeats; and,
    where they were measured, sharpness and barrier. Of annealed branches instead of these two the differences of training
    loss and score at the end, and the child barriers. Factors differ in a sequential colour and in line style;
    repeats are fine lines, their mean is a wide one; the replay of the run's own factors is crosses.

    Args:
        result: What `compute_fork` returned.

    Returns:
        A figure of the current style's width.
    """
    looks = factor_looks(result.factors)
    width = mpl.rcParams["figure.figsize"][0]
    columns = 2 if _is_narrow() else 3
    painters = _painters(result)[: 9 if columns == 3 else 8]  # no row for one panel
    rows = -(-len(painters) // columns)
    handles = _handles(result, looks)
    legend_columns = _fitting_columns(handles, width)
    legend_lines = -(-len(handles) // legend_columns)
    figure = new_figure(0.1 + 0.16 * legend_lines + (1.6 if columns == 3 else 1.4) * rows)
    add_foot(figure, result, fork_note(result))
    figure.legend(handles=handles, loc="outside upper center", ncols=legend_columns)
    panels = figure.subplots(rows, columns, squeeze=False)
    for i, panel in enumerate(panels.flat):
        if i >= len(painters):
            panel.remove()
            continue
        painters[i](panel, result, looks)
        panel.set_title(f"({'abcdefghi'[i]})", fontweight="bold")
    return figure


def fork_table(result: ForkResult) -> list[dict[str, Any]]:
    """The drawn numbers, one a row: curves by epoch, probes, and differences from factor 1.

    ``factor`` is empty for the recorded branch, ``repeat`` for a mean over the repeats (over the seeds, where there are
    several, whose place then stands there), which has the ends of its 95 % t interval where there are two and more.
    """
    rows: list[dict[str, Any]] = []

    def add(quantity: str, at: str, factor: float, repeat: int | None, value: float, **more: Any) -> None:
        row = {"quantity": quantity, "at": at, "epoch": None, "factor": factor, "repeat": repeat}
        row["factor"] = None if np.isnan(factor) else factor
        rows.append(row | {"value": value, "low": np.nan, "high": np.nan} | more)

    for i, (factor, repeat) in enumerate(zip(result.factor.tolist(), result.repeat.tolist(), strict=True)):
        for name in CURVES:
            for epoch, value in zip(result.epoch.tolist(), getattr(result, name)[i].tolist(), strict=True):
                if np.isfinite(value):
                    add(name, "epoch", factor, repeat, value, epoch=epoch)
        for name in ("sharpness", "barrier") if result.has_probes else ():
            for epoch, value in zip(_probe_epochs(result), getattr(result, name)[i].tolist(), strict=True):
                if np.isfinite(value):
                    add(name, "epoch", factor, repeat, value, epoch=epoch)
    if np.isfinite(result.start_sharpness):
        add("sharpness", "epoch", np.nan, None, result.start_sharpness, epoch=0)
    name = f"{result.split}_loss"
    shown = [(name, at, differences) for at, differences in _loss_differences(result).items()]
    if result.anneal:
        shown = [(name, "at the end", _end_differences(result, name)) for name in _annealed_outcomes(result)]
    for name, at, differences in shown:
        for factor, values in zip(result.factors, differences, strict=True):
            if factor == 1:
                continue
            for unit, value in enumerate(values.tolist()):
                add(f"{name} minus factor 1", at, factor, unit, value)
            mean, low, high = t_interval(values)
            add(f"{name} minus factor 1", at, factor, None, mean, low=low, high=high)
    if result.child_barrier is not None:
        for factor, values in zip(result.factors, result.outcome("child_barrier"), strict=True):
            for unit, value in enumerate(values.tolist()):
                add("child_barrier", "at the end", factor, unit, value)
            mean, low, high = t_interval(values)
            add("child_barrier", "at the end", factor, None, mean, low=low, high=high)
    return rows


def factor_looks(factors: tuple[float, ...]) -> dict[float, Look]:
    """Colour, dark to light as the factor grows, and line style of each factor; factor 1 is solid."""
    shades = colormaps["viridis"](np.linspace(0.0, 0.85, len(factors)))
    dashed = [LINE_STYLES["baseline"], LINE_STYLES["scaled"], *EXTRA_LINE_STYLES]
    looks, place = {}, 0
    for factor, shade in zip(factors, shades, strict=True):
        if factor == 1:
            looks[factor] = Look(to_hex(shade), "-")
        else:
            looks[factor] = Look(to_hex(shade), dashed[place % len(dashed)])
            place += 1
    return looks


def _painters(result: ForkResult) -> list[Painter]:
    """The panels that there are numbers for."""
    split = _SPLITS[result.split]
    if result.anneal:
        return _annealed_painters(result, split)
    painters = [
        _curve(f"{result.split}_loss", result.in_unit(f"{split} loss")),
        _curve(f"{result.split}_acc", f"{split} {result.score_label}"),
        _curve("train_loss", result.in_unit("training loss")),
        _curve("distance", "distance from fork"),
        _against_sum_lr(f"{result.split}_loss", result.in_unit(f"{split} loss")),
    ]
    painters.append(
        _draw_differences if len(result.factors) > 1 else _curve("step_length", "epoch step ‖Δw‖")
    )
    if result.has_probes:
        painters += [
            _probe("sharpness", result.in_unit("sharpness")),
            _probe("barrier", result.in_unit("barrier")),
        ]
        painters.append(_curve("step_length", "epoch step ‖Δw‖"))
    return painters


def _annealed_painters(result: ForkResult, split: str) -> list[Painter]:
    painters = [
        _curve("train_loss", result.in_unit("training loss")),
        _curve(f"{result.split}_loss", result.in_unit(f"{split} loss")),
        _curve(f"{result.split}_acc", f"{split} {result.score_label}"),
        _curve("distance", "distance from fork"),
    ]
    if len(result.factors) > 1:
        labels = {
            "train_loss": result.in_unit("Δ training loss"),
            f"{result.split}_acc": f"Δ {split} {result.score_label}",
        }
        painters += [
            _at_end(_end_differences(result, name), labels[name], name) for name in _annealed_outcomes(result)
        ]
    if result.child_barrier is not None:
        painters.append(
            _at_end(result.outcome("child_barrier"), result.in_unit("child barrier"), "child_barrier")
        )
    if result.has_probes:
        painters += [
            _probe("sharpness", result.in_unit("sharpness")),
            _probe("barrier", result.in_unit("barrier to fork")),
        ]
    return painters


def _annealed_outcomes(result: ForkResult) -> tuple[str, ...]:
    """What is asked of annealed ends."""
    return "train_loss", f"{result.split}_acc"


def _end_differences(result: ForkResult, quantity: str) -> np.ndarray:
    """(F, units) at the end, minus factor 1."""
    return result.differences(result.outcome(quantity)[..., -1])


def _at_end(values: np.ndarray, label: str, gid: str) -> Painter:
    """Every unit of each factor that has a value other than its own reference, with mean and interval."""

    def paint(panel: Axes, result: ForkResult, looks: Mapping[float, Look]) -> None:
        panel.axhline(0, color=GREY, lw=0.6, zorder=1.5)
        shown = [f for f in result.factors if f != 1 or gid == "child_barrier"]
        for place, factor in enumerate(shown):
            own = values[result.factors.index(factor)]
            _draw_units(panel, place, own, looks[factor].color, "s", f"{gid}:{factor:g}")
        panel.set_xticks(range(len(shown)), [f"×{factor:g}" for factor in shown])
        panel.set_xlim(-0.6, len(shown) - 0.4)
        panel.grid(axis="x", visible=False)
        panel.set_ylabel(break_axis_name(label, _TALL))
        panel.set_xlabel("factor")

    return paint


def _draw_units(panel: Axes, x: float, values: np.ndarray, color: str, mark: str, gid: str) -> None:
    """Each repeat or seed as a dot, their mean as a mark with its interval."""
    mean, low, high = t_interval(values)
    if len(values) > 1:
        spread = np.linspace(-0.1, 0.1, len(values))
        panel.plot(x + spread, values, ".", color=GREY, ms=2.5, mew=0, zorder=1.8, gid=f"each {gid}")
        panel.plot([x, x], [low, high], color=color, lw=0.9, gid=f"interval {gid}")
    panel.plot(x, mean, mark, color=color, ms=4, mew=0, gid=gid)


def _curve(quantity: str, label: str) -> Painter:
    def paint(panel: Axes, result: ForkResult, looks: Mapping[float, Look]) -> None:
        _mark_epochs(panel, result)
        _draw_branches(panel, result, looks, quantity, getattr(result, quantity))
        panel.set_ylabel(break_axis_name(label, _TALL))

    return paint


def _probe(quantity: str, label: str) -> Painter:
    def paint(panel: Axes, result: ForkResult, looks: Mapping[float, Look]) -> None:
        _mark_epochs(panel, result)
        start = result.start_sharpness if quantity == "sharpness" else 0.0
        values = np.full((len(result.factor), len(result.epoch)), np.nan)
        values[:, 0] = start
        values[:, _probe_epochs(result)] = getattr(result, quantity)
        _draw_branches(panel, result, looks, quantity, values, marker="o", ms=2.5, mew=0)
        panel.set_ylabel(label)

    return paint


def _probe_epochs(result: ForkResult) -> list[int]:
    return [result.amplified_epochs, len(result.base_lr)]


def _mark_epochs(panel: Axes, result: ForkResult) -> None:
    """Axis of the epochs since the fork: the amplified ones shaded, decays dotted."""
    panel.axvspan(0, result.amplified_epochs, color=_SHADE, lw=0, zorder=0.5, gid="amplified")
    for decay in result.decays if len(result.decays) <= MOST_DECAYS else ():
        panel.axvline(decay, color=GREY, lw=0.8, ls=":", zorder=1.5, gid="decay")
    last = len(result.base_lr)
    panel.set_xlim(-0.03 * last, 1.03 * last)
    panel.set_xlabel("epoch" if _is_narrow() else "epochs since the fork")
    panel.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))


def _draw_branches(
    panel: Axes,
    result: ForkResult,
    looks: Mapping[float, Look],
    gid: str,
    values: np.ndarray,
    **more: Any,
) -> None:
    """Every repeat of a factor as a fine line, their mean as a wide one, the recorded branch as crosses."""
    for factor, (color, line) in looks.items():
        curves = values[np.flatnonzero(result.factor == factor)]
        for repeat, curve in enumerate(curves if len(curves) > 1 else ()):
            look = {"color": color, "lw": _FINE, "alpha": 0.6, "zorder": 1.8}
            _join(panel, result.epoch, curve, gid=f"{gid}:{factor:g}:{repeat}", **look)
        _join(
            panel,
            result.epoch,
            curves.mean(axis=0),
            gid=f"{gid}:{factor:g}",
            color=color,
            ls=line,
            lw=_WIDE,
            **more,
        )
    recorded = result.row(None)
    if recorded is not None and _shows_recorded(result):
        _join(panel, result.epoch[1:], values[recorded, 1:], gid=f"{gid}:recorded", zorder=3, **_RECORDED)


def _shows_recorded(result: ForkResult) -> bool:
    """Of several runs the crosses of each would hide the others."""
    return result.states == 1 and result.row(None) is not None


def _join(panel: Axes, x: np.ndarray, y: np.ndarray, **look: Any) -> None:
    measured = np.isfinite(y)
    if measured.sum() == 1 and "marker" not in look:  # a line of one point cannot be seen
        look |= {"marker": "o", "ms": 3, "mew": 0}
    panel.plot(x[measured], y[measured], **look)


def _against_sum_lr(quantity: str, label: str) -> Painter:
    def paint(panel: Axes, result: ForkResult, looks: Mapping[float, Look]) -> None:
        values = result.outcome(quantity)
        for (factor, (color, line)), curves in zip(looks.items(), values, strict=True):
            x = result.planned_sum_lr(factor)
            for repeat, curve in enumerate(curves if len(curves) > 1 else ()):
                gid = f"sum_lr:{factor:g}:{repeat}"
                _join(panel, x, curve, color=color, lw=_FINE, alpha=0.6, zorder=1.8, gid=gid)
            mean, k = curves.mean(axis=0), result.amplified_epochs
            _join(panel, x, mean, color=color, ls=line, lw=_WIDE, gid=f"sum_lr:{factor:g}")
            panel.plot(x[k], mean[k], "o", color=color, ms=3, mew=0, gid=f"sum_lr:end of {factor:g}")
        recorded = result.row(None)
        if recorded is not None and _shows_recorded(result):
            x, y = result.sum_lr[recorded, 1:], getattr(result, quantity)[recorded, 1:]
            _join(panel, x, y, gid="sum_lr:recorded", zorder=3, **_RECORDED)
        panel.axvline(result.common_sum_lr[-1], color=GREY, lw=0.8, ls="--", zorder=1.5, gid="common")
        panel.set(xlabel="Σ LR" if _is_narrow() else "Σ LR since the fork", ylabel=label)

    return paint


def _loss_differences(result: ForkResult) -> dict[str, np.ndarray]:
    """Loss on the split minus that of factor 1, (F, R) at each of three moments."""
    name = f"{result.split}_loss"
    values = result.outcome(name)
    moments = {
        "after the amplified epochs": values[..., result.amplified_epochs],
        "at the end": values[..., -1],
        "at equal sum of LR": result.at_sum_lr(name)[..., -1],
    }
    return {at: result.differences(v) for at, v in moments.items()}


def _draw_differences(panel: Axes, result: ForkResult, looks: Mapping[float, Look]) -> None:
    others = [factor for factor in result.factors if factor != 1]
    panel.axhline(0, color=GREY, lw=0.6, zorder=1.5)
    for beside, (at, differences) in zip((-0.24, 0.0, 0.24), _loss_differences(result).items(), strict=True):
        for place, factor in enumerate(others):
            values, color = differences[result.factors.index(factor)], looks[factor].color
            _draw_units(panel, place + beside, values, color, _MARKS[at], f"difference:{factor:g}:{at}")
    panel.set_xticks(range(len(others)), [f"×{factor:g}" for factor in others])
    panel.set_xlim(-0.6, len(others) - 0.4)
    panel.grid(axis="x", visible=False)
    panel.set_ylabel("loss − factor 1's")
    panel.set_xlabel("factor")


def _is_narrow() -> bool:
    return mpl.rcParams["figure.figsize"][0] < _NARROW


def _handles(result: ForkResult, looks: Mapping[float, Look]) -> list[Artist]:
    handles: list[Artist] = [
        Line2D([], [], color=color, ls=line, lw=_WIDE, label=f"factor {factor:g}")
        for factor, (color, line) in looks.items()
    ]
    if _shows_recorded(result):
        handles.append(Line2D([], [], label="the run's own factors", **_RECORDED))
    if result.repeats * result.states > 1:
        what = (
            "each repeat"
            if result.states == 1
            else "each seed"
            if result.repeats == 1
            else "each seed and order"
        )
        handles.append(Line2D([], [], color=GREY, lw=_FINE, label=what))
    handles.append(Patch(facecolor=_SHADE, label="amplified epochs"))
    if 0 < len(result.decays) <= MOST_DECAYS:
        handles.append(Line2D([], [], color=GREY, lw=0.8, ls=":", label="decay of the base LR"))
    if len(result.factors) > 1 and not result.anneal:
        handles += [
            Line2D([], [], color=GREY, ls="", marker=mark, ms=4, mew=0, label=_SHORT[at])
            for at, mark in _MARKS.items()
        ]
    return handles


def _fitting_columns(handles: list[Artist], width: float) -> int:
    size = legend_text_size()
    longest = max(measure_text(str(handle.get_label()), size) for handle in handles)
    return min(max(int(width / (longest + LEGEND_LINE * size / 72)), 1), len(handles))
