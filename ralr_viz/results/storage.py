"""Writing to disk: what is there is whole and synced, and a full disk is one line to the user."""

from __future__ import annotations

import contextlib
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
        reason = error.strerror or str(error)
        raise StorageError(
            f"cannot write `{path}`: {reason}; nothing was saved: free space or choose another --out"
        ) from error


def write_synced(path: Path, data: bytes) -> None:
    """Write a new file and wait until it is on disk."""
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync_directory(directory: Path) -> None:
    """Wait until the names in a folder are on disk; a rename is not durable before that."""
    if os.name == "nt":  # Windows cannot open a folder
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
