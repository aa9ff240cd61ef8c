"""Sums that do not depend on the precision of what is summed."""

from __future__ import annotations

from torch import Tensor


def exact(tensor: Tensor) -> Tensor:
    """The numbers in float64; on the host where the device, Apple's MPS, has none."""
    return (tensor.cpu() if tensor.device.type == "mps" else tensor).double()
