"""The training loss as a function of the weights: what barriers, sharpness, curvature and landscapes look at."""

from __future__ import annotations

import contextlib
import copy
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.optim.swa_utils import update_bn

from ralr_viz.analysis.pictures import Pictures, check_images, check_targets
from ralr_viz.comparison import Comparison
from ralr_viz.comparison.network import plain_network
from ralr_viz.errors import InputError
from ralr_viz.runtime.device import Runtime
from ralr_viz.tasks.batches import Batch, count_samples
from ralr_viz.tasks.classification.loss import Classification
from ralr_viz.tasks.exact import exact
from ralr_viz.tasks.task import Criterion

Weights = Sequence[Tensor]
"""One tensor for each parameter, in the order of `Objective.names`."""


class Objective:
    """Mean loss of a private copy of a network on fixed samples, at weights of one's choice.

    The copy is in eval mode and the caller's network is never touched. Moving the weights leaves the running
    statistics of BatchNorm as they were, which then belong to other weights: `recompute_statistics` measures
    them anew.

    Attributes:
        model: The copy.
        task: Whose loss; of images, the cross-entropy in nats.
        names: Of its parameters.
        parameters: The copy's own tensors, in that order; they require gradients.
        start: Clones of the weights that the network came with.
    """

    def __init__(
        self,
        model: nn.Module,
        task: Criterion,
        batches: Callable[[], Iterator[Batch]],
        runtime: Runtime,
        total_weight: float | None = None,
    ) -> None:
        """Copy the network and try it.

        Args:
            model: A network that the task's loss can be computed of.
            task: What is measured.
            batches: Called for the batches, on the runtime's device, the same each time.
            runtime: Device and precision of the forward passes.
            total_weight: Σ weight of all samples; left out, a pass over them finds it.

        Raises:
            InputError: The task cannot use the network.
        """
        self.task, self.runtime, self._batches, self._weight = task, runtime, batches, total_weight
        self.model = runtime.place(copy.deepcopy(plain_network(model))).eval().requires_grad_(True)
        if runtime.precision == "bf16":  # the forward pass alone: losses are summed as they are
            self.model.forward = _in_autocast(self.model.forward, runtime)
        named = dict(self.model.named_parameters())
        self.names, self.parameters = tuple(named), list(named.values())
        task.prepare(self.model, next(self.batches()))
        self.start = [p.detach().clone() for p in self.parameters]
        self._norms = [m for m in self.model.modules() if isinstance(m, _NormBase) and m.track_running_stats]
        self._statistics = [b.detach().clone() for b in self._buffers()]

    @functools.cached_property
    def total_weight(self) -> float:
        """Σ weight of all samples: of images, their number."""
        if self._weight is not None:
            return self._weight
        return float(sum(self.task.evaluate(self.model, batch).weight.item() for batch in self.batches()))

    @property
    def has_statistics(self) -> bool:
        """Whether the network has running statistics, which other weights make wrong."""
        return bool(self._norms)

    def batches(self) -> Iterator[Batch]:
        """What the task's loss takes, on the device; of images all but the last have one size."""
        return self._batches()

    def loss_sum(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Σ loss of one batch, with its graph, and Σ weight."""
        return self.task.loss(self.model, batch)

    def gradient(self) -> tuple[float, list[Tensor]]:
        """Mean loss and its gradient, a tensor for each parameter, as `evaluate` sees it."""
        total = exact(torch.zeros((), device=self.runtime.device))
        gradient = [torch.zeros_like(p) for p in self.parameters]
        whole_weight = self.total_weight
        for batch in self.batches():
            loss, _ = self.loss_sum(batch)
            parts = torch.autograd.grad(loss / whole_weight, self.parameters, materialize_grads=True)
            for whole, part in zip(gradient, parts, strict=True):
                whole += part
            total += exact(loss.detach())
        return (total / whole_weight).item(), gradient

    @contextlib.contextmanager
    def batch_statistics(self) -> Iterator[None]:
        """Let BatchNorm normalise each batch by its own statistics, as in training.

        Meanwhile `evaluate` and `gradient` are of the loss with statistics that belong to the weights, and
        the gradient goes through them. It saves the pass of `recompute_statistics`, and differs from it as
        the statistics of one batch differ from the mean over the batches.
        """
        for norm in self._norms:
            norm.train()
        try:
            yield
        finally:
            self.model.eval()
            with torch.no_grad():
                for buffer, value in zip(self._buffers(), self._statistics, strict=True):
                    buffer.copy_(value)

    @torch.no_grad()
    def move_to(self, weights: Weights) -> None:
        """Put these weights into the copy; its running statistics become those that it came with."""
        for parameter, value in zip(self.parameters, weights, strict=True):
            parameter.copy_(value)
        for buffer, value in zip(self._buffers(), self._statistics, strict=True):
            buffer.copy_(value)

    def recompute_statistics(self) -> None:
        """Measure the running statistics of BatchNorm on all samples, unaugmented, at the present weights.

        They become the mean over the full batches of each batch's statistics, so use a batch of the size of
        training's or larger. What lies beyond the last full batch is left out.
        """
        if not self._norms:
            return
        whole = (Box(batch) for batch in self.batches() if count_samples(batch) == self._full_batch)
        update_bn(whole, BatchLoss(self.model, self.task))
        self.model.eval()

    @torch.no_grad()
    def evaluate(self) -> tuple[float, float]:
        """Mean loss and score (of images, accuracy in per cent; NaN where there is none) as the network is."""
        total = exact(torch.zeros(3, device=self.runtime.device))
        for batch in self.batches():
            total += torch.stack([*self.task.evaluate(self.model, batch)])
        loss, score, weight = total.tolist()
        return loss / weight, score / weight

    def evaluate_at(self, weights: Weights, *, recompute_statistics: bool) -> tuple[float, float]:
        """`evaluate` at other weights, with the statistics measured there or as the network came with."""
        self.move_to(weights)
        if recompute_statistics:
            self.recompute_statistics()
        return self.evaluate()

    @functools.cached_property
    def _full_batch(self) -> int:
        """Samples of the largest batch, found once: a pass over them loads and normalises every image."""
        return max(count_samples(batch) for batch in self.batches())

    def _buffers(self) -> list[Tensor]:
        return [b for m in self._norms for b in (m.running_mean, m.running_var) if b is not None]


class Box:
    """A batch that neither `update_bn` nor a functional call looks into."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch


class BatchLoss(nn.Module):
    """Σ loss of a batch by way of the task, which alone knows how the network is called, as a module."""

    def __init__(self, model: nn.Module, task: Criterion) -> None:
        super().__init__()
        self.model, self.task = model, task

    def forward(self, box: Box) -> Tensor:
        return self.task.loss(self.model, box.batch)[0]


def _in_autocast(forward: Callable[..., Any], runtime: Runtime) -> Callable[..., Any]:
    @functools.wraps(forward)
    def call(*arguments: Any, **named: Any) -> Any:
        with runtime.autocast():
            return forward(*arguments, **named)

    return call


def classification_objective(
    model: nn.Module,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    runtime: Runtime,
    batch: int = 500,
) -> Objective:
    """Mean cross-entropy (nats) of a classifier on fixed images.

    Args:
        model: Any classifier of (b, 3, H, W) images; one in float64 gets its images so.
        images: (n, H, W, 3) uint8, n ≥ 1.
        labels: (n,) integer ground truth, all known.
        mean, std: Per channel, in units of [0, 1], as in training.
        runtime: Device and precision of the forward passes; losses are summed in float64.
        batch: Images per forward pass; the last may have fewer.

    Raises:
        InputError: Images, labels or normalisation of another shape or range, a label that is unknown, or
            a network that does not take the images.
    """
    check_images(images, batch)
    targets = check_targets(labels, len(images))
    if targets.min() < 0:
        raise InputError("the loss needs the class of every image: leave out those without a label")
    pictures = Pictures.on_device(images, targets, mean, std, runtime, passes=2)  # or many more
    double = next((p.dtype for p in model.parameters()), None) == torch.float64

    def batches() -> Iterator[Batch]:
        for first in range(0, len(images), batch):
            x, y = pictures.load(first, first + batch)
            yield (x.double() if double else x), y

    return Objective(model, Classification(targets), batches, runtime, float(len(images)))


def objective_of(comparison: Comparison, i: int, batch: int) -> Objective:
    """The training loss of network ``i`` on the samples.

    Args:
        comparison: On labelled images, or on a task of the caller's own.
        i: Which network.
        batch: Images a forward pass; an own task's batches are as its loader gave them.

    Raises:
        InputError: As `classification_objective`, or the task cannot use the network.
    """
    runtime = comparison.runtime
    if comparison.task is not None:
        return Objective(comparison.build(i), comparison.task, comparison.batches, runtime)
    (mean, std), samples = comparison.common_scale(), comparison.labelled()
    return classification_objective(
        comparison.build(i),
        samples.images,
        samples.labels,
        mean=mean,
        std=std,
        runtime=runtime,
        batch=batch,
    )
