"""Batched random crop and flip of uint8 images, on the device that holds them.

The draws of an epoch are a pure function of (seed, epoch) from a CPU generator, so that they are the same
on every device, after a resume and in both arms of a pair.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class EpochPlan:
    """Order and augmentation of one epoch; row i belongs to the i-th image that is shown.

    Attributes:
        order: (n,) int64 indices into the training images.
        top, left: (n,) int64 offsets of the crop in [0, 2·padding].
        flip: (n,) bool, mirror horizontally.
    """

    order: Tensor
    top: Tensor
    left: Tensor
    flip: Tensor

    def to(self, device: torch.device) -> EpochPlan:
        """The plan on a device, in one transfer each."""
        return EpochPlan(*(t.to(device) for t in (self.order, self.top, self.left, self.flip)))


def plan_epoch(seed: int, epoch: int, n: int, *, padding: int, flip: bool) -> EpochPlan:
    """Draw an epoch's order and augmentation.

    Args:
        seed: Training seed.
        epoch: 0-based index of the epoch.
        n: Number of training images.
        padding: Zero padding of the random crop, in pixels.
        flip: Whether to mirror half of the images.
    """
    order = torch.randperm(n, generator=_generator(seed, epoch, "order"))
    draws = _generator(seed, epoch, "augmentation")
    offsets = torch.randint(0, 2 * padding + 1, (2, n), generator=draws)
    mirror = torch.rand(n, generator=draws) < 0.5
    return EpochPlan(order, offsets[0], offsets[1], mirror if flip else torch.zeros_like(mirror))


def pad_images(images: Tensor, padding: int) -> Tensor:
    """Zero-pad (n, H, W, 3) uint8 images on each side; black, before any normalisation (paper section 5.1)."""
    return torch.nn.functional.pad(images, (0, 0, padding, padding, padding, padding))


def crop_batch(padded: Tensor, plan: EpochPlan, start: int, stop: int, padding: int) -> Tensor:
    """Images ``start:stop`` of the epoch, cropped and flipped.

    One gather of static shape: no synchronisation with the device.

    Args:
        padded: (n, H + 2·padding, W + 2·padding, 3) uint8.
        plan: The epoch's plan, on the same device.

    Returns:
        (stop − start, H, W, 3) uint8.
    """
    index = plan.order[start:stop]
    if padding == 0:
        rows = torch.arange(padded.shape[1], device=padded.device).expand(stop - start, -1)
        columns = torch.arange(padded.shape[2], device=padded.device).expand(stop - start, -1)
    else:
        height, width = padded.shape[1] - 2 * padding, padded.shape[2] - 2 * padding
        rows = plan.top[start:stop, None] + torch.arange(height, device=padded.device)
        columns = plan.left[start:stop, None] + torch.arange(width, device=padded.device)
    columns = torch.where(plan.flip[start:stop, None], columns.flip(1), columns)
    return padded[index[:, None, None], rows[:, :, None], columns[:, None, :]]


def normalise_batch(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """uint8 (b, H, W, 3) to float32 (b, 3, H, W) in channels_last memory: (x/255 − mean) / std per channel."""
    scaled = (images.to(torch.float32) - 255 * mean) / (255 * std)
    return scaled.permute(0, 3, 1, 2)


def _generator(seed: int, epoch: int, stream: str) -> torch.Generator:
    """A stream per (seed, epoch, use); hashed, since seed + epoch would make neighbouring seeds overlap."""
    digest = hashlib.blake2b(f"{stream}/{seed}/{epoch}".encode(), digest_size=8).digest()
    # the CPU generator takes 64 bits; one bit less keeps it a positive int64
    return torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)
