"""The loss in planes through the space of weights: around networks, and along a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ralr_viz.analysis.directions import random_direction
from ralr_viz.analysis.objective import Objective, Weights
from ralr_viz.analysis.sharpness import even_batch
from ralr_viz.errors import InputError, UnknownNameError
from ralr_viz.results.landscape import LandscapeResult
from ralr_viz.results.sharpness import BATCHNORM
from ralr_viz.train.runtime import Runtime, resolve_runtime

Progress = Callable[[int, int], object]
_WALKS = 200
_MARGIN = 0.15
"""Of the plane around a path, on each side, as a share of its extent."""


def compute_landscape(
    models: Sequence[nn.Module],
    images: np.ndarray,
    labels: np.ndarray,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    names: Sequence[str] | None = None,
    epochs: Sequence[int] | None = None,
    radius: float = 0.6,
    points: int = 13,
    line: bool = False,
    batchnorm: str = "batch",
    batch: int = 500,
    device: str = "auto",
    precision: str = "fp32",
    seed: int = 0,
    dataset: str | None = None,
    split: str | None = None,
    augmentation: str = "",
    progress: Progress | None = None,
    provenance: dict[str, Any] | None = None,
) -> LandscapeResult:
    """Loss of several networks in planes of the same two random directions, or of one run around its path.

    The random directions are filter-normalised, as in `compute_sharpness`. With ``epochs``, the models are
    states of one run in that order: the plane goes through the last one along the first two principal
    components of all of them, and each state also gets the loss at its own weights, which is not that of its
    place in the plane. Of a random walk in many dimensions, too, most variance is in the first components, and
    its projection is a Lissajous curve: the share explained says little, so that of random walks is given.

    Args:
        models: One classifier or more; private copies are moved.
        images, labels, mean, std, batchnorm, batch, device, precision: As in `compute_sharpness`.
        names: Of the networks, or the one name of the run; numbered when left out.
        epochs: t ≥ 3 growing, one for each model; None for planes around each.
        radius: Half the side of a random plane, > 0, in shares of the filters' norms.
        points: A side of the grid, odd, 3 or more.
        line: Only along the first random direction.
        seed: Of directions and random walks.
        dataset, split, augmentation: For the figure.
        progress: Called as ``progress(done, total)``.
        provenance: Kept with the result.

    Raises:
        InputError: No network, shapes that differ within a run, or an option out of its range.
        UnknownNameError: No such ``batchnorm``.

    References:
        Li et al., Visualizing the loss landscape of neural nets, NeurIPS 2018.
        Antognini and Sohl-Dickstein, PCA of high dimensional random walks, NeurIPS 2018 (1806.08805).
    """
    _check(models, names, epochs, radius, points, line, batchnorm)
    runtime = resolve_runtime(device, precision)
    size = even_batch(len(images), batch)

    def look(model: nn.Module) -> _Plane:
        objective = Objective(model, images, labels, mean=mean, std=std, runtime=runtime, batch=size)
        return _Plane(objective, batchnorm)

    grid = np.linspace(-radius, radius, points)
    grid[points // 2] = 0
    empty: dict[str, Any] = {
        "epochs": np.zeros(0, dtype=np.int64),
        "path": np.zeros((0, 2)),
        "path_loss": np.zeros(0),
        "explained": np.zeros(0),
        "walk_explained": np.zeros(0),
    }
    if epochs is None:
        shown = tuple(names) if names else tuple(f"network {i}" for i in range(1, len(models) + 1))
        x, y = grid, np.zeros(1) if line else grid
        losses, shapes = [], set()
        for i, model in enumerate(models):
            plane = look(model)
            start = plane.objective.start
            shapes.add(tuple(p.shape for p in start))
            axes = [random_direction(start, seed, k) for k in (0, 1)]
            report = _shifted(progress, i * len(x) * len(y), len(models) * len(x) * len(y))
            losses.append(plane.losses(start, axes, x, y, report))
        fields, kind = empty, plane.kind
        common = len(shapes) == 1
    else:
        shown, common = tuple(names) if names else ("run",), True
        fields, x, y, surface, kind = _along_run(models, look, epochs, points, runtime, seed, progress)
        losses = [surface]
    stacked = np.stack(losses)
    middle = stacked[:, len(y) // 2, len(x) // 2]
    return LandscapeResult(
        models=shown,
        x=x,
        y=y,
        losses=stacked,
        centre_loss=middle if epochs is None else fields["path_loss"][-1:],
        batchnorm=kind,
        common=common,
        num_images=len(images),
        batch=size,
        seed=seed,
        dataset=dataset,
        split=split,
        augmentation=augmentation,
        device=runtime.device.type,
        precision=runtime.precision,
        provenance=dict(provenance or {}),
        **fields,
    )


class _Plane:
    """Losses of one network's objective at other weights."""

    def __init__(self, objective: Objective, batchnorm: str) -> None:
        self.objective = objective
        self.kind = batchnorm if objective.has_statistics else "none"

    def loss(self, weights: Weights) -> float:
        self.objective.move_to(weights)
        if self.kind != "batch":
            return self.objective.evaluate()[0]
        with self.objective.batch_statistics():
            return self.objective.evaluate()[0]

    def losses(
        self,
        start: Weights,
        axes: Sequence[Weights],
        x: np.ndarray,
        y: np.ndarray,
        report: Callable[[int], object],
    ) -> np.ndarray:
        """(b, a) over the grid."""
        found = np.empty((len(y), len(x)))
        for j, b in enumerate(y):
            for i, a in enumerate(x):
                point = [w + a * d + b * e for w, d, e in zip(start, *axes, strict=True)]
                found[j, i] = self.loss(point)
                report(j * len(x) + i + 1)
        return found


