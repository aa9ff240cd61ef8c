"""Run directories that one process has at a time."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from pathlib import Path

from ralr_viz.errors import RunLockedError, StorageError
from ralr_viz.results.storage import storage_error

# Seconds: who only asks whether a folder is in use holds its lock for an instant.
_LOCK_PATIENCE = 1.0


def lock_folder(folder: Path) -> int:
    """Take the folder for this process; the lock falls with the process, however it ends.

    Returns:
        File descriptor; closing it gives the folder free.

    Raises:
        RunLockedError: Another process has it.
        StorageError: The folder cannot be written, or its file system has no locks.
    """
    path = folder / "run.lock"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise storage_error(path, error) from error
    try:
        give_up = time.monotonic() + _LOCK_PATIENCE
        while not try_lock(descriptor, folder):
            if time.monotonic() > give_up:
                raise RunLockedError(
                    f"`{folder}` is in use by another ralr-viz process: wait for it or choose another --runs folder"
                )
            time.sleep(0.02)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def try_lock(descriptor: int, folder: Path, kind: int = fcntl.LOCK_EX) -> bool:
    """Take the lock of an open file within ``folder``, if nobody has one that forbids it.

    Args:
        descriptor: Of the file.
        folder: What the error names.
        kind: ``LOCK_EX`` or ``LOCK_SH``.

    Raises:
        StorageError: The file system has no such locks.
    """
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES):
            return False
        reason = (error.strerror or str(error)).lower()
        raise StorageError(
            f"`{folder}` is on a file system without flock ({reason}): choose another --runs folder"
        ) from None
    return True
