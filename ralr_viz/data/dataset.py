"""What every dataset looks like once it is in the store."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ralr_viz.data.ragged import Boxes, RaggedImages
from ralr_viz.errors import InputError

NO_BOX = -1
"""All four coordinates of a sample without a box."""


@dataclass(frozen=True, eq=False)
class Split:
    """The images of one split in canonical order (see :mod:`ralr_viz.data.canonical`).

    Attributes:
        images: ``(n, H, W, 3)`` uint8 RGB, memory-mapped and read-only.
        labels: ``(n,)`` int64 in ``[0, num_classes)``.
        boxes: ``(n, 4)`` int16 ``x0 y0 x1 y1``, inclusive pixel indices, so that the box covers
            ``[x0, x1 + 1) × [y0, y1 + 1)``; ``-1 -1 -1 -1`` where a sample has none, or one of zero width or
            height (in Tiny-ImageNet an object that the crop removed). None when the dataset has no boxes.
        masks: ``(n, H, W)`` bool, the pixels of the object, memory-mapped and read-only; None when the dataset has none.
    """

    images: np.ndarray
    labels: np.ndarray
    boxes: np.ndarray | None
    masks: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)


class PhotographSplit(Split):
    """A split whose images have unequal shapes: `fixed_view` makes a plain one of it.

    Attributes:
        photographs: The images as they are stored.
        regions: Their boxes; None when the dataset has none.
    """

    photographs: RaggedImages
    regions: Boxes | None

    def __init__(self, photographs: RaggedImages, labels: np.ndarray, regions: Boxes | None) -> None:
        for name, value in (("photographs", photographs), ("labels", labels), ("regions", regions)):
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        return f"PhotographSplit({len(self):,} images)"

    @property
    def images(self) -> np.ndarray:
        """None of one shape.

        Raises:
            InputError: Always.
        """
        raise _no_shape()

    @property
    def boxes(self) -> np.ndarray | None:
        """None in pixels of one shape.

        Raises:
            InputError: Always.
        """
        raise _no_shape()


@dataclass(frozen=True, eq=False)
class Dataset:
    """A dataset of RGB images, read from its store.

    Attributes:
        name: Name in the data root.
        root: Folder of the store.
        train, test: The official splits; which samples validate is the recipe's business. `PhotographSplit` where
            the images are of unequal shape.
        class_names: Name to show for each label.
        class_ids: Folder name or WordNet id of each label; unique.
        mean, std: Per channel over all pixels of the train images, in [0, 1] (population std).
        content_hash: SHA-256 (hex) of pixels, labels, boxes and class ids, whatever files they came from.
        notes: What was left out or changed when it was imported, a sentence each.
    """

    name: str
    root: Path
    train: Split
    test: Split
    class_names: tuple[str, ...]
    class_ids: tuple[str, ...]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    content_hash: str
    notes: tuple[str, ...] = ()

    @property
    def has_photographs(self) -> bool:
        """Whether the images are of unequal shape, so that analyses need a `fixed_view`."""
        return isinstance(self.train, PhotographSplit)

    @property
    def has_boxes(self) -> bool:
        if isinstance(self.train, PhotographSplit):
            return self.train.regions is not None
        return self.train.boxes is not None

    @property
    def image_size(self) -> int:
        """Height = width of every image, in pixels.

        Raises:
            InputError: They are of unequal shape.
        """
        return int(self.train.images.shape[1])

    @property
    def side_range(self) -> tuple[int, int]:
        """Shortest and longest side of all images, in pixels."""
        if not self.has_photographs:
            return self.image_size, self.image_size
        parts = [part for part in (self.train, self.test) if isinstance(part, PhotographSplit)]
        shapes = np.concatenate([part.photographs.shapes for part in parts])
        return int(shapes.min()), int(shapes.max())

    @property
    def num_classes(self) -> int:
        return len(self.class_ids)


def _no_shape() -> InputError:
    return InputError(
        "the images are photographs of unequal shape: look at them with --size N, or import them as squares with --size N"
    )
