"""How well a detector does: its loss on images as they are, and its average precision."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from ralr_viz.data import Dataset
from ralr_viz.results.average_precision import (
    Detected,
    FoundBoxes,
    match_boxes,
    mean_precision,
    rank_detections,
)
from ralr_viz.runtime.device import Runtime
from ralr_viz.tasks.detection.decode import Detections, find_detections
from ralr_viz.tasks.detection.loss import MultiboxSums
from ralr_viz.tasks.detection.network import Outputs
from ralr_viz.tasks.detection.recipe import DetectionRecipe
from ralr_viz.tasks.detection.samples import DetectionSplit, Painter, Pictures
from ralr_viz.tasks.eval_mode import eval_mode

_BATCH = 32
_KEPT = 2**28
"""Bytes of images that are kept from one evaluation to the next."""


@dataclass(frozen=True, eq=False)
class Measured:
    """A network on n images.

    Attributes:
        loss: Mean over the positive priors; NaN where there are none.
        found: What it finds, boxes in fractions of their image.
        detected: The same, ranked.
    """

    loss: float
    found: FoundBoxes
    detected: Detected


class Detector(Protocol):
    """What is asked of the task."""

    recipe: DetectionRecipe
    dataset: Dataset
    splits: dict[str, DetectionSplit]

    @property
    def painter(self) -> Painter: ...

    def prepare_batch(
        self, pictures: Pictures, device: torch.device, memory_format: torch.memory_format | None = None
    ) -> Any: ...

    def measure(self, outputs: Outputs, batch: Any) -> MultiboxSums: ...

    def priors_on(self, device: torch.device) -> Tensor: ...


class DetectionEvaluator:
    """Measures a network on sets of images, in fp32."""

    def __init__(self, task: Detector, places: Mapping[str, np.ndarray], runtime: Runtime) -> None:
        self.task, self.places, self.runtime = task, places, runtime
        self._kept: dict[str, list[Pictures]] = {}

    @property
    def sizes(self) -> dict[str, int]:
        """Images of each set."""
        return {name: len(places) for name, places in self.places.items()}

    def __call__(self, model: nn.Module) -> dict[str, float | None]:
        """Loss of each set, and of those that are not trained on mAP in per cent, of eleven points and of the area."""
        record: dict[str, float | None] = {}
        for name in self.places:
            if name == "train":
                record["train_loss_eval"] = self.measure(model, name, find=False).loss
                continue
            measured = self.measure(model, name)
            record[f"{name}_loss"] = measured.loss
            record[f"{name}_map50"] = _percent(mean_precision(measured.detected.average_precision("11")))
            record[f"{name}_map50_area"] = _percent(
                mean_precision(measured.detected.average_precision("all"))
            )
        return record

    def describe(self, model: nn.Module) -> dict[str, Any]:
        """What stands in ``result.json`` of the test images; null of a class without objects."""
        measured = self.measure(model, "test")
        each = measured.detected.average_precision("11")
        area = measured.detected.average_precision("all")
        return {
            "loss": measured.loss,
            "map50": _percent(mean_precision(each)),
            "map50_area": _percent(mean_precision(area)),
            "ap50": dict(zip(self.task.dataset.class_ids, map(_percent, each), strict=True)),
            "n": len(self.places["test"]),
        }

    def measure(self, model: nn.Module, name: str, *, find: bool = True) -> Measured:
        """Loss and, if asked, detections on one of the sets."""
        device, totals, found = self.runtime.device, np.zeros(2), list[Detections]()
        with eval_mode(model), torch.no_grad():
            for pictures in self._batches(name):
                batch = self.task.prepare_batch(pictures, device, self.runtime.memory_format)
                outputs = model(batch.images)
                sums = self.task.measure(outputs, batch)
                totals += torch.stack([sums.loss, sums.positives]).double().cpu().numpy()
                if find:
                    found += find_detections(outputs.offsets, outputs.logits, self.task.priors_on(device))
        loss = float(totals[0] / totals[1]) if totals[1] else float("nan")
        boxes = join_detections(found)
        split = self.task.splits["test" if name == "test" else "train"]
        truth = split.truth(self.places[name])
        ranked = rank_detections(
            truth, boxes, match_boxes(truth, boxes), classes=self.task.dataset.num_classes,
            images=len(self.places[name]),
        )  # fmt: skip
        return Measured(loss, boxes, ranked)

    def _batches(self, name: str) -> Iterator[Pictures]:
        if name in self._kept:
            yield from self._kept[name]
            return
        places, of = self.places[name], "test" if name == "test" else "train"
        keep = len(places) * self.task.recipe.input_size**2 * 3 <= _KEPT
        made = []
        for first in range(0, len(places), _BATCH):
            pictures = self.task.painter.make(of, places[first : first + _BATCH])
            if keep:
                made.append(pictures)
            yield pictures
        if keep:
            self._kept[name] = made


def join_detections(found: list[Detections]) -> FoundBoxes:
    """What was found in images 0 …; labels count from 0."""
    counts = [len(one.labels) for one in found]
    return FoundBoxes(
        np.repeat(np.arange(len(found)), counts),
        np.concatenate([np.empty(0, np.int64), *(one.labels.cpu().numpy() - 1 for one in found)]),
        np.concatenate([np.empty((0, 4)), *(one.boxes.cpu().double().numpy() for one in found)]),
        np.concatenate([np.empty(0), *(one.scores.cpu().double().numpy() for one in found)]),
    )


def _percent(share: np.ndarray | float) -> float | None:
    return None if np.isnan(share) else 100 * float(share)
