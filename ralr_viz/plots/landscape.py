"""The loss around networks and along a run, as contours on common levels."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from ralr_viz.plots.fit_text import fit_text
from ralr_viz.plots.foot import add_foot
from ralr_viz.plots.measure_panels import add_model_legend, is_wide, model_marks, split_name
from ralr_viz.plots.style import legend_name, method_looks, new_figure
from ralr_viz.results.landscape import LandscapeResult

COLORMAP = "viridis"
_LEVELS = 16
_TITLE = 8.0  # points
_MOST_COLUMNS = 3


def draw_landscape(result: LandscapeResult) -> Figure:
    """Draw a panel for each network, with the same levels, colours and limits, or the path of a run.

    Contours are at equal steps of the loss's logarithm. A cross marks each network. Of a run, the points of
    its path are coloured by the loss at their own weights, in the colours of the surface; a square is the
    first, a star the last epoch.

    Args:
        result: Planes, lines (all in one panel) or a path.

    Returns:
        A figure of at most the current style's width.
    """
    if len(result.y) == 1:
        return _draw_lines(result)
    count = len(result.models)
    columns = min(count, _MOST_COLUMNS if is_wide() else 1)
    rows = -(-count // columns)
    width = mpl.rcParams["figure.figsize"][0]
    side = min((width - 1.5) / columns - 0.2, 2.8)
    figure = new_figure(rows * (side + 0.3) + 0.95, width=width)
    figure.set_layout_engine("compressed")  # square panels leave no gaps
    panels = list(figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flat)
    norm = _norm(result)
    for i, axes in enumerate(panels):
        if i >= count:
            axes.remove()
            continue
        _draw_surface(axes, result, i, norm)
        title = f"({'abcdefghijklmnopqrstuvwxyz'[i % 26]}) {legend_name(result.models[i])}"
        axes.set_title(fit_text(title, _TITLE, side, bold=True), fontweight="bold", size=_TITLE)
    if len(result.epochs):
        _draw_path(panels[0], result, norm)
    _name_axes(panels[:count], columns, result)
    bar = figure.colorbar(ScalarMappable(norm, COLORMAP), ax=panels[:count], shrink=0.9, pad=0.02)
    bar.set_label(result.in_unit("loss"))
    bar.set_ticks(_round_values(norm), minor=False)
    bar.minorticks_off()
    bar.ax.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    add_foot(figure, result, landscape_note(result))
    return figure


def landscape_table(result: LandscapeResult) -> list[dict[str, Any]]:
    """The numbers: a row for each point of each surface, then for each epoch of the path."""
    rows = [
        {"model": model, "epoch": None, "x": float(a), "y": float(b), "loss": float(result.losses[i, j, k])}
        for i, model in enumerate(result.models)
        for j, b in enumerate(result.y)
        for k, a in enumerate(result.x)
    ]
    rows += [
        {"model": result.models[0], "epoch": int(epoch), "x": float(x), "y": float(y), "loss": float(loss)}
        for epoch, (x, y), loss in zip(result.epochs, result.path, result.path_loss, strict=True)
    ]
    return rows


def _norm(result: LandscapeResult) -> LogNorm:
    shown = np.concatenate([result.losses.ravel(), result.path_loss])
    shown = shown[np.isfinite(shown)]
    low, high = (float(shown.min()), float(shown.max())) if shown.size else (1.0, 1.0)
    return LogNorm(max(low, 1e-6) * 0.98, max(high, 2e-6) * 1.02)


def _round_values(norm: LogNorm) -> list[float]:
    """About five values of two digits, at equal steps of the logarithm."""
    inner = np.geomspace(norm.vmin or 1e-6, norm.vmax or 1, 7)[1:-1]
    return sorted({float(f"{value:.2g}") for value in inner})


def _draw_surface(axes: Axes, result: LandscapeResult, i: int, norm: LogNorm) -> None:
    levels = np.geomspace(norm.vmin or 1e-6, norm.vmax or 1, _LEVELS)
    losses = np.clip(result.losses[i], levels[0], levels[-1])
    filled = axes.contourf(result.x, result.y, losses, levels, norm=norm, cmap=COLORMAP)
    filled.set_rasterized(True)  # else a reader shows seams between the levels
    axes.contour(result.x, result.y, losses, levels, colors="white", linewidths=0.3, alpha=0.6)
    if not len(result.epochs):
        axes.plot([0], [0], ls="", marker="+", ms=6, mew=1.2, color="white", gid=f"centre:{i}")
        axes.set_aspect("equal")
    axes.grid(False)
    axes.xaxis.set_major_locator(MaxNLocator(4, min_n_ticks=2))
    axes.yaxis.set_major_locator(MaxNLocator(4, min_n_ticks=2))


def _draw_path(axes: Axes, result: LandscapeResult, norm: LogNorm) -> None:
    x, y = result.path.T
    axes.plot(x, y, color="white", lw=0.8, zorder=3, gid="path")
    points: dict[str, Any] = {
        "norm": norm,
        "cmap": COLORMAP,
        "edgecolors": "white",
        "linewidths": 0.6,
        "zorder": 4,
    }
    inner = slice(1, -1)
    axes.scatter(x[inner], y[inner], c=result.path_loss[inner], s=16, gid="epochs", **points)
    for at, marker, size, gid in ((0, "s", 30, "first"), (-1, "*", 80, "last")):
        axes.scatter([x[at]], [y[at]], c=[result.path_loss[at]], s=size, marker=marker, gid=gid, **points)


def _name_axes(panels: list[Axes], columns: int, result: LandscapeResult) -> None:
    names = ["radius along direction 1", "radius along direction 2"]
    if len(result.epochs):
        names = [
            f"distance along component {k + 1} ({100 * share:.0f} % of the variance)"
            for k, share in enumerate(result.explained)
        ]
    for i, axes in enumerate(panels):
        if i + columns >= len(panels):
            axes.set_xlabel(names[0])
            axes.tick_params(labelbottom=True)
        if i % columns == 0:
            axes.set_ylabel(names[1])


def _draw_lines(result: LandscapeResult) -> Figure:
    figure = new_figure(2.9)
    axes = figure.subplots()
    marks, keys = model_marks(result.models), [name.lower() for name in result.models]
    looks = method_looks(keys)
    for model, key, losses in zip(result.models, keys, result.losses[:, 0], strict=True):
        color, marker = marks[model]
        axes.plot(
            result.x, losses, color=color, ls=looks[key].linestyle, marker=marker, ms=3, gid=f"line:{model}"
        )
    axes.axvline(0, color="#bbbbbb", lw=0.6)
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set(xlabel="radius along a random direction", ylabel=result.in_unit("loss"))
    add_model_legend(figure, result.models, hollow=False)
    add_foot(figure, result, landscape_note(result))
    return figure


def landscape_note(result: LandscapeResult) -> str:
    """What the picture is of, and what it does not show."""
    data = " ".join(part for part in (result.dataset, split_name(result.split), result.samples_name) if part)
    words = [
        "Illustration, no evidence: a plane shows two of very many directions.",
        f"Loss: {result.loss_name} on {result.num_images:,} {data}"
        f"{', ' + result.augmentation if result.augmentation else ''} ({result.device}, {result.precision}).",
        {
            "batch": f"BatchNorm: each batch of {result.batch} by its own statistics at the moved weights.",
            "frozen": "BatchNorm: running statistics frozen.",
            "none": "No BatchNorm statistics.",
        }[result.batchnorm],
    ]
    if len(result.epochs):
        walk = " and ".join(f"{100 * share:.0f} %" for share in result.walk_explained)
        words.append(
            f"The plane goes through the last epoch ({result.epochs[-1]}, star) along the first two principal "
            f"components of the weights of epochs {result.epochs[0]} (square) to {result.epochs[-1]}. Points have "
            "the colour of the loss at their own weights, which are not in the plane, so it differs from the "
            f"surface there. A pure random walk of {len(result.epochs)} states already has {walk} of its variance "
            "in its first components, and is drawn as such a curve (Lissajous; arXiv 1806.08805)."
        )
    else:
        same = (
            "the same for all networks" if result.common else "of the same seed, but other shapes of weights"
        )
        words.append(
            f"Random filter-normalised directions, {same}: at radius r each filter moves by r times its norm; "
            "same limits and levels everywhere."
        )
    words.append("Levels are logarithmic. These checkpoints only.")
    return " ".join(words)
