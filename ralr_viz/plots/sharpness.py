"""Filter-normalised sharpness: rise of the loss over the radius, and paired over the directions."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, LogLocator, NullFormatter, NullLocator

from ralr_viz.plots.foot import add_foot
from ralr_viz.plots.measure_panels import Mark, add_model_legend, is_wide, model_marks, split_name
from ralr_viz.plots.style import GREY, new_figure
from ralr_viz.results.sharpness import SharpnessResult

_OFFSETS = 0.22


def draw_sharpness(result: SharpnessResult) -> Figure:
    """Draw the average rise of the loss, its values by direction, and the worst case.

    (a) mean rise over the radius with 95 % t intervals over the directions, on logarithmic axes where all
    means are positive; (b) each direction's rise at the middle radius, a line a direction, since all networks share
    them, and the mean; (c) the worst case of each small ball, a dot a start.

    Args:
        result: Of any number of networks.

    Returns:
        A figure of the current style's width.
    """
    marks, count = model_marks(result.models), 3 if len(result.worst_radii) else 2
    if is_wide():
        figure = new_figure(2.75)
        panels = list(figure.subplots(1, count))
    else:
        figure = new_figure(0.9 + 1.7 * count)
        panels = list(figure.subplots(count, 1))
    add_model_legend(figure, result.models, hollow=False)
    _draw_radii(panels[0], result, marks)
    _draw_directions(panels[1], result, marks)
    if len(result.worst_radii):
        _draw_worst(panels[2], result, marks)
    for letter, axes in zip("abc", panels, strict=False):
        axes.set_title(f"({letter})", fontweight="bold")
    add_foot(figure, result, _note(result))
    return figure


def sharpness_table(result: SharpnessResult) -> list[dict[str, Any]]:
    """The numbers, a row for each network, signed radius and direction, and each start of the worst case."""
    rows = []
    for i, model in enumerate(result.models):
        for r, radius in enumerate(result.radii):
            rows += [
                _row(model, "average", sign * radius, k, loss, result.signed_rises[i, r, k, j])
                | {"accuracy": float(result.accuracies[i, r, k, j])}
                for k, both in enumerate(result.losses[i, r])
                for j, (sign, loss) in enumerate(zip((1, -1), both, strict=True))
            ]
        for r, radius in enumerate(result.worst_radii):
            rows += [
                _row(model, "worst", radius, s, loss, result.start_rises[i, r, s])
                | {
                    "accuracy": float(result.worst_accuracies[i, r])
                    if s == result.worst_start[i, r]
                    else None
                }
                for s, loss in enumerate(result.worst_losses[i, r])
            ]
        if result.normalised_losses is not None and result.normalised_centre is not None:
            radius, centre = result.radii[result.headline], result.normalised_centre[i]
            rows += [
                _row(model, "normalised", sign * radius, k, loss, loss - centre) | {"accuracy": None}
                for k, both in enumerate(result.normalised_losses[i])
                for sign, loss in zip((1, -1), both, strict=True)
            ]
    return rows


def _row(model: str, kind: str, radius: float, index: int, loss: float, rise: float) -> dict[str, Any]:
    return {
        "model": model,
        "kind": kind,
        "radius": float(radius),
        "index": index,
        "loss": float(loss),
        "rise": float(rise),
    }


def _draw_radii(axes: Axes, result: SharpnessResult, marks: dict[str, Mark]) -> None:
    means, (low, high) = result.mean_rises, result.rise_intervals
    count = len(result.models)
    for i, model in enumerate(result.models):
        shift = 1 + 0.06 * (i - (count - 1) / 2)  # side by side, or intervals would hide each other
        color, marker = marks[model]
        errors = [np.maximum(means[i] - low[i], 0), np.maximum(high[i] - means[i], 0)]
        axes.errorbar(
            result.radii * shift, means[i], errors, color=color, marker=marker, ms=3, lw=0.8, capsize=1.5, elinewidth=0.8,
            gid=f"mean:{model}",
        )  # fmt: skip
    axes.set_xscale("log")
    if (low > 0).all():
        axes.set_yscale("log")
    axes.xaxis.set_major_locator(FixedLocator(list(result.radii)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    if axes.get_yscale() == "log":
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set(xlabel="radius ρ", ylabel=result.in_unit("mean rise of the loss"))


def _draw_directions(axes: Axes, result: SharpnessResult, marks: dict[str, Mark]) -> None:
    rises = result.rises[:, result.headline]
    places = np.arange(len(result.models))
    if result.common and len(places) > 1:
        axes.plot(places, rises, color="#bbbbbb", lw=0.5, zorder=1)
    for i, model in enumerate(result.models):
        color, marker = marks[model]
        axes.plot([i] * rises.shape[1], rises[i], ls="", marker=marker, ms=2.2, mew=0, alpha=0.7, color=color)
        axes.plot(
            [i - _OFFSETS, i + _OFFSETS],
            [result.mean_rises[i, result.headline]] * 2,
            color=color,
            lw=1.8,
            gid=f"average:{model}",
        )
    _name_places(axes, result)
    axes.set_ylabel(result.in_unit(f"rise at ρ = {result.radii[result.headline]:g}"))


def _draw_worst(axes: Axes, result: SharpnessResult, marks: dict[str, Mark]) -> None:
    count = len(result.worst_radii)
    for i, model in enumerate(result.models):
        for r, radius in enumerate(result.worst_radii):
            x = i + (r - (count - 1) / 2) * _OFFSETS
            rises = result.start_rises[i, r]
            axes.plot([x] * len(rises), rises, ls="", marker="_", ms=6, mew=0.8, color=GREY)
            color, marker = marks[model]
            gid = f"worst:{model}:{radius:g}"
            axes.plot(
                [x], [result.worst_rises[i, r]], ls="", marker=marker, ms=4, mew=0, color=color, gid=gid
            )
    top = float(np.nanmax([1e-9, result.worst_rises.max()]))
    axes.set_ylim(0, 1.12 * top if np.isfinite(top) else 1)
    _name_places(axes, result)
    shown = ", ".join(f"{radius:g}" for radius in result.worst_radii)
    axes.set_ylabel(result.in_unit(f"worst rise, ρ = {shown}"))


def _name_places(axes: Axes, result: SharpnessResult) -> None:
    # the names are in the legend: here they would be too long
    axes.set_xlim(-0.6, len(result.models) - 0.4)
    axes.set_xticks([])


def _note(result: SharpnessResult) -> str:
    directions = result.losses.shape[2]
    data = " ".join(part for part in (result.dataset, split_name(result.split), result.samples_name) if part)
    words = [
        f"Loss: {result.loss_name} on {result.num_images:,} {data}"
        f"{', ' + result.augmentation if result.augmentation else ''} ({result.device}, {result.precision})."
    ]
    words.append(
        {
            "batch": f"BatchNorm: each batch of {result.batch} by its own statistics at the moved weights, as in "
            "training, also at the centre.",
            "frozen": "BatchNorm: the running statistics frozen, so the rise contains their mismatch.",
            "none": "No BatchNorm statistics.",
        }[result.batchnorm]
    )
    same = "the same for all networks" if result.common else "same seed, but other shapes of weights"
    words.append(
        f"Each filter moves by ρ times its norm (biases and BatchNorm's parameters stay) along {directions} random "
        f"directions and their opposites, {same}; 95 % t intervals over the directions. Headline: the middle radius."
    )
    if len(result.worst_radii):
        words.append(
            f"Worst case: each filter by at most ρ, {result.worst_steps} gradient steps from "
            f"{result.worst_losses.shape[2]} starts (grey), the highest drawn: a lower bound."
        )
    if (rises := result.normalised_rises) is not None:
        shown = ", ".join(f"{value:.4f}" for value in rises.mean(axis=1))
        words.append(
            f"Of logits divided by their standard deviation over the classes the mean rise at ρ = {result.radii[result.headline]:g} "
            f"is {shown}: what the scale of the logits alone makes is not in these."
        )
    losses = ", ".join(f"{value:.3f}" for value in result.centre_loss)
    words.append(f"Loss at the centre: {losses}. These checkpoints only: no statement about other trainings.")
    return " ".join(words)
