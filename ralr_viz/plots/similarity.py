"""Draw how alike two networks' layers are: a map for each pair, and same layers against depth."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from ralr_viz.plots.fit_text import fit_text
from ralr_viz.plots.foot import add_foot
from ralr_viz.plots.layer_axis import TICK, name_layers, spread
from ralr_viz.plots.measure_panels import add_model_legend, is_wide, model_marks
from ralr_viz.plots.style import legend_name, new_figure
from ralr_viz.results.similarity import SimilarityResult

_TITLE, _TICK = 7.5, TICK  # points
_LABELS, _BAR, _LARGEST = 0.8, 0.65, 1.75  # inches: layers, colour bar, side of a map
_MAP = "viridis"


def draw_similarity(result: SimilarityResult) -> Figure:
    """Draw CKA of every two layers of each pair, 0 to 1 in all panels, and how far same layers are from 1, over depth.

    Args:
        result: What `compute_similarity` returned.

    Returns:
        A figure of the current style's width.
    """
    count = len(result.models)
    rows = -(-count // (3 if is_wide() else 2))
    columns = -(-count // rows)
    width = mpl.rcParams["figure.figsize"][0]
    side = min((width - _LABELS - _BAR) / columns - 0.2, _LARGEST)
    beside = count == 1 and is_wide()  # one map alone would leave half of the page empty
    height = rows * (side + 0.25) + 1.3 + 0.1 * count
    figure = new_figure(height if beside else height + 1.5)
    if beside:
        grid = figure.add_gridspec(1, 2)
        rest = grid[0, 1]
    else:
        grid = figure.add_gridspec(rows + 1, columns, height_ratios=[side] * rows + [1.35])
        rest = grid[rows, :]
    maps = []
    for i in range(count):
        panel = figure.add_subplot(grid[divmod(i, columns)])
        is_last_row = i + columns >= count
        _draw_map(panel, result, i, left=i % columns == 0, bottom=is_last_row, room=side)
        maps.append(panel)
    scale = ScalarMappable(Normalize(0, 1), _MAP)
    figure.colorbar(scale, ax=maps, label="CKA", fraction=0.05, pad=0.02, aspect=25)
    lines = figure.add_subplot(rest)
    _draw_diagonals(lines, result)
    lines.set_title(f"({_letter(count)}) same layers: how unlike", fontsize=_TITLE)
    add_model_legend(figure, result.models, hollow=False)
    add_foot(figure, result, similarity_note(result))
    return figure


def similarity_table(result: SimilarityResult) -> list[dict[str, Any]]:
    """The drawn numbers, a row for each pair and two layers; same layers have 95 % intervals."""
    low, high = result.diagonal_interval()
    return [
        {
            "pair": name,
            "null": result.null[i],
            "first": result.states[i][0],
            "second": result.states[i][1],
            "first_layer": first,
            "second_layer": second,
            "cka": float(result.cka[i, j, k]),
            "low": float(low[i, j]) if j == k else np.nan,
            "high": float(high[i, j]) if j == k else np.nan,
        }
        for i, name in enumerate(result.models)
        for j, first in enumerate(result.layers)
        for k, second in enumerate(result.layers)
    ]


def similarity_note(result: SimilarityResult) -> str:
    """What the numbers are of, and what may not be concluded from them."""
    where = " ".join(str(part) for part in (result.dataset, result.split) if part)
    run = ", ".join(part for part in (result.device, result.precision) if part)
    ends = "; ".join(
        f"{name}: {first} to {second}"
        for name, (first, second) in zip(result.models, result.states, strict=True)
    )
    null = (
        "A pair differs by more than seeds do only where it lies below the null; arms of one seed share initial "
        "weights and data order, seeds do not, so most pairs lie above"
        if any(result.null)
        else "No null pair was given: two seeds of one method are not alike either, so no value here is low or "
        "high by itself"
    )
    return (
        f"{ends}. Linear CKA, unbiased, in minibatches of {result.minibatch} of {result.num_images:,} {where} {result.samples_name}, "
        f"eval mode{', ' + run if run else ''}; 1: alike up to rotation and scale, 0: unrelated; ({_letter(len(result.models))}) is 1 − CKA on a "
        f"logarithmic axis, where it is above 0. Bands: 95 % t intervals over the {result.num_batches} minibatches, the same for all "
        f"pairs, by the jackknife; of these networks, "
        f"not over trainings. {null}."
    )


def _draw_map(
    panel: Axes, result: SimilarityResult, i: int, *, left: bool, bottom: bool, room: float
) -> None:
    panel.imshow(result.cka[i], vmin=0, vmax=1, cmap=_MAP, origin="lower", gid=f"cka:{result.models[i]}")
    panel.grid(False)
    at = spread(len(result.layers), room)
    labels = [fit_text(result.layers[j], _TICK, 0.8) for j in at]
    panel.set_xticks(at, labels if bottom else [""] * len(at), rotation=90, size=_TICK)
    panel.set_yticks(at, labels if left else [""] * len(at), size=_TICK)
    panel.tick_params(length=1.5)
    first, second = result.states[i]
    # under the maps are the columns' layers: of the second network
    if bottom:
        panel.set_xlabel(_fit(second, room), size=_TICK)
    if left:
        panel.set_ylabel(_fit(first, room), size=_TICK)
    title = fit_text(
        f"({_letter(i)}) {legend_name(result.models[i])}", _TITLE, room if is_wide() else 0.65 * room
    )
    panel.set_title(title, fontsize=_TITLE)


def _draw_diagonals(panel: Axes, result: SimilarityResult) -> None:
    low, high = (1 - end for end in result.diagonal_interval()[::-1])
    unlike = 1 - result.diagonal
    x = np.arange(len(result.layers))
    # unbiased CKA of layers that are alike may exceed 1, of which a logarithm shows nothing
    floor = float(np.nanmin(np.where(unlike > 0, unlike, np.nan), initial=1.0)) / 3
    log = bool((unlike > 0).any())
    for i, (name, (color, marker)) in enumerate(model_marks(result.models).items()):
        band: dict[str, Any] = {"color": color, "alpha": 0.18, "lw": 0, "gid": f"band:{name}"}
        panel.fill_between(x, np.maximum(low[i], floor) if log else low[i], high[i], **band)
        look: dict[str, Any] = {"color": color, "marker": marker, "ms": 3, "mew": 0, "lw": 1.0}
        # a null is dashed: what differs anyway
        line = (0, (3, 1.5)) if result.null[i] else "-"
        panel.plot(
            x,
            np.where(unlike[i] > 0, unlike[i], np.nan) if log else unlike[i],
            ls=line,
            gid=f"diagonal:{name}",
            **look,
        )
    name_layers(panel, result.layers, mpl.rcParams["figure.figsize"][0] - _LABELS)
    if log:
        panel.set_yscale("log")
        panel.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        panel.yaxis.set_minor_formatter(NullFormatter())
        panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    panel.set_ylabel("1 − CKA")


def _fit(text: str, room: float) -> str:
    return fit_text(text, _TICK, room)


def _letter(index: int) -> str:
    return "abcdefghijklmnopqrstuvwxyz"[index] if index < 26 else str(index + 1)
