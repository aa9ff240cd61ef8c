"""The mean of the weights of several states of a network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor


def average_weights(states: Iterable[Mapping[str, Tensor]], decay: float | None = None) -> dict[str, Tensor]:
    """Mean of each floating tensor over states that come one at a time, in float64; others are the last state's.

    Args:
        states: At least one.
        decay: Of the exponential mean; None for the plain one.
    """
    sums: dict[str, Tensor] = {}
    last: Mapping[str, Tensor] = {}
    for count, last in enumerate(states, 1):
        share = 1 / count if decay is None or count == 1 else 1 - decay
        for name, value in last.items():
            if value.is_floating_point():
                exact = value.double()
                sums[name] = exact if count == 1 else torch.lerp(sums[name], exact, share)
    return {name: sums[name].to(value.dtype) if name in sums else value for name, value in last.items()}
