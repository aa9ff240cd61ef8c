"""Writing a store so that it is there whole or not at all, even when the process is killed.

The arrays are built in ``ROOT/.import-*`` and the finished folder is renamed. The living process holds a
``flock`` in it; what a dead one left is removed by the next import. Creating, publishing and removing such
folders happens under ``ROOT/.lock``, held for moments only.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ralr_viz.data.canonical import CHUNK, ChannelStatistics, ContentHash, canonical_order, compute_digests
from ralr_viz.data.store import MANIFEST, SCHEMA, SPLITS, count_degenerate, read_manifest
from ralr_viz.errors import DataError, StorageError
from ralr_viz.foreign import is_one_line, one_line
from ralr_viz.results.storage import name_folder, open_synced, storage_error, write_synced

Progress = Callable[[int, int, str], None]
"""Called as ``progress(done, total, what)``."""

_PREFIX = ".import-"
_LOCK = "lock"


@dataclass(frozen=True, eq=False)
class Intake:
    """A dataset on its way into a store: ``n`` samples of both splits in any order.

    Attributes:
        class_ids, class_names: In label order.
        is_test: ``(n,)`` bool, the split of each sample.
        labels: ``(n,)`` int64.
        boxes: ``(n, 4)`` int16 or None, as in :class:`~ralr_viz.data.dataset.Split`.
        images: Chunks of ``(k, H, W, 3)`` uint8, ``n`` images in all, in the order of ``labels``.
        source: Where it came from, for the record; names of files, no absolute paths.
        notes: What is left out or changed, a sentence each; more may come while the images are read.
    """

    class_ids: tuple[str, ...]
    class_names: tuple[str, ...]
    is_test: np.ndarray
    labels: np.ndarray
    boxes: np.ndarray | None
    images: Iterator[np.ndarray]
    source: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def write_store(
    intake: Intake, root: Path, name: str, *, force: bool = False, progress: Progress | None = None
) -> Path:
    """Store ``intake`` as ``root/name``.

    An equal store that another process finished meanwhile is kept.

    Returns:
        The folder of the store.

    Raises:
        DataError: The name is taken and ``force`` is not set, a class's name is no line of text, or the images cannot
            be used.
        StorageError: The disk is full or cannot be written; nothing is left behind.
    """
    _check_class_names(intake)
    with _workspace(root) as folder:
        manifest = {"schema": SCHEMA, "name": name, **_write_arrays(intake, folder, progress)}
        with write_errors(root):
            text = json.dumps(manifest, indent=1, ensure_ascii=False)
            write_synced(folder / MANIFEST, text.encode(errors="backslashreplace"))
        return _publish(folder, root / name, manifest["content_hash"], force)


def _check_class_names(intake: Intake) -> None:
    """Refuse a name that would break a line wherever it is shown; all others are kept as they are."""
    for name in (*intake.class_ids, *intake.class_names):
        if not is_one_line(name):
            raise DataError(
                f"class name `{one_line(name)}` must be one line of text: rename it, without control characters"
            )


def _write_arrays(intake: Intake, folder: Path, progress: Progress | None) -> dict[str, Any]:
    """Write the arrays of both splits in canonical order; returns the manifest's fields."""
    unsorted, digests, statistics = _spool(intake, folder / "unsorted", progress)
    content, lengths = ContentHash(), {}
    for split, members in zip(SPLITS, (~intake.is_test, intake.is_test), strict=True):
        index = np.flatnonzero(members)
        boxes = None if intake.boxes is None else intake.boxes[index]
        order = index[canonical_order([digests[i] for i in index], intake.labels[index], boxes)]
        _write_images(folder / f"{split}_images.npy", unsorted, order, split, progress)
        labels = intake.labels[order].astype(np.int64)
        _write_array(folder / f"{split}_labels.npy", labels)
        if intake.boxes is not None:
            boxes = intake.boxes[order].astype(np.int16)
            _write_array(folder / f"{split}_boxes.npy", boxes)
        content.add_split(split, [digests[i] for i in order], labels, boxes)
        lengths[split] = len(order)
    (folder / "unsorted").unlink()
    mean, std = statistics.mean_std()
    return {
        "class_ids": list(intake.class_ids),
        "class_names": list(intake.class_names),
        "n": lengths,
        "image_size": int(unsorted.shape[1]),
        "boxes": intake.boxes is not None,
        "mean": list(mean),
        "std": list(std),
        "content_hash": content.hexdigest(intake.class_ids),
        "source": intake.source,
        "notes": [*intake.notes, *_note_degenerate(intake)],
    }


