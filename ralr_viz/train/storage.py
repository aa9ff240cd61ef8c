"""Files that are either the old one or the new one, whatever happens while they are written."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import shutil
from pathlib import Path
from typing import Any

from ralr_viz.errors import RunLockedError, StorageError
from ralr_viz.results.storage import sync_directory, write_synced

_TEMPORARY = ".tmp"


def write_bytes(path: Path, data: bytes) -> None:
    """Write to a temporary file beside ``path``, fsync, then replace.

    Raises:
        StorageError: The disk is full or cannot be written; ``path`` is as it was.
    """
    temporary = path.with_name(path.name + _TEMPORARY)
    try:
        temporary.unlink(missing_ok=True)
        write_synced(temporary, data)
        temporary.replace(path)
        sync_directory(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise storage_error(path, error) from error


def write_json(path: Path, value: Any) -> None:
    """`write_bytes` of indented JSON; non-finite floats are refused, since JSON has none."""
    write_bytes(path, (json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode())


def copy_file(source: Path, target: Path) -> None:
    """Give ``source`` a second name: a hard link, since a saved file is never changed, else a copy."""
    temporary = target.with_name(target.name + _TEMPORARY)
    try:
        temporary.unlink(missing_ok=True)
        try:
            os.link(source, temporary)
        except OSError:  # a file system without links
            shutil.copyfile(source, temporary)
        temporary.replace(target)
        # rename does nothing when both names already are the same file
        temporary.unlink(missing_ok=True)
    except OSError as error:
        raise storage_error(target, error) from error


def append_line(path: Path, line: str) -> None:
    """Append one line and flush it."""
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
    except OSError as error:
        raise storage_error(path, error) from error


def remove_leftovers(folder: Path) -> None:
    """Delete the temporary files of a process that was killed while it wrote."""
    for path in folder.glob(f"*{_TEMPORARY}"):
        path.unlink(missing_ok=True)


def lock_folder(folder: Path) -> int:
    """Take the folder for this process; the lock falls with the process, however it ends.

    Returns:
        File descriptor; closing it gives the folder free.

    Raises:
        RunLockedError: Another process has it.
        StorageError: The folder cannot be written.
    """
    path = folder / "run.lock"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise storage_error(path, error) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise RunLockedError(
            f"`{folder}` is in use by another ralr-viz process: wait for it or choose another --runs folder"
        ) from None
    return descriptor


def storage_error(path: Path, error: OSError) -> StorageError:
    """The one-line error for a failed write."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        what = "no space left: free some and run the command again (a training with --resume)"
    else:
        what = f"{(error.strerror or str(error)).lower()}: check the folder and its permissions"
    return StorageError(f"cannot write `{path}`: {what}")
