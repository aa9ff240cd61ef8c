"""Decoding image files to uint8 arrays, on all cores and within bounded memory."""

from __future__ import annotations

import os
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np

from ralr_viz.data.picture import CAP, Look, UnreadableImage, decode_picture, read_shape
from ralr_viz.data.spool import Images
from ralr_viz.data.view import View, look_at
from ralr_viz.errors import DataError, InputError
from ralr_viz.foreign import one_line

_CHUNK_IMAGES = 256
_CHUNK_PHOTOGRAPHS = 32
_CHUNK_BYTES = 8 * 2**20
_NAMED_FAILURES = 5

Blob = tuple[str, bytes]
"""Name and file content of an image."""


def decode_stream(
    blobs: Iterable[Blob],
    *,
    size: int | None = None,
    workers: int | None = None,
    notes: list[str] | None = None,
) -> Iterator[np.ndarray]:
    """Decode images of one common size with a pool of threads (Pillow decodes without holding the GIL).

    Args:
        blobs: Name and content of each file; read no further ahead than the workers need.
        size: See :func:`decode_image`.
        workers: Threads; None for one, or one per available core where images are scaled: handing small images
            from thread to thread takes longer than decoding them.
        notes: Gets a sentence, after the last image, if some were transparent.

    Yields:
        Chunks of ``(k, H, W, 3)`` uint8 in the order of ``blobs``.

    Raises:
        DataError: An image has another size than the first one, or is not square; or, after all were tried,
            some cannot be decoded: the first few are named.
    """
    first: tuple[str, tuple[int, ...]] | None = None
    threads = 1 if workers is None and size is None else worker_count(workers)
    for chunk in _decode_all(blobs, Look(size), threads, _CHUNK_IMAGES, notes):
        for name, image in chunk:
            first = first or (name, image.shape)
            _check_shape(name, image.shape, *first)
        yield np.stack([image for _, image in chunk])


def decode_photographs(
    blobs: Iterable[Blob],
    look: Look,
    *,
    small: bool = False,
    workers: int | None = None,
    notes: list[str] | None = None,
) -> Iterator[Images]:
    """As `decode_stream`, of images of any shape.

    Args:
        blobs: Name and content of each file.
        look: What is made of each.
        small: Whether most are small; then one thread where ``workers`` is None, as there.
        workers: Threads; None for one per available core.
        notes: As there.

    Yields:
        ``(k, H, W, 3)`` uint8, or where the shapes differ a list of ``k``, in the order of ``blobs``.

    Raises:
        DataError: After all were tried, some cannot be decoded: the first few are named.
    """
    threads, most = 1 if small and workers is None else worker_count(workers), _CHUNK_PHOTOGRAPHS
    for chunk in _decode_all(blobs, look, threads, _CHUNK_IMAGES if small else most, notes):
        images = [image for _, image in chunk]
        yield np.stack(images) if len({image.shape for image in images}) == 1 else images


def _decode_all(
    blobs: Iterable[Blob], look: Look, threads: int, most: int, notes: list[str] | None
) -> Iterator[list[tuple[str, np.ndarray]]]:
    failures, on_white = list[str](), list[str]()
    for names, decoded in _in_parallel(blobs, look, threads, most):
        chunk = []
        for name, result in zip(names, decoded, strict=True):
            if isinstance(result, UnreadableImage):
                failures.append(f"`{one_line(name)}` ({result})")
            else:
                chunk.append((name, result[0]))
                on_white += [name] * result[1]
        # After a failure nothing will be stored; the rest is decoded only to name what else is broken.
        if chunk and not failures:
            yield chunk
    if failures:
        named = ", ".join(failures[:_NAMED_FAILURES])
        more = f" and {len(failures) - _NAMED_FAILURES} more" if len(failures) > _NAMED_FAILURES else ""
        raise DataError(
            f"{len(failures)} image{'s' * (len(failures) > 1)} cannot be read: {named}{more}; "
            f"replace or remove them"
        )
    if on_white and notes is not None:
        notes.append(f"{name_files(on_white, 'transparent image')} laid on white")


def read_shapes(
    blobs: Iterable[Blob], progress: Callable[[int], object] | None = None
) -> dict[str, tuple[int, int]]:
    """Height and width of every picture by its header; 1 × 1 of those that cannot be read, which decoding will name."""
    shapes = {}
    for name, content in blobs:
        try:
            shapes[name] = read_shape(content)
        except UnreadableImage:
            shapes[name] = (1, 1)
        if progress:
            progress(len(shapes))
    return shapes


