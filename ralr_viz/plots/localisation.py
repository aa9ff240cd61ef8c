"""Localisation drawn: a panel for each quantity, a row for each group of images, beside maps that know nothing."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from ralr_viz.plots.fit_text import fit_text
from ralr_viz.plots.foot import add_foot
from ralr_viz.plots.measure_panels import (
    add_model_legend,
    draw_differences,
    draw_measures,
    is_wide,
    measure_rows,
    model_marks,
)
from ralr_viz.plots.style import GREY, legend_name, new_figure
from ralr_viz.results.localisation import (
    CONTROLS,
    FAITHFULNESS,
    METRICS,
    STRATA,
    SURE,
    LocalisationResult,
)

_TITLES = {
    "rank": "rank accuracy ↑",
    "energy": "energy in the box ↑",
    "box": "box accuracy ↑",
    "pointing": "pointing game ↑",
    "top1": "top-1 localisation ↑",
}
_STRATA = {"small": "area < ¼", "all": "all boxes", "correct": "all right"}
_SHORT = {"rank": "rank", "energy": "energy"}
_BLIND = {"uniform": (0, (1, 1)), "centre": (0, (4, 1.5))}
_SMALL = 6.5  # points
_STAGE = 0.7  # inches


def draw_localisation(result: LocalisationResult) -> Figure:
    """Draw the quantities of `LocalisationResult` with intervals, a grey line for each map that knows nothing.

    One more panel shows the differences of rank accuracy and energy from the first network. Where they were
    measured, two others show the correlation of the maps with those of networks with
    ever more random weights, and the gains of deletion, insertion and ROAD.

    Returns:
        A figure of the current style's width.
    """
    columns = 3 if is_wide() else 2
    compared = len(result.models) > 1
    sure = result.sure_measures()
    extra = compared + bool(sure) + bool(result.sanity_images) + bool(result.faithfulness_images)
    count = len(METRICS) + extra
    rows = math.ceil(count / columns)
    height = 0.55 + 0.1 * len(STRATA) * max(len(result.models), 2)
    figure = new_figure(1.2 + rows * (height + 0.5))
    grid = figure.add_gridspec(rows, columns)
    panels = [figure.add_subplot(grid[divmod(i, columns)]) for i in range(count - 1)]
    row, column = divmod(count - 1, columns)
    panels.append(figure.add_subplot(grid[row, column:]))  # the last one takes what is left of its row
    for i, (panel, name) in enumerate(zip(panels, METRICS, strict=False)):
        names = [(_stratum(result, stratum), result.measure(name, stratum)) for stratum in STRATA]
        draw_measures(panel, names, result.models)
        _draw_blind(panel, result, name)
        panel.set_title(_TITLES[name].replace("the box", f"the {result.region}"), fontsize=7.5)
        if i % columns:
            panel.tick_params(labelleft=False)
    rest = iter(panels[len(METRICS) :])
    if compared:
        _draw_primary(next(rest), result)
    if sure:
        _draw_sure(next(rest), result)
    if result.sanity_images:
        _draw_sanity(next(rest), result)
    if result.faithfulness_images:
        _draw_gains(next(rest), result)
    lines = [
        Line2D([], [], color=GREY, ls=look, lw=1.0, label=f"{name} map") for name, look in _BLIND.items()
    ]
    add_model_legend(figure, result.models, also=lines)
    add_foot(figure, result, _note(result))
    return figure


def localisation_table(result: LocalisationResult) -> list[dict[str, Any]]:
    """All numbers, a row each: measures, maps that know nothing, sanity, then every image of every network."""
    rows = [_row("measure", **row) for row in measure_rows(result.measures(), result.models)]
    rows += [
        _row("baseline", measure=f"{name}_{stratum}", model=blind, value=value)
        for stratum in STRATA
        for name in METRICS
        for blind, value in result.baseline(name, stratum).items()
    ]
    for i, model in enumerate(result.models):
        rows.append(_row("threshold", model=model, measure="box", value=result.thresholds[i]))
        rows.append(_row("zero_maps", model=model, measure="energy", value=float(result.zero_maps[i])))
        for stage, (value, low, high) in zip(result.sanity_stages[i], result.sanity[i], strict=False):
            rows.append(_row("sanity", model=model, measure=stage, value=value, low=low, high=high))
        for j, index in enumerate(result.indices.tolist()):
            image = {
                "model": model,
                "image": index,
                "area": result.area[j],
                "correct": bool(result.correct[i, j]),
            }
            for name in ("rank", "energy", "pointing", "overlap"):
                value = getattr(result, name)[i, j]
                if not np.isnan(value):
                    rows.append(_row("image", measure=name, value=value, **image))
    return rows


_COLUMNS = (
    *("part", "measure", "model", "image", "area", "correct", "unit", "value", "low", "high"),
    *("minus_first", "minus_first_low", "minus_first_high"),
)


def _row(part: str, **values: Any) -> dict[str, Any]:
    return dict.fromkeys(_COLUMNS) | {"part": part} | values


def _draw_blind(panel: Axes, result: LocalisationResult, name: str) -> None:
    for row, stratum in enumerate(STRATA):
        for blind, value in result.baseline(name, stratum).items():
            if not np.isnan(value):
                ends = [row - 0.45, row + 0.45]
                panel.plot([value] * 2, ends, color=GREY, ls=_BLIND[blind], lw=1.0, zorder=1.6, gid=blind)


def _draw_primary(panel: Axes, result: LocalisationResult) -> None:
    """Differences of the two primary quantities, which are too small to see beside what tells groups apart."""
    rows = [
        (f"{_SHORT[name]}, {_stratum(result, stratum)}", result.measure(name, stratum))
        for name in _SHORT
        for stratum in STRATA
    ]
    draw_differences(panel, rows, result.models)
    panel.tick_params(labelsize=_SMALL)
    first = fit_text(legend_name(result.models[0]), 7.5, 0.6)
    panel.set_title(f"minus {first} ↑", fontsize=7.5)


def _draw_sure(panel: Axes, result: LocalisationResult) -> None:
    words = {f"rank_{name}": text for name, text in SURE.items()} | {"rank_equally_sure": "equally sure"}
    rows = [(words[measure.name], measure) for measure in result.sure_measures()]
    draw_measures(panel, rows, result.models)
    panel.tick_params(labelsize=_SMALL)
    panel.set_title("rank accuracy by p of the class ↑", fontsize=7)


def _stratum(result: LocalisationResult, name: str) -> str:
    return _STRATA[name].replace("boxes", "boxes" if result.region == "box" else "masks")


def _draw_sanity(panel: Axes, result: LocalisationResult) -> None:
    most = result.sanity.shape[1]
    for i, (name, mark) in enumerate(model_marks(result.models).items()):
        count = len(result.sanity_stages[i])
        x = np.arange(count + 1)
        y = np.concatenate([[1.0], result.sanity[i, :count, 0]])
        panel.plot(x, y, color=mark.color, marker=mark.marker, ms=3, lw=0.8, gid=f"sanity:{name}")
        for at, (_, low, high) in zip(x[1:], result.sanity[i], strict=False):
            panel.plot([at, at], [low, high], color=mark.color, lw=0.8, gid=f"interval:{name}")
    panel.axhline(0, color=GREY, lw=0.6, zorder=1.5)
    same = len(set(result.sanity_stages)) == 1
    names = result.sanity_stages[0] if same else tuple(map(str, range(1, most + 1)))
    labels = ["none", *(fit_text(stage, _SMALL, _STAGE) for stage in names)]
    panel.set_xticks(
        range(most + 1), labels, fontsize=_SMALL, rotation=40, ha="right", rotation_mode="anchor"
    )
    panel.set_ylabel("rank correlation", fontsize=_SMALL)
    panel.tick_params(axis="y", labelsize=_SMALL)
    panel.set_title("random from head to stem", fontsize=7)


def _draw_gains(panel: Axes, result: LocalisationResult) -> None:
    rows = [
        (f"{FAITHFULNESS[name]} − {control}", result.gain(name, control))
        for name in FAITHFULNESS
        for control in CONTROLS
    ]
    draw_measures(panel, rows, result.models)
    panel.tick_params(labelsize=_SMALL)
    panel.axvline(0, color=GREY, lw=0.6, zorder=1.5)
    panel.xaxis.set_major_locator(MaxNLocator(3, min_n_ticks=2))
    panel.set_title("faithfulness, gains ↑", fontsize=7.5)


def _note(result: LocalisationResult) -> str:
    where = " ".join(part for part in (result.dataset, result.split) if part)
    views = dict.fromkeys(network.get("view") for network in result.provenance.get("networks", ()))
    seen = "".join(f", seen as {view}" for view in views if view)
    run = ", ".join(part for part in (result.device, result.precision) if part)
    numbers = ", ".join(f"{result.count('rank', s):,} {_stratum(result, s)}" for s in STRATA)
    thresholds = ", ".join(f"{t:.2f}" for t in result.thresholds)
    sizes = ", ".join(dict.fromkeys(f"{h}×{w}" for h, w in result.map_sizes))
    sentences = [
        f"Maps ({sizes}) of the true class, {where + ' ' if where else ''}images with a box{seen}: {numbers}; "
        f"{result.dropped:,} dropped (no proper box), {sum(result.zero_maps.tolist()):,} zero maps; BatchNorm in "
        f"eval mode{', ' + run if run else ''}.",
        f"Box accuracy (largest part of the map, mean at overlaps .3, .5, .7) and top-1 localisation (≥ .5): {result.count('box', 'all'):,} "
        f"images, thresholds {thresholds} and centre box {result.centre_side:.2f} fixed on the others.",
        f"Lines: 95 % intervals of {result.draws.shape[-1]:,} bootstraps over images, of the pointing "
        "game and top-1 Wilson's, the same for all networks; for these checkpoints, not over training seeds.",
    ]
    if result.region == "mask":
        sentences.append(
            "Rank accuracy, energy and pointing game are of the objects' pixels, which are known; boxes are around them."
        )
    if result.sure_values is not None:
        sentences.append(
            "By p: images by the network's own probability of the true class; equally sure: these groups in the same "
            "proportion for all networks."
        )
    if result.sanity_images:
        sentences.append(
            f"Correlation of the signed maps with the network's own, {result.sanity_images:,} images."
        )
    if result.faithfulness_images:
        sentences.append(
            f"Gains in probability of the true class over a random and a centre map, {result.faithfulness_images:,} "
            "images."
        )
    sentences.append("Top-1 localisation grows with accuracy alone and says nothing of the maps.")
    return " ".join(sentences)
