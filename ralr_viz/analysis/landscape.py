"""The loss in planes through the space of weights: around networks, and along a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ralr_viz.analysis.directions import random_direction
from ralr_viz.analysis.objective import Objective, Weights, objective_of
from ralr_viz.analysis.sharpness import even_batch
from ralr_viz.comparison import Comparison, Progress
from ralr_viz.comparison.precision import in_its_precision
from ralr_viz.errors import InputError
from ralr_viz.nouns import check
from ralr_viz.nouns import landscape as options
from ralr_viz.nouns.option import BATCHNORM, SEED
from ralr_viz.results.landscape import LandscapeResult
from ralr_viz.tasks.exact import exact

_WALKS = 200
_MARGIN = 0.15
"""Of the plane around a path, on each side, as a share of its extent."""


@in_its_precision
def compute_landscape(
    comparison: Comparison,
    *,
    epochs: Sequence[int] | None = options.EPOCHS.default,
    radius: float = options.RADIUS.default,
    points: int = options.POINTS.default,
    line: bool = options.LINE.default,
    batchnorm: str = BATCHNORM.default,
    seed: int = SEED.default,
    progress: Progress | None = None,
) -> LandscapeResult:
    """Loss of several networks in planes of the same two random directions, or of one run around its path.

    The random directions are filter-normalised, as in `compute_sharpness`. With ``epochs``, the networks are
    states of one run in that order: the plane goes through the last one along the first two principal
    components of all of them, and each state also gets the loss at its own weights, which is not that of its
    place in the plane. Of a random walk in many dimensions, too, most variance is in the first components, and
    its projection is a Lissajous curve: the share explained says little, so that of random walks is given.

    Args:
        comparison, batchnorm: As in `compute_sharpness`.
        epochs: t ≥ 3 growing, one for each network, as of `kept_states`; None for planes around each.
        radius: Half the side of a random plane, > 0, in shares of the filters' norms.
        points: A side of the grid, odd, 3 or more.
        line: Only along the first random direction.
        seed: Of directions and random walks.
        progress: Called as ``progress(done, total, what)``.

    Raises:
        InputError: Shapes that differ within a run, or an option out of its range.
        UnknownNameError: No such ``batchnorm``.

    References:
        Li et al., Visualizing the loss landscape of neural nets, NeurIPS 2018.
        Antognini and Sohl-Dickstein, PCA of high dimensional random walks, NeurIPS 2018 (1806.08805).
    """
    _check(len(comparison), epochs, radius, points, line)
    check(options.SPEC.options, batchnorm=batchnorm, seed=seed)
    size = even_batch(len(comparison.samples), comparison.batch_size(as_trained=True))

    def look(i: int) -> _Plane:
        return _Plane(objective_of(comparison, i, size), batchnorm)

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
        shown = comparison.names
        x, y = grid, np.zeros(1) if line else grid
        losses, shapes = [], set()
        for i in range(len(comparison)):
            plane = look(i)
            start = plane.objective.start
            shapes.add(tuple(p.shape for p in start))
            axes = [random_direction(start, seed, k) for k in (0, 1)]
            report = _shifted(progress, i * len(x) * len(y), len(comparison) * len(x) * len(y))
            losses.append(plane.losses(start, axes, x, y, report))
        fields, kind = empty, plane.kind
        common = len(shapes) == 1
    else:
        shown, common = (_run_name(comparison),), True
        fields, x, y, surface, kind = _along_run(comparison, look, epochs, points, seed, progress)
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
        num_images=len(comparison.samples),
        batch=size,
        seed=seed,
        **comparison.samples.describe(),
        device=comparison.runtime.device.type,
        precision=comparison.runtime.precision,
        provenance=comparison.facts(),
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
    return lambda count: progress(done + count, total, "losses in the planes")


def _run_name(comparison: Comparison) -> str:
    """Of the run whose states these are."""
    checkpoint = comparison.networks[-1].checkpoint
    if checkpoint is None:
        return "run"
    return checkpoint.label.rpartition(", epoch")[0] or checkpoint.label


def _along_run(
    comparison: Comparison,
    look: Callable[[int], _Plane],
    epochs: Sequence[int],
    points: int,
    seed: int,
    progress: Progress | None,
) -> tuple[dict[str, Any], np.ndarray, np.ndarray, np.ndarray, str]:
    """Path, its own losses, and the surface in its plane."""
    flat = [
        torch.cat([exact(p.detach()).flatten().cpu() for p in comparison.build(i).parameters()])
        for i in range(len(comparison))
    ]
    if len({len(f) for f in flat}) > 1:
        raise InputError(
            "the states of a run have different numbers of weights: give checkpoints of one network"
        )
    path, axes, explained = principal_plane(torch.stack(flat).numpy())
    total = len(comparison) + points**2
    own = []
    for i in range(len(comparison)):
        plane = look(i)
        own.append(plane.loss(plane.objective.start))
        _shifted(progress, i + 1, total)(0)
    x, y = (_axis(path[:, k], points) for k in (0, 1))
    start = plane.objective.start

    def split(vector: np.ndarray) -> list[Tensor]:
        parts = torch.from_numpy(vector).split([w.numel() for w in start])
        return [part.reshape(w.shape).to(w.device, w.dtype) for part, w in zip(parts, start, strict=True)]

    surface = plane.losses(
        start, [split(axis) for axis in axes], x, y, _shifted(progress, len(comparison), total)
    )
    fields = {
        "epochs": np.array(epochs, dtype=np.int64),
        "path": path,
        "path_loss": np.array(own),
        "explained": explained,
        "walk_explained": random_walk_explained(len(comparison), seed),
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
    networks: int,
    epochs: Sequence[int] | None,
    radius: float,
    points: int,
    line: bool,
) -> None:
    if points < 3 or points % 2 == 0:
        raise InputError(
            f"`points` = {points} must be odd, 3 or more, so that the network itself is one of them"
        )
    if not 0 < radius < np.inf:
        raise InputError(f"`radius` = {radius:g} must be a positive share of the filters' norms, e.g. 0.6")
    if epochs is None:
        return
    if line:
        raise InputError("`line` is along a random direction, a path has a plane: leave one of them out")
    if len(epochs) != networks or len(epochs) < 3 or list(epochs) != sorted(set(epochs)):
        raise InputError(
            f"`epochs` has {len(epochs)} entries for {networks} networks: a path takes 3 or more states, growing, "
            "one epoch each"
        )