def name_files(names: Sequence[str], kind: str) -> str:
    """``3 transparent images (a.png, b.png, c.png) are``, the first few of many."""
    more = f" and {len(names) - _NAMED_FAILURES:,} more" if len(names) > _NAMED_FAILURES else ""
    shown = ", ".join(map(one_line, names[:_NAMED_FAILURES]))
    many = f"{kind}s" if len(names) > 1 else kind
    return f"{len(names):,} {many} ({shown}{more}) {'are' if len(names) > 1 else 'is'}"


def read_image_files(paths: Sequence[Path], shape: int | View) -> np.ndarray:
    """Read a user's own pictures as squares.

    Args:
        paths: Of the files.
        shape: Side in pixels for a network of small squares, see :func:`decode_image`; or the view that it has of
            photographs: the same pixels as if the files were imported and then seen through it.

    Returns:
        ``(n, size, size, 3)`` uint8 RGB.

    Raises:
        DataError: A path is missing, a directory, unreadable or not an image; the first one is named.
    """
    look, side = (Look(cap=CAP), shape.size) if isinstance(shape, View) else (Look(shape), shape)
    images, on_white = np.empty((len(paths), side, side, 3), dtype=np.uint8), list[str]()
    for index, path in enumerate(paths):
        if path.is_dir():
            raise DataError(f"image `{path}` is a directory: name the files in it")
        try:
            picture, transparent = decode_picture(path.read_bytes(), look)
            images[index] = look_at(picture, shape) if isinstance(shape, View) else picture
            on_white += [path.name] * transparent
        except OSError as error:
            raise DataError(f"image `{path}` cannot be read: {error.strerror}") from error
        except UnreadableImage as error:
            raise DataError(
                f"image `{path}` cannot be read: {error}; give a PNG, JPEG, WebP, BMP, TIFF or GIF"
            ) from error
    if on_white:
        warnings.warn(f"{name_files(on_white, 'transparent image')} laid on white", UserWarning, stacklevel=2)
    return images


def worker_count(workers: int | None) -> int:
    """``workers``, or the number of cores this process may use."""
    if workers is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if workers < 1:
        raise InputError(f"workers = {workers}: give at least 1, or nothing for one per core")
    return workers


_Decoded = list[tuple[np.ndarray, bool] | UnreadableImage]


def _in_parallel(
    blobs: Iterable[Blob], look: Look, workers: int, most: int
) -> Iterator[tuple[tuple[str, ...], _Decoded]]:
    """Decoded chunks in order; at most ``2 × workers`` of them are in memory."""
    pending: deque[tuple[tuple[str, ...], Future[_Decoded]]] = deque()
    pool = ThreadPoolExecutor(workers)
    try:
        for chunk in _chunks(blobs, most):
            names, contents = zip(*chunk, strict=True)
            pending.append((names, pool.submit(_decode_chunk, contents, look)))
            if len(pending) >= 2 * workers:
                names, future = pending.popleft()
                yield names, future.result()
        while pending:
            names, future = pending.popleft()
            yield names, future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _chunks(blobs: Iterable[Blob], most: int) -> Iterator[list[Blob]]:
    chunk: list[Blob] = []
    weight = 0
    for blob in blobs:
        chunk.append(blob)
        weight += len(blob[1])
        if len(chunk) == most or weight >= _CHUNK_BYTES:
            yield chunk
            chunk, weight = [], 0
    if chunk:
        yield chunk


def _decode_chunk(contents: Sequence[bytes], look: Look) -> _Decoded:
    decoded: _Decoded = []
    for content in contents:
        try:
            decoded.append(decode_picture(content, look))
        except UnreadableImage as error:
            decoded.append(error)
    return decoded


def _check_shape(name: str, shape: tuple[int, ...], first_name: str, first_shape: tuple[int, ...]) -> None:
    height, width, _ = shape
    if shape != first_shape:
        raise DataError(
            f"image `{one_line(name)}` has {width}×{height} pixels, `{one_line(first_name)}` has "
            f"{first_shape[1]}×{first_shape[0]}: a dataset has one size; let the import resize with --size N"
        )
    if height != width:
        raise DataError(
            f"image `{one_line(name)}` has {width}×{height} pixels, images must be square: let the import crop with "
            f"--size N"
        )
