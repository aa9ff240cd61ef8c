"""The key of figures in which runs are fine lines and the mean of a group a wide one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ralr_viz.plots.fit_text import measure_text
from ralr_viz.plots.style import GREY, LEGEND_LINE, Look, legend_name, legend_text_size

FINE, WIDE = 0.5, 1.2  # points


def draw_runs_legend(
    figure: Figure,
    groups: Sequence[str],
    looks: Mapping[str, Look],
    *,
    counted: str = " runs",
    each: str = "each run",
) -> None:
    """Above the panels, in as many columns as fit.

    Args:
        figure: Of constrained layout.
        groups: Of each run.
        looks: Of each group.
        counted: What stands behind the number of runs that a mean is of.
        each: What a fine line is called.
    """
    handles = []
    for group, (color, line) in looks.items():
        count = groups.count(group)
        label = legend_name(group) + (f" (mean of {count}{counted})" if count > 1 else "")
        handles.append(Line2D([], [], color=color, ls=line, lw=WIDE, label=label))
    if len(groups) > len(looks):
        handles.append(Line2D([], [], color=GREY, lw=FINE, label=each))
    size = legend_text_size()
    longest = max(measure_text(str(handle.get_label()), size) for handle in handles)
    fitting = int(figure.get_figwidth() / (longest + LEGEND_LINE * size / 72))
    figure.legend(handles=handles, loc="outside upper center", ncols=min(max(fitting, 1), len(handles)))
