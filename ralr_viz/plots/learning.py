"""Draw when examples are learned and forgotten, and which of them two methods learn differently."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
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
from ralr_viz.results.learning import RELATIONS, LearningResult

_NARROW = 5.0  # inches: below this width the panels stand two in a row
_NOTE = 6.5  # points
_TIMELINE = 0.13  # inches of an example
_BINS = ((0, 0), (1, 1), (2, 2), (3, 5), (6, None))  # forgetting events
_MOST_MAPS = 2
_GRID = 40

Looks = Mapping[str, Look]


def draw_learning(result: LearningResult) -> Figure:
    """Draw forgetting over the epochs and over the examples, how far runs agree, data maps and single timelines.

    (a) share of the examples that each epoch forgets, with a tick under each epoch whose rate was amplified; (b) how often
    examples are forgotten; (c) share of examples that only one of two runs has right late, beside what two seeds
    of one method differ by; then data maps of two methods; last, timelines of those that the second method gains and
    loses most: dark where most of the method's runs have it right.

    Args:
        result: What `compute_learning` returned.

    Returns:
        A figure of the current style's width.
    """
    looks = method_looks(result.methods)
    painters = _painters(result)
    width = mpl.rcParams["figure.figsize"][0]
    columns = 3 if width >= _NARROW else 2
    rows = -(-len(painters) // columns)
    lines = 0.55 + _TIMELINE * max(len(result.chosen), 1)
    figure = new_figure(0.35 + 1.75 * rows + lines * bool(len(result.chosen)))
    add_foot(figure, result, learning_note(result))
    draw_runs_legend(figure, result.methods, looks)
    heights = [1.75] * rows + ([lines] if len(result.chosen) else [])
    grid = figure.add_gridspec(len(heights), 1, height_ratios=heights)
    letters = iter("abcdefghij")
    for row in range(rows):
        shown = painters[row * columns : (row + 1) * columns]
        inner = grid[row].subgridspec(1, len(shown))
        for column, paint in enumerate(shown):
            panel = figure.add_subplot(inner[column])
            paint(panel, result, looks)
            panel.set_title(f"({next(letters)})", fontweight="bold")
    if len(result.chosen):
        names = list(looks)[:_MOST_MAPS]
        inner = grid[rows].subgridspec(1, len(names))
        for column, method in enumerate(names):
            panel = figure.add_subplot(inner[column])
            _draw_timelines(panel, result, method, named=column == 0)
            panel.set_title(f"({next(letters)})", fontweight="bold")
    return figure


def learning_table(result: LearningResult) -> list[dict[str, Any]]:
    """The drawn numbers: a row for each run and epoch, measure, pair of runs, and example shown."""
    rows: list[dict[str, Any]] = []

    def add(quantity: str, i: int, value: float, **more: Any) -> None:
        row = {"quantity": quantity, "model": result.models[i], "method": result.methods[i]}
        places = {
            "epoch": None,
            "other": None,
            "example": None,
            "value": value,
            "low": np.nan,
            "high": np.nan,
        }
        rows.append(row | places | more)

    for i in range(len(result.models)):
        for name in ("accuracy", "forgotten", "learned"):
            for epoch, value in zip(result.epoch, getattr(result, name)[i], strict=True):
                add(f"{name}_percent", i, 100 * float(value), epoch=int(epoch))
        for first, last in _BINS:
            add(f"forgotten_{_times(first, last)}_percent", i, 100 * _share(result.events[i], first, last))
        for measure in result.measures():
            value, low, high = measure.interval(i)
            add(measure.name, i, value, low=low, high=high)
        for j in range(i + 1, len(result.models)):
            for name in ("agreement", "disagreement"):
                add(name, i, float(getattr(result, name)[i, j]), other=result.models[j])
        for example in result.chosen:
            add("late", i, float(result.late[i, example]), example=int(result.places[example]))
    return rows


def learning_note(result: LearningResult) -> str:
    """What the numbers are of, and what may not be concluded from them."""
    where = " ".join(str(part) for part in (result.dataset, result.examples) if part)
    seen = (
        "as the training steps saw them, augmented and under weights that move within the epoch"
        if result.examples == "train" and result.source == "recorded"
        else "after each epoch, in eval mode"
    )
    names = list(dict.fromkeys(result.methods))
    gained = ""
    if len(result.chosen) and len(names) > 1:
        gained = (
            f" Timelines: examples that {legend_name(names[1])} has right late more often than {legend_name(names[0])}, then the "
            "reverse; those that differ most, which is no sample, by their places in the split."
        )
    seeds = ""
    if len(names) > 1:
        seeds = (
            " Late gain: share of the late epochs in which an example is right, less that of the first method"
        )
        seeds += "; outline: of two seeds of the first method." if result.methods.count(names[0]) > 1 else "."
    elif len(result.chosen):
        gained = " Timelines: the examples that are forgotten most often, which is no sample."
    return (
        f"{result.num_examples:,} examples of {where}, {len(result.epoch)} epochs, {seen}. Forgotten: wrong after it was right "
        "in the epoch before. Ticks: epochs whose rate was amplified. Late: after 2/3 of the training. "
        "Two runs of one method differ by their seed alone: a difference between methods that is no larger shows none."
        f"{seeds}{gained}"
    )


Painter = Callable[[Axes, LearningResult, Looks], None]


def _painters(result: LearningResult) -> list[Painter]:
    """The panels that there are numbers for."""
    painters: list[Painter] = [_draw_forgetting, _draw_events]
    if len(result.models) > 1:
        painters.append(_draw_pairs)
    methods = list(dict.fromkeys(result.methods))[:_MOST_MAPS]
    return painters + [_map_of(method) for method in methods] + [_draw_gain] * (len(methods) > 1)


def _draw_forgetting(panel: Axes, result: LearningResult, looks: Looks) -> None:
    shares = 100 * result.forgotten
    for method, (color, line) in looks.items():
        rows = result.rows_of(method)
        for i in rows:
            look = {"lw": WIDE, "ls": line} if len(rows) == 1 else {"lw": FINE, "alpha": 0.5}
            panel.plot(
                result.epoch[1:], shares[i, 1:], color=color, gid=f"forgotten:{result.models[i]}", **look
            )
        if len(rows) > 1:
            mean = shares[rows].mean(0)[1:]
            panel.plot(
                result.epoch[1:], mean, color=color, lw=WIDE, ls=line, gid=f"forgotten:mean of {method}"
            )
    top = 1.05 * max(float(shares.max()), 1e-3)
    marked = [
        i for i in range(len(result.models)) if result.amplified[i].any() and not result.amplified[i].all()
    ]
    for place, i in enumerate(marked):
        at = result.epoch[result.amplified[i]]
        height = -top * 0.06 * (place + 1)
        color = looks[result.methods[i]].color
        panel.plot(
            at, np.full(len(at), height), "|", color=color, ms=3, mew=0.7, gid=f"amplified:{result.models[i]}"
        )
    panel.set_ylim(-top * 0.06 * (len(marked) + 1) if marked else 0, top)
    panel.set(xlabel="epoch", ylabel="forgotten (%)")
    panel.set_yticks([tick for tick in panel.get_yticks() if 0 <= tick <= top])
    panel.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))


def _draw_events(panel: Axes, result: LearningResult, looks: Looks) -> None:
    labels = [_times(*bounds) for bounds in _BINS] + ["never\nright"]
    for number, (method, (color, _)) in enumerate(looks.items()):
        beside = 0.5 * (number - (len(looks) - 1) / 2) / max(len(looks), 1)
        for i in result.rows_of(method):
            events = result.events[i]
            values = [100 * _share(events, *bounds) for bounds in _BINS] + [100 * float((events < 0).mean())]
            panel.plot(
                np.arange(len(values)) + beside, values, "o", color=color, ms=3, mew=0, alpha=0.8,
                gid=f"events:{result.models[i]}",
            )  # fmt: skip
    panel.set_xticks(range(len(labels)), labels)
    panel.set(xlabel="times forgotten", ylabel="examples (%)")
    panel.set_ylim(bottom=0)
    panel.grid(axis="x", visible=False)


def _draw_pairs(panel: Axes, result: LearningResult, looks: Looks) -> None:
    there = [relation for relation in RELATIONS if result.pairs(relation)]
    for place, relation in enumerate(there):
        pairs = result.pairs(relation)
        values = [100 * result.disagreement[i, j] for i, j in pairs]
        spread = 0.3 * (np.arange(len(values)) - (len(values) - 1) / 2) / max(len(values) - 1, 1)
        color = GREY if relation == RELATIONS[0] else "black"
        panel.plot(place + spread, values, "o", color=color, ms=3, mew=0, alpha=0.8, gid=f"pairs:{relation}")
        panel.plot(
            [place - 0.3, place + 0.3], [np.mean(values)] * 2, color=color, lw=WIDE, gid=f"mean:{relation}"
        )
    panel.set_xticks(range(len(there)), [relation.replace(", ", ",\n") for relation in there], size=_NOTE)
    panel.set_xlim(-0.6, len(there) - 0.4)
    panel.set_ylim(bottom=0)
    panel.set_ylabel("right late in\none of two runs (%)")
    panel.grid(axis="x", visible=False)


def _map_of(method: str) -> Painter:
    def paint(panel: Axes, result: LearningResult, looks: Looks) -> None:
        rows = result.rows_of(method)
        x, y = result.variability[rows].mean(0), result.confidence[rows].mean(0)
        panel.hist2d(
            x, y, bins=_GRID, range=((0, 0.5), (0, 1)), cmap="Greys", norm=LogNorm(0.5), rasterized=True
        )
        panel.set_xlabel(f"SD of p(class), {legend_name(method)}")
        panel.set_ylabel("mean p(class)")
        panel.set(xlim=(0, 0.5), ylim=(0, 1))

    return paint


def _draw_gain(panel: Axes, result: LearningResult, looks: Looks) -> None:
    """Late correctness of the second method less that of the first, where it is not 0, beside that of two seeds."""
    first, second = list(looks)[:2]
    means = [result.late[result.rows_of(method)].mean(0) for method in (first, second)]
    bins = np.linspace(-1, 1, 22).tolist()
    gain = means[1] - means[0]
    panel.hist(gain[gain != 0], bins=bins, color=looks[second].color, alpha=0.45, lw=0, gid="gain")
    rows = result.rows_of(first)
    if len(rows) > 1:
        noise = result.late[rows[1]] - result.late[rows[0]]
        panel.hist(noise[noise != 0], bins=bins, histtype="step", color=GREY, lw=WIDE, gid="seeds")
    panel.set_yscale("log")
    panel.set_xlabel(f"late gain of {legend_name(second)}")
    panel.set_ylabel("examples")
    panel.set_xlim(-1, 1)
    panel.set_ylim(bottom=0.7)


def _draw_timelines(panel: Axes, result: LearningResult, method: str, *, named: bool) -> None:
    rows = result.rows_of(method)
    shares = result.timeline[rows].mean(0)
    panel.imshow(
        shares.T, aspect="auto", cmap="Greys", vmin=0, vmax=1, interpolation="none", origin="upper",
        extent=(0.5, len(result.epoch) + 0.5, len(result.chosen) - 0.5, -0.5),
    )  # fmt: skip
    step = -(-len(result.epoch) // 5)
    at = np.arange(0, len(result.epoch), step)
    panel.set_xticks(at + 1, [str(result.epoch[i]) for i in at])
    panel.set_xlabel(f"epoch, {legend_name(method)}")
    labels = [str(result.places[i]) for i in result.chosen] if named else []
    panel.set_yticks(range(len(labels)), labels, size=_NOTE)
    if named:
        panel.set_ylabel("example")
    panel.grid(False)


def _share(events: np.ndarray, first: int, last: int | None) -> float:
    return float(((events >= first) & (events <= (np.inf if last is None else last))).mean())


def _times(first: int, last: int | None) -> str:
    if last is None:
        return f"{first}+"
    return str(first) if first == last else f"{first}–{last}"
