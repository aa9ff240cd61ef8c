"""Photographs as one array: every analysis looks through such a view at a data set of unequal shapes.

A view is made once and kept beside its store. It is resized by Pillow, whose bytes are the same on every processor;
torchvision's transforms of a PIL image give the same.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import __version__

from ralr_viz.data.dataset import NO_BOX, Dataset, PhotographSplit, Split
from ralr_viz.data.images import worker_count
from ralr_viz.data.ragged import RaggedImages
from ralr_viz.data.spool import Progress
from ralr_viz.data.store import cache_root
from ralr_viz.data.view import View, look_at
from ralr_viz.data.workspace import lock_root, open_workspace, publish_folder, write_errors
from ralr_viz.results.document import parse_json
from ralr_viz.results.storage import open_synced, write_synced

KERNEL = f"Pillow {__version__}, bilinear"
_FOLDER = "views"
_MANIFEST = "view.json"
_PIECE = 2**26
"""Bytes of a view in memory at a time."""


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
