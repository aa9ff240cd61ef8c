"""The Hessian's spectrum: density, extreme eigenvalues, and where the gradient points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, SymmetricalLogLocator

from ralr_viz.plots.foot import add_foot
from ralr_viz.plots.letters import FORMULA
from ralr_viz.plots.measure_panels import Mark, add_model_legend, is_wide, model_marks, split_name
from ralr_viz.plots.style import GREY, method_looks, new_figure
from ralr_viz.results.spectrum import SpectrumResult

_FLOOR = 1e-6
"""Of the density's axis: below it is only the Gaussians' tail."""
_GRID = 1000


def draw_spectrum(result: SpectrumResult) -> Figure:
    """Draw density, eigenvalues and overlaps of all networks on common axes.

    (a) density of the eigenvalues, logarithmic; (b) smallest, largest and relative largest eigenvalue and
    the trace with its standard error, on an axis that is linear within ±1 and logarithmic beyond, hollow where
    the residual exceeds a tenth; (c) |cosine| of the negative gradient with the eigenvectors of λ_min and λ_max,
    and what chance gives.

    Args:
        result: Of any number of networks.

    Returns:
        A figure of the current style's width.
    """
    marks = model_marks(result.models)
    if is_wide():
        figure = new_figure(2.9)
        panels = list(figure.subplots(1, 3, width_ratios=(1.25, 1.25, 0.8)))
    else:
        figure = new_figure(6.6)
        panels = list(figure.subplots(3, 1))
    add_model_legend(figure, result.models, hollow=False)
    _draw_density(panels[0], result, marks)
    _draw_values(panels[1], result, marks)
    _draw_overlaps(panels[2], result, marks)
    for letter, axes in zip("abc", panels, strict=True):
        axes.set_title(f"({letter})", fontweight="bold")
    add_foot(figure, result, _note(result))
    return figure


def spectrum_table(result: SpectrumResult) -> list[dict[str, Any]]:
    """The numbers, long: single ones of each network, the probes' traces, and nodes and weights of the density."""
    rows: list[dict[str, Any]] = []

    def add(
        model: str, quantity: str, value: float, probe: int | None = None, weight: float | None = None
    ) -> None:
        rows.append(
            {"model": model, "quantity": quantity, "probe": probe, "value": float(value), "weight": weight}
        )

    single = (
        *("loss", "gradient_norm", "lambda_max", "residual_max", "lambda_min", "residual_min", "scaled_max"),
        *("scaled_residual", "overlap_max", "overlap_min", "learning_rate", "trace", "trace_error"),
        *("num_parameters", "products"),
    )
    for i, model in enumerate(result.models):
        for name in single:
            add(model, name, getattr(result, name)[i])
        for j, sample in enumerate(result.trace_samples[i]):
            add(model, "trace_sample", sample, j)
        for j, (nodes, weights) in enumerate(zip(result.nodes[i], result.weights[i], strict=True)):
            for node, weight in zip(nodes, weights, strict=True):
                add(model, "density_node", node, j, float(weight))
    return rows


def _draw_density(axes: Axes, result: SpectrumResult, marks: Mapping[str, Mark]) -> None:
    low, high, width = _range(result)
    grid = np.linspace(low, high, _GRID)
    keys = [name.lower() for name in result.models]
    looks = method_looks(keys)
    for model, key, density in zip(result.models, keys, result.density(grid, width), strict=True):
        shown = np.where(density > _FLOOR, density, np.nan)
        axes.plot(
            grid, shown, color=marks[model].color, ls=looks[key].linestyle, lw=0.9, gid=f"density:{model}"
        )
    axes.set_yscale("log")
    axes.set_ylim(bottom=_FLOOR)
    axes.axvline(0, color=GREY, lw=0.5)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.set(xlabel="eigenvalue", ylabel="density", xlim=(low, high))


def _range(result: SpectrumResult) -> tuple[float, float, float]:
    """Limits of the eigenvalues, and the standard deviation of the Gaussians."""
    low, high = float(result.nodes.min()), float(result.nodes.max())
    span = max(high - low, 1e-1)
    return low - 0.06 * span, high + 0.06 * span, span / 50


