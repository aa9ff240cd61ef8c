"""Neural collapse drawn: a column for each unit, a panel for each split, a row for each quantity."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties

from ralr_viz.plots.fit_text import fit_text, measure_text
from ralr_viz.plots.foot import add_foot
from ralr_viz.plots.measure_panels import (
    add_model_legend,
    draw_differences,
    draw_measures,
    is_wide,
    measure_rows,
    split_name,
)
from ralr_viz.plots.style import legend_name, new_figure
from ralr_viz.results.collapse import METRICS, SPLITS, CollapseResult, describe_unequal
from ralr_viz.results.measure import Measure

_NAME = 6.5  # points
_UNBIASED = 0.98  # of a resample's NC1 over the sample's
_TITLES = {
    "nc1": "NC1 ↓",
    "nc2_norms": "NC2, lengths ↓",
    "nc2_angles": "NC2, angles ↓",
    "nc3": "NC3 ↓",
    "silhouette": "silhouette ↑",
    "davies_bouldin": "Davies–Bouldin ↓",
    "nc4": "NC4 ↓",
    "knn_accuracy": "kNN accuracy ↑",
}
_UNITS = {"": list(_TITLES)[:6], "%": list(_TITLES)[6:]}
"""What shares an axis."""


def draw_collapse(result: CollapseResult) -> Figure:
    """Draw the quantities of `CollapseResult` with their intervals, test above training images, a column a unit.

    Of several networks, the differences from the first one, whose value stands beside the name; of one, its values.

    Returns:
        A figure of the current style's width.
    """
    several = len(result.models) > 1
    row = 0.13 + 0.075 * max(len(result.models) - several, 1)
    if is_wide():
        figure = new_figure(0.75 + 2 * (6 * row + 0.35))
        panels = figure.subplots(2, 2, width_ratios=(1.25, 1), sharex="col")
    else:  # one above another: beside each other the names would leave no room
        figure = new_figure(1.2 + 2 * (8 * row + 0.85))
        panels = figure.subplots(4, 1, height_ratios=(6, 2, 6, 2)).reshape(2, 2)
    draw = draw_differences if several else draw_measures
    for split, beside in zip(SPLITS, panels, strict=True):
        for axes, (unit, names) in zip(beside, _UNITS.items(), strict=True):
            measures = [result.measure(name, split) for name in names]
            draw(axes, [(_name(n, m), m) for n, m in zip(names, measures, strict=True)], result.models)
            if is_wide():
                axes.set_ylim(5.5, -0.5)  # rows of one height in both columns
            axes.tick_params(axis="y", labelsize=_NAME)
            if split == SPLITS[-1] or not is_wide():
                axes.set_xlabel(_axis(result, unit, several))
        beside[0].set_title(f"{split_name(split)} images", fontsize=7.5, fontweight="bold")
    add_model_legend(figure, result.models)
    add_foot(figure, result, _note(result))
    return figure


def _name(name: str, measure: Measure) -> str:
    """A quantity and its value in the first network."""
    value = measure.values[0]
    missing = "no linear classifier" if name == "nc3" else "not defined"
    return f"{_TITLES[name]} ({value:.3g})" if np.isfinite(value) else f"{_TITLES[name]} ({missing})"


def _axis(result: CollapseResult, unit: str, several: bool) -> str:
    room = (0.26 if is_wide() else 0.5) * mpl.rcParams["figure.figsize"][0]
    of = ("points" if several else "%") if unit else ""
    name = f"minus {legend_name(result.models[0])}" if several else "value"
    size = float(FontProperties(size=mpl.rcParams["axes.labelsize"]).get_size_in_points())
    return fit_text(name, size, room - measure_text(f" ({of})", size)) + (f" ({of})" if of else "")


def collapse_table(result: CollapseResult) -> list[dict[str, Any]]:
    """The plotted numbers, a row for each quantity, split and network."""
    return measure_rows(result.measures(), result.models)


def _note(result: CollapseResult) -> str:
    counts = " and ".join(f"{n:,} {split}" for n, split in zip(result.images, SPLITS, strict=True))
    subsets = " and ".join(f"{n:,}" for n in result.subset)
    where = f"{result.dataset}, " if result.dataset else ""
    run = ", ".join(part for part in (result.device, result.precision) if part)
    sentences = [
        f"Penultimate features of {where}{counts} images of {len(result.classes)} classes, without augmentation, "
        f"BatchNorm in eval mode{', ' + run if run else ''}.",
        "NC1 = tr(Σ_W Σ_B⁺)/C; NC4: share whose nearest class mean of the training images is not the network's "
        f"decision; silhouette and kNN (k = {result.k}, cosine) of {subsets} images.",
        f"Lines: 95 % intervals of {result.draws.shape[3]:,} bootstraps over images, of shares "
        "(%) Wilson's, the same for all networks; for these checkpoints, not over training seeds.",
        *_describe_bias(result),
        describe_unequal(result),
        "Collapse on training images is a phenomenon of optimisation: a lower training NC explains nothing about "
        "test accuracy by itself (Hui et al. 2022).",
    ]
    return " ".join(filter(None, sentences))


def _describe_bias(result: CollapseResult) -> list[str]:
    """What few images a class do to NC1, where it matters."""
    ratio = result.draw_ratio[:, :, list(METRICS).index("nc1")]
    if ratio.min() > _UNBIASED:
        return []
    return [
        f"Means of few images are noisy: NC1 of a resample was down to {ratio.min():.2f} times the sample's, so compare "
        "NC1 at equal numbers of images a class only."
    ]
