"""The training loss as a function of the weights: what barriers, sharpness, curvature and landscapes look at."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.optim.swa_utils import update_bn

from ralr_viz.analysis.network import check_outputs
from ralr_viz.analysis.pictures import PROBE_IMAGES, Pictures, check_images, check_targets
from ralr_viz.comparison import Comparison
from ralr_viz.comparison.network import plain_network
from ralr_viz.errors import InputError
from ralr_viz.models.outputs import count_labelled, find_logits, return_logits
from ralr_viz.train.runtime import Runtime

Weights = Sequence[Tensor]
"""One tensor for each parameter, in the order of `Objective.names`."""


class Objective:
    """Mean cross-entropy (nats) of a private copy of a network on fixed images, at weights of one's choice.

    The copy is in eval mode and the caller's network is never touched. Moving the weights leaves the running
    statistics of BatchNorm as they were, which then belong to other weights: `recompute_statistics` measures
    them anew.

    Attributes:
        model: The copy.
        names: Of its parameters.
        parameters: The copy's own tensors, in that order; they require gradients.
        start: Clones of the weights that the network came with.
    """

    def __init__(
        self,
        model: nn.Module,
        images: np.ndarray,
        labels: np.ndarray,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        runtime: Runtime,
        batch: int = 500,
    ) -> None:
        """Copy the network and check the images.

        Args:
            model: Any classifier of (b, 3, H, W) images; one in float64 gets its images so.
            images: (n, H, W, 3) uint8, n ≥ 1.
            labels: (n,) integer ground truth, all known.
            mean, std: Per channel, in units of [0, 1], as in training.
            runtime: Device and precision of the forward passes; losses are summed in float64.
            batch: Images per forward pass.

        Raises:
            InputError: Images, labels or normalisation of another shape or range, a label that is unknown, or
                a network that does not take the images.
        """
        check_images(images, batch)
        targets = check_targets(labels, len(images))
        if targets.min() < 0:
            raise InputError("the loss needs the class of every image: leave out those without a label")
        self.runtime, self.batch = runtime, min(batch, len(images))
        self.model = runtime.place(copy.deepcopy(plain_network(model))).eval().requires_grad_(True)
        self._pictures = Pictures.on_device(images, targets, mean, std, runtime)
        named = dict(self.model.named_parameters())
        self.names, self.parameters = tuple(named), list(named.values())
        check_outputs(self.model, self._load(0, PROBE_IMAGES)[0], targets)
        return_logits(self.model, labelled=count_labelled(targets))
        self.start = [p.detach().clone() for p in self.parameters]
        self._norms = [m for m in self.model.modules() if isinstance(m, _NormBase) and m.track_running_stats]
        self._statistics = [b.detach().clone() for b in self._buffers()]

    @property
    def num_images(self) -> int:
        """n."""
        return len(self._pictures.images)

    @property
    def has_statistics(self) -> bool:
        """Whether the network has running statistics, which other weights make wrong."""
        return bool(self._norms)

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Normalised images (b, 3, H, W) and labels (b,) on the device; the last batch may be smaller."""
        for first in range(0, self.num_images, self.batch):
            yield self._load(first, first + self.batch)

    def loss_sum(self, x: Tensor, y: Tensor) -> Tensor:
        """Summed cross-entropy of one batch, with its graph."""
        with self.runtime.autocast():
            logits = find_logits(self.model(x))
        if logits.dtype != torch.float64:
            logits = logits.float()
        return nn.functional.cross_entropy(logits, y, reduction="sum")

    def gradient(self) -> tuple[float, list[Tensor]]:
        """Mean cross-entropy in nats and its gradient, a tensor for each parameter, as `evaluate` sees it."""
        total = torch.zeros((), dtype=torch.float64, device=self.runtime.device)
        gradient = [torch.zeros_like(p) for p in self.parameters]
        for x, y in self.batches():
            loss = self.loss_sum(x, y)
            parts = torch.autograd.grad(loss / self.num_images, self.parameters, materialize_grads=True)
            for whole, part in zip(gradient, parts, strict=True):
                whole += part
            total += loss.detach()
        return (total / self.num_images).item(), gradient

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
        """Measure the running statistics of BatchNorm on all images, unaugmented, at the present weights.

        They become the mean over the full batches of each batch's statistics, so use a batch of the size of
        training's or larger. The images beyond the last full batch are left out.
        """
        if not self._norms:
            return
        whole = (x for x, _ in self.batches() if len(x) == self.batch)
        with self.runtime.autocast():
            update_bn(whole, self.model)
        self.model.eval()

    @torch.no_grad()
    def evaluate(self) -> tuple[float, float]:
        """Mean cross-entropy in nats and accuracy in per cent at the present weights and statistics."""
        total = torch.zeros(2, dtype=torch.float64, device=self.runtime.device)
        for x, y in self.batches():
            with self.runtime.autocast():
                logits = find_logits(self.model(x))
            logits = logits.double()
            loss = nn.functional.cross_entropy(logits, y, reduction="sum")
            total += torch.stack([loss, (logits.argmax(1) == y).sum()])
        loss_sum, correct = (total / self.num_images).tolist()
        return loss_sum, 100 * correct

    def evaluate_at(self, weights: Weights, *, recompute_statistics: bool) -> tuple[float, float]:
        """`evaluate` at other weights, with the statistics measured there or as the network came with."""
        self.move_to(weights)
        if recompute_statistics:
            self.recompute_statistics()
        return self.evaluate()

    def _load(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        x, y = self._pictures.load(start, stop)
        double = bool(self.parameters) and self.parameters[0].dtype == torch.float64
        return (x.double() if double else x), y

    def _buffers(self) -> list[Tensor]:
        return [b for m in self._norms for b in (m.running_mean, m.running_var) if b is not None]


def objective_of(comparison: Comparison, i: int, batch: int) -> Objective:
    """The training loss of network ``i`` on the samples; arguments and errors of `Objective`."""
    mean, std = comparison.common_scale()
    samples = comparison.samples
    return Objective(
        comparison.build(i),
        samples.images,
        samples.labels,
        mean=mean,
        std=std,
        runtime=comparison.runtime,
        batch=batch,
    )
