"""The loss on the straight line between two networks: whether they lie in one basin (the paper's "escapes")."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ralr_viz.analysis.objective import Objective, objective_of
from ralr_viz.comparison import Comparison, Progress
from ralr_viz.comparison.network import plain_network
from ralr_viz.comparison.pairs import describe_pairs, pair_networks
from ralr_viz.comparison.precision import in_its_precision
from ralr_viz.errors import InputError
from ralr_viz.nouns import barrier as options
from ralr_viz.results.barrier import BarrierResult, line_gap
from ralr_viz.tasks.exact import exact


@dataclass(frozen=True, eq=False)
class Interpolation:
    """One pair of networks.

    Attributes:
        alphas: (A,) float64, 0 to 1.
        losses: (A, n) float32 nats.
        correct: (A, n) bool; None where there are no classes.
        distance: ‖w₂ − w₁‖.
    """

    alphas: np.ndarray
    losses: np.ndarray
    correct: np.ndarray | None
    distance: float

    @property
    def barrier(self) -> float:
        """max over α of L(α) − (1 − α)L(0) − αL(1) in nats, at least 0."""
        return float(line_gap(self.alphas, self.losses.mean(axis=1, dtype=np.float64)).max())


def measure_barrier(
    objective: Objective,
    first: nn.Module,
    second: nn.Module,
    *,
    points: int = options.POINTS.default,
    statistics: str = options.STATISTICS.default,
    progress: Callable[[int, int], object] | None = None,
) -> Interpolation:
    """Loss of each image at points of the straight line between two networks' weights.

    Args:
        objective: Images, labels and a private copy of a network of this architecture; it is left at the
            second network's weights.
        first, second: The ends; they are only read.
        points: An odd number ≥ 3, evenly spread with both ends.
        statistics: ``recomputed``: BatchNorm's running statistics are measured at every point, the ends too;
            those of another point would make a barrier of their own. ``interpolated``: as the weights are.
        progress: Called as ``progress(done, points)``.

    Raises:
        InputError: An even number of points, or ends of another architecture.
        UnknownNameError: No such ``statistics``.

    Example:
        >>> objective = Objective(first, images, labels, mean=mean, std=std, runtime=runtime)
        >>> measure_barrier(objective, first, second).barrier
    """
    _check_points(points)
    options.STATISTICS.check(statistics)
    ends = [_tensors(objective, plain_network(network)) for network in (first, second)]
    alphas = np.arange(points) / (points - 1)
    losses, correct = [], []
    for done, alpha in enumerate(alphas, 1):
        mixed = {name: _mix(a, ends[1][name], float(alpha)) for name, a in ends[0].items()}
        objective.move_to([mixed[name] for name in objective.names])
        if statistics == "recomputed":
            objective.recompute_statistics()
        else:
            with torch.no_grad():
                for name, buffer in _buffers(objective.model).items():
                    buffer.copy_(mixed[name])
        columns = _evaluate_each(objective)
        losses.append(columns[0])
        if columns[1] is not None:
            correct.append(columns[1])
        if progress is not None:
            progress(done, points)
    squares = [(exact(ends[1][name] - ends[0][name]) ** 2).sum() for name in objective.names]
    distance = float(torch.stack(squares).sum().sqrt()) if squares else 0.0
    return Interpolation(alphas, np.stack(losses), np.stack(correct) if correct else None, distance)


@in_its_precision
def compute_barrier(
    comparison: Comparison,
    *,
    points: int = options.POINTS.default,
    statistics: str = options.STATISTICS.default,
    seed: int = 0,
    progress: Progress | None = None,
) -> BarrierResult:
    r"""Loss barriers :math:`\max_\alpha L((1-\alpha)w_1 + \alpha w_2) - (1-\alpha)L_1 - \alpha L_2`.

    Between the states of two thirds of a training and its end it is 0.0 in all twelve published runs, with and without
    amplification: late states of one run lie in one basin whatever the method, so that it tests nothing there. Whether
    an amplified epoch leaves the basin that SGD's noise keeps is measured by `compute_fork` with ``anneal``.

    Args:
        comparison: Every two networks are a pair of one architecture. Best on training images in one draw of
            training's augmentation (`Comparison.augmented`), whose statistics the networks know. Statistics
            are the mean over the full batches, of 500 images where the comparison says none: give no less
            than training's.
        points, statistics: As in `measure_barrier`.
        seed: Of the bootstrap over images.
        progress: Called as ``progress(done, total, what)``.

    Raises:
        InputError: An odd number of networks, a pair of two architectures, images or labels of another shape or range, or a loss
            that is not finite.
        UnknownNameError: No such ``statistics``.

    References:
        Garipov et al. 2018, section 3; Frankle et al. 2020, section 2. Jordan et al. 2023 (REPAIR) on why
        statistics have to be recomputed.
    """
    _check_points(points)
    pairs, samples = pair_networks(comparison), comparison.samples
    if len(samples) < 2:
        raise InputError(
            f"a barrier's interval is over the samples, of which there is {len(samples)}: take more images or batches"
        )
    found, has_statistics = [], False
    for i, pair in enumerate(pairs):
        objective = objective_of(comparison, pair.first, comparison.batch_size(as_trained=True))
        has_statistics |= objective.has_statistics
        report = None if progress is None else _shift(progress, i * points, len(pairs) * points)
        first, second = comparison.build(pair.first), comparison.build(pair.second)
        one = measure_barrier(objective, first, second, points=points, statistics=statistics, progress=report)
        if not np.isfinite(one.losses).all():
            raise InputError(
                f"the loss of `{pair.name}` is not finite on the line: a checkpoint has diverged, choose an earlier one"
            )
        found.append(one)
    correct = [one.correct for one in found if one.correct is not None]
    return BarrierResult(
        models=tuple(pair.name for pair in pairs),
        states=tuple(pair.states for pair in pairs),
        alphas=found[0].alphas,
        losses=np.stack([one.losses for one in found]),
        correct=np.stack(correct) if correct else None,
        distances=np.array([one.distance for one in found]),
        statistics=statistics if has_statistics else "",
        **samples.describe(),
        indices=samples.indices,
        device=str(comparison.runtime.device),
        precision=comparison.runtime.precision,
        seed=seed,
        provenance={"checkpoints": describe_pairs(comparison, pairs)},
    )


def _evaluate_each(objective: Objective) -> tuple[np.ndarray, np.ndarray | None]:
    """Loss (n,) float32 of every sample, whose mean is the loss, and whether its class is predicted (n,)."""
    found = [objective.task.each(objective.model, batch) for batch in objective.batches()]
    losses, weights = (torch.cat([getattr(each, name) for each in found]) for name in ("losses", "weights"))
    if not bool((weights == weights[0]).all()):  # of batches that count differently
        losses = losses * weights / weights.mean()
    right = [each.right for each in found if each.right is not None]
    return losses.float().cpu().numpy(), torch.cat(right).cpu().numpy() if right else None


def _tensors(objective: Objective, network: nn.Module) -> dict[str, Tensor]:
    """Copies of the network's parameters and float buffers, placed as the objective's."""
    own = dict(network.named_parameters()) | _buffers(network)
    like = dict(objective.model.named_parameters()) | _buffers(objective.model)
    if {n: t.shape for n, t in own.items()} != {n: t.shape for n, t in like.items()}:
        raise InputError(
            f"`{type(network).__name__}` has other weights than the network at the other end of the line: "
            "pair two states of one architecture"
        )
    return {name: own[name].detach().clone().to(like[name]) for name in like}


def _buffers(network: nn.Module) -> dict[str, Tensor]:
    return {name: buffer for name, buffer in network.named_buffers() if buffer.is_floating_point()}


def _mix(first: Tensor, second: Tensor, alpha: float) -> Tensor:
    # the ends exactly, and a tensor with itself stays itself
    return first if alpha == 0 else second if alpha == 1 else first + alpha * (second - first)


def _check_points(points: int) -> None:
    if points < 3 or points % 2 == 0:
        raise InputError(f"`points` = {points} must be odd and at least 3, so that the middle is one of them")


def _shift(progress: Progress, before: int, total: int) -> Callable[[int, int], object]:
    return lambda done, _: progress(before + done, total, "points of the line")
