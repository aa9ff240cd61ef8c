"""Images written as they come, and again in the order that is known only after the last one."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ralr_viz.data.canonical import CHUNK, ChannelStatistics, compute_digests
from ralr_viz.data.ragged import RaggedImages
from ralr_viz.data.workspace import write_errors
from ralr_viz.results.storage import open_synced

Progress = Callable[[int, int, str], None]
"""Called as ``progress(done, total, what)``."""

Images = np.ndarray | Sequence[np.ndarray]
"""Some images: ``(k, H, W, 3)`` uint8, or ``k`` of any shape ``(H, W, 3)``."""

_PIECE = 2**25
"""Bytes of photographs handled at a time."""


@dataclass(frozen=True, eq=False)
class Spool:
    """All images in the order in which they came.

    Attributes:
        images: In a temporary file.
        digests: SHA-256 of the pixels of each.
        statistics: Of those of the train split.
    """

    images: RaggedImages
    digests: list[bytes]
    statistics: ChannelStatistics

    @property
    def square(self) -> int | None:
        """Side of all images where they are squares of one size."""
        shapes = self.images.shapes
        side = int(shapes[0, 0])
        return side if (shapes == side).all() else None


def spool_images(
    chunks: Iterable[Images], path: Path, is_test: np.ndarray, progress: Progress | None
) -> Spool:
    """Write a stream to ``path``.

    Args:
        chunks: ``n`` images in all.
        path: A new file.
        is_test: ``(n,)`` bool, which of them do not count in the statistics.
        progress: Told how many have come.

    Raises:
        StorageError: The disk is full or cannot be written.
    """
    total, digests, statistics, shapes = len(is_test), list[bytes](), ChannelStatistics(), list[np.ndarray]()
    with open_synced(path, write_errors) as file:
        for chunk in chunks:
            with write_errors(path):
                for piece in [chunk] if isinstance(chunk, np.ndarray) else chunk:
                    file.write(np.ascontiguousarray(piece).data)
            shapes.append(np.array([image.shape[:2] for image in chunk], dtype=np.int32).reshape(-1, 2))
            train = ~is_test[len(digests) : len(digests) + len(chunk)]
            if isinstance(chunk, np.ndarray):
                statistics.add(chunk[train])
            else:
                for image in itertools.compress(chunk, train):
                    statistics.add(image)
            digests += compute_digests(chunk)
            if progress:
                progress(len(digests), total, "reading images")
    assert len(digests) == total, "an intake must stream as many images as it has labels"
    whole = np.concatenate(shapes)
    offsets = offsets_of(whole)
    # Reading through a map is safe; writing through one would turn a full disk into SIGBUS.
    pixels = np.memmap(path, np.uint8, mode="r", shape=(int(offsets[-1]),))
    return Spool(RaggedImages(pixels, offsets, whole), digests, statistics)


def offsets_of(shapes: np.ndarray) -> np.ndarray:
    """``(n + 1,)`` int64: where each image of ``shapes`` ``(n, 2)`` begins, end to end."""
    sizes = 3 * shapes.astype(np.int64).prod(axis=1)
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)


def store_images(
    path: Path,
    images: RaggedImages,
    order: np.ndarray,
    side: int | None,
    split: str,
    progress: Progress | None,
) -> None:
    """Write some images, in an order, as one array.

    Args:
        path: A new file: ``(n, side, side, 3)`` uint8, or ``(total,)`` where ``side`` is None.
        images: All of them.
        order: ``(n,)`` which.
        side: Of the squares that all of them are.
        split: For ``progress``.
        progress: Told how many are written.
    """
    sizes = np.diff(images.offsets)[order]
    shape = (int(sizes.sum()),) if side is None else (len(order), side, side, 3)
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    # as many as fit a piece, so that neither small ones cost a call each nor large ones much memory
    step = max(1, min(CHUNK, _PIECE // max(int(sizes.max(initial=1)), 1)))
    with open_synced(path, write_errors) as file:
        with write_errors(path):
            np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, len(order), step):
            some = order[start : start + step]
            with write_errors(path):
                file.write(_gather(images, some, side).data)
            if progress:
                progress(min(start + step, len(order)), len(order), f"storing {split} images")


def _gather(images: RaggedImages, some: np.ndarray, side: int | None) -> np.ndarray:
    """The pixels of some images, end to end."""
    if side is not None:
        return images.pixels.reshape(len(images), -1)[some].ravel()
    return np.concatenate([images[i].ravel() for i in some])
