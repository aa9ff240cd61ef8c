"""Writing a store so that it is there whole or not at all, even when the process is killed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ralr_viz.data.canonical import ContentHash, add_shapes, canonical_order
from ralr_viz.data.parallel import is_text
from ralr_viz.data.ragged import Boxes
from ralr_viz.data.spool import Images, Progress, Spool, offsets_of, spool_images, store_images
from ralr_viz.data.store import (
    MANIFEST,
    PHOTOGRAPHS,
    SCHEMA,
    SPLITS,
    count_degenerate,
    read_manifest,
)
from ralr_viz.data.workspace import lock_root, open_workspace, publish_folder, write_errors
from ralr_viz.errors import DataError, StorageError
from ralr_viz.foreign import is_one_line, one_line
from ralr_viz.results.storage import open_synced, write_synced

Say = Callable[[str], object]
"""Told a sentence that the user should read before the work goes on."""


@dataclass(frozen=True, eq=False)
class Intake:
    """A dataset on its way into a store: ``n`` samples of both splits in any order.

    Attributes:
        class_ids, class_names: In label order.
        is_test: ``(n,)`` bool, the split of each sample.
        labels: ``(n,)`` int64.
        boxes: ``(n, 4)`` int16 as in :class:`~ralr_viz.data.dataset.Split`; or any number an image, which makes it a
            dataset of photographs; or None.
        images: Chunks of ``(k, H, W, 3)`` uint8, or of ``k`` images of any shape, ``n`` images in all, in the order of
            ``labels``. Where they are not squares of one size it is a dataset of photographs.
        source: Where it came from, for the record; names of files, no absolute paths.
        notes: What is left out or changed, a sentence each; more may come while the images are read.
        shapes: ``(n, 2)`` height and width of the images where they are known before; None where not.
        masks: ``(n, H, W)`` bool, the pixels of each image's object, of squares of one size; or None. Boxes and masks may
            be filled in while the images are read.
    """

    class_ids: tuple[str, ...]
    class_names: tuple[str, ...]
    is_test: np.ndarray
    labels: np.ndarray
    boxes: np.ndarray | Boxes | None
    images: Iterator[Images]
    source: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    shapes: np.ndarray | None = None
    masks: np.ndarray | None = None


def write_store(
    intake: Intake,
    root: Path,
    name: str,
    *,
    force: bool = False,
    progress: Progress | None = None,
    say: Say | None = None,
) -> Path:
    """Store ``intake`` as ``root/name``.

    An equal store that another process finished meanwhile is kept.

    Args:
        intake: What to store.
        root: The data root.
        name: Of the store.
        force: Replace a store of that name.
        progress: Called as ``progress(done, total, what)``.
        say: Told what disk it takes, before it is taken, where that is known.

    Returns:
        The folder of the store.

    Raises:
        DataError: The name is taken and ``force`` is not set, a class's name is no line of text, or the images cannot
            be used.
        StorageError: The disk is full or cannot be written; nothing is left behind.
    """
    _check_class_names(intake)
    _check_disk(intake, root, say)
    with open_workspace(root) as folder:
        manifest = {"name": name, **_write_arrays(intake, folder, progress)}
        with write_errors(root):
            text = json.dumps({"schema": manifest["schema"]} | manifest, indent=1, ensure_ascii=False)
            write_synced(folder / MANIFEST, text.encode(errors="backslashreplace"))
        return _publish(folder, root / name, manifest["content_hash"], force)


def _check_class_names(intake: Intake) -> None:
    """Refuse a name that would break a line wherever it is shown; all others are kept as they are."""
    for name in (*intake.class_ids, *intake.class_names):
        if not is_one_line(name):
            raise DataError(
                f"class name `{one_line(name)}` must be one line of text: rename it, without control characters"
            )


def _check_disk(intake: Intake, root: Path, say: Say | None) -> None:
    """Say what the store takes, and refuse what the disk has no room for, before a byte is written."""
    if intake.shapes is None:
        return
    needed = int(offsets_of(intake.shapes)[-1])
    if say:
        say(
            f"{len(intake.shapes):,} photographs, longest side {intake.shapes.max():,} pixels: the store takes "
            f"{_in_units(needed)}, twice that while it is written"
        )
    existing = next(folder for folder in (root, *root.absolute().parents) if folder.is_dir())
    if (free := shutil.disk_usage(existing).free) < 2 * needed:
        raise StorageError(
            f"`{root}` has {_in_units(free)} of disk left, the import needs {_in_units(2 * needed)}: lower --cap, "
            f"or choose another folder with --data"
        )


def _in_units(size: int) -> str:
    power = min(max(size.bit_length() - 1, 10) // 10, 3)
    return f"{size / 2 ** (10 * power):.1f} {'_KMG'[power]}iB"


def _write_arrays(intake: Intake, folder: Path, progress: Progress | None) -> dict[str, Any]:
    """Write the arrays of both splits in canonical order; returns the manifest's fields."""
    spool = spool_images(intake.images, folder / "unsorted", intake.is_test, progress)
    side = None if isinstance(intake.boxes, Boxes) else spool.square
    if side is None and isinstance(intake.boxes, np.ndarray):
        raise DataError("images with a table of boxes must be squares of one size: resize them")
    digests = spool.digests if side is not None else add_shapes(spool.digests, spool.images.shapes)
    content, lengths = ContentHash(), {}
    for split, members in zip(SPLITS, (~intake.is_test, intake.is_test), strict=True):
        index = np.flatnonzero(members)
        boxes = _take(intake.boxes, index)
        order = index[canonical_order([digests[i] for i in index], intake.labels[index], boxes)]
        labels, boxes = intake.labels[order].astype(np.int64), _take(intake.boxes, order)
        masks = None if intake.masks is None else intake.masks[order]
        _write_split(folder, split, spool, order, side, progress)
        _write_array(folder / f"{split}_labels.npy", labels)
        _write_boxes(folder, split, boxes)
        if masks is not None:
            _write_array(folder / f"{split}_masks.npy", masks)
        content.add_split(split, [digests[i] for i in order], labels, boxes, masks)
        lengths[split] = len(order)
    (folder / "unsorted").unlink()
    mean, std = spool.statistics.mean_std()
    shape = {"schema": PHOTOGRAPHS} if side is None else {"schema": SCHEMA, "image_size": side}
    return shape | {
        "class_ids": list(intake.class_ids),
        "class_names": list(intake.class_names),
        "n": lengths,
        "boxes": intake.boxes is not None,
        **({} if intake.masks is None else {"masks": True}),
        "mean": list(mean),
        "std": list(std),
        "content_hash": content.hexdigest(intake.class_ids),
        "source": intake.source,
        "notes": [*intake.notes, *_note_degenerate(intake)],
    }


