from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torchvision.ops import box_iou

from ralr_viz.tasks.detection.boxes import decode_boxes, encode_boxes, to_centres
from ralr_viz.tasks.detection.decode import find_detections
from ralr_viz.tasks.detection.priors import make_priors, small_levels

PRIORS = make_priors(small_levels(64))[::7]


def literal_detections(
    offsets: Tensor, logits: Tensor, score: float, overlap: float, most: int
) -> list[tuple[int, int]]:
    """Prior and label of what is kept of one image, by loops."""
    boxes, probabilities = decode_boxes(offsets, PRIORS), logits.softmax(-1)
    shared = box_iou(boxes, boxes).tolist()
    kept = []
    for label in range(1, logits.shape[1]):
        places = [p for p in range(len(PRIORS)) if probabilities[p, label] > score]
        of_class: list[int] = []
        for p in sorted(places, key=lambda p: -float(probabilities[p, label])):  # stable
            if all(shared[p][q] <= overlap for q in of_class):
                of_class.append(p)
        kept += [(p, label) for p in of_class]
    return sorted(kept, key=lambda pair: (-float(probabilities[pair]), *pair))[:most]


@pytest.mark.parametrize(("score", "most"), [(0.01, 200), (0.5, 200), (0.01, 7), (0.999, 200)])
def test_detections_are_those_of_the_literal_twin(score: float, most: int) -> None:
    generator = torch.Generator().manual_seed(2)
    offsets = torch.randn(2, len(PRIORS), 4, generator=generator) * 2
    logits = torch.randn(2, len(PRIORS), 4, generator=generator) * 2
    logits[0, 10:14] = logits[0, 9]  # equal scores
    found = find_detections(offsets, logits, PRIORS, score=score, most=most)
    for image in range(2):
        pairs = literal_detections(offsets[image], logits[image], score, 0.45, most)
        boxes, probabilities = decode_boxes(offsets[image], PRIORS), logits[image].softmax(-1)
        assert found[image].labels.tolist() == [label for _, label in pairs]
        assert torch.equal(found[image].boxes, boxes[[p for p, _ in pairs]])
        assert torch.equal(found[image].scores, torch.tensor([float(probabilities[pair]) for pair in pairs]))


def test_detection_far_left_of_the_image_suppresses_no_other_class() -> None:
    """torchvision shifts the classes' boxes by the largest coordinate, taking for granted that none is negative."""
    wanted = torch.tensor([[-2.0, -2, -1, -1], [0, 0, 1, 1]])
    priors = to_centres(wanted)
    logits = torch.tensor([[0.0, 0, 9], [0, 9, 0]])
    (found,) = find_detections(encode_boxes(wanted, priors)[None], logits[None], priors)
    assert sorted(found.labels[:2].tolist()) == [1, 2]
    assert len(found.labels) == 2


def test_nothing_above_the_score_is_no_detection() -> None:
    logits = torch.tensor([[50.0, 0, 0]]).repeat(len(PRIORS), 1)
    (found,) = find_detections(torch.zeros(1, len(PRIORS), 4), logits[None], PRIORS)
    assert [tuple(part.shape) for part in found] == [(0, 4), (0,), (0,)]
