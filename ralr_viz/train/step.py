"""One step of a training."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ralr_viz.train.runtime import Runtime


def train_step(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    x: Tensor,
    y: Tensor,
    totals: Tensor,
    runtime: Runtime,
    target: Tensor | None = None,
    label_smoothing: float = 0.0,
) -> None:
    """One optimizer step on the mean cross-entropy; nothing in it waits for the device.

    Args:
        network: In training mode.
        optimizer: Of its parameters, with no gradients left from before.
        x: (b, 3, H, W) float32 normalised images.
        y: (b,) int64, each image's own label.
        totals: (3,) float32, to which Σ loss (nats), the number of predictions of ``y`` and the norm of the
            gradient are added.
        runtime: Where and in which precision.
        target: (b, C) float32 rows of sum 1 that the loss is against where images are mixed; else ``y``.
        label_smoothing: ε in [0, 1), as torch's ``cross_entropy`` takes it.
    """
    with runtime.autocast():
        logits = network(x)
    logits = logits.float()
    loss = nn.functional.cross_entropy(
        logits, y if target is None else target, label_smoothing=label_smoothing
    )
    loss.backward()
    with torch.no_grad():
        gradients = [
            p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None
        ]
        norm = nn.utils.get_total_norm(gradients)
        totals += torch.stack([loss * len(y), (logits.argmax(1) == y).sum().float(), norm])
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
