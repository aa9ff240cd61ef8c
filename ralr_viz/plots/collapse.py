"""Neural collapse drawn: a panel for each quantity, a row for each split, a mark for each network."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

from ralr_viz.plots.foot import add_foot
from ralr_viz.plots.measure_panels import (
    add_model_legend,
    draw_measures,
    is_wide,
    measure_rows,
)
from ralr_viz.plots.style import new_figure
from ralr_viz.results.collapse import METRICS, SPLITS, CollapseResult, describe_unequal

_UNBIASED = 0.98  # of a resample's NC1 over the sample's
_TITLES = {
    "nc1": "NC1 ↓",
    "nc2_norms": "NC2, lengths ↓",
    "nc2_angles": "NC2, angles ↓",
    "nc3": "NC3 ↓",
    "nc4": "NC4 (%) ↓",
    "silhouette": "silhouette ↑",
    "davies_bouldin": "Davies–Bouldin ↓",
    "knn_accuracy": "kNN accuracy (%) ↑",
}


def draw_collapse(result: CollapseResult) -> Figure:
    """Draw the quantities of `CollapseResult` with their intervals, test above training images.

    Returns:
        A figure of the current style's width.
    """
    columns = 4 if is_wide() else 2
    rows = -(-len(METRICS) // columns)
    height = 0.45 + 0.22 * len(result.models)
    figure = new_figure(0.9 + rows * (height + 0.45))
    axes = figure.subplots(rows, columns, sharey=True)
    for panel, name in zip(axes.flat, METRICS, strict=True):
        measures = [(split, result.measure(name, split)) for split in SPLITS]
        draw_measures(panel, measures, result.models)
        panel.set_title(_TITLES[name], fontsize=7.5)
        if not panel.lines or all(not m.values[m.values == m.values].size for _, m in measures):
            reason = "no linear classifier" if name == "nc3" else "not defined"
            panel.text(0.5, 0.5, reason, transform=panel.transAxes, ha="center")
    add_model_legend(figure, result.models)
    add_foot(figure, result, _note(result))
    return figure


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
