"""Photographs as one array: every analysis looks through such a view at a data set of unequal shapes.

A view is made once and kept beside its store. It is resized by Pillow, whose bytes are the same on every processor;
torchvision's transforms of a PIL image give the same.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image, __version__

from ralr_viz.data.dataset import NO_BOX, Dataset, PhotographSplit, Split
from ralr_viz.data.images import worker_count
from ralr_viz.data.ragged import RaggedImages
from ralr_viz.data.spool import Progress
from ralr_viz.data.store import cache_root
from ralr_viz.data.workspace import lock_root, open_workspace, publish_folder, write_errors
from ralr_viz.errors import InputError, UnknownNameError
from ralr_viz.results.document import parse_json
from ralr_viz.results.storage import open_synced, write_synced

MODES = ("centre", "warp")
KERNEL = f"Pillow {__version__}, bilinear"
_FOLDER = "views"
_MANIFEST = "view.json"
_SIZES = (8, 2048)
_PIECE = 2**26
"""Bytes of a view in memory at a time."""


@dataclass(frozen=True)
class View:
    """How photographs are made squares of one size.

    Attributes:
        size: Side in pixels.
        resize: Of ``centre``: the shorter side is scaled to it before the centre is cut out; None for 8/7 of ``size``, as
            256 for 224 and 512 for 448.
        mode: ``centre``, or ``warp``, which squeezes all of the picture into the square.

    Raises:
        InputError: A size that is none, or a ``resize`` that is smaller, or without use.
        UnknownNameError: Another mode.
    """

    size: int
    resize: int | None = None
    mode: Literal["centre", "warp"] = "centre"

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise UnknownNameError("view", self.mode, MODES)
        if not _SIZES[0] <= self.size <= _SIZES[1]:
            raise InputError(f"view of {self.size} pixels: its side is {_SIZES[0]} to {_SIZES[1]}")
        if self.resize is None:
            return
        if self.mode == "warp":
            raise InputError(f"resize = {self.resize}: a `warp` scales both sides to its size; leave it out")
        if not self.size <= self.resize <= _SIZES[1]:
            raise InputError(
                f"resize = {self.resize}: the shorter side must be {self.size} to {_SIZES[1]} pixels, from which "
                f"{self.size} are cut out"
            )

    @property
    def shorter(self) -> int:
        """What the shorter side is scaled to before the centre is cut out."""
        return self.resize or max(self.size, round(self.size * 8 / 7))

    @property
    def name(self) -> str:
        """``centre-224-of-256`` or ``warp-224``, of a folder."""
        return f"warp-{self.size}" if self.mode == "warp" else f"centre-{self.size}-of-{self.shorter}"

    def describe(self) -> str:
        """In words."""
        if self.mode == "warp":
            return f"warped to {self.size}×{self.size}"
        return f"the centre {self.size}×{self.size} after the shorter side was scaled to {self.shorter}"

    def place(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Height and width that a picture is scaled to, and top and left of what is cut out of that."""
        if self.mode == "warp":
            return self.size, self.size, 0, 0
        short, long = min(height, width), max(height, width)
        longer = int(self.shorter * long / short)  # torchvision's Resize
        high, wide = (self.shorter, longer) if height <= width else (longer, self.shorter)
        # and its CenterCrop, which rounds halves to even
        return high, wide, round((high - self.size) / 2), round((wide - self.size) / 2)


