"""Network, priors, loss, decoding and metric together: a few pictures learned by heart."""

from __future__ import annotations

import numpy as np
import torch

from ralr_viz.results.average_precision import FoundBoxes, TrueBoxes, match_boxes, rank_detections
from ralr_viz.tasks.detection.decode import find_detections
from ralr_viz.tasks.detection.loss import match_priors, multibox_loss
from ralr_viz.tasks.detection.network import SmallSSD

# Of each picture the class and the corners of each object, one small and one large.
SCENES = [
    [(1, (0.10, 0.20, 0.20, 0.30)), (2, (0.30, 0.30, 0.90, 0.80))],
    [(2, (0.70, 0.10, 0.80, 0.22)), (1, (0.05, 0.40, 0.60, 0.95))],
    [(1, (0.50, 0.60, 0.65, 0.80))],
]


def draw_pictures() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Images (3, 3, 64, 64), boxes (3, 2, 4) and labels (3, 2): red and blue rectangles on noise."""
    images = torch.randn(len(SCENES), 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 0.3
    boxes, labels = torch.zeros(len(SCENES), 2, 4), torch.zeros(len(SCENES), 2, dtype=torch.int64)
    for i, scene in enumerate(SCENES):
        for j, (label, corners) in enumerate(scene):
            x1, y1, x2, y2 = (round(64 * c) for c in corners)
            images[i, 0 if label == 1 else 2, y1:y2, x1:x2] += 2
            boxes[i, j], labels[i, j] = torch.tensor(corners), label
    return images, boxes, labels


def test_small_ssd_learns_pictures_by_heart() -> None:
    torch.manual_seed(0)
    model, (images, boxes, labels) = SmallSSD(2, 64), draw_pictures()
    optimizer = torch.optim.SGD(model.parameters(), 0.02, momentum=0.9)
    targets = match_priors(model.priors, boxes, labels)
    for _ in range(100):
        sums = multibox_loss(*model(images), targets)
        (sums.loss / sums.positives).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        optimizer.zero_grad()
    model.eval()
    found = find_detections(*model(images), model.priors)
    image, place = np.nonzero(labels.numpy())
    truth = TrueBoxes(
        image, labels.numpy()[image, place] - 1, boxes.numpy()[image, place], np.zeros(len(image), bool)
    )
    detected = FoundBoxes(
        np.repeat(np.arange(len(found)), [len(one.labels) for one in found]),
        np.concatenate([one.labels.numpy() - 1 for one in found]),
        np.concatenate([one.boxes.numpy() for one in found]),
        np.concatenate([one.scores.numpy() for one in found]),
    )
    ranked = rank_detections(truth, detected, match_boxes(truth, detected), classes=2, images=len(SCENES))
    assert ranked.average_precision("all").min() > 0.99
