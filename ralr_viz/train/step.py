"""One step of a training."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ralr_viz.runtime.device import Runtime
from ralr_viz.tasks.batches import Batch
from ralr_viz.tasks.task import Part, Task
from ralr_viz.train.loss_scale import UNSCALED, LossScale


class Totals:
    """Sums over the steps of an epoch, on the device: no step waits for them.

    Attributes:
        values: (k + 5,) float32: Σ loss, the task's k counts and Σ weight, which each rank has of its own parts; then
            Σ norm of the gradient, the number of clipped steps and the largest norm, which all ranks have alike.
    """

    _COMMON = 3

    def __init__(self, values: Tensor) -> None:
        self.values = values

    @classmethod
    def zero(cls, counts: int, device: torch.device) -> Totals:
        """Of no step yet."""
        return cls(torch.zeros(counts + 2 + cls._COMMON, device=device))

    @classmethod
    def load(cls, values: Tensor, shown: float, device: torch.device) -> Totals:
        """What was saved, a copy.

        Args:
            values: As they were, or of an older version: Σ loss, the number of right predictions, Σ norm.
            shown: Samples of the steps that they are of.
        """
        if len(values) == 3:
            values = torch.cat([values[:2], values.new_tensor([shown]), values[2:], values.new_zeros(2)])
        return cls(values.to(device, copy=True))

    @property
    def own(self) -> Tensor:
        """What is summed over the ranks, a view."""
        return self.values[: -self._COMMON]

    def add(self, parts: Sequence[Part], norm: Tensor, clip: float) -> None:
        """Add a step."""
        for part in parts:
            # filled, not copied: a copy of a number would wait for the device
            weight = part.weight if isinstance(part.weight, Tensor) else torch.full_like(norm, part.weight)
            weight = weight.to(torch.float32)
            self.own.add_(torch.cat([(part.mean.detach() * weight)[None], part.counts, weight[None]]))
        clipped = (norm > clip).float() if clip else torch.zeros_like(norm)
        self.values[-3:-1] += torch.stack([norm, clipped])
        self.values[-1] = torch.maximum(self.values[-1], norm)


def train_step(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    task: Task,
    batches: Sequence[Batch],
    totals: Totals,
    runtime: Runtime,
    clip: float = 0.0,
    scale: LossScale = UNSCALED,
) -> list[Part]:
    """One optimizer step on the mean loss; nothing in it waits for the device.

    Args:
        network: In training mode.
        optimizer: Of its parameters, with no gradients left from before.
        task: Whose loss is trained on.
        batches: Of the step; several are weighted by their weights.
        totals: Of the epoch, to which the step is added.
        runtime: Where and in which precision.
        clip: Largest norm of the gradient; 0 for no bound.
        scale: Of the loss, in fp16.

    Returns:
        What became of each batch.
    """
    parts = []
    for batch, share, last in zip(batches, _shares(task, batches), _is_last(batches), strict=True):
        # gradients are exchanged among ranks once, with the last
        quiet = contextlib.nullcontext() if last else getattr(network, "no_sync", contextlib.nullcontext)()
        with quiet:
            part = task.train_loss(network, batch, runtime)
            scale.scale(part.mean if share is None else part.mean * share).backward()
        parts.append(part)
    scale.unscale(optimizer)
    with torch.no_grad():
        parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        totals.add(parts, scale.count(norm), clip)
        if clip:
            nn.utils.clip_grads_with_norm_(parameters, clip, norm)
    scale.step(optimizer)
    optimizer.zero_grad(set_to_none=True)
    return parts


def _shares(task: Task, batches: Sequence[Batch]) -> list[Tensor | float | None]:
    """Each batch's share of the step's weight; None for a single one, whose mean stays as it is."""
    if len(batches) == 1:
        return [None]
    weights = [task.weigh(batch) for batch in batches]
    return [weight / sum(weights) for weight in weights]


def _is_last(batches: Sequence[Batch]) -> list[bool]:
    return [i == len(batches) - 1 for i in range(len(batches))]
