"""Measures of several networks side by side: a mark for each network, its interval as a line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from ralr_viz.plots.fit_text import fit_text, measure_text
from ralr_viz.plots.style import COLORS, GREY, LEGEND_LINE, legend_name, legend_text_size, method_looks
from ralr_viz.results.measure import Measure

MARKERS = {"baseline": "o", "ralr": "D", "scaled": "s", "matched": "v", "noise": "^"}
EXTRA_MARKERS = "^vP*<>X"


class Mark(NamedTuple):
    """How one network is drawn: never by colour alone."""

    color: str
    marker: str


def model_marks(models: Sequence[str]) -> dict[str, Mark]:
    """Colour and mark of each network; one that is called as a method has that method's colour."""
    keys = [name.lower() if name.lower() in COLORS else name for name in models]
    looks = method_looks(keys)
    markers = [marker for marker in EXTRA_MARKERS if marker not in {MARKERS.get(key) for key in keys}]
    free = iter(markers * (1 + len(models) // len(markers)))
    return {
        name: Mark(looks[key].color, MARKERS[key] if key in MARKERS else next(free))
        for name, key in zip(models, keys, strict=True)
    }


def draw_measures(axes: Axes, rows: Sequence[tuple[str, Measure]], models: Sequence[str]) -> None:
    """Draw each measure as a row of its own, a mark for each network with its interval.

    A mark is full where the paired interval of the difference from the first network excludes 0, and that of
    the first network itself.

    Args:
        axes: Where; the vertical axis gets the rows' names from above.
        rows: Name and measure of each row.
        models: Of the measures.
    """
    marks, step = model_marks(models), 0.7 / max(len(models), 2)
    offsets = step * (np.arange(len(models)) - (len(models) - 1) / 2)
    for row, (_, measure) in enumerate(rows):
        for i, name in enumerate(models):
            value, low, high = measure.interval(i)
            y = row + offsets[i]
            color, marker = marks[name]
            axes.plot([low, high], [y, y], color=color, lw=1.0, solid_capstyle="butt", gid=f"interval:{name}")
            look: dict[str, Any] = {"mec": color, "mfc": color if differs(measure, i) else "white"}
            axes.plot([value], [y], ls="", marker=marker, ms=4, mew=0.9, gid=f"value:{name}", **look)
        if row:
            axes.axhline(row - 0.5, color="#bbbbbb", lw=0.5)
    _name_rows(axes, [name for name, _ in rows])


def draw_differences(axes: Axes, rows: Sequence[tuple[str, Measure]], models: Sequence[str]) -> None:
    """Draw each measure's difference from the first network as a row, a mark for each other network.

    A mark is full where the paired interval excludes 0.
    """
    marks, step = model_marks(models), 0.7 / max(len(models) - 1, 2)
    offsets = step * (np.arange(len(models)) - len(models) / 2)
    for row, (_, measure) in enumerate(rows):
        for i, name in list(enumerate(models))[1:]:
            value, low, high = measure.difference(0, i)
            y = row + offsets[i]
            color, marker = marks[name]
            axes.plot([low, high], [y, y], color=color, lw=1.0, solid_capstyle="butt", gid=f"interval:{name}")
            look: dict[str, Any] = {"mec": color, "mfc": color if differs(measure, i) else "white"}
            axes.plot([value], [y], ls="", marker=marker, ms=4, mew=0.9, gid=f"difference:{name}", **look)
        if row:
            axes.axhline(row - 0.5, color="#bbbbbb", lw=0.5)
    axes.axvline(0, color=GREY, lw=0.6, zorder=1.5)
    _name_rows(axes, [name for name, _ in rows])


def _name_rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(False, axis="y")
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10], min_n_ticks=2))


def differs(measure: Measure, i: int) -> bool:
    """Whether the paired interval of network i minus the first excludes 0; of the first itself: yes."""
    _, low, high = measure.difference(0, i)
    return i == 0 or low > 0 or high < 0


def add_model_legend(
    figure: Figure, models: Sequence[str], *, hollow: bool = True, also: Sequence[Line2D] = ()
) -> None:
    """A legend above all panels of the networks, further lines, and what a hollow mark means."""
    size, width = legend_text_size(), figure.get_figwidth()
    room = 0.97 * width - LEGEND_LINE * size / 72
    names = [legend_name(name) for name in models]
    if len(set(names)) < len(names):  # cut to the same text
        names = list(models)
    handles = [
        Line2D([], [], ls="", marker=marker, ms=4, color=color, label=fit_text(name, size, room))
        for name, (color, marker) in zip(names, model_marks(models).values(), strict=True)
    ]
    handles += also
    if hollow and len(models) > 1:
        label = fit_text(f"hollow: interval of the difference from {models[0]} includes 0", size, room)
        handles.append(Line2D([], [], ls="", marker="o", ms=4, mec=GREY, mfc="white", label=label))
    widths = [measure_text(str(handle.get_label()), size) + LEGEND_LINE * size / 72 for handle in handles]
    ncols = len(handles) if sum(widths) <= width else max(1, int(width / max(widths)))
    figure.legend(handles=handles, loc="outside upper center", ncols=min(ncols, len(handles)))


def split_name(split: str | None) -> str:
    """``training`` for ``train``, in sentences."""
    return {"train": "training", "val": "validation"}.get(split or "", split or "")


def is_wide() -> bool:
    """Whether the current style's figures have room for four panels beside each other."""
    return mpl.rcParams["figure.figsize"][0] >= 5


def measure_rows(measures: Sequence[Measure], models: Sequence[str]) -> list[dict[str, Any]]:
    """The numbers of measures, a row for each network: value, interval and difference from the first network."""
    rows = []
    for measure in measures:
        for i, model in enumerate(models):
            rows.append({"measure": measure.name, "model": model} | _numbers(measure, i))
    return rows


def _numbers(measure: Measure, i: int) -> dict[str, Any]:
    value, low, high = measure.interval(i)
    difference, difference_low, difference_high = measure.difference(0, i)
    return {
        "unit": measure.unit,
        "value": value,
        "low": low,
        "high": high,
        "minus_first": difference if i else None,
        "minus_first_low": difference_low if i else None,
        "minus_first_high": difference_high if i else None,
    }
