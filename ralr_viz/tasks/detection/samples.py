"""Images with their objects, as a detector is trained and measured on them."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ralr_viz.data import Dataset
from ralr_viz.data.dataset import PhotographSplit
from ralr_viz.data.images import worker_count
from ralr_viz.data.ragged import DIFFICULT, Boxes, RaggedImages
from ralr_viz.errors import InputError
from ralr_viz.results.average_precision import TrueBoxes
from ralr_viz.tasks.detection.pictures import Colours, render_window
from ralr_viz.tasks.detection.recipe import DetectionRecipe
from ralr_viz.tasks.detection.windows import Window, draw_window, place_boxes, whole_window

_ROWS = 4
"""Images that a thread makes at a time."""


class Pictures(NamedTuple):
    """Images as they are shown, on the host.

    Attributes:
        images: (b, S, S, 3) uint8.
        boxes: (b, M, 4) float32 corners in fractions of the image; 0 where there is no object.
        labels: (b, M) int64: 1 … classes, or 0 where there is no object.
    """

    images: Tensor
    boxes: Tensor
    labels: Tensor


class Draw(NamedTuple):
    """Which draw of the augmentation is shown: of a seed and a 0-based epoch."""

    seed: int
    epoch: int


@dataclass(frozen=True, eq=False)
class DetectionSplit:
    """The images of one split with their boxes."""

    images: RaggedImages
    boxes: Boxes

    def __len__(self) -> int:
        return len(self.images)

    def truth(self, places: np.ndarray) -> TrueBoxes:
        """The objects of some images, numbered from 0, in fractions of their image."""
        chosen = self.boxes.take(places)
        image = np.repeat(np.arange(len(places)), chosen.counts)
        height, width = self.images.shapes[places][image].astype(np.float64).T.reshape(2, -1)
        corners = chosen.corners / np.stack([width, height, width, height], axis=1)
        return TrueBoxes(image, chosen.labels, corners, (chosen.flags & DIFFICULT) > 0)


def open_splits(dataset: Dataset) -> dict[str, DetectionSplit]:
    """``train`` and ``test`` of a data set.

    Raises:
        InputError: Its images have no boxes of objects.
    """
    found = {}
    for name, split in (("train", dataset.train), ("test", dataset.test)):
        if not isinstance(split, PhotographSplit) or split.regions is None:
            raise InputError(
                f"dataset `{dataset.name}` has no objects to detect: import annotations as PASCAL VOC has them"
            )
        found[name] = DetectionSplit(split.photographs, split.regions)
    return found


class Painter:
    """Makes images of a split, with threads; the bytes depend on neither their number nor the batch.

    Args:
        splits: ``train`` and ``test``.
        recipe: Says the size and the augmentation.
        fill: (3,) uint8, the mean colour.
        threads: None for one per available core.
    """

    def __init__(
        self,
        splits: dict[str, DetectionSplit],
        recipe: DetectionRecipe,
        fill: np.ndarray,
        threads: int | None = None,
    ) -> None:
        self.splits, self.recipe, self.fill = splits, recipe, fill
        # of the whole data set, so that all batches have one shape
        self.most = max(1, *(int(split.boxes.counts.max(initial=0)) for split in splits.values()))
        self._pool = ThreadPoolExecutor(worker_count(threads), thread_name_prefix="pictures")

    def start(self, split: str, places: np.ndarray, draw: Draw | None) -> tuple[Pictures, list[Future[None]]]:
        """Begin to make images; without a draw as they are. They are there when all futures are."""
        size, count = self.recipe.input_size, len(places)
        made = Pictures(
            torch.empty((count, size, size, 3), dtype=torch.uint8),
            torch.zeros((count, self.most, 4)),
            torch.zeros((count, self.most), dtype=torch.int64),
        )
        work = [
            self._pool.submit(self._fill, made, self.splits[split], places, draw, first)
            for first in range(0, count, _ROWS)
        ]
        return made, work

    def make(self, split: str, places: np.ndarray, draw: Draw | None = None) -> Pictures:
        """The images of some places."""
        return finish(self.start(split, places, draw))

    def _fill(
        self, made: Pictures, split: DetectionSplit, places: np.ndarray, draw: Draw | None, first: int
    ) -> None:
        for row in range(first, min(first + _ROWS, len(places))):
            place = int(places[row])
            at = split.boxes.of(place)
            window = self.window(split, place, draw)
            colours = Colours(*draw, place) if draw is not None and self.recipe.photometric else None
            shown = render_window(split.images[place], window, self.recipe.input_size, self.fill, colours)
            boxes, kept = place_boxes(window, split.boxes.corners[at], self.recipe.input_size)
            made.images[row] = torch.from_numpy(np.ascontiguousarray(shown))
            made.boxes[row, : len(boxes)] = torch.from_numpy(boxes)
            made.labels[row, : len(boxes)] = torch.from_numpy(split.boxes.labels[at][kept] + 1)

    def window(self, split: DetectionSplit, place: int, draw: Draw | None) -> Window:
        """What is shown of an image."""
        height, width = (int(side) for side in split.images.shapes[place])
        if draw is None:
            return whole_window(height, width)
        boxes = split.boxes.corners[split.boxes.of(place)]
        return draw_window(
            *draw, place, (height, width), boxes, expand=self.recipe.expand, flip=self.recipe.flip
        )


def finish(started: tuple[Pictures, list[Future[None]]]) -> Pictures:
    """Wait for what `Painter.start` has begun."""
    made, work = started
    for each in work:
        each.result()
    return made
