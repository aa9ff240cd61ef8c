"""Files that are either the old one or the new one, whatever happens while they are written."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

from ralr_viz.errors import RunLockedError, StorageError
from ralr_viz.results.storage import name_file, storage_error, sync_directory, write_synced

_TEMPORARY = ".tmp"
# Seconds: who only asks whether a folder is in use holds its lock for an instant.
_LOCK_PATIENCE = 1.0


def write_bytes(path: Path, data: bytes, *, sync: bool = True, replace: bool = True) -> None:
    """Write to a temporary file beside ``path``, fsync, then give it its name.

    Args:
        path: Of the file.
        data: Its content.
        sync: Wait for the disk; without, a machine that dies may leave the file empty.
        replace: Take the place of a file that is there.

    Raises:
        InputError: A file is there and ``replace`` is not set, though it came while this was written.
        StorageError: The disk is full or cannot be written; ``path`` is as it was.
    """
    # of this process: two that prepare the same study write the same file at the same time
    temporary = path.with_name(f"{path.name}.{os.getpid()}{_TEMPORARY}")
    try:
        temporary.unlink(missing_ok=True)
        if sync:
            write_synced(temporary, data)
        else:
            temporary.write_bytes(data)
        name_file(temporary, path, replace=replace)
        if sync:
            sync_directory(path.parent)
    except OSError as error:
        raise storage_error(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def write_json(path: Path, value: Any) -> None:
    """`write_bytes` of indented JSON; non-finite floats are refused, since JSON has none.

    What is no Unicode, such as a file's name in another encoding, is written as JSON's own escape.
    """
    write_bytes(
        path,
        (json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode(
            errors="backslashreplace"
        ),
    )


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
        with path.open("a", encoding="utf-8", errors="backslashreplace") as file:
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
