"""Filter-normalised sharpness: how fast the training loss rises around a network."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ralr_viz.analysis.directions import filter_norms, normalise_filters, random_direction, step
from ralr_viz.analysis.objective import Objective, Weights, objective_of
from ralr_viz.comparison import Comparison, Progress
from ralr_viz.comparison.precision import in_its_precision
from ralr_viz.errors import InputError
from ralr_viz.nouns import check
from ralr_viz.nouns import sharpness as options
from ralr_viz.nouns.option import BATCHNORM, RESAMPLES, SEED
from ralr_viz.results.sharpness import SharpnessResult
from ralr_viz.tasks.classification.loss import BothScales


class _Found(NamedTuple):
    losses: np.ndarray
    accuracies: np.ndarray
    centre: tuple[float, float]
    given_loss: float
    worst_losses: np.ndarray
    worst_accuracies: np.ndarray
    normalised: tuple[float, np.ndarray] | None


@in_its_precision
def compute_sharpness(
    comparison: Comparison,
    *,
    radii: Sequence[float] = options.RADII.default,
    directions: int = options.DIRECTIONS.default,
    worst_radii: Sequence[float] = options.WORST_RADII.default,
    worst_starts: int = options.WORST_STARTS.default,
    worst_steps: int = options.WORST_STEPS.default,
    batchnorm: str = BATCHNORM.default,
    seed: int = SEED.default,
    resamples: int = RESAMPLES.default,
    progress: Progress | None = None,
) -> SharpnessResult:
    r"""Average and worst-case rise of the loss around several networks, in units of their own filters.

    The average is :math:`E_d[L(w + \rho d) - L(w)]` over Gaussian directions whose filters are scaled to the
    norms of the network's filters, so that a filter moves by ρ times its norm. Each direction is taken with
    both signs: the slope's share, which is 0 on average, then cancels in each. For small ρ the average is
    :math:`\frac12\rho^2 E[d^\top H d]`. The worst case is the highest loss with every filter's step at most ρ
    times its norm, as found by ``worst_steps`` steps to the end of the ball that the gradient points to,
    :math:`\epsilon_f \leftarrow \rho\lVert w_f\rVert g_f/\lVert g_f\rVert`, from the network itself and from
    random points on the ball: a lower bound. Neither changes when a filter before BatchNorm is rescaled; the
    eigenvalues of the Hessian do. Biases and BatchNorm's own parameters stay in both.

    BatchNorm: moved weights have other activations, and with the old running statistics most of the rise
    would be that mismatch, which one pass over the images removes, and which depends on how old the running
    means are, that is on the learning rate. Therefore each batch is normalised by its own statistics, as in
    training, also at the centre (``batch``); ``frozen`` keeps the running ones. Since statistics belong to the
    images that a network was trained on, give images with the augmentation of training
    (`Comparison.augmented`). Both depend on the scale of the logits, and fall with the training loss: compare networks
    at matched loss, too, and see the rise of the loss of normalised logits, which stands beside at the middle radius.

    Args:
        comparison: Classifiers on labelled images that they see alike; private copies are moved. All batches get
            about the same size, of at most 500 images where the comparison says none; with ``bf16`` single
            rises are off by some 1e-4 nats.
        radii: Of the average, each > 0; the middle one is the headline.
        directions: K ≥ 2, common to networks and radii; each costs two passes a radius.
        worst_radii: Of the worst case, each > 0; may be empty.
        worst_starts: 1 or more, the first from the network itself.
        worst_steps: 1 or more gradients a start.
        batchnorm: ``batch`` or ``frozen``.
        seed: Of directions and bootstrap.
        resamples: Of the bootstrap over the directions.
        progress: Called as ``progress(done, total, what)``.

    Raises:
        InputError: Images or labels that do not fit, or an option out of its range.
        UnknownNameError: No such ``batchnorm``.

    References:
        Li et al., Visualizing the loss landscape of neural nets, NeurIPS 2018, section 4 (the directions).
        Kwon et al., ASAM, ICML 2021 (adaptive worst case). Dinh et al., Sharp minima can generalize, ICML 2017.
        Andriushchenko et al., A modern look at the relationship between sharpness and generalization, ICML 2023.
    """
    radii, worst_radii = sorted(set(map(float, radii))), sorted(set(map(float, worst_radii)))
    check(
        (*options.SPEC.options, RESAMPLES),
        directions=directions,
        worst_starts=worst_starts,
        worst_steps=worst_steps,
        batchnorm=batchnorm,
        seed=seed,
        resamples=resamples,
    )
    _check_radii(radii, worst_radii)
    size = even_batch(len(comparison.samples), comparison.batch_size(as_trained=True))
    of_logits = comparison.task is None
    each = 1 + 2 * len(radii) * directions + len(worst_radii) * (worst_starts * (worst_steps + 1) + 1)
    done, found, shapes, kinds = 0, [], set(), set()

    def advance() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, each * len(comparison), "losses at moved weights")

    for i in range(len(comparison)):
        objective = objective_of(comparison, i, size)
        shapes.add(tuple(p.shape for p in objective.parameters))
        kinds.add(batchnorm if objective.has_statistics else "none")
        given = objective.evaluate()[0]
        if of_logits:
            objective.task = BothScales(comparison.labelled().labels)
        points = _Points(objective, batchnorm, seed, advance)
        centre = points.evaluate(objective.start)
        average = [points.average(radius, directions) for radius in radii]
        worst = [points.worst(radius, worst_starts, worst_steps) for radius in worst_radii]
        normalised = (centre[2], average[(len(radii) - 1) // 2][2]) if of_logits else None
        found.append(
            _Found(
                np.array([a[0] for a in average]),
                np.array([a[1] for a in average]),
                centre[:2],
                given,
                np.array([w[0] for w in worst]).reshape(len(worst_radii), worst_starts),
                np.array([w[1] for w in worst]),
                normalised,
            )
        )
    return SharpnessResult(
        models=comparison.names,
        radii=np.array(radii),
        losses=np.stack([f.losses for f in found]),
        accuracies=np.stack([f.accuracies for f in found]),
        centre_loss=np.array([f.centre[0] for f in found]),
        centre_accuracy=np.array([f.centre[1] for f in found]),
        given_loss=np.array([f.given_loss for f in found]),
        worst_radii=np.array(worst_radii),
        worst_losses=np.stack([f.worst_losses for f in found]),
        worst_accuracies=np.stack([f.worst_accuracies for f in found]),
        worst_steps=worst_steps,
        normalised_centre=np.array([f.normalised[0] for f in found if f.normalised]) if of_logits else None,
        normalised_losses=np.stack([f.normalised[1] for f in found if f.normalised]) if of_logits else None,
        batchnorm=batchnorm if batchnorm in kinds else "none",
        common=len(shapes) == 1,
        num_images=len(comparison.samples),
        batch=size,
        seed=seed,
        resamples=resamples,
        **comparison.samples.describe(),
        device=comparison.runtime.device.type,
        precision=comparison.runtime.precision,
        provenance=comparison.facts(),
    )


def even_batch(n: int, most: int) -> int:
    """Images a batch, at most ``most``, so that no batch is much smaller than the others.

    Raises:
        InputError: ``most`` < 1.
    """
    if most < 1:
        raise InputError(f"`batch` = {most} must be at least 1")
    return math.ceil(n / math.ceil(n / most)) if n else most


class _Points:
    """Losses of one network at other weights."""

    def __init__(self, objective: Objective, batchnorm: str, seed: int, advance: Callable[[], None]) -> None:
        self.objective, self.batchnorm, self.seed, self.advance = objective, batchnorm, seed, advance
        self.norms = filter_norms(objective.start)

    def evaluate(self, weights: Weights) -> tuple[float, float, float]:
        """Loss and accuracy there, and the loss of normalised logits, NaN where it is not watched."""
        self.advance()
        self.objective.move_to(weights)
        task, frozen = self.objective.task, self.batchnorm == "frozen"
        if isinstance(task, BothScales):
            task.normalised = 0.0
        with nullcontext() if frozen else self.objective.batch_statistics():
            loss, score = self.objective.evaluate()
        if isinstance(task, BothScales):
            return loss, score, float(task.normalised) / self.objective.total_weight
        return loss, score, math.nan

    def gradient(self, weights: Weights) -> tuple[float, list[Tensor]]:
        """Loss and gradient there."""
        self.advance()
        self.objective.move_to(weights)
        if self.batchnorm == "frozen":
            return self.objective.gradient()
        with self.objective.batch_statistics():
            return self.objective.gradient()

    def average(self, radius: float, directions: int) -> np.ndarray:
        """What `evaluate` returns (3, K, 2) at a radius along the common directions and their opposites."""
        start, points = self.objective.start, []
        for k in range(directions):
            direction = random_direction(start, self.seed, k)
            points += [self.evaluate(step(start, direction, sign * radius)) for sign in (1, -1)]
        return np.moveaxis(np.array(points).reshape(directions, 2, 3), -1, 0)

    def worst(self, radius: float, starts: int, steps: int) -> tuple[np.ndarray, float]:
        """Highest loss (S,) that each start has met, and the accuracy at the highest of all."""
        start, highest, best = self.objective.start, np.full(starts, -np.inf), None
        for s in range(starts):
            # the first leaves from the network itself; the others from where the average looks
            direction = [torch.zeros_like(w) for w in start]
            if s:
                direction = random_direction(start, self.seed, s - 1)
            for i in range(steps + 1):
                point = step(start, direction, radius)
                if i < steps:
                    loss, gradient = self.gradient(point)
                else:
                    loss = self.evaluate(point)[0]
                if loss > highest.max():
                    best = point
                highest[s] = max(highest[s], loss)
                direction = normalise_filters(gradient, self.norms)
        return highest, np.nan if best is None else self.evaluate(best)[1]


def _check_radii(radii: Sequence[float], worst_radii: Sequence[float]) -> None:
    for option, values in (("radii", radii), ("worst_radii", worst_radii)):
        wrong = [value for value in values if not 0 < value < math.inf]
        if wrong or (option == "radii" and not values):
            shown = f"{wrong[0]:g}" if wrong else "()"
            raise InputError(f"`{option}` = {shown} must be positive shares of the filters' norms, e.g. 0.2")
