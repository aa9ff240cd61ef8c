"""Writing to disk: what is there is whole and synced, and a full disk is one line to the user."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from ralr_viz.errors import InputError, StorageError


@contextlib.contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn an ``OSError`` of the block into the one-line error that a user can act on.

    Raises:
        InputError: A folder is where a file belongs, or the reverse.
        StorageError: The disk is full or cannot be written.
    """
    try:
        yield
    except (NotADirectoryError, FileExistsError, IsADirectoryError) as error:
        raise InputError(f"cannot write `{path}`: {error.strerror}; choose another --out") from error
    except OSError as error:
        raise storage_error(path, error) from error


def storage_error(path: Path, error: OSError) -> StorageError:
    """The one-line error for a failed write."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        what = "no space left: free some and run the command again"
    elif error.errno == errno.EFBIG:
        what = (
            "the file is larger than is allowed here: raise the limit (`ulimit -f`) and run the command again"
        )
    else:
        what = f"{(error.strerror or str(error)).lower()}: check the folder and its permissions"
    return StorageError(f"cannot write `{path}`: {what}")


def write_synced(path: Path, data: bytes) -> None:
    """Write a new file and wait until it is on disk."""
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def name_file(new: Path, path: Path, *, replace: bool) -> None:
    """Give a finished temporary file beside ``path`` its name.

    Args:
        new: The temporary file; it is gone afterwards.
        path: Its name from now on.
        replace: Take the place of what has that name. Without, of two processes that do this at once the
            second is refused: looking first and renaming then would let both through.

    Raises:
        InputError: Something has that name and ``replace`` is not set.
        OSError: It cannot be renamed.
    """
    if replace:
        new.replace(path)
        return
    try:
        os.link(new, path)
    except FileExistsError:
        raise _taken(path) from None
    except OSError:  # a file system without links
        if path.exists():
            raise _taken(path) from None
        new.rename(path)
    else:
        new.unlink()


def sync_directory(directory: Path) -> None:
    """Wait until the names in a folder are on disk; a rename is not durable before that."""
    if os.name == "nt":  # Windows cannot open a folder
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _taken(path: Path) -> InputError:
    return InputError(f"`{path}` exists: choose another --out or pass --force to replace it")
