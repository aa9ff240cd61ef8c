"""A folder that a process builds in a temporary place and then gives its name, whole or not at all.

It is built in ``ROOT/.import-*``. The living process holds a ``flock`` in it; what a dead one left is removed by
the next. Creating, publishing and removing such folders happens under ``ROOT/.lock``, held for moments only.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from ralr_viz.errors import StorageError
from ralr_viz.results.storage import name_folder, storage_error

_PREFIX = ".import-"
_LOCK = "lock"


@contextlib.contextmanager
def open_workspace(root: Path) -> Iterator[Path]:
    """A locked temporary folder in ``root``; removed at the end unless it was published.

    Raises:
        StorageError: ``root`` cannot be written.
    """
    with write_errors(root):
        root.mkdir(parents=True, exist_ok=True)
        with lock_root(root):
            _sweep(root)
            folder = _temporary_folder(root)
            lock = (folder / _LOCK).open("w")
            fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        lock.close()


def publish_folder(folder: Path, target: Path) -> None:
    """Give a workspace its name, in the place of what has it; call it under `lock_root`.

    Open maps of the old folder's files stay valid: they live until they are closed.
    """
    (folder / _LOCK).unlink()
    old = _temporary_folder(folder.parent) if target.exists() else None
    name_folder(folder, target, None if old is None else old / target.name)
    if old is not None:
        shutil.rmtree(old, ignore_errors=True)


@contextlib.contextmanager
def lock_root(root: Path) -> Iterator[None]:
    """Nobody else creates, publishes or removes a folder of ``root`` meanwhile."""
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