def _shifted(progress: Progress | None, done: int, total: int) -> Callable[[int], object]:
    if progress is None:
        return lambda count: None
    return lambda count: progress(done + count, total)


def _along_run(
    models: Sequence[nn.Module],
    look: Callable[[nn.Module], _Plane],
    epochs: Sequence[int],
    points: int,
    runtime: Runtime,
    seed: int,
    progress: Progress | None,
) -> tuple[dict[str, Any], np.ndarray, np.ndarray, np.ndarray, str]:
    """Path, its own losses, and the surface in its plane."""
    flat = [torch.cat([p.detach().flatten().double().cpu() for p in m.parameters()]) for m in models]
    if len({len(f) for f in flat}) > 1:
        raise InputError(
            "the states of a run have different numbers of weights: give checkpoints of one network"
        )
    path, axes, explained = principal_plane(torch.stack(flat).numpy())
    total = len(models) + points**2
    own = []
    for i, model in enumerate(models):
        plane = look(model)
        own.append(plane.loss(plane.objective.start))
        _shifted(progress, i + 1, total)(0)
    x, y = (_axis(path[:, k], points) for k in (0, 1))
    start = plane.objective.start

    def split(vector: np.ndarray) -> list[Tensor]:
        parts = torch.from_numpy(vector).split([w.numel() for w in start])
        return [part.reshape(w.shape).to(w.device, w.dtype) for part, w in zip(parts, start, strict=True)]

    surface = plane.losses(
        start, [split(axis) for axis in axes], x, y, _shifted(progress, len(models), total)
    )
    fields = {
        "epochs": np.array(epochs, dtype=np.int64),
        "path": path,
        "path_loss": np.array(own),
        "explained": explained,
        "walk_explained": random_walk_explained(len(models), seed),
    }
    return fields, x, y, surface, plane.kind


def principal_plane(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The plane of the first two principal components of the states of a run.

    Args:
        weights: (t, n) float64, t ≥ 3.

    Returns:
        Places (t, 2) relative to the last state, unit axes (2, n), and the share of the variance along each.
    """
    centred = weights - weights.mean(axis=0)
    # t is small and n is large: the components follow from the products of the states
    values, vectors = np.linalg.eigh(centred @ centred.T)
    values, vectors = values[::-1][:2], vectors[:, ::-1][:, :2]
    axes = (centred.T @ vectors / np.sqrt(np.maximum(values, np.finfo(float).tiny))).T
    # a component's sign is arbitrary: let the run end to the right of and above its start
    axes *= np.where((weights[-1] - weights[0]) @ axes.T < 0, -1, 1)[:, None]
    return (weights - weights[-1]) @ axes.T, axes, values / (centred**2).sum()


def random_walk_explained(states: int, seed: int) -> np.ndarray:
    """Mean share (2,) of the variance of Gaussian random walks in many dimensions along their first components.

    In the limit of many dimensions it depends on the number of states alone, and concentrates.
    """
    rng = np.random.default_rng([seed, states])
    shares = np.zeros(2)
    for _ in range(_WALKS):
        walk = np.cumsum(rng.standard_normal((states, 500)), axis=0)
        values = np.linalg.svd(walk - walk.mean(axis=0), compute_uv=False) ** 2
        shares += values[:2] / values.sum() / _WALKS
    return shares


def _axis(places: np.ndarray, points: int) -> np.ndarray:
    """A grid around the places of a path."""
    low, high = places.min(), places.max()
    margin = _MARGIN * max(high - low, 1e-9)
    return np.linspace(low - margin, high + margin, points)


def _check(
    models: Sequence[nn.Module],
    names: Sequence[str] | None,
    epochs: Sequence[int] | None,
    radius: float,
    points: int,
    line: bool,
    batchnorm: str,
) -> None:
    if not models:
        raise InputError("`models` is empty: a landscape needs one network or more")
    if batchnorm not in BATCHNORM:
        raise UnknownNameError("BatchNorm mode", batchnorm, BATCHNORM)
    if points < 3 or points % 2 == 0:
        raise InputError(
            f"`points` = {points} must be odd, 3 or more, so that the network itself is one of them"
        )
    if not 0 < radius < np.inf:
        raise InputError(f"`radius` = {radius:g} must be a positive share of the filters' norms, e.g. 0.6")
    if epochs is None:
        if names and len(names) != len(models):
            raise InputError(f"`names` has {len(names)} entries for {len(models)} models: one for each")
        return
    if line:
        raise InputError("`line` is along a random direction, a path has a plane: leave one of them out")
    if len(epochs) != len(models) or len(epochs) < 3 or list(epochs) != sorted(set(epochs)):
        raise InputError(
            f"`epochs` has {len(epochs)} entries for {len(models)} models: a path takes 3 or more states, growing, "
            "one epoch each"
        )
    if names and len(names) != 1:
        raise InputError(f"`names` has {len(names)} entries: a path is of one run")
