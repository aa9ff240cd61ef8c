"""Fetching the official archives, checked against their published checksums, and importing them."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import http.client
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import IO, Protocol
from urllib.parse import urlsplit

from ralr_viz.data.archive import MAX_TOTAL_BYTES
from ralr_viz.data.dataset import Dataset
from ralr_viz.data.ingest import Say
from ralr_viz.data.known import KNOWN, Download
from ralr_viz.data.parallel import ParallelText
from ralr_viz.data.parallel_layouts import KNOWN_TEXTS, TEXT_DOWNLOADS
from ralr_viz.data.registry import BUILT, check_absent, import_dataset, load_dataset
from ralr_viz.data.spool import Progress
from ralr_viz.data.workspace import write_errors
from ralr_viz.errors import DataError, UnknownNameError
from ralr_viz.results.storage import name_file, sync_directory, sync_file

_FOLDER = ".downloads"
_BLOCK = 2**20
_TIMEOUT_SECONDS = 60

DOWNLOADS: Mapping[str, Sequence[Download]] = {
    **{name: known.downloads for name, known in KNOWN.items() if known.downloads},
    **TEXT_DOWNLOADS,
}


class _Response(Protocol):
    def read(self, size: int, /) -> bytes: ...


def download_dataset(
    name: str,
    root: Path,
    *,
    force: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
    say: Say | None = None,
    downloads: Mapping[str, Sequence[Download]] = DOWNLOADS,
) -> Dataset | ParallelText:
    """Download the official archives of ``name`` into the data root and import them.

    An archive is kept in ``root/.downloads`` (two datasets come from one); a whole one is not fetched again.

    Args:
        name: A known dataset; those of `BUILT` need no download.
        root: The data root.
        force: Replace a store of that name.
        workers: See :func:`~ralr_viz.data.registry.import_dataset`.
        progress: Called as ``progress(done, total, what)``, in bytes while downloading.
        say: See :func:`~ralr_viz.data.registry.import_dataset`.
        downloads: URL and checksum of each name's archives.

    Raises:
        UnknownNameError: There is no download of that name.
        DataError: The network failed or the archive is not the official one; the message has the URL.
        StorageError: The disk is full or cannot be written.
    """
    if name in BUILT:
        return load_dataset(name, root)
    if name in KNOWN and KNOWN[name].by_hand:
        raise DataError(
            f"`{name}` cannot be downloaded, {KNOWN[name].by_hand} of `ralr-viz data import {name}`"
        )
    if name in KNOWN_TEXTS and name not in downloads:
        raise DataError(
            f"`{name}` cannot be downloaded: {KNOWN_TEXTS[name]} of `ralr-viz data import {name}`"
        )
    if name not in downloads:
        raise UnknownNameError(
            "download", name, downloads, "(your own images: `ralr-viz data import NAME --from PATH`)"
        )
    check_absent(name, root, force)
    archives = [fetch(each, root / _FOLDER, name, progress=progress) for each in downloads[name]]
    return import_dataset(name, archives, root, force=force, workers=workers, progress=progress, say=say)


def fetch(download: Download, folder: Path, name: str, *, progress: Progress | None = None) -> Path:
    """The archive as a file in ``folder``, downloaded unless a whole one is there.

    Raises:
        DataError: No connection, wrong checksum, or another process is fetching the same file.
        StorageError: ``folder`` cannot be written.
    """
    target = folder / PurePosixPath(urlsplit(download.url).path).name
    with write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        part = target.with_name(target.name + ".part").open("ab")
    with part:
        _lock(part, target)
        if target.is_file() and _file_digest(target, download.algorithm) == download.digest:
            return target
        try:
            with write_errors(folder):
                part.truncate(0)
            digest = _copy(download, part, name, progress)
            if digest != download.digest:
                what = f"{download.algorithm.upper()} {digest} instead of {download.digest}"
                raise _failed(download.url, name, what)
            with write_errors(folder):
                name_file(Path(part.name), target, replace=True)
                sync_directory(folder)
        except BaseException:
            Path(part.name).unlink(missing_ok=True)
            raise
    return target


def _copy(download: Download, part: IO[bytes], name: str, progress: Progress | None) -> str:
    """Stream the archive into ``part``; returns its digest."""
    url, whole, done = download.url, hashlib.new(download.algorithm, usedforsecurity=False), 0
    with _network_errors(url, name):
        response = urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS)
    with response:
        total = int(response.headers.get("Content-Length") or 0)
        for block in _blocks(response, url, name):
            done += len(block)
            if done > MAX_TOTAL_BYTES:
                raise _failed(url, name, f"more than {MAX_TOTAL_BYTES >> 30} GiB came")
            whole.update(block)
            with write_errors(Path(part.name)):
                part.write(block)
            if progress:
                progress(done, max(total, done), f"downloading {Path(part.name).stem}")
    with write_errors(Path(part.name)):
        sync_file(part)
    if done < total:
        raise _failed(url, name, f"the connection ended after {done:,} of {total:,} bytes")
    return whole.hexdigest()


def _blocks(response: _Response, url: str, name: str) -> Iterator[bytes]:
    while True:
        with _network_errors(url, name):
            block = response.read(_BLOCK)
        if not block:
            return
        yield block


def _lock(part: IO[bytes], target: Path) -> None:
    try:
        fcntl.flock(part, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise DataError(f"another process is downloading `{target.name}`: wait for it") from error


def _file_digest(path: Path, algorithm: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()


@contextlib.contextmanager
def _network_errors(url: str, name: str) -> Iterator[None]:
    try:
        yield
    except DataError:
        raise
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _failed(url, name, str(error) or type(error).__name__) from error


def _failed(url: str, name: str, why: str) -> DataError:
    return DataError(
        f"download of {url} failed ({why}): download it by hand and run `ralr-viz data import {name} "
        f"--from PATH`"
    )
