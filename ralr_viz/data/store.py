"""The store on disk: one folder of memory-mapped arrays and a manifest.

    ROOT/<name>/store.json          names, mean/std, sizes, content hash, where it came from; written last
    ROOT/<name>/train_images.npy    uint8 (n, H, W, 3)
    ROOT/<name>/train_labels.npy    int64 (n,)
    ROOT/<name>/train_boxes.npy     int16 (n, 4), only when the dataset has boxes
    ROOT/<name>/train_masks.npy     bool (n, H, W), only when it has masks
    ROOT/<name>/test_*.npy          the same for the test split

Schema 2, of photographs of unequal shape, has in the place of ``images`` and ``boxes``:

    ROOT/<name>/train_pixels.npy       uint8 (total,), one image after the other
    ROOT/<name>/train_offsets.npy      int64 (n + 1,), where each begins
    ROOT/<name>/train_shapes.npy       int32 (n, 2), height and width
    ROOT/<name>/train_boxes.npy        float32 (m, 4), any number an image, as in :class:`~ralr_viz.data.ragged.Boxes`
    ROOT/<name>/train_box_offsets.npy  int64 (n + 1,); train_box_labels.npy int64 (m,); train_box_flags.npy uint8 (m,)

A store appears by one rename of a finished folder (:mod:`ralr_viz.data.ingest`), so a folder with a
``store.json`` is complete. Loading checks everything that is cheap; ``ralr-viz data doctor`` also the pixels.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs

from ralr_viz.data.dataset import NO_BOX, Dataset, PhotographSplit, Split
from ralr_viz.data.ragged import Boxes, RaggedImages
from ralr_viz.errors import DataError, InputError
from ralr_viz.foreign import describe_error, one_line
from ralr_viz.results.document import parse_json

SCHEMA = 1
PHOTOGRAPHS = 2
"""Schema of stores with images of unequal shape."""
MANIFEST = "store.json"
SPLITS = ("train", "test")
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


def data_root(option: Path | None = None) -> Path:
    """The folder of all stores: ``option``, else ``$RALR_VIZ_DATA``, else the user's cache folder.

    Raises:
        InputError: It is a file.
    """
    if option is not None:
        source, root = "--data", Path(option).expanduser()
    elif variable := os.environ.get("RALR_VIZ_DATA"):
        source, root = "$RALR_VIZ_DATA", Path(variable).expanduser()
    else:
        return platformdirs.user_cache_path("ralr-viz") / "data"
    if root.is_file():
        raise InputError(f"`{source}` is the file `{root}`: give the folder of the data sets")
    return root


def cache_root() -> Path:
    """Folder of what can be computed again: ``$RALR_VIZ_CACHE``, else the user's cache folder."""
    if variable := os.environ.get("RALR_VIZ_CACHE"):
        return Path(variable).expanduser()
    return platformdirs.user_cache_path("ralr-viz")


def is_valid_name(name: str) -> bool:
    """Whether ``name`` may name a dataset: it becomes a folder, so no separators and no leading dot."""
    return _NAME.fullmatch(name) is not None


def check_name(name: str) -> None:
    """Raise :class:`InputError` unless ``name`` may name a dataset."""
    if not is_valid_name(name):
        raise InputError(
            f"dataset name `{name}` is not allowed: use up to 64 of a-z 0-9 . _ - and begin with a letter or "
            f"a digit"
        )


