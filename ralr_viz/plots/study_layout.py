"""Where everything of a study's picture is: rows, panels, their names and the scales."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from ralr_viz.foreign import one_line
from ralr_viz.plots.fit_text import fit_text, measure_text, wrap_text
from ralr_viz.results.study import StudyResult

_LABELS = 0.36  # share of the page's width
_MOST_CELLS = 60
_APART = 5  # times the spread within the widest group, beyond which groups have scales of their own


class Row(NamedTuple):
    """One line of a panel: a cell, or the name of the group below it (``cell`` is None)."""

    text: str
    cell: int | None


def lay_out_panels(result: StudyResult, m: int) -> list[list[Row]]:
    """Rows of each panel: one panel, or one for each group where these lie far apart."""
    groups: dict[tuple[str, ...], list[int]] = {}
    for cell in range(len(result.labels)):
        groups.setdefault(result.label(cell, result.rows), []).append(cell)
    alone = max(map(len, groups.values())) == 1
    found, left = [], _MOST_CELLS
    for name, members in groups.items():
        cells = members[: max(left, 0)]
        left -= len(cells)
        rows = [Row(", ".join(name if alone else result.label(c, result.columns)), c) for c in cells]
        if cells:
            found.append(rows if alone else [Row(", ".join(name), None), *rows])
    widest = max(_spread(result.values[cells_of([panel]), :, m]) for panel in found)
    if not alone and _spread(result.values[cells_of(found), :, m]) > _APART * widest > 0:
        return found
    return [[row for panel in found for row in panel]]


def cells_of(panels: Sequence[Sequence[Row]]) -> list[int]:
    """Cells that are drawn, from above."""
    return [row.cell for panel in panels for row in panel if row.cell is not None]


def value_limits(result: StudyResult, m: int, cells: list[int]) -> tuple[float, float]:
    """Around all seeds; intervals and the paper's means are kept in where that costs no more than it shows."""
    values = result.values[cells, :, m]
    values = values[np.isfinite(values)]
    if not values.size:
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    span = max(high - low, 0.5)
    others = np.concatenate([result.summaries[cells, m, 3:].ravel(), result.paper[cells, 0]])
    near = others[(others >= low - span) & (others <= high + span)]
    low, high = min([low, *near]), max([high, *near])
    return low - 0.04 * (high - low + 0.1), high + 0.04 * (high - low + 0.1)


def difference_limits(result: StudyResult, m: int, cells: list[int]) -> tuple[float, float]:
    """Around 0 and all differences; an interval of three times the usual width is cut."""
    differences, lows, highs = result.comparisons[cells, m, :3].T
    half = (highs - lows) / 2
    most = 3 * np.nanmedian(half) if np.isfinite(half).any() else 0.0
    half = np.minimum(np.nan_to_num(half), most)
    low, high = min(0.0, np.nanmin(differences - half)), max(0.0, np.nanmax(differences + half))
    room = 0.05 * (high - low) or 0.1
    return float(low - room), float(high + room)


def drawn_papers(result: StudyResult, m: int, panels: list[list[Row]]) -> list[int]:
    """Cells whose value in the paper is on the scale of their panel."""
    found = []
    for cells in (cells_of([panel]) for panel in panels):
        low, high = value_limits(result, m, cells)
        found += [cell for cell in cells if low <= result.paper[cell, 0] <= high]
    return found


def set_rows(axes: Axes, panel: Sequence[Row]) -> None:
    """Give each row its place and part the groups."""
    axes.set_yticks(range(len(panel)))
    axes.set_ylim(len(panel) - 0.4, -0.55)
    axes.tick_params(axis="y", length=0)
    axes.grid(False, axis="y")
    for y, row in enumerate(panel):
        if row.cell is None and y:
            axes.axhline(y - 0.5, color="#bbbbbb", lw=0.4, zorder=0.5)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10], min_n_ticks=2))


def name_rows(axes: Axes, result: StudyResult, panel: Sequence[Row], *, lines: int) -> None:
    """Write the name of each row in at most so many lines, with how many of its runs it has where not all."""
    size, width = float(mpl.rcParams["ytick.labelsize"]), _LABELS * mpl.rcParams["figure.figsize"][0]
    names = []
    for text, cell in panel:
        if cell is None:
            names.append(fit_text(text, size, width, bold=True))
        else:
            names.append(_name(text, _progress(result, cell), size, width, lines))
    labels = axes.set_yticklabels(names, linespacing=0.95)
    for row, label in zip(panel, labels, strict=True):
        label.set_fontweight("bold" if row.cell is None else "normal")


def _progress(result: StudyResult, cell: int) -> str:
    n, seeds = int(np.nan_to_num(result.summaries[cell, 0, 0], posinf=0, neginf=0)), result.planned(cell)
    broken = result.count(cell, "diverged") + result.count(cell, "failed")
    if n == seeds:
        return " †" if broken else ""
    return f" ({n}/{seeds}{f', {broken}†' if broken else ''})"


def _name(text: str, end: str, size: float, width: float, lines: int) -> str:
    """A text and its end, of which the end is never cut."""
    text = one_line(text, None)
    if measure_text(text + end, size) <= width:
        return text + end
    if lines == 1:
        return fit_text(text, size, width - measure_text(end, size)) + end
    return (
        f"{fit_text(text, size, width)}\n{end.lstrip()}" if end else wrap_text(text, size, width, lines=lines)
    )


def _spread(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(np.ptp(finite)) if finite.size else 0.0
