"""Draw learning-rate schedules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ralr_viz.plots.fit_text import wrap_text
from ralr_viz.plots.foot import add_foot
from ralr_viz.plots.letters import escape_labels
from ralr_viz.plots.style import LEGEND_LINE, legend_name, legend_text_size, method_looks, new_figure
from ralr_viz.results.run import CONSTANT_METHODS
from ralr_viz.results.schedule import ScheduleResult


def draw_schedule(result: ScheduleResult, axes: Axes | None = None) -> Figure:
    """Draw the LR of each epoch: the scheduled one in grey, each arm as stairs, a dot at amplified epochs.

    The legend above says what each arm adds up to. Constants (`scaled`, `matched`) get no dots.

    Args:
        result: What `compute_schedule` returned.
        axes: Axes to draw into; when left out, a figure of the style's width is made. On your own axes no
            legend is added; the stairs are labelled for ``figure.legend()``.

    Returns:
        The figure.

    References:
        Section 4.2, Algorithm 1.
    """
    labels = [_describe(result, i) for i in range(len(result.method))]
    if axes is not None:
        _draw_stairs(axes, result, labels)
        escape_labels(axes)
        return axes.figure.figure
    figure = new_figure(2.0)
    size = legend_text_size()
    width = figure.get_figwidth() - LEGEND_LINE * size / 72
    labels = [wrap_text(label, size, width, lines=3) for label in labels]
    figure.set_figheight(2.3 + 0.14 * sum(label.count("\n") + 1 for label in labels))
    _draw_stairs(figure.subplots(), result, labels)
    figure.legend(loc="outside upper left", ncols=1)
    add_foot(
        figure,
        result,
        "Learning rate of each epoch: scheduled (grey) and in use, a dot at each amplified epoch; Σ LR is the sum over all "
        "epochs. Known before any training: it depends on the recipe and the seed alone.",
    )
    return figure


def schedule_table(result: ScheduleResult) -> list[dict[str, Any]]:
    """The drawn numbers, one row for each arm and epoch."""
    return [
        {
            "method": method,
            "seed": result.seed[i],
            "epoch": int(epoch),
            "base_lr": float(result.base_lr[j]),
            "factor": float(result.factor[i, j]),
            "lr": float(result.lr[i, j]),
            "amplified": bool(result.amplified[i, j]),
        }
        for i, method in enumerate(result.method)
        for j, epoch in enumerate(result.epoch)
    ]


def _draw_stairs(panel: Axes, result: ScheduleResult, labels: Sequence[str]) -> None:
    looks = method_looks(result.method)
    edges = np.append(result.epoch - 0.5, result.epoch[-1] + 0.5)
    panel.stairs(result.base_lr, edges, baseline=None, color="#bbbbbb", lw=2.2, label="scheduled LR")
    size = float(np.clip(240 / len(result.epoch), 1.5, 4))
    for i, (method, label) in enumerate(zip(result.method, labels, strict=True)):
        color, linestyle = looks[method]
        lr, at = result.lr[i], result.amplified[i]
        panel.stairs(lr, edges, baseline=None, color=color, ls=linestyle, lw=0.9, label=label)
        if np.ptp(result.factor[i]) > 0 and method not in CONSTANT_METHODS:
            panel.stairs(lr, edges, baseline=result.base_lr, fill=True, color=color, alpha=0.15, lw=0)
            panel.plot(result.epoch[at], lr[at], ls="", marker="o", ms=size, mew=0, color=color)
    panel.set_xlabel("epoch")
    panel.set_ylabel("learning rate")
    used = np.concatenate([result.base_lr, result.lr.ravel()])
    if (used > 0).any():  # of a schedule that never trains, a logarithm has nothing to show
        panel.set_yscale("log")
        panel.set_ylim(used[used > 0].min() / 1.3, used.max() * 1.3)
    panel.set_xlim(edges[0], edges[-1])
    panel.xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))


def _describe(result: ScheduleResult, i: int) -> str:
    seed = "" if result.seed[i] is None else f", seed {result.seed[i]}"
    name = legend_name(result.method[i]) + seed
    share, mean = result.amplified_share[i], result.mean_amplification[i]
    if share == 0:
        return f"{name}: the scheduled LR"
    done = "multiplied" if result.factor[i].min() < 1 else "amplified"
    epochs = f"every epoch {done}" if share == 1 else f"{share:.0%} of the epochs {done}"
    average = "" if np.ptp(result.factor[i]) == 0 else " on average"
    return f"{name}: {epochs}, ×{mean:.2f}{average}; Σ LR is ×{result.sum_lr_ratio[i]:.2f} the scheduled one"
