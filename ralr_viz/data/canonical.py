"""Order, hash and statistics that depend on the decoded pixels only, never on files or their order."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ralr_viz.data.ragged import Boxes

CHUNK = 1024
"""Images handled at a time where a whole split need not be in memory."""


def compute_digests(images: Iterable[np.ndarray]) -> list[bytes]:
    """SHA-256 of the bytes of each image; ``images`` is ``(n, H, W, 3)`` uint8, or ``n`` images of any shape."""
    return [hashlib.sha256(np.ascontiguousarray(image).data).digest() for image in images]


def add_shapes(digests: Sequence[bytes], shapes: np.ndarray) -> list[bytes]:
    """Digests of shape and pixels, for images of unequal shape; ``shapes`` is ``(n, 2)``."""
    rows = shapes.astype("<i4")
    return [hashlib.sha256(row.tobytes() + d).digest() for row, d in zip(rows, digests, strict=True)]


def canonical_order(
    digests: Sequence[bytes], labels: np.ndarray, boxes: np.ndarray | Boxes | None
) -> np.ndarray:
    """Positions that sort the samples by pixel digest, then label, then box.

    Any copy of the same pixels therefore gives the same order, hence the same splits and the same "seed 0".
    Samples that agree in all three are interchangeable.

    Args:
        digests: ``n`` digests of :func:`compute_digests`.
        labels: ``(n,)``.
        boxes: ``(n, 4)``, or any number an image, or None.

    Returns:
        ``(n,)`` int64.
    """
    if isinstance(boxes, Boxes):
        rows: list[Any] = list(zip(labels.tolist(), boxes.keys(), strict=True))
    else:
        table = labels[:, None] if boxes is None else np.column_stack([labels, boxes])
        rows = list(map(tuple, table.tolist()))
    keys = list(zip(digests, rows, strict=True))
    return np.array(sorted(range(len(keys)), key=keys.__getitem__), dtype=np.int64)


class ContentHash:
    """SHA-256 of a dataset: per split (digest, label, box, mask) of each sample, then the class ids."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def add_split(
        self,
        name: str,
        digests: Sequence[bytes],
        labels: np.ndarray,
        boxes: np.ndarray | Boxes | None,
        masks: np.ndarray | None = None,
    ) -> None:
        """Add one split; the samples must already be in canonical order."""
        self._hash.update(f"{name} {len(digests)}\n".encode())
        if isinstance(boxes, Boxes):
            for digest, label, key in zip(digests, labels.astype("<i8"), boxes.keys(), strict=True):
                self._hash.update(digest + label.tobytes() + len(key).to_bytes(8, "little") + key)
            return
        for index, digest in enumerate(digests):
            self._hash.update(digest)
            self._hash.update(labels[index].astype("<i8").tobytes())
            if boxes is not None:
                self._hash.update(boxes[index].astype("<i2").tobytes())
            if masks is not None:
                self._hash.update(np.packbits(masks[index]).tobytes())

    def hexdigest(self, class_ids: Iterable[str]) -> str:
        """Close with the class ids in label order."""
        self._hash.update("\n".join(class_ids).encode("utf-8", "surrogateescape"))
        return self._hash.hexdigest()


class ChannelStatistics:
    """Mean and std per channel from exact integer counts: no rounding, whatever the order or chunking."""

    def __init__(self) -> None:
        self._counts = np.zeros((3, 256), dtype=np.int64)

    def add(self, images: np.ndarray) -> None:
        """Count ``(n, H, W, 3)`` or ``(H, W, 3)`` uint8 pixels."""
        for channel, counts in enumerate(self._counts):
            counts += np.bincount(images[..., channel].ravel(), minlength=256)

    def mean_std(self) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
        """Mean and population std of each channel, pixels scaled to [0, 1]."""
        pairs = [self._channel(counts.tolist()) for counts in self._counts]
        (m0, s0), (m1, s1), (m2, s2) = pairs
        return (m0, m1, m2), (s0, s1, s2)

    @staticmethod
    def _channel(counts: list[int]) -> tuple[float, float]:
        n = sum(counts)
        total = sum(value * count for value, count in enumerate(counts))
        squares = sum(value * value * count for value, count in enumerate(counts))
        return total / (255 * n), math.sqrt(n * squares - total * total) / (255 * n)
