"""Batches of augmented images, made from uint8 on the device that holds them.

The draws of an epoch are a pure function of (seed, epoch) from a CPU generator, so that they are the same
on every device, after a resume and in both arms of a pair.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ralr_viz.data.mixing import (
    MixingPlan,
    cut_out,
    draw_holes,
    draw_mixing,
    mix_images,
    mix_labels,
    send,
)


@dataclass(frozen=True)
class EpochPlan:
    """Order and augmentation of one epoch; row i belongs to the i-th image that is shown.

    Attributes:
        order: (n,) int64 indices into the training images.
        top, left: (n,) int64 offsets of the crop in [0, 2·padding].
        flip: (n,) bool, mirror horizontally.
        hole: (n, 4) int64 top, left, bottom, right (exclusive) of Cutout's square; None without Cutout.
        mixing: Partners of Mixup or CutMix; None without them.
    """

    order: Tensor
    top: Tensor
    left: Tensor
    flip: Tensor
    hole: Tensor | None = None
    mixing: MixingPlan | None = None

    def to(self, device: torch.device) -> EpochPlan:
        """The plan on a device, in one transfer each, for which the host does not wait."""
        order, top, left, flip = (send(t, device) for t in (self.order, self.top, self.left, self.flip))
        return EpochPlan(
            order,
            top,
            left,
            flip,
            None if self.hole is None else send(self.hole, device),
            None if self.mixing is None else self.mixing.to(device),
        )


def plan_epoch(
    seed: int,
    epoch: int,
    n: int,
    *,
    padding: int,
    flip: bool,
    size: tuple[int, int] = (1, 1),
    batch: int = 1,
    cutout: int = 0,
    mixup: float = 0.0,
    cutmix: float = 0.0,
    cutmix_alpha: float = 1.0,
) -> EpochPlan:
    """Draw an epoch's order and augmentation.

    Each kind has a stream of its own, so that switching one on or off leaves the others as they are.

    Args:
        seed: Training seed.
        epoch: 0-based index of the epoch.
        n: Number of training images.
        padding: Zero padding of the random crop, in pixels.
        flip: Whether to mirror half of the images.
        size: (H, W) of the images in pixels; for Cutout and CutMix.
        batch: Images of a batch, among which partners are found; for Mixup and CutMix.
        cutout: Side of Cutout's square in pixels; 0 for none.
        mixup: α of Mixup; 0 for none.
        cutmix: Probability that CutMix cuts a batch; 0 for none.
        cutmix_alpha: α of CutMix.
    """
    order = draw_order(seed, epoch, n)
    draws = _generator(seed, epoch, "augmentation")
    offsets = torch.randint(0, 2 * padding + 1, (2, n), generator=draws)
    mirror = torch.rand(n, generator=draws) < 0.5
    hole, mixing = None, None
    if cutout:
        hole = draw_holes(_generator(seed, epoch, "cutout"), n, size, cutout)
    if mixup or cutmix:
        stream = _generator(seed, epoch, "mixing")
        mixing = draw_mixing(stream, n, batch, size, mixup=mixup, cutmix=cutmix, cutmix_alpha=cutmix_alpha)
    mirror = mirror if flip else torch.zeros_like(mirror)
    return EpochPlan(order, offsets[0], offsets[1], mirror, hole, mixing)


def draw_order(seed: int, epoch: int, n: int) -> Tensor:
    """(n,) int64: the order of ``n`` training images in an epoch, whatever is made of them."""
    return torch.randperm(n, generator=_generator(seed, epoch, "order"))


@dataclass(frozen=True)
class BatchLoader:
    """Makes the batches of an epoch from the training images.

    Attributes:
        padded: (N, H + 2·padding, W + 2·padding, 3) uint8, as `pad_images` gives them.
        labels: (N,) int64 in [0, num_classes).
        mean, std: (3,) float32 of the normalisation, on the same device.
        num_classes: Width of the soft targets.
        padding: Of the crop, in pixels.
    """

    padded: Tensor
    labels: Tensor
    mean: Tensor
    std: Tensor
    num_classes: int
    padding: int

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of an image in pixels."""
        height, width = self.padded.shape[1:3]
        return height - 2 * self.padding, width - 2 * self.padding

    def load(self, plan: EpochPlan, start: int, stop: int) -> tuple[Tensor, Tensor, Tensor | None]:
        """Images ``start:stop`` of the epoch: cropped, flipped, normalised, cut out, mixed.

        A part of a batch is the same rows as in the whole batch, with partners from outside the part.

        Returns:
            x: (b, 3, H, W) float32.
            y: (b,) int64, each image's own label.
            target: (b, num_classes) float32 with rows of sum 1 where images are mixed, else None.
        """
        x, y = self._load(plan, slice(start, stop))
        if plan.mixing is None:
            return x, y, None
        share = plan.mixing.share[start:stop]
        box = None if plan.mixing.box is None else plan.mixing.box[start:stop]
        other, label = self._load(plan, plan.mixing.partner[start:stop])
        return mix_images(x, other, share, box), y, mix_labels(y, label, share, self.num_classes)

    def _load(self, plan: EpochPlan, at: slice | Tensor) -> tuple[Tensor, Tensor]:
        index = plan.order[at]
        cropped = _crop(self.padded, index, plan.top[at], plan.left[at], plan.flip[at], self.padding)
        x = normalise_batch(cropped, self.mean, self.std)
        if plan.hole is not None:
            x = cut_out(x, plan.hole[at])
        return x, self.labels[index]


