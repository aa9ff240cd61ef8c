"""Boxes as tensors: corners (x1, y1, x2, y2) or centres (cx, cy, w, h), in fractions of the image, half-open."""

from __future__ import annotations

import math

import torch
from torch import Tensor

CENTRE_VARIANCE, SIZE_VARIANCE = 0.1, 0.2
"""What offsets are divided by, so that those of the centre and of the size are of one magnitude."""
_LARGEST_GROWTH = math.log(1000 / 16)
"""Of a side, in what a network says: beyond it exp would overflow."""


def to_corners(centres: Tensor) -> Tensor:
    """(…, 4) of (cx, cy, w, h)."""
    half = centres[..., 2:] / 2
    return torch.cat([centres[..., :2] - half, centres[..., :2] + half], -1)


def to_centres(corners: Tensor) -> Tensor:
    """(…, 4) of (x1, y1, x2, y2)."""
    size = corners[..., 2:] - corners[..., :2]
    return torch.cat([corners[..., :2] + size / 2, size], -1)


def compute_overlap(first: Tensor, second: Tensor) -> Tensor:
    """Intersection over union (…, n, m) of corners (…, n, 4) and (…, m, 4); 0 where both are empty."""
    # each coordinate by itself: pairs as a last axis take twice the time
    ax1, ay1, ax2, ay2 = (at[..., :, None] for at in first.movedim(-1, 0).contiguous())
    bx1, by1, bx2, by2 = (at[..., None, :] for at in second.movedim(-1, 0).contiguous())
    wide = (torch.minimum(ax2, bx2) - torch.maximum(ax1, bx1)).clamp_min(0)
    shared = wide * (torch.minimum(ay2, by2) - torch.maximum(ay1, by1)).clamp_min(0)
    union = (ax2 - ax1) * (ay2 - ay1) + (bx2 - bx1) * (by2 - by1) - shared
    return shared / union.clamp_min(torch.finfo(union.dtype).tiny)


def encode_boxes(corners: Tensor, priors: Tensor) -> Tensor:
    """What a network should say where a prior (…, 4), as centres, stands for a box (…, 4): offsets (…, 4).

    Those of a box without area are not finite.
    """
    box = to_centres(corners)
    centre = (box[..., :2] - priors[..., :2]) / priors[..., 2:] / CENTRE_VARIANCE
    return torch.cat([centre, (box[..., 2:] / priors[..., 2:]).log() / SIZE_VARIANCE], -1)


def decode_boxes(offsets: Tensor, priors: Tensor) -> Tensor:
    """Corners (…, 4) of what a network says, offsets (…, 4) of priors as centres; the inverse of `encode_boxes`.

    Not clipped to the image. A side is at most 62.5 times the prior's.
    """
    centre = offsets[..., :2] * CENTRE_VARIANCE * priors[..., 2:] + priors[..., :2]
    size = (offsets[..., 2:] * SIZE_VARIANCE).clamp(max=_LARGEST_GROWTH).exp() * priors[..., 2:]
    return to_corners(torch.cat([centre, size], -1))