def stored_names(root: Path) -> list[str]:
    """Sorted names of the stores in ``root``."""
    if not root.is_dir():
        return []
    return sorted(p.parent.name for p in root.glob(f"*/{MANIFEST}") if is_valid_name(p.parent.name))


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of the store in ``folder``.

    Raises:
        DataError: Unreadable, of a newer schema, or with fields missing.
    """
    try:
        manifest = parse_json((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _damaged(folder, f"`{MANIFEST}` cannot be read ({one_line(error)})") from error
    if not isinstance(manifest, dict) or not isinstance(manifest.get("schema"), int):
        raise _damaged(folder, f"`{MANIFEST}` has no schema version")
    if manifest["schema"] not in (SCHEMA, PHOTOGRAPHS):
        raise DataError(
            f"store `{folder.name}` has schema {manifest['schema']}, this version of ralr-viz reads "
            f"{SCHEMA} and {PHOTOGRAPHS}: update ralr-viz or import the dataset again with --force"
        )
    return manifest


def read_store(folder: Path, *, keep_degenerate: bool = False) -> Dataset:
    """Open the store in ``folder``; images stay on disk until they are touched.

    Args:
        folder: Of the store.
        keep_degenerate: Give boxes of zero width or height as they are stored, and hashed.

    Raises:
        DataError: A file is missing or damaged, or the arrays disagree with the manifest.
    """
    manifest = read_manifest(folder)
    try:
        class_ids = tuple(str(name) for name in manifest["class_ids"])
        class_names = tuple(str(name) for name in manifest["class_names"])
        mean, std = _triple(manifest["mean"]), _triple(manifest["std"])
        photographs, content_hash = manifest["schema"] == PHOTOGRAPHS, str(manifest["content_hash"])
        size = 0 if photographs else int(manifest["image_size"])
        lengths = {split: int(manifest["n"][split]) for split in SPLITS}
        with_boxes, with_masks = bool(manifest["boxes"]), bool(manifest.get("masks"))
        notes = tuple(str(note) for note in manifest.get("notes", ()))
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(folder, f"`{MANIFEST}` is incomplete ({describe_error(error)})") from error
    if not class_ids or len(class_names) != len(class_ids) or len(set(class_ids)) != len(class_ids):
        raise _damaged(folder, "class ids and names do not match")
    splits: dict[str, Split] = {
        split: _read_photographs(folder, split, n, len(class_ids), with_boxes)
        if photographs
        else _read_split(folder, split, n, size, len(class_ids), with_boxes, with_masks)
        for split, n in lengths.items()
    }
    if not keep_degenerate and not photographs:
        splits = {split: replace(part, boxes=_drop_degenerate(part.boxes)) for split, part in splits.items()}
    return Dataset(
        name=folder.name, root=folder, class_names=class_names, class_ids=class_ids, mean=mean, std=std,
        content_hash=content_hash, notes=notes, **splits,
    )  # fmt: skip


def _read_split(
    folder: Path, split: str, n: int, size: int, num_classes: int, with_boxes: bool, with_masks: bool
) -> Split:
    images = _read_array(folder, f"{split}_images.npy", np.uint8, (n, size, size, 3), mmap=True)
    labels = _read_labels(folder, f"{split}_labels.npy", f"`{split}`", n, num_classes)
    if n == 0:
        raise _damaged(folder, f"`{split}` has no images")
    boxes = _read_array(folder, f"{split}_boxes.npy", np.int16, (n, 4)) if with_boxes else None
    masks = (
        _read_array(folder, f"{split}_masks.npy", np.bool_, (n, size, size), mmap=True)
        if with_masks
        else None
    )
    return Split(images, labels, boxes, masks)


def _read_photographs(
    folder: Path, split: str, n: int, num_classes: int, with_boxes: bool
) -> PhotographSplit:
    shapes = _read_array(folder, f"{split}_shapes.npy", np.int32, (n, 2))
    offsets = _read_array(folder, f"{split}_offsets.npy", np.int64, (n + 1,))
    if (
        n == 0
        or shapes.min() < 1
        or offsets[0]
        or (np.diff(offsets) != 3 * shapes.astype(np.int64).prod(1)).any()
    ):
        raise _damaged(folder, f"offsets and shapes of `{split}` do not match")
    pixels = _read_array(folder, f"{split}_pixels.npy", np.uint8, (int(offsets[-1]),), mmap=True)
    labels = _read_labels(folder, f"{split}_labels.npy", f"`{split}`", n, num_classes)
    regions = _read_regions(folder, split, n, num_classes) if with_boxes else None
    return PhotographSplit(RaggedImages(pixels, offsets, shapes), labels, regions)


def _read_regions(folder: Path, split: str, n: int, num_classes: int) -> Boxes:
    offsets = _read_array(folder, f"{split}_box_offsets.npy", np.int64, (n + 1,))
    if offsets[0] or (np.diff(offsets) < 0).any():
        raise _damaged(folder, f"offsets of the boxes of `{split}` do not rise from 0")
    m = int(offsets[-1])
    corners = _read_array(folder, f"{split}_boxes.npy", np.float32, (m, 4))
    labels = _read_labels(folder, f"{split}_box_labels.npy", f"the boxes of `{split}`", m, num_classes)
    return Boxes(offsets, corners, labels, _read_array(folder, f"{split}_box_flags.npy", np.uint8, (m,)))


def _read_labels(folder: Path, file: str, whose: str, n: int, num_classes: int) -> np.ndarray:
    labels = _read_array(folder, file, np.int64, (n,))
    if n and (labels.min() < 0 or labels.max() >= num_classes):
        raise _damaged(folder, f"labels of {whose} are not all in [0, {num_classes})")
    return labels


def count_degenerate(boxes: np.ndarray) -> int:
    """Boxes (n, 4) ``x0 y0 x1 y1`` of zero width or height."""
    return int(_degenerate(boxes).sum())


def _degenerate(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 0] != NO_BOX) & ((boxes[:, 2] <= boxes[:, 0]) | (boxes[:, 3] <= boxes[:, 1]))


def _drop_degenerate(boxes: np.ndarray | None) -> np.ndarray | None:
    if boxes is None:
        return None
    # on reading, not on storing: the content hash of every store, and of every run that names it, is of the raw boxes
    kept = np.where(_degenerate(boxes)[:, None], np.int16(NO_BOX), boxes)
    kept.flags.writeable = False
    return kept


def _read_array(
    folder: Path, file: str, dtype: type, shape: tuple[int, ...], *, mmap: bool = False
) -> np.ndarray:
    try:
        array = np.load(folder / file, mmap_mode="r" if mmap else None, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise _damaged(folder, f"`{file}` cannot be read ({one_line(error)})") from error
    if array.dtype != dtype or array.shape != shape:
        raise _damaged(folder, f"`{file}` is {array.dtype} {array.shape}, not {np.dtype(dtype)} {shape}")
    array.flags.writeable = False
    return array


def _triple(values: Any) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue


def _damaged(folder: Path, what: str) -> DataError:
    return DataError(f"store `{folder}` is damaged: {what}; import the dataset again with --force")
