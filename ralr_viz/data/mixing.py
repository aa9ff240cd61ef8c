"""Mixup, CutMix and Cutout: what an epoch draws of them, and what they do to a batch.

What is drawn stands for each position in the epoch, so that any part of a batch can be made alone and is the
same rows as in the whole. All shapes are static and no value is looked at: nothing waits for the device.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from scipy.special import betaincinv
from torch import Tensor


@dataclass(frozen=True)
class MixingPlan:
    """Whom each image of an epoch is mixed with, and how; row i belongs to the i-th image that is shown.

    Attributes:
        partner: (n,) int64 position in the epoch, within the same batch; may be the image itself. It has no
            effect where the share is 1.
        share: (n,) float32 in [0, 1], the paper's λ: what is left of the image and of its label.
        box: (n, 4) int64 top, left, bottom, right (exclusive) of the partner's pixels where CutMix pastes
            them, empty where it does not; None for Mixup.
    """

    partner: Tensor
    share: Tensor
    box: Tensor | None

    def to(self, device: torch.device) -> MixingPlan:
        """The plan on a device, in one transfer each, for which the host does not wait."""
        box = None if self.box is None else send(self.box, device)
        return MixingPlan(send(self.partner, device), send(self.share, device), box)


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """A host's tensor on a device; to CUDA from pinned memory, without waiting for what the device does."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def draw_mixing(
    generator: torch.Generator,
    n: int,
    batch: int,
    size: tuple[int, int],
    *,
    mixup: float = 0.0,
    cutmix: float = 0.0,
    cutmix_alpha: float = 1.0,
) -> MixingPlan:
    r"""Draw the partners and shares of an epoch.

    One λ ~ Beta(α, α) a batch and a permutation of the batch for its partners. CutMix pastes a box of sides
    :math:`2\lfloor\lfloor H\sqrt{1-\lambda}\rfloor/2\rfloor` (likewise W) around a centre that is uniform over
    the pixels, cut at the border; ``share`` is then what the box, as cut, leaves.

    Args:
        generator: On the CPU.
        n: Number of images in the epoch.
        batch: Images of a batch; the last one may have fewer.
        size: (H, W) of the images in pixels.
        mixup: α > 0, or 0 for CutMix.
        cutmix: Probability in [0, 1] that a batch is cut.
        cutmix_alpha: α > 0 of CutMix.

    References:
        Zhang et al., mixup (2018); Yun et al., CutMix (2019), Algorithm A1 and its published code.
    """
    batches = math.ceil(n / batch)
    # one row a batch, whatever is made of it: switching one option leaves the others' draws alone
    apply, level, row, column = torch.rand((4, batches), generator=generator, dtype=torch.float64)
    alpha = mixup or cutmix_alpha
    # the inverse of the distribution function: torch's own Beta takes no generator
    share = torch.from_numpy(betaincinv(alpha, alpha, level.numpy()))
    box = None
    if not mixup:
        share, box = _draw_boxes(share, row, column, apply < cutmix, size)
    starts = range(0, n, batch)
    partner = torch.cat(
        [start + torch.randperm(min(batch, n - start), generator=generator) for start in starts]
    )
    of_batch = torch.arange(n) // batch
    return MixingPlan(
        partner, share[of_batch].to(torch.float32), None if box is None else box[of_batch].contiguous()
    )


def mix_images(x: Tensor, other: Tensor, share: Tensor, box: Tensor | None) -> Tensor:
    """Images with their partners' mixed in.

    Args:
        x, other: (b, 3, H, W) normalised images and those of their partners.
        share: (b,) what is left of each image.
        box: (b, 4) pixels to take from the partner; None to add share · x + (1 − share) · other.
    """
    if box is None:
        share = share[:, None, None, None]
        return share * x + (1 - share) * other
    return torch.where(_inside(box, x.shape[2], x.shape[3]), other, x)


def mix_labels(labels: Tensor, others: Tensor, share: Tensor, num_classes: int) -> Tensor:
    """Soft targets: ``share`` on the image's own class and the rest on its partner's.

    Args:
        labels, others: (b,) int64.
        share: (b,) float32 in [0, 1].

    Returns:
        (b, num_classes) float32, rows with sum 1.
    """
    # compared, not scattered or `one_hot`: those wait for the device or are not deterministic on it
    classes = torch.arange(num_classes, device=labels.device)
    own, partner = (labels[:, None] == classes).float(), (others[:, None] == classes).float()
    return share[:, None] * own + (1 - share[:, None]) * partner


def draw_holes(generator: torch.Generator, n: int, size: tuple[int, int], side: int) -> Tensor:
    """Cutout's squares, their centres uniform over the pixels.

    Args:
        generator: On the CPU.
        n: Number of images.
        size: (H, W) of the images in pixels.
        side: Of the square in pixels; an even one has one pixel more above and left of its centre.

    Returns:
        (n, 4) int64 top, left, bottom, right (exclusive), partly outside the image at its border.

    References:
        DeVries & Taylor, Cutout (2017).
    """
    centre = torch.stack([torch.randint(0, length, (n,), generator=generator) for length in size], dim=1)
    first = centre - side // 2
    return torch.cat([first, first + side], dim=1)


def cut_out(x: Tensor, hole: Tensor) -> Tensor:
    """Normalised images (b, 3, H, W) with zeros, the mean colour, in a box (b, 4) of each."""
    return x.masked_fill(_inside(hole, x.shape[2], x.shape[3]), 0)


def _draw_boxes(
    share: Tensor, row: Tensor, column: Tensor, apply: Tensor, size: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Exact share (m,) float64 and box (m, 4) of each batch, from uniform draws (m,)."""
    ends = []
    for side, centre in zip(size, (row, column), strict=True):
        half = (side * (1 - share).sqrt()).long() // 2 * apply
        middle = (centre * side).long()
        ends += [(middle - half).clamp(0, side), (middle + half).clamp(0, side)]
    top, bottom, left, right = ends
    area = (bottom - top) * (right - left)
    return 1 - area / (size[0] * size[1]), torch.stack([top, left, bottom, right], dim=1)


def _inside(box: Tensor, height: int, width: int) -> Tensor:
    """Mask (b, 1, H, W) of the pixels in each box (b, 4), given as top, left, bottom, right (exclusive)."""
    y = torch.arange(height, device=box.device)[:, None]
    x = torch.arange(width, device=box.device)
    top, left, bottom, right = box[:, :, None, None, None].unbind(1)
    return (top <= y) & (y < bottom) & (left <= x) & (x < right)