def _note_degenerate(intake: Intake) -> list[str]:
    count = count_degenerate(intake.boxes) if isinstance(intake.boxes, np.ndarray) else 0
    many = "boxes of zero width or height are" if count > 1 else "box of zero width or height is"
    return [f"{count:,} {many} left out"] if count else []


def _take(boxes: np.ndarray | Boxes | None, index: np.ndarray) -> np.ndarray | Boxes | None:
    if isinstance(boxes, Boxes):
        return boxes.take(index)
    return None if boxes is None else boxes[index].astype(np.int16)


def _write_split(
    folder: Path, split: str, spool: Spool, order: np.ndarray, side: int | None, progress: Progress | None
) -> None:
    file = f"{split}_pixels.npy" if side is None else f"{split}_images.npy"
    store_images(folder / file, spool.images, order, side, split, progress)
    if side is None:
        shapes = spool.images.shapes[order]
        _write_array(folder / f"{split}_shapes.npy", shapes)
        _write_array(folder / f"{split}_offsets.npy", offsets_of(shapes))


def _write_boxes(folder: Path, split: str, boxes: np.ndarray | Boxes | None) -> None:
    if isinstance(boxes, Boxes):
        _write_array(folder / f"{split}_box_offsets.npy", boxes.offsets)
        _write_array(folder / f"{split}_box_labels.npy", boxes.labels)
        _write_array(folder / f"{split}_box_flags.npy", boxes.flags)
    if boxes is not None:
        array = boxes.corners if isinstance(boxes, Boxes) else boxes
        _write_array(folder / f"{split}_boxes.npy", array)


def _write_array(path: Path, array: np.ndarray) -> None:
    with open_synced(path, write_errors) as file, write_errors(path):
        np.lib.format.write_array(file, array, allow_pickle=False)


def _publish(folder: Path, target: Path, content_hash: str, force: bool) -> Path:
    root = folder.parent
    with write_errors(root), lock_root(root):
        check_replaceable(target)
        if target.exists() and not force:
            if read_manifest(target).get("content_hash") == content_hash:
                return target
            raise DataError(
                f"dataset `{target.name}` was stored by another process: add --force to replace it"
            )
        publish_folder(folder, target)
    return target


def check_replaceable(target: Path) -> None:
    """Raise :class:`DataError` if ``target`` is there and is no store: it may be the user's own images."""
    if target.exists() and not (target / MANIFEST).is_file() and not is_text(target):
        raise DataError(f"`{target}` is in the way and is no dataset store: move it or choose another --data")
