"""BLEU by the length of the source, and its difference from the first network."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ralr_viz.plots.foot import add_foot
from ralr_viz.plots.measure_panels import (
    add_model_legend,
    differs,
    is_wide,
    measure_rows,
    model_marks,
    split_name,
)
from ralr_viz.plots.style import GREY, new_figure
from ralr_viz.results.bleu import LEAST_CHANGE, BleuResult
from ralr_viz.results.measure import Measure

_SMALL = 7.0  # points


def draw_bleu(result: BleuResult) -> Figure:
    """Draw BLEU of all sentences and of each group of lengths; beside it, or below, the differences from the first.

    Full marks: the paired interval over sentences excludes 0.

    Returns:
        A figure of the current style's width.
    """
    measures = [measure for measure in result.measures() if measure.name.startswith("bleu")]
    panels = 1 + (len(result.models) > 1)
    beside = is_wide()
    figure = new_figure((2.7 if beside else 1.9 * panels + 0.8) + 0.1 * len(result.models))
    shape = (1, panels) if beside else (panels, 1)
    axes = figure.subplots(*shape, squeeze=False).ravel()
    _draw(axes[0], result, measures, "BLEU", minus_first=False)
    if panels > 1:
        _draw(axes[1], result, measures, f"BLEU minus {result.models[0]}", minus_first=True)
    add_model_legend(figure, result.models)
    add_foot(figure, result, _note(result))
    return figure


def bleu_table(result: BleuResult) -> list[dict[str, Any]]:
    """All measures, a row for each network, then the sentences fixed and broken by their place in the split."""
    sizes = {f"bleu_{i + 1}": int(size) for i, size in enumerate(result.sizes)}
    names = {f"bleu_{i + 1}": result.group_name(i) for i in range(len(result.sizes))}
    rows = [
        row
        | {
            "source_words": names.get(row["measure"], ""),
            "sentences": sizes.get(row["measure"], len(result.lengths)),
            "row": None,
        }
        for row in measure_rows(result.measures(), result.models)
    ]
    empty = dict.fromkeys(rows[0])
    for i, model in enumerate(result.models[1:], 1):
        for what, places in (("fixed", result.fixed(i)), ("broken", result.broken(i))):
            for place in places.tolist():
                change = float(result.chrf[i, place] - result.chrf[0, place])
                value = {"value": float(result.chrf[i, place]), "minus_first": change, "unit": ""}
                rows.append(empty | {"measure": what, "model": model, "row": int(result.rows[place])} | value)
    return rows


def _draw(panel: Axes, result: BleuResult, measures: list[Measure], label: str, *, minus_first: bool) -> None:
    marks = model_marks(result.models)
    shown = list(enumerate(result.models))[1 if minus_first else 0 :]
    step = 0.6 / max(len(shown), 2)
    for i, name in shown:
        offset = step * (i - minus_first - (len(shown) - 1) / 2)
        color, marker = marks[name]
        for x, measure in enumerate(measures):
            value, low, high = measure.difference(0, i) if minus_first else measure.interval(i)
            panel.plot(
                [x + offset] * 2,
                [low, high],
                color=color,
                lw=1.0,
                solid_capstyle="butt",
                gid=f"interval:{name}",
            )
            look: dict[str, Any] = {"mec": color, "mfc": color if differs(measure, i) else "white"}
            panel.plot(
                [x + offset], [value], ls="", marker=marker, ms=4, mew=0.9, gid=f"value:{name}", **look
            )
    names = ["all", *(result.group_name(i) for i in range(len(result.sizes)))]
    numbers = [len(result.lengths), *result.sizes.tolist()]
    ticks = [f"{name.replace(' or more', '+')}\n{n:,}" for name, n in zip(names, numbers, strict=True)]
    panel.set_xticks(np.arange(len(ticks)), ticks, fontsize=_SMALL)
    panel.set_xlim(-0.5, len(ticks) - 0.5)
    panel.axvline(0.5, color=GREY, lw=0.6)
    panel.grid(False, axis="x")
    panel.tick_params(axis="x", length=0)
    panel.set_xlabel("words of the source, and sentences")
    panel.set_ylabel(label)
    if minus_first:
        panel.axhline(0, color=GREY, lw=0.6, zorder=1.5)


def _note(result: BleuResult) -> str:
    where = " ".join(filter(None, (result.dataset, split_name(result.split))))
    run = ", ".join(filter(None, (result.device, result.precision)))
    sentences = [
        f"{len(result.lengths):,} {where + ' ' if where else ''}sentences, beam search{', ' + run if run else ''}; sacreBLEU "
        f"{result.signature}. Intervals: 95 % of {result.resamples:,} bootstraps over sentences, the same for all networks; "
        "they do not cover training seeds."
    ]
    for i, name in enumerate(result.models[1:], 1):
        sentences.append(
            f"{name} against {result.models[0]}: {len(result.fixed(i)):,} sentences fixed and {len(result.broken(i)):,} "
            f"broken, by {LEAST_CHANGE:g} points of chrF2 or more."
        )
    return " ".join(sentences)
