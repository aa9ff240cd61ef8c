"""Images of unequal shape end to end in one array, and any number of boxes an image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

DIFFICULT = 1
TRUNCATED = 2
"""Bits of `Boxes.flags`, as PASCAL VOC has them."""


@dataclass(frozen=True, eq=False)
class RaggedImages:
    """``n`` RGB images, each of its own height and width.

    Attributes:
        pixels: ``(total,)`` uint8, memory-mapped and read-only.
        offsets: ``(n + 1,)`` int64, where each image begins in ``pixels``; the last is ``total``.
        shapes: ``(n, 2)`` int32 height and width in pixels.
    """

    pixels: np.ndarray
    offsets: np.ndarray
    shapes: np.ndarray

    def __len__(self) -> int:
        return len(self.shapes)

    def __getitem__(self, index: int) -> np.ndarray:
        """Image ``index``: ``(H, W, 3)`` uint8, a view that is read from disk where it is touched."""
        height, width = self.shapes[index]
        start, stop = self.offsets[index], self.offsets[index + 1]
        return self.pixels[start:stop].reshape(height, width, 3)

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[index] for index in range(len(self)))


@dataclass(frozen=True, eq=False)
class Boxes:
    """Any number of boxes for each of ``n`` images, ``m`` in all.

    Attributes:
        offsets: ``(n + 1,)`` int64, where the boxes of each image begin; the last is ``m``.
        corners: ``(m, 4)`` float32 ``x0 y0 x1 y1`` in pixels of the stored image; the box covers ``[x0, x1) × [y0, y1)``.
        labels: ``(m,)`` int64, the class of each box.
        flags: ``(m,)`` uint8, a sum of `DIFFICULT` and `TRUNCATED`.
    """

    offsets: np.ndarray
    corners: np.ndarray
    labels: np.ndarray
    flags: np.ndarray

    def __len__(self) -> int:
        """Number of images."""
        return len(self.offsets) - 1

    @property
    def counts(self) -> np.ndarray:
        """``(n,)`` boxes of each image."""
        return np.diff(self.offsets)

    def of(self, image: int) -> slice:
        """Where the boxes of an image are in `corners`, `labels` and `flags`."""
        return slice(int(self.offsets[image]), int(self.offsets[image + 1]))

    def take(self, images: np.ndarray) -> Boxes:
        """The boxes of some images, in their order."""
        rows = [np.arange(self.offsets[i], self.offsets[i + 1]) for i in images]
        index = np.concatenate([np.empty(0, np.int64), *rows])
        offsets = np.concatenate([[0], np.cumsum(self.counts[images])]).astype(np.int64)
        return Boxes(offsets, self.corners[index], self.labels[index], self.flags[index])

    def keys(self) -> list[bytes]:
        """All that is known of the boxes of each image, as bytes: equal where they are."""
        return [
            self.corners[at].astype("<f4").tobytes()
            + self.labels[at].astype("<i8").tobytes()
            + self.flags[at].astype("u1").tobytes()
            for at in map(self.of, range(len(self)))
        ]


def join_boxes(
    corners: Sequence[np.ndarray], labels: Sequence[np.ndarray], flags: Sequence[np.ndarray] | None = None
) -> Boxes:
    """The boxes of ``n`` images, within each sorted, so that the order of a file's lines does not matter.

    Args:
        corners: For each image ``(k, 4)``, as `Boxes` has them.
        labels: For each image ``(k,)``.
        flags: For each image ``(k,)``; None for none.
    """
    counts = [len(rows) for rows in corners]
    image = np.repeat(np.arange(len(counts)), counts)
    flat = np.concatenate([np.empty((0, 4)), *corners]).astype(np.float32) + 0.0  # of −0 there is 0
    label = np.concatenate([np.empty(0, np.int64), *labels]).astype(np.int64)
    flag = np.concatenate([np.empty(0, np.uint8), *(flags or [])]).astype(np.uint8)
    flag = flag if flags is not None else np.zeros(len(flat), np.uint8)
    order = np.lexsort((flag, label, *flat.T[::-1], image))
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return Boxes(offsets, flat[order], label[order], flag[order])
