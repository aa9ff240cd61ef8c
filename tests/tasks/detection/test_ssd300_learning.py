"""SSD300 itself, with the reference's optimizer and loss, learns four real pictures by heart. Five minutes of one core with AMX."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
import sklearn.datasets
import torch
from PIL import Image

from ralr_viz.recipe import load_recipe
from ralr_viz.results.average_precision import (
    FoundBoxes,
    TrueBoxes,
    match_boxes,
    mean_precision,
    rank_detections,
)
from ralr_viz.tasks.detection.decode import find_detections
from ralr_viz.tasks.detection.evaluate import join_detections
from ralr_viz.tasks.detection.loss import match_priors, multibox_loss
from ralr_viz.tasks.detection.network import SSD300

CLASSES = ("face", "flower", "hat", "tower")
TOWER, CUT = (0.10, 0.07, 0.58, 0.98), (0.65, 0.85)
PICTURES = [
    ("china.jpg", (1.0, 1.0), [("tower", TOWER)]),
    ("china.jpg", CUT, [("tower", (TOWER[0] / CUT[0], TOWER[1] / CUT[1], TOWER[2] / CUT[0], 1.0))]),
    ("flower.jpg", (1.0, 1.0), [("flower", (0.26, 0.20, 0.70, 0.84)), ("flower", (0.45, 0.87, 0.73, 1.0))]),
    ("grace_hopper.jpg", (1.0, 1.0), [("face", (0.30, 0.21, 0.74, 0.64)), ("hat", (0.29, 0.03, 0.73, 0.30))]),
]
"""File, the part of it that is shown from the upper left, and objects in fractions of that."""
MOST_STEPS = 2000


def read_picture(name: str, part: tuple[float, float]) -> np.ndarray:
    """(3, 300, 300) float32, normalised as the weights that the reference starts from expect."""
    folders = (Path(sklearn.datasets.__file__).parent / "images", Path(mpl.get_data_path()) / "sample_data")
    image = Image.open(next(f / name for f in folders if (f / name).exists())).convert("RGB")
    image = image.crop((0, 0, round(part[0] * image.width), round(part[1] * image.height))).resize((300, 300))
    x = (np.asarray(image, np.float32) / 255 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    return x.transpose(2, 0, 1).astype(np.float32)


def score(model: SSD300, images: torch.Tensor, truth: TrueBoxes) -> float:
    model.eval()
    with torch.no_grad():
        found: FoundBoxes = join_detections(find_detections(*model(images), model.priors))
    model.train()
    matches = match_boxes(truth, found)
    ranked = rank_detections(truth, found, matches, classes=len(CLASSES), images=len(PICTURES))
    return float(mean_precision(ranked.average_precision()))


@pytest.mark.slow
def test_ssd300_learns_real_pictures_by_heart_with_the_references_optimizer() -> None:
    recipe = load_recipe("voc-ssd300")
    assert (recipe.lr, recipe.bias_lr, recipe.loc_loss, recipe.clip_norm) == (1e-3, 2.0, "l1", 0)
    images = torch.from_numpy(np.stack([read_picture(name, part) for name, part, _ in PICTURES]))
    boxes, labels = torch.zeros(len(PICTURES), 2, 4), torch.zeros(len(PICTURES), 2, dtype=torch.int64)
    for i, (_, _, objects) in enumerate(PICTURES):
        for j, (name, corners) in enumerate(objects):
            boxes[i, j], labels[i, j] = torch.tensor(corners), 1 + CLASSES.index(name)
    image, place = np.nonzero(labels.numpy())
    truth = TrueBoxes(
        image,
        labels.numpy()[image, place] - 1,
        boxes.double().numpy()[image, place],
        np.zeros(len(image), bool),
    )
    torch.manual_seed(0)
    model = SSD300(len(CLASSES)).train()
    biases = [p for name, p in model.named_parameters() if name.endswith(".bias")]
    weights = [p for name, p in model.named_parameters() if not name.endswith(".bias")]
    groups = [{"params": weights}, {"params": biases, "lr": recipe.lr * recipe.bias_lr}]
    optimizer = torch.optim.SGD(groups, recipe.lr, recipe.momentum, weight_decay=recipe.weight_decay)
    targets, best = match_priors(model.priors, boxes, labels), 0.0
    for step in range(1, MOST_STEPS + 1):
        with torch.autocast("cpu", torch.bfloat16):
            outputs = model(images)
        sums = multibox_loss(*outputs, targets, location_loss="l1")
        loss = sums.loss / sums.positives
        assert torch.isfinite(loss)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 50 == 0 and (best := max(best, score(model, images, truth))) >= 0.9:
            return
    pytest.fail(f"mAP is {best:.3f} after {MOST_STEPS} steps")