def _draw_values(axes: Axes, result: SpectrumResult, marks: Mapping[str, Mark]) -> None:
    names = ("λ_min", "λ_max", "relative\nλ_max", "trace")
    values = np.stack([result.lambda_min, result.lambda_max, result.scaled_max, result.trace])
    order = (1, 0, 2)  # of `converged`
    for row in range(4):
        solid = [True] * len(result.models) if row == 3 else result.converged[:, order[row]]
        _draw_row(axes, row, result.models, values[row], solid, marks)
    for i, model in enumerate(result.models):
        if np.isfinite(result.trace_error[i]):
            x = 3 + _offset(i, len(result.models))
            axes.errorbar([x], [result.trace[i]], [result.trace_error[i]], color=marks[model].color, lw=0.8)
    axes.set_yscale("symlog", linthresh=1.0)
    axes.yaxis.set_major_locator(SymmetricalLogLocator(base=10, linthresh=1.0))
    axes.axhline(0, color=GREY, lw=0.5)
    _name_rows(axes, names)
    axes.set_ylabel("value")


def _draw_overlaps(axes: Axes, result: SpectrumResult, marks: Mapping[str, Mark]) -> None:
    for row, values in enumerate((result.overlap_min, result.overlap_max)):
        _draw_row(axes, row, result.models, values, [True] * len(values), marks)
    chance = float(np.sqrt(2 / (np.pi * result.num_parameters.max())))
    axes.axhline(chance, color=GREY, lw=0.8, ls=(0, (4, 2)), gid="chance")
    axes.set_yscale("log")
    axes.set_ylim(
        min(chance / 2, 0.5 * float(np.nanmin([result.overlap_min, result.overlap_max]) or chance)), 1
    )
    _name_rows(axes, ("v_min", "v_max"))
    axes.set_ylabel("|cosine| with −gradient")


def _draw_row(
    axes: Axes,
    row: int,
    models: Sequence[str],
    values: np.ndarray,
    solid: Sequence[bool] | np.ndarray,
    marks: Mapping[str, Mark],
) -> None:
    for i, (model, value) in enumerate(zip(models, values, strict=True)):
        color, marker = marks[model]
        face = color if solid[i] else "white"
        x = row + _offset(i, len(models))
        axes.plot(
            [x], [value], ls="", marker=marker, ms=4, mec=color, mfc=face, mew=0.9, gid=f"value:{model}:{row}"
        )


def _offset(i: int, count: int) -> float:
    return 0.6 / max(count, 2) * (i - (count - 1) / 2)


def _name_rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_xticks(range(len(names)), [_mathematics(name) for name in names], gid=FORMULA)
    axes.set_xlim(-0.5, len(names) - 0.5)
    axes.tick_params(axis="x", length=0)
    axes.grid(False, axis="x")


def _mathematics(name: str) -> str:
    for plain, formula in {
        "λ_min": r"$\lambda_{\min}$",
        "λ_max": r"$\lambda_{\max}$",
        "v_min": r"$v_{\min}$",
        "v_max": r"$v_{\max}$",
    }.items():
        name = name.replace(plain, formula)
    return name


def _note(result: SpectrumResult) -> str:
    data = " ".join(part for part in (result.dataset, split_name(result.split), result.samples_name) if part)
    probes, (density_probes, steps) = result.trace_samples.shape[1], result.nodes.shape[1:]
    losses = ", ".join(f"{value:.3f}" for value in result.loss)
    words = [
        f"Hessian of the {result.loss_name} on {result.num_images:,} {data}, unaugmented, BatchNorm's running "
        f"statistics frozen, without weight decay ({result.device}, {result.precision}).",
        f"(a) Lanczos quadrature, {steps} steps from {density_probes} probes, broadened by 2 % of the range. "
        f"(b) The trace: mean ± standard error of {probes} Rademacher probes, the same for all networks. "
        "Eigenvalues are Rayleigh quotients: bounds even where hollow, whose residual exceeds a tenth. Raw values "
        "change when filters before BatchNorm are rescaled, although the function does not; the relative one, "
        "per relative change of each filter, does not.",
        f"(c) The negative gradient of these {result.samples_name} stands for the next update; dashed: chance.",
        f"Loss: {losses}, on which curvature depends. These checkpoints only: no statement about other trainings.",
    ]
    return " ".join(words)
