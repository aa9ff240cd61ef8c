"""Loss and accuracy of a network on images, in eval mode and without augmentation, and which images those are."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ralr_viz.data import Split
from ralr_viz.data.augment import normalise_batch
from ralr_viz.errors import InputError
from ralr_viz.models.outputs import count_labelled, find_logits
from ralr_viz.runtime.device import Runtime
from ralr_viz.tasks.eval_mode import eval_mode

_BATCH, _PIXELS = 500, 64 * 64


@dataclass(frozen=True)
class Evaluation:
    """Mean cross-entropy (nats), top-1 and top-5 accuracy (per cent), images, images per second."""

    loss: float
    top1: float
    top5: float
    n: int
    images_per_second: float


def evaluation_sets(
    trained: Split,
    tested: Split,
    train: np.ndarray,
    held: np.ndarray,
    sample: int,
    device: torch.device,
    *,
    with_test: bool = True,
) -> dict[str, tuple[Tensor, Tensor]]:
    """What each epoch is measured on: ``train``, ``test`` and, where images were held out, ``val``.

    Args:
        trained, tested: The parts of the data set, as the network looks at them.
        train, held: (n,), (m,) indices into the training images.
        sample: How many of ``train``, evenly spread: canonical order is by hash, so they are a random sample.
        device: Where the images are to lie.
        with_test: False leaves out ``test``.

    Returns:
        (n, H, W, 3) uint8 images and (n,) int64 labels of each.
    """
    chosen = train if sample >= len(train) else train[len(train) * np.arange(sample) // sample]
    sets = {"train": place_images(trained, chosen, device)}
    if with_test:
        sets["test"] = place_images(tested, np.arange(len(tested)), device)
    return sets | ({"val": place_images(trained, held, device)} if len(held) else {})


def place_images(split: Split, indices: np.ndarray, device: torch.device) -> tuple[Tensor, Tensor]:
    """Images (n, H, W, 3) uint8 and labels (n,) int64 of the indices, on the device."""
    images = torch.from_numpy(split.images[indices])
    return images.to(device), torch.from_numpy(split.labels[indices].astype(np.int64)).to(device)


def evaluate(
    model: nn.Module,
    images: Tensor | np.ndarray,
    labels: Tensor | np.ndarray,
    mean: Tensor,
    std: Tensor,
    runtime: Runtime,
    *,
    batch: int | None = None,
    each: list[Tensor] | None = None,
) -> Evaluation:
    """Evaluate ``model``, which is left in the mode it was in.

    Args:
        model: On the runtime's device.
        images: (n, H, W, 3) uint8, on any device or a memory map; moved batch by batch.
        labels: (n,) int64 in [0, classes).
        mean, std: (3,) float32 on the device, in units of [0, 1].
        batch: Images per forward pass; left out, 500, of more than 64 pixels a side as many as have their pixels.
        each: Takes, batch by batch, (b, 2) float32 of each image: its loss, and 1 where its class is predicted.

    Returns:
        Evaluation; top-5 is top-1's weaker twin and 100 where there are at most five classes.

    Raises:
        InputError: No images, or a label outside the network's classes.
    """
    if len(images) == 0:
        raise InputError("there are no images to evaluate: choose another --split or a larger --limit")
    device = runtime.device
    batch = batch or fitting_batch(images.shape[1] * images.shape[2])
    totals = torch.zeros(3, device=device)
    highest, labelled = int(labels.max()), count_labelled(labels)
    begin = time.perf_counter()
    with eval_mode(model), torch.no_grad():
        for start in range(0, len(images), batch):
            x = _to_tensor(images[start : start + batch]).to(device)
            y = _to_tensor(labels[start : start + batch]).to(device)
            with runtime.autocast():
                output = model(normalise_batch(x, mean, std).contiguous(memory_format=runtime.memory_format))
            logits = find_logits(output, labelled=labelled).float()
            if start == 0 and highest >= logits.shape[1]:
                raise InputError(
                    f"label {highest} needs {highest + 1} classes, the network has {logits.shape[1]}: "
                    "evaluate on the data set that it was trained on"
                )
            loss = nn.functional.cross_entropy(logits, y, reduction="sum")
            # topk breaks the ties that bf16 logits have; counting higher scores would call each of them right
            hits = logits.topk(min(5, logits.shape[1])).indices == y[:, None]
            if each is not None:
                losses = nn.functional.cross_entropy(logits, y, reduction="none")
                each.append(torch.stack([losses, hits[:, 0].float()], 1))
            totals += torch.stack([loss, hits[:, 0].sum().float(), hits.sum().float()])
    loss_sum, top1, top5 = totals.tolist()
    seconds = time.perf_counter() - begin
    n = len(images)
    return Evaluation(loss_sum / n, 100 * top1 / n, 100 * top5 / n, n, n / seconds)


def fitting_batch(pixels: int, most: int = _BATCH) -> int:
    """Images of a forward pass: ``most``, and no more than have the pixels of 500 of 64 a side.

    Args:
        pixels: Of an image.
        most: 1 or more.
    """
    return max(1, min(most, _BATCH * _PIXELS // pixels))


def _to_tensor(values: Tensor | np.ndarray) -> Tensor:
    # copied, since torch warns of read-only memory such as a data store's
    return values if isinstance(values, Tensor) else torch.from_numpy(np.array(values))
