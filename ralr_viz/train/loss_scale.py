"""Loss scaling of a training in fp16, whose small gradients are zero without it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class LossScale:
    """torch's `GradScaler`, and how many steps of the epoch it has skipped; of other precisions it does nothing.

    The loss is multiplied by a scale, which the gradient loses again before it is looked at. A step whose scaled
    gradient overflows changes no weight, and halves the scale. Nothing here waits for the device, if the optimizer is
    fused.

    Attributes:
        enabled: In fp16.
        skipped: () float32 on the device: steps of the epoch without an update.
    """

    def __init__(self, precision: str, device: torch.device) -> None:
        self.enabled = precision == "fp16"
        self._scaler = torch.amp.GradScaler(device.type, enabled=self.enabled)
        self.skipped = torch.zeros((), device=device)

    def prepare(self, optimizer: torch.optim.Optimizer) -> None:
        """Give SGD its momenta before its first step: fused, it leaves them uninitialised where that one is skipped."""
        if not (self.enabled and isinstance(optimizer, torch.optim.SGD)):
            return
        for group in optimizer.param_groups:
            for parameter in group["params"] if group["momentum"] else ():
                optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)

    def scale(self, loss: Tensor) -> Tensor:
        """What to call ``backward`` of."""
        return self._scaler.scale(loss) if self.enabled else loss

    def unscale(self, optimizer: torch.optim.Optimizer) -> None:
        """Make its gradients those of the loss; once a step, behind the last ``backward``."""
        if self.enabled:
            self._scaler.unscale_(optimizer)

    def count(self, norm: Tensor) -> Tensor:
        """Count the step as skipped where the norm of its gradient is not finite; the norm, of a skipped step 0."""
        if not self.enabled:
            return norm
        finite = norm.isfinite()
        self.skipped += ~finite
        return torch.where(finite, norm, 0.0)

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        """The optimizer's step, unless it is skipped."""
        if self.enabled:
            self._scaler.step(optimizer)
            self._scaler.update()
        else:
            optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        """For the checkpoint; empty in other precisions."""
        return self._scaler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a saved state; of a training in another precision, nothing.

        Raises:
            RuntimeError: It is missing.
        """
        self._scaler.load_state_dict(state)


UNSCALED = LossScale("fp32", torch.device("cpu"))
"""What a step in other precisions has; it keeps nothing."""