def fixed_view(
    dataset: Dataset,
    split: str,
    size: int,
    resize: int | None = None,
    mode: Literal["centre", "warp"] = "centre",
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Split:
    """A split as squares of one size, with its boxes where they are in them.

    Args:
        dataset: Of photographs or of squares.
        split: ``train`` or ``test``.
        size, resize, mode: See `View`.
        workers: Threads; None for one per available core. The bytes do not depend on it.
        progress: Told how many images are resized, where the view is not there yet.

    Returns:
        ``(n, size, size, 3)`` memory-mapped; a box is cut at the edges of the view, and −1 where nothing of it is inside;
        of several boxes it is the one with most pixels inside.

    Raises:
        InputError: As `View`.
        StorageError: The view cannot be written.
    """
    view = View(size, resize, mode)
    part: Split = getattr(dataset, split)
    if not isinstance(part, PhotographSplit) and part.images.shape[1] == size and mode == "warp":
        return part
    folder = _cache_folder(dataset) / f"{split}-{view.name}"
    expected = {"schema": 1, "content_hash": dataset.content_hash, "split": split, "view": view.name}
    found = _read(folder, expected, part, view)
    if found is None:
        found = _make(folder, expected, part, view, worker_count(workers), progress)
    return Split(found, part.labels, _view_boxes(part, view))


def _cache_folder(dataset: Dataset) -> Path:
    """Beside the store, or in the user's cache where that may not be written."""
    if os.access(dataset.root, os.W_OK):
        return dataset.root / _FOLDER
    return cache_root() / _FOLDER / dataset.content_hash[:32]


def _read(folder: Path, expected: dict[str, Any], part: Split, view: View) -> np.ndarray | None:
    """The view that is kept there; None where there is none, or one of other images, or a damaged one."""
    try:
        manifest = parse_json((folder / _MANIFEST).read_text(encoding="utf-8"))
        if not isinstance(manifest, dict) or {key: manifest.get(key) for key in expected} != expected:
            return None
        images = np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    if images.dtype != np.uint8 or images.shape != (len(part), view.size, view.size, 3):
        return None
    images.flags.writeable = False
    return images


def _make(
    folder: Path,
    expected: dict[str, Any],
    part: Split,
    view: View,
    workers: int,
    progress: Progress | None,
) -> np.ndarray:
    with open_workspace(folder.parent) as new:
        _write_images(new / "images.npy", part, view, workers, progress)
        with write_errors(folder):
            write_synced(new / _MANIFEST, json.dumps(expected | {"kernel": KERNEL}, indent=1).encode())
            with lock_root(folder.parent):
                found = _read(folder, expected, part, view)  # another process may have been faster
                if found is None:
                    publish_folder(new, folder)
                    found = _read(folder, expected, part, view)
    assert found is not None, "it was written a moment ago"
    return found


def _write_images(path: Path, part: Split, view: View, workers: int, progress: Progress | None) -> None:
    n, images = len(part), _stored(part)
    header = {"descr": "|u1", "fortran_order": False, "shape": (n, view.size, view.size, 3)}
    with open_synced(path, write_errors) as file:
        with write_errors(path):
            np.lib.format.write_array_header_1_0(file, header)
        for start, piece in _pieces(images, n, view, workers):
            with write_errors(path):
                file.write(piece.data)
            if progress:
                progress(start + len(piece), n, "resizing images")


def _pieces(
    images: RaggedImages | np.ndarray, n: int, view: View, workers: int
) -> Iterator[tuple[int, np.ndarray]]:
    step = max(1, _PIECE // (3 * view.size**2))
    piece = np.empty((min(step, n), view.size, view.size, 3), np.uint8)

    def resize(at: int, index: int) -> None:
        piece[at] = look_at(images[index], view)

    with ThreadPoolExecutor(workers) as pool:
        for start in range(0, n, step):
            count = min(step, n - start)
            list(pool.map(resize, range(count), range(start, start + count)))
            yield start, piece[:count]


def look_at(image: np.ndarray, view: View) -> np.ndarray:
    """One picture ``(H, W, 3)`` uint8 as the view has it: ``(size, size, 3)``."""
    height, width = image.shape[:2]
    high, wide, top, left = view.place(height, width)
    scaled = Image.fromarray(image)
    if (high, wide) != (height, width):
        scaled = scaled.resize((wide, high), Image.Resampling.BILINEAR)
    return np.asarray(scaled)[top : top + view.size, left : left + view.size]


def _stored(part: Split) -> RaggedImages | np.ndarray:
    return part.photographs if isinstance(part, PhotographSplit) else part.images


def _view_boxes(part: Split, view: View) -> np.ndarray | None:
    """``(n, 4)`` int16 inclusive pixel indices, as `Split` has them."""
    if isinstance(part, PhotographSplit):
        if part.regions is None:
            return None
        shapes, regions = part.photographs.shapes, part.regions
        corners, counts = regions.corners.astype(np.float64), regions.counts
    else:
        if part.boxes is None:
            return None
        shapes = np.full((len(part), 2), part.images.shape[1:3])
        present = part.boxes[:, 0] != NO_BOX
        corners, counts = part.boxes[present] + np.array([0.0, 0, 1, 1]), present.astype(np.int64)
    inside = _map_corners(corners, np.repeat(shapes, counts, axis=0), view)
    return _choose_largest(inside, counts)


def _map_corners(corners: np.ndarray, shapes: np.ndarray, view: View) -> np.ndarray:
    """``(m, 4)`` int64 ``x0 y0 x1 y1`` in the view, rounded and cut at its edges, the last exclusive."""
    places = np.array([view.place(*shape) for shape in shapes.tolist()], dtype=np.float64).reshape(-1, 4)
    scale = places[:, :2] / shapes
    offset = places[:, 2:]
    mapped = corners * scale[:, [1, 0, 1, 0]] - offset[:, [1, 0, 1, 0]]
    return np.clip(np.floor(mapped + 0.5), 0, view.size).astype(np.int64)


def _choose_largest(corners: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Of each image the box of most pixels, the first of equals; four −1 where none has any."""
    area = np.maximum(corners[:, 2] - corners[:, 0], 0) * np.maximum(corners[:, 3] - corners[:, 1], 0)
    image = np.repeat(np.arange(len(counts)), counts)
    order = np.lexsort((np.arange(len(area)), -area, image))
    _, first = np.unique(image[order], return_index=True)
    best = order[first]
    boxes = np.full((len(counts), 4), NO_BOX, dtype=np.int16)
    kept = best[area[best] > 0]
    boxes[image[kept]] = corners[kept] - [0, 0, 1, 1]
    boxes.flags.writeable = False
    return boxes
