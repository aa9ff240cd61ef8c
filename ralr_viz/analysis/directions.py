"""Random directions in the space of the weights, as long as the filters that they move."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ralr_viz.analysis.objective import Weights


def filter_norms(weights: Weights) -> list[Tensor]:
    """Euclidean norm of each filter, in a shape that broadcasts against its tensor; zero for vectors.

    A filter is what makes one output: a slice along the first axis of a convolution or of a matrix.
    Parameters of one axis or none (biases and BatchNorm's scales and shifts) have none: they stay where they
    are, as in the reference's code.

    Args:
        weights: One tensor a parameter.

    Returns:
        For each, (outputs, 1, …), or zeros of its own shape.
    """
    return [_norms(w) if w.ndim > 1 else torch.zeros_like(w) for w in weights]


def normalise_filters(direction: Weights, norms: Sequence[Tensor]) -> list[Tensor]:
    """The direction with each filter scaled to a norm: d_f · ‖w_f‖ / ‖d_f‖, zero where either is.

    Args:
        direction: One tensor a parameter.
        norms: As `filter_norms` returns them.
    """
    scaled = []
    for d, norm in zip(direction, norms, strict=True):
        own = _norms(d) if d.ndim > 1 else torch.ones_like(d)
        scaled.append(d * torch.where(own > 0, norm / own, 0))
    return scaled


def random_direction(weights: Weights, seed: int, index: int) -> list[Tensor]:
    """A Gaussian direction, filter-normalised: at radius ρ each filter moves by ρ times its own norm.

    Networks whose parameters have the same shapes get the same draws, on every device, which their filters'
    norms then scale: a filter of ten times the norm moves ten times as far.

    Args:
        weights: Where one stands; gives shapes, norms, types and device.
        seed, index: Of the draws; the same pair gives the same direction.

    References:
        Li et al., Visualizing the loss landscape of neural nets, NeurIPS 2018, section 4.
    """
    entropy = np.random.SeedSequence([seed, index]).generate_state(2, np.uint32)
    generator = torch.Generator().manual_seed(int(entropy[0]) << 31 ^ int(entropy[1]))
    drawn = [torch.randn(w.shape, generator=generator).to(w.device, w.dtype) for w in weights]
    return normalise_filters(drawn, filter_norms(weights))


def step(start: Weights, direction: Weights, radius: float) -> list[Tensor]:
    """``start + radius · direction``."""
    return [w + radius * d for w, d in zip(start, direction, strict=True)]


def _norms(tensor: Tensor) -> Tensor:
    return tensor.flatten(1).norm(dim=1).reshape(-1, *(1,) * (tensor.ndim - 1))
