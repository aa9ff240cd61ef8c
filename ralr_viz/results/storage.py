"""All writing to disk: what has its name is whole and synced, and a full disk is one line to the user.

A file, or several at once, is written beside its name and renamed; so is a folder. What a process that was killed
has left of them ends in ``.tmp``, or is a hidden folder.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Any

from ralr_viz.errors import InputError, StorageError

_TEMPORARY = ".tmp"


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


def write_bytes(path: Path, data: bytes, *, sync: bool = True, replace: bool = True) -> None:
    """Write a file, whole or not at all.

    Args:
        path: Of the file.
        data: Its content.
        sync: Wait for the disk; without, a machine that dies may leave the file empty.
        replace: Take the place of a file that is there.

    Raises:
        InputError: A file is there and ``replace`` is not set, though it came while this was written.
        StorageError: The disk is full or cannot be written; ``path`` is as it was.
    """
    try:
        _write_together({path: data}, sync=sync, replace=replace)
    except OSError as error:
        raise storage_error(path, error) from error


def write_json(path: Path, value: Any) -> None:
    """`write_bytes` of indented JSON; non-finite floats are refused, since JSON has none.

    What is no Unicode, such as a file's name in another encoding, is written as JSON's own escape.
    """
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False)
    write_bytes(path, f"{text}\n".encode(errors="backslashreplace"))


def write_files(files: Mapping[Path, bytes], stem: Path, *, replace: bool) -> None:
    """Write several files of one folder, which is made, all or none; those that are replaced have no way back.

    Args:
        files: Path and content of each.
        stem: What an error names.
        replace: Take the place of files that are there.

    Raises:
        InputError: A file is there and ``replace`` is not set, or a folder is where a file belongs, or the reverse.
        StorageError: The disk is full or cannot be written.
    """
    with storage_errors(stem):
        stem.parent.mkdir(parents=True, exist_ok=True)
        _write_together(files, sync=True, replace=replace)


def copy_file(source: Path, target: Path) -> None:
    """Give ``source`` a second name: a hard link, since a saved file is never changed, else a copy.

    Raises:
        StorageError: The disk is full or cannot be written.
    """
    temporary = _beside(target)
    try:
        try:
            os.link(source, temporary)
        except OSError:  # a file system without links
            shutil.copyfile(source, temporary)
        temporary.replace(target)
    except OSError as error:
        raise storage_error(target, error) from error
    finally:  # rename does nothing when both names already are the same file
        with contextlib.suppress(OSError):
            temporary.unlink()


def append_line(path: Path, line: str) -> None:
    """Append one line and flush it.

    Raises:
        StorageError: The disk is full or cannot be written.
    """
    try:
        with path.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(line + "\n")
    except OSError as error:
        raise storage_error(path, error) from error


def write_at(path: Path, offset: int, data: bytes) -> None:
    """Write into a file that is there, at a place that may lie behind its end; it is on disk afterwards.

    Not atomic: what is read back must show whether it is whole.

    Raises:
        StorageError: The disk is full or cannot be written.
    """
    try:
        with path.open("r+b") as file:
            file.seek(offset)
            file.write(data)
            sync_file(file)
    except OSError as error:
        raise storage_error(path, error) from error


def remove_leftovers(folder: Path) -> None:
    """Delete the temporary files of a process that was killed while it wrote."""
    for path in folder.glob(f"*{_TEMPORARY}"):
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def build_folder(target: Path, *, replace: bool, check: Callable[[], None]) -> Iterator[Path]:
    """A hidden folder beside ``target`` for the block to fill, which then has its name, whole or not at all.

    Args:
        target: Its name from now on; a link to follow was followed already. An empty folder may be there.
        replace: Take the place of what is there, which is deleted last: one of the two is whole at every moment.
        check: Called where it cannot be named; raises the reason where another process has filled it meanwhile.

    Raises:
        OSError: It cannot be made or named; nothing is left behind.
    """
    token = secrets.token_hex(4)
    new, old = (target.with_name(f".{target.name}.{token}.{end}") for end in ("new", "old"))
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        new.mkdir()
        yield new
        try:
            name_folder(new, target, old if replace else None)
        except OSError:
            if new.exists():  # it was not named
                check()
            raise
    finally:
        shutil.rmtree(new, ignore_errors=True)


def name_folder(new: Path, target: Path, old: Path | None = None) -> None:
    """Give a finished folder its name.

    Args:
        new: The folder; its files are on disk already.
        target: Its name from now on.
        old: Where a folder goes that has that name, to be deleted last; it comes back where this fails. Without, it
            is an error that there is one, unless it is empty.

    Raises:
        OSError: It cannot be renamed.
    """
    sync_directory(new)
    try:
        if old is not None and target.exists():
            target.rename(old)
        new.rename(target)
        sync_directory(target.parent)
    finally:
        if old is not None and old.exists():
            if target.exists():
                shutil.rmtree(old, ignore_errors=True)
            else:
                old.rename(target)


def write_synced(path: Path, data: bytes) -> None:
    """Write a new file and wait until it is on disk."""
    with open_synced(path) as file:
        file.write(data)


@contextlib.contextmanager
def open_synced(
    path: Path, errors: Callable[[Path], AbstractContextManager[Any]] = contextlib.nullcontext
) -> Iterator[IO[bytes]]:
    """A new binary file for the block to fill as a stream; it is on disk when the block ends well.

    Args:
        path: Of the file.
        errors: Turns an ``OSError`` of opening or syncing into another; those of the block are the block's own.

    Raises:
        OSError: It is there already, or cannot be written.
    """
    with errors(path):
        file = path.open("xb")
    try:
        yield file
        with errors(path):
            sync_file(file)
    finally:
        with contextlib.suppress(OSError):  # a full disk was reported by the write or the sync already
            file.close()


def sync_file(file: IO[bytes]) -> None:
    """Wait until what was written to an open file is on disk."""
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


def _write_together(files: Mapping[Path, bytes], *, sync: bool, replace: bool) -> None:
    """Write files of one folder beside their names, then name them; where this fails, none that is new is left."""
    named: list[Path] = []
    temporary = {path: _beside(path) for path in files}
    try:
        for path, data in files.items():
            if sync:
                write_synced(temporary[path], data)
            else:
                temporary[path].write_bytes(data)
        for path, new in temporary.items():
            name_file(new, path, replace=replace)
            named.append(path)
        if sync:
            for folder in dict.fromkeys(path.parent for path in files):
                sync_directory(folder)
    except BaseException:
        if not replace:  # these are ours
            for path in named:
                path.unlink(missing_ok=True)
        raise
    finally:
        for new in temporary.values():
            with contextlib.suppress(OSError):
                new.unlink()


def _beside(path: Path) -> Path:
    """A temporary name of this call alone: two that prepare the same study write the same file at the same time."""
    return path.with_name(f"{path.name}.{secrets.token_hex(4)}{_TEMPORARY}")


def _taken(path: Path) -> InputError:
    return InputError(f"`{path}` exists: choose another --out or pass --force to replace it")
