"""What a network has found, of what it says of each prior."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ralr_viz.tasks.detection.boxes import decode_boxes


class Detections(NamedTuple):
    """Objects found in an image, the surest first.

    Attributes:
        boxes: (k, 4) float32 corners in fractions of the image, which they may leave.
        scores: (k,) float32 softmax probability.
        labels: (k,) int64: 1 … classes.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor


@torch.no_grad()
def find_detections(
    offsets: Tensor,
    logits: Tensor,
    priors: Tensor,
    *,
    score: float = 0.01,
    overlap: float = 0.45,
    most: int = 200,
) -> list[Detections]:
    """Objects of each image: of a class, a box is dropped that overlaps a surer one too much.

    Args:
        offsets: (b, P, 4), what the network says.
        logits: (b, P, 1 + classes).
        priors: (P, 4) centres.
        score: Only boxes that are surer.
        overlap: Largest intersection over union with a surer box of the class.
        most: Of the surest that are kept of an image, over all classes.

    Returns:
        One for each of b images. Of equal scores the earlier prior comes first, on any device.
    """
    boxes = decode_boxes(offsets.float(), priors.float())
    return [
        _find_in_image(box, probability, score, overlap, most)
        for box, probability in zip(boxes, logits.float().softmax(-1), strict=True)
    ]


def _find_in_image(
    boxes: Tensor, probabilities: Tensor, score: float, overlap: float, most: int
) -> Detections:
    from torchvision.ops import batched_nms  # loads torch.compile's machinery

    prior, label = (probabilities[:, 1:] > score).nonzero(as_tuple=True)
    scores, label = probabilities[prior, label + 1], label + 1
    order = scores.argsort(descending=True, stable=True)
    boxes, scores, label = boxes[prior[order]], scores[order], label[order]
    if len(boxes):
        # it tells classes apart by shifting their boxes, which takes for granted that none is left of the image
        keep = batched_nms(boxes - boxes.min(), scores, label, overlap).sort().values[:most]
        boxes, scores, label = boxes[keep], scores[keep], label[keep]
    return Detections(boxes, scores, label)
