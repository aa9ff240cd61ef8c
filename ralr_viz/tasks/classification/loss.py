"""Classification of images: cross-entropy in nats and accuracy."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ralr_viz.models.outputs import check_outputs, count_labelled, find_logits, return_logits
from ralr_viz.results.tasks import ACCURACY, CLASSIFICATION
from ralr_viz.tasks.batches import Batch
from ralr_viz.tasks.exact import exact
from ralr_viz.tasks.task import Each, Sums


class Classification:
    """Batches are normalised images (b, 3, H, W) and classes (b,) int64, all known.

    Args:
        labels: (n,) of all the samples, by which a network's logits are told from its other outputs.
    """

    name = CLASSIFICATION
    score = ACCURACY
    loss_unit = "nats"

    def __init__(self, labels: np.ndarray) -> None:
        self._labels = labels

    def prepare(self, model: nn.Module, batch: Batch) -> None:
        """Hold the labels against the network's classes, and let it return its logits alone."""
        check_outputs(model, batch[0], self._labels)
        return_logits(model, labelled=count_labelled(self._labels))

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """Summed cross-entropy, and the number of images."""
        x, y = batch
        logits = self.logits(model(x))
        if logits.dtype != torch.float64:
            logits = logits.float()
        return nn.functional.cross_entropy(logits, y, reduction="sum"), y.new_tensor(len(y))

    def logits(self, outputs: Any) -> Tensor:
        """The logits (b, classes) in what a network returns, as the cross-entropy takes them."""
        return find_logits(outputs)

    @torch.no_grad()
    def evaluate(self, model: nn.Module, batch: Batch) -> Sums:
        """Summed cross-entropy, 100 for each image that is right, and the number of images."""
        x, y = batch
        logits = exact(self.logits(model(x)))
        y = y.to(logits.device)
        right = (logits.argmax(1) == y).sum().double()
        loss = nn.functional.cross_entropy(logits, y, reduction="sum")
        return Sums(loss, 100 * right, right.new_tensor(len(y)))

    @torch.no_grad()
    def each(self, model: nn.Module, batch: Batch) -> Each:
        """Cross-entropy of each image, and whether its class is predicted."""
        x, y = batch
        logits = exact(self.logits(model(x)))
        y = y.to(logits.device)
        losses = nn.functional.cross_entropy(logits, y, reduction="none")
        return Each(losses, torch.ones_like(losses), logits.argmax(1) == y)


class NormalisedLogits(Classification):
    r"""The same of logits of one scale, :math:`\tilde f = f / \sqrt{\frac1K \sum_k (f_k - \bar f)^2}`.

    The scale of the logits changes no prediction, but with it the loss and every curvature of it grow or shrink.

    References:
        Andriushchenko et al., A modern look at the relationship between sharpness and generalization, ICML 2023.
    """

    _LEAST = 1e-12

    def logits(self, outputs: Any) -> Tensor:
        """Logits of standard deviation 1 in each row; zeros where all classes are equal."""
        found = exact(super().logits(outputs))
        spread = found.std(dim=1, correction=0, keepdim=True)
        return (found - found.mean(dim=1, keepdim=True)) / spread.clamp(min=self._LEAST)


class BothScales(Classification):
    """The plain loss, noting that of `NormalisedLogits` of the same forward passes.

    Attributes:
        normalised: Σ of it in nats, of all that was evaluated since it was set to 0; on the device.
    """

    def __init__(self, labels: np.ndarray) -> None:
        super().__init__(labels)
        self._other = NormalisedLogits(labels)
        self.normalised: Tensor | float = 0.0

    @torch.no_grad()
    def evaluate(self, model: nn.Module, batch: Batch) -> Sums:
        """As of `Classification`."""
        done = _Done(model(batch[0]))
        self.normalised = self.normalised + self._other.evaluate(done, batch).loss
        return super().evaluate(done, batch)


class _Done(nn.Module):
    """A network that has run: what it returned."""

    def __init__(self, outputs: Any) -> None:
        super().__init__()
        self.outputs = outputs

    def forward(self, _: Tensor) -> Any:
        return self.outputs