def _note_degenerate(intake: Intake) -> list[str]:
    count = 0 if intake.boxes is None else count_degenerate(intake.boxes)
    many = "boxes of zero width or height are" if count > 1 else "box of zero width or height is"
    return [f"{count:,} {many} left out"] if count else []


def _spool(
    intake: Intake, path: Path, progress: Progress | None
) -> tuple[np.ndarray, list[bytes], ChannelStatistics]:
    """Write the stream as it comes: the canonical order is known only after the last image."""
    total, digests, statistics, shape = len(intake.labels), list[bytes](), ChannelStatistics(), (0, 0, 0)
    with open_synced(path, write_errors) as file:
        for chunk in intake.images:
            shape = chunk.shape[1:]
            with write_errors(path):
                file.write(chunk.tobytes())
            statistics.add(chunk[~intake.is_test[len(digests) : len(digests) + len(chunk)]])
            digests += compute_digests(chunk)
            if progress:
                progress(len(digests), total, "reading images")
    assert len(digests) == total, "an intake must stream as many images as it has labels"
    # Reading through a map is safe; writing through one would turn a full disk into SIGBUS.
    return np.memmap(path, np.uint8, mode="r", shape=(total, *shape)), digests, statistics


def _write_images(
    path: Path, unsorted: np.ndarray, order: np.ndarray, split: str, progress: Progress | None
) -> None:
    header = {"descr": "|u1", "fortran_order": False, "shape": (len(order), *unsorted.shape[1:])}
    with open_synced(path, write_errors) as file:
        with write_errors(path):
            np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, len(order), CHUNK):
            with write_errors(path):
                file.write(unsorted[order[start : start + CHUNK]].tobytes())
            if progress:
                progress(min(start + CHUNK, len(order)), len(order), f"storing {split} images")


def _write_array(path: Path, array: np.ndarray) -> None:
    with open_synced(path, write_errors) as file, write_errors(path):
        np.lib.format.write_array(file, array, allow_pickle=False)


@contextlib.contextmanager
def _workspace(root: Path) -> Iterator[Path]:
    """A locked temporary folder in ``root``; removed at the end unless it was published."""
    with write_errors(root):
        root.mkdir(parents=True, exist_ok=True)
        with _root_lock(root):
            _sweep(root)
            folder = _temporary_folder(root)
            lock = (folder / _LOCK).open("w")
            fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        lock.close()


def _publish(folder: Path, target: Path, content_hash: str, force: bool) -> Path:
    root = folder.parent
    with write_errors(root), _root_lock(root):
        check_replaceable(target)
        stored = target.exists()
        if stored and not force:
            if read_manifest(target).get("content_hash") == content_hash:
                return target
            raise DataError(
                f"dataset `{target.name}` was stored by another process: add --force to replace it"
            )
        (folder / _LOCK).unlink()
        # Open maps of the old store stay valid: their files live until they are closed.
        old = _temporary_folder(root) if stored else None
        name_folder(folder, target, None if old is None else old / target.name)
        if old is not None:
            shutil.rmtree(old, ignore_errors=True)
    return target


def check_replaceable(target: Path) -> None:
    """Raise :class:`DataError` if ``target`` is there and is no store: it may be the user's own images."""
    if target.exists() and not (target / MANIFEST).is_file():
        raise DataError(f"`{target}` is in the way and is no dataset store: move it or choose another --data")


def _temporary_folder(root: Path) -> Path:
    folder = root / f"{_PREFIX}{os.getpid()}-{secrets.token_hex(4)}"
    folder.mkdir()
    return folder


def _sweep(root: Path) -> None:
    """Remove temporary folders whose process is dead: nobody holds their lock."""
    for folder in root.glob(f"{_PREFIX}*"):
        try:
            lock = (folder / _LOCK).open("r+")
        except FileNotFoundError:
            shutil.rmtree(folder, ignore_errors=True)
            continue
        except OSError:  # another user's, in a shared root
            continue
        with lock, contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _root_lock(root: Path) -> Iterator[None]:
    with (root / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def write_errors(path: Path) -> Iterator[None]:
    """Turn an ``OSError`` of writing ``path`` into a :class:`StorageError`."""
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"{storage_error(Path(error.filename or path), error)}, or choose another folder with --data"
        ) from error
