"""Draw how far the weights of several runs move, and for how much learning rate."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ralr_viz.plots.foot import add_foot
from ralr_viz.plots.run_lines import FINE, WIDE, draw_runs_legend
from ralr_viz.plots.style import (
    GREY,
    Look,
    legend_name,
    method_looks,
    new_figure,
)
from ralr_viz.results.measure import Measure
from ralr_viz.results.movement import MovementResult

_NARROW = 5.0  # inches: below this width the panels stand two in a row
_NOTE = 6.5  # points
_LONGEST_TICKS = 24  # characters of the methods' names that have room side by side
_MOST_NAMED = 45  # layers whose names have room at the axis


def draw_movement(result: MovementResult) -> Figure:
    """Draw each epoch's step, what the late phase adds up to, and each layer; the CSV has more.

    (a) length of each epoch's step; then, of the late phase, what no rescaling moves, angular path and function change, beside the path per Σ LR. Where one of these is not known stands the raw path, where both are not,
    the churn, too (net distance or path over net distance where there is none). Last, how far each layer
    went. Several runs of a method are fine lines or dots, their mean a wide line or a bar.

    Args:
        result: What `compute_movement` returned.

    Returns:
        A figure of the current style's width.
    """
    looks = method_looks(result.methods)
    painters = _painters(result)
    width = mpl.rcParams["figure.figsize"][0]
    columns = 4 if width >= _NARROW else 2
    with_layers = bool(result.layers)
    rows = -(-len(painters) // columns)
    figure = new_figure(0.3 + 1.55 * rows + (1.9 if with_layers else 0))
    add_foot(figure, result, movement_note(result))
    draw_runs_legend(figure, result.methods, looks)
    heights = [1.0] * rows + ([1.15] if with_layers else [])
    grid = figure.add_gridspec(len(heights), columns, height_ratios=heights)
    panels = []
    for i, paint in enumerate(painters):
        row, column = divmod(i, columns)
        last = i == len(painters) - 1
        panels.append(figure.add_subplot(grid[row, column:] if last else grid[row, column]))
        paint(panels[-1], result, looks)
    if with_layers:
        panels.append(figure.add_subplot(grid[-1, :]))
        _draw_layers(panels[-1], result, looks)
    for letter, panel in zip("abcdefgh", panels, strict=False):
        panel.set_title(f"({letter})", fontweight="bold")
    return figure


def movement_table(result: MovementResult) -> list[dict[str, Any]]:
    """The drawn numbers, a row for each model and epoch, layer or sum, with the ends of 95 % intervals."""
    rows: list[dict[str, Any]] = []

    def add(quantity: str, i: int, value: float, **more: Any) -> None:
        row = {"quantity": quantity, "model": result.models[i], "method": result.methods[i]}
        places = {"epoch": None, "layer": None, "value": value, "low": np.nan, "high": np.nan}
        rows.append(row | places | more)

    curves = {
        "step_length": result.step_length,
        "step_per_lr": result.step_per_lr,
        "angle": result.angle,
        "distance_from_init": result.distance,
        "lr": result.lr,
    }
    layers = {"relative_change_percent": result.relative_change, "filter_angle_degrees": result.layer_angle}
    for i in range(len(result.models)):
        for name, values in curves.items():
            for epoch, value in zip(result.epoch, values[i], strict=True):
                if np.isfinite(value):
                    add(name, i, float(value), epoch=int(epoch))
        for name, values in layers.items():
            for layer, value in zip(result.layers, values[i], strict=True):
                if np.isfinite(value):
                    add(name, i, float(value), layer=layer)
        for measure in result.measures():
            value, low, high = measure.interval(i)
            if np.isfinite(value):
                add(measure.name, i, value, low=low, high=high)
    return rows


def movement_note(result: MovementResult) -> str:
    """What the numbers are of, and what may not be concluded from them."""
    ends = zip(result.late_after, result.last_epoch, strict=True)
    phases = " or ".join(
        f"after epoch {a} of {b}" for a, b in dict.fromkeys((int(a), int(b)) for a, b in ends)
    )
    parts = [
        f"Late: {phases} (dotted). Steps are of whole epochs, so a path is a lower bound of that of the single "
        "steps. A path grows with the learning rate by construction, so raw paths show no more than the rates. "
        "Path / Σ LR (rates summed over epochs) cannot tell how much the network changes: before a normalisation, weights "
        "twice as long at four times the rate are the same network and halve it, and any larger rate lowers it."
    ]
    if np.isfinite(result.late_angular_path).any():
        parts.append(_describe_angles(result))
    if result.layers:
        parts.append(
            "Layers: change of each weight tensor between the two ends of the late phase over its norm."
        )
    if result.num_images:
        where = " ".join(str(part) for part in (result.dataset, result.split) if part)
        parts.append(
            f"{'Churn' if result.function_change is None else 'Function change: half of Σ|p(E) − p(2E/3)|; churn'}: predictions "
            f"that changed, of {result.num_images:,} {where} images between the same two states, "
            "95 % intervals over images: of churn Wilson's, else of bootstraps, the same for all."
        )
    parts.append("No spread between trainings is in any interval: one run of a method is that run only.")
    return " ".join(parts)


def _describe_angles(result: MovementResult) -> str:
    normalised, steps = result.normalised, result.late_steps
    known = 0 if normalised is None else int(normalised.sum())
    of = f"the {known} of {len(result.layers)} layers that a normalisation follows" if known else "all layers"
    text = f"Angular path: what the filters of {of} turn between kept late states, mean over the filters"
    if steps is not None and (steps == 1).any():
        text += ", here of two states only: the angle between them (keep_every = 1 keeps all)"
    return (
        f"{text}; no rescaling moves it, but rates do: compare with a control of the same rates (`matched`)."
    )


Painter = Callable[[Axes, MovementResult, Mapping[str, Look]], None]


def _painters(result: MovementResult) -> list[Painter]:
    """The panels that there are numbers for."""
    measures = {measure.name: measure for measure in result.measures()}
    painters: list[Painter] = [_curve("step_length", "epoch step ‖Δw‖", log=True)]
    last = next(
        (n for n in ("churn", "late_net", "path_net_ratio") if n in measures and _known(measures[n])), None
    )
    steadfast = [n for n in ("late_angular_path", "function_change") if n in measures and _known(measures[n])]
    labels = {
        "late_angular_path": "late angular path (°)",
        "function_change": "function change (%)",
        "late_path": "late path Σ‖Δw‖",
        "late_path_per_lr": "late path / Σ LR",
        "churn": "churn (%)",
        "late_net": "late net distance",
        "path_net_ratio": "path / net distance",
    }
    rest = ["late_path", "late_path_per_lr", *([last] if last else [])]
    names = [*steadfast, *(rest[1:2] if len(steadfast) == 2 else rest[: 3 - len(steadfast)])]
    return painters + [_dots(measures[n], labels[n]) for n in names if _known(measures[n])]


def _known(measure: Measure) -> bool:
    return bool(np.isfinite(measure.values).any())


def _curve(quantity: str, label: str, *, log: bool = False) -> Painter:
    def paint(panel: Axes, result: MovementResult, looks: Mapping[str, Look]) -> None:
        values = getattr(result, quantity)
        for after in dict.fromkeys(result.late_after.tolist()):
            panel.axvline(after + 0.5, color=GREY, lw=0.8, ls=":", zorder=1.5, gid="late")
        _draw_runs(panel, result, looks, result.epoch, values, quantity)
        panel.set(xlabel="epoch", ylabel=label)
        panel.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))
        if log and np.nanmin(values) > 0:
            panel.set_yscale("log")

    return paint


def _draw_runs(
    panel: Axes,
    result: MovementResult,
    looks: Mapping[str, Look],
    x: np.ndarray,
    values: np.ndarray,
    gid: str,
    **more: Any,
) -> None:
    """Each run as a line, fine where a method has several, and their mean as a wide one."""
    for method, (color, line) in looks.items():
        rows = [i for i, m in enumerate(result.methods) if m == method and np.isfinite(values[i]).any()]
        for i in rows:
            alone = len(rows) == 1
            look = {"lw": WIDE, "ls": line} if alone else {"lw": FINE, "alpha": 0.5, "zorder": 1.8}
            at = np.isfinite(values[i])
            # a line of one point cannot be seen
            mark = {"marker": "o", "ms": 3} if at.sum() == 1 else {}
            panel.plot(
                x[at],
                values[i, at],
                color=color,
                gid=f"{gid}:{result.models[i]}",
                **(look | mark | (more if alone else {})),
            )
        if len(rows) > 1:
            mean = values[rows].mean(axis=0)
            panel.plot(x, mean, color=color, lw=WIDE, ls=line, gid=f"{gid}:mean of {method}", **more)


def _dots(measure: Measure, label: str) -> Painter:
    def paint(panel: Axes, result: MovementResult, looks: Mapping[str, Look]) -> None:
        for place, (method, (color, _)) in enumerate(looks.items()):
            rows = [i for i, m in enumerate(result.methods) if m == method and np.isfinite(measure.values[i])]
            spread = 0.3 * (np.arange(len(rows)) - (len(rows) - 1) / 2) / max(len(rows) - 1, 1)
            for i, beside in zip(rows, spread, strict=True):
                value, low, high = measure.interval(i)
                gid = f"{measure.name}:{result.models[i]}"
                panel.plot(place + beside, value, "o", color=color, ms=4, mew=0, gid=gid)
                if np.isfinite(low):
                    panel.plot([place + beside] * 2, [low, high], color=color, lw=0.9, gid=f"interval:{gid}")
            if len(rows) > 1:
                mean = measure.values[rows].mean()
                gid = f"{measure.name}:mean of {method}"
                panel.plot([place - 0.3, place + 0.3], [mean, mean], color=color, lw=WIDE, gid=gid)
        names = [legend_name(method) for method in looks]
        if sum(map(len, names)) > _LONGEST_TICKS:
            names = [str(i) for i in range(1, len(names) + 1)]
            panel.set_xlabel("legend's order")
        panel.set_xticks(range(len(names)), names)
        panel.set_xlim(-0.6, len(names) - 0.4)
        panel.set_ylabel(label)
        panel.margins(y=0.15)
        panel.grid(axis="x", visible=False)

    return paint


def _draw_layers(panel: Axes, result: MovementResult, looks: Mapping[str, Look]) -> None:
    x = np.arange(len(result.layers))
    _draw_runs(panel, result, looks, x, result.relative_change, "layer", marker="o", ms=2.5, mew=0)
    panel.set_ylabel("late change of\nthe layer (%)")
    panel.set_xlim(-0.5, len(x) - 0.5)
    panel.set_ylim(bottom=0)
    if len(x) <= _MOST_NAMED and mpl.rcParams["figure.figsize"][0] / len(x) > 0.12:
        panel.set_xticks(x, result.layers, rotation=90, size=_NOTE)
    else:
        panel.set_xlabel("layer, from the input")