def augment_once(images: np.ndarray, *, padding: int, flip: bool, seed: int = 0) -> np.ndarray:
    """One fixed draw of training's augmentation: (n, H, W, 3) uint8, each image cropped and mirrored at random.

    A network normalises by the statistics of what it was trained on. Statistics measured on images without
    the black borders of padded crops are others: of the published CIFAR-10 baseline they raise the training
    loss from 0.29 to 0.39 nats at the very same weights.

    Cutout, Mixup and CutMix are left out, also where a network was trained with them: the images and labels
    stay whole, so that the loss is the plain one.

    Args:
        images: (n, H, W, 3) uint8.
        padding: Of the random crop, in pixels.
        flip: Whether half of the images are mirrored.
        seed: Of the draw; equal for networks that are compared.
    """
    plan = plan_epoch(seed, 0, len(images), padding=padding, flip=flip)
    plan = replace(plan, order=torch.arange(len(images)))
    padded = pad_images(torch.from_numpy(np.array(images)), padding)
    return crop_batch(padded, plan, 0, len(images), padding).numpy()


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
    at = slice(start, stop)
    return _crop(padded, plan.order[at], plan.top[at], plan.left[at], plan.flip[at], padding)


def normalise_batch(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """uint8 (b, H, W, 3) to float32 (b, 3, H, W) in channels_last memory: (x/255 − mean) / std per channel."""
    scaled = (images.to(torch.float32) - 255 * mean) / (255 * std)
    return scaled.permute(0, 3, 1, 2)


def _crop(padded: Tensor, index: Tensor, top: Tensor, left: Tensor, flip: Tensor, padding: int) -> Tensor:
    if padding == 0:
        rows = torch.arange(padded.shape[1], device=padded.device).expand(len(index), -1)
        columns = torch.arange(padded.shape[2], device=padded.device).expand(len(index), -1)
    else:
        height, width = padded.shape[1] - 2 * padding, padded.shape[2] - 2 * padding
        rows = top[:, None] + torch.arange(height, device=padded.device)
        columns = left[:, None] + torch.arange(width, device=padded.device)
    columns = torch.where(flip[:, None], columns.flip(1), columns)
    return padded[index[:, None, None], rows[:, :, None], columns[:, None, :]]


def _generator(seed: int, epoch: int, stream: str) -> torch.Generator:
    """A stream per (seed, epoch, use); hashed, since seed + epoch would make neighbouring seeds overlap."""
    digest = hashlib.blake2b(f"{stream}/{seed}/{epoch}".encode(), digest_size=8).digest()
    # the CPU generator takes 64 bits; one bit less keeps it a positive int64
    return torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)
