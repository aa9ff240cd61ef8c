"""The multibox loss of SSD, with shapes that depend on no value, so that nothing in it waits for the device."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ralr_viz.tasks.detection.boxes import compute_overlap, encode_boxes, to_corners

LocationLoss = Literal["l1", "smooth_l1"]


class Targets(NamedTuple):
    """What a network should say of each prior.

    Attributes:
        offsets: (b, P, 4) float32; 0 of the background.
        labels: (b, P) int64: 1 … classes, or 0 for the background.
    """

    offsets: Tensor
    labels: Tensor

    def count_positives(self) -> Tensor:
        """Σ weight, () float32: what the sums of the loss are divided by, over all batches and ranks of a step."""
        return (self.labels > 0).sum().float()


class MultiboxSums(NamedTuple):
    """Sums over a batch, each () float32 on the device, to be divided by the positives of all batches of a step.

    Attributes:
        offsets: Σ loss of the offsets, over positive priors.
        logits: Σ cross-entropy, in nats, of positive priors and hard negatives.
        positives: Σ weight.
    """

    offsets: Tensor
    logits: Tensor
    positives: Tensor

    @property
    def loss(self) -> Tensor:
        """Σ loss with its graph."""
        return self.offsets + self.logits


def match_priors(priors: Tensor, boxes: Tensor, labels: Tensor, threshold: float = 0.5) -> Targets:
    """Give each prior the object that it overlaps most, if by the threshold, and each object its best prior.

    Where two objects have one best prior, the later object gets it.

    Args:
        priors: (P, 4) centres.
        boxes: (b, M, 4) corners with an area; anything where there is no object.
        labels: (b, M) int64: 1 … classes, or 0 where there is no object.
        threshold: Of the intersection over union.

    Returns:
        Of an image without objects all is background, and since there are three hard negatives for each positive
        prior, it adds nothing to the loss, as in the reference and in torchvision.
    """
    with torch.autocast(boxes.device.type, enabled=False), torch.no_grad():
        boxes, there = boxes.float(), labels > 0
        overlap = compute_overlap(boxes, to_corners(priors)).masked_fill(~there[..., None], -1)  # (b, M, P)
        most, best = overlap.max(1)
        numbers = torch.arange(1, boxes.shape[1] + 1, device=boxes.device) * there
        # the largest number wins: an indexed assignment would be decided by chance on CUDA
        forced = torch.zeros_like(best).scatter_reduce(1, overlap.argmax(2), numbers, "amax")
        of = torch.where(forced > 0, forced - 1, best)
        positive = (forced > 0) | (most >= threshold)
        found = boxes.gather(1, of[..., None].expand(-1, -1, 4))
        offsets = encode_boxes(found, priors).masked_fill(~positive[..., None], 0)
        return Targets(offsets, labels.gather(1, of) * positive)


def multibox_loss(
    offsets: Tensor, logits: Tensor, targets: Targets, *, ratio: int = 3, location_loss: LocationLoss = "l1"
) -> MultiboxSums:
    """Loss of the offsets, and cross-entropy of the positive priors and of the hardest negatives of each image.

    Args:
        offsets: (b, P, 4), what the network says.
        logits: (b, P, 1 + classes).
        targets: Of `match_priors`.
        ratio: Hard negatives for each positive prior.
        location_loss: ``l1`` is the reference's, the *mean* over the four offsets, a quarter of the paper's weight;
            ``smooth_l1`` the paper's and torchvision's, their sum.

    References:
        Liu et al., SSD, section 2.2. sgrvinod/a-PyTorch-Tutorial-to-Object-Detection, `MultiBoxLoss`.
    """
    with torch.autocast(offsets.device.type, enabled=False):
        positive = targets.labels > 0
        count = positive.sum(1, keepdim=True)
        offsets, logits = _at_least_float(offsets), _at_least_float(logits)
        if location_loss == "l1":
            each = (offsets - targets.offsets).abs().mean(-1)
        else:
            each = F.smooth_l1_loss(offsets, targets.offsets.to(offsets.dtype), reduction="none").sum(-1)
        # flat, since the cross-entropy of maps has no deterministic kernel on CUDA
        entropy = F.cross_entropy(logits.flatten(0, 1), targets.labels.flatten(), reduction="none")
        entropy = entropy.view_as(targets.labels)
        # a mask and no sorted values, whose gradient would be scattered; no cross-entropy is below 0
        order = entropy.detach().masked_fill(positive, -1).argsort(dim=1, descending=True, stable=True)
        counted = positive | (order.argsort(1) < ratio * count)
        return MultiboxSums((each * positive).sum(), (entropy * counted).sum(), count.sum().float())


def _at_least_float(x: Tensor) -> Tensor:
    """Of half precision float32; float64 as it is, in which the diagnostics of weights ask."""
    return x if x.dtype == torch.float64 else x.float()
