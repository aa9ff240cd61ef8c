"""Decoding image files to uint8 arrays, on all cores and within bounded memory."""

from __future__ import annotations

import io
import os
import warnings
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from ralr_viz.errors import DataError, InputError
from ralr_viz.foreign import one_line

EXTENSIONS = (
    ".png",
    ".jpg",
    ".jpeg",
    ".jpe",
    ".jfif",
    ".webp",
    ".bmp",
    ".tif",
    ".tiff",
    ".gif",
    ".ppm",
    ".pgm",
)
MAX_PIXELS = 2**26
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "PPM")
_CHUNK_IMAGES = 256
_CHUNK_BYTES = 8 * 2**20
_NAMED_FAILURES = 5

Blob = tuple[str, bytes]
"""Name and file content of an image."""


class UnreadableImage(Exception):
    """Why one image cannot be used; the caller knows its name."""


def is_image_name(name: str) -> bool:
    """Whether the name ends like one of the image formats that are read."""
    return name.lower().endswith(EXTENSIONS)


def decode_image(content: bytes, size: int | None = None) -> np.ndarray:
    """Decode one image file as it is meant to be seen: EXIF orientation applied, transparency laid on white.

    Args:
        content: PNG, JPEG, WebP, BMP, TIFF, GIF or PPM file.
        size: If given, scale the shorter side to this many pixels (bicubic, antialiased) and crop the centre.

    Returns:
        ``(H, W, 3)`` uint8 RGB.

    Raises:
        UnreadableImage: Damaged, not an image, several frames, more than 8 bits a channel, or too large to be
            decoded safely.
    """
    return _decode(content, size)[0]


def _decode(content: bytes, size: int | None) -> tuple[np.ndarray, bool]:
    """As `decode_image`, and whether anything was laid on white."""
    try:
        image: Image.Image = Image.open(io.BytesIO(content), formats=_FORMATS)
        # The size stands in the header: a decompression bomb is refused before a pixel is decoded.
        if image.width * image.height > MAX_PIXELS:
            raise UnreadableImage(f"{image.width}×{image.height} pixels, at most {MAX_PIXELS:,} are decoded")
        if (frames := getattr(image, "n_frames", 1)) > 1:
            raise UnreadableImage(f"{frames} frames, a picture has one")
        if image.mode[0] in "IF":
            raise UnreadableImage("more than 8 bits a channel, convert it to 8-bit RGB")
        ImageOps.exif_transpose(image, in_place=True)
        image, on_white = _lay_on_white(image)
        if size is not None:
            image = ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC)
        return np.asarray(image), on_white
    except UnreadableImage:
        raise
    except Exception as error:  # Pillow raises nearly any exception on a damaged file
        raise UnreadableImage(_reason(error)) from error


def _lay_on_white(image: Image.Image) -> tuple[Image.Image, bool]:
    """RGB, and whether a pixel was transparent: dropping alpha would show whatever colour lies below, often black."""
    if "A" not in image.mode.upper() and "transparency" not in image.info:
        return image.convert("RGB"), False
    layered = image.convert("RGBA")
    if layered.getchannel("A").getextrema()[0] == 255:
        return image.convert("RGB"), False
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, layered).convert("RGB"), True


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
    failures, on_white = list[str](), list[str]()
    first: tuple[str, tuple[int, ...]] | None = None
    threads = 1 if workers is None and size is None else worker_count(workers)
    for names, decoded in _in_parallel(blobs, size, threads):
        results = [result if isinstance(result, UnreadableImage) else result[0] for result in decoded]
        on_white += [
            n for n, d in zip(names, decoded, strict=True) if not isinstance(d, UnreadableImage) and d[1]
        ]
        arrays = [result for result in results if isinstance(result, np.ndarray)]
        failures += [
            f"`{one_line(n)}` ({r})"
            for n, r in zip(names, results, strict=True)
            if isinstance(r, UnreadableImage)
        ]
        for name, result in zip(names, results, strict=True):
            if isinstance(result, np.ndarray):
                first = first or (name, result.shape)
                _check_shape(name, result.shape, *first)
        # After a failure nothing will be stored; the rest is decoded only to name what else is broken.
        if arrays and not failures:
            yield np.stack(arrays)
    if failures:
        named = ", ".join(failures[:_NAMED_FAILURES])
        more = f" and {len(failures) - _NAMED_FAILURES} more" if len(failures) > _NAMED_FAILURES else ""
        raise DataError(
            f"{len(failures)} image{'s' * (len(failures) > 1)} cannot be read: {named}{more}; "
            f"replace or remove them"
        )
    if on_white and notes is not None:
        notes.append(f"{name_files(on_white, 'transparent image')} laid on white")


def name_files(names: Sequence[str], kind: str) -> str:
    """``3 transparent images (a.png, b.png, c.png) are``, the first few of many."""
    more = f" and {len(names) - _NAMED_FAILURES:,} more" if len(names) > _NAMED_FAILURES else ""
    shown = ", ".join(map(one_line, names[:_NAMED_FAILURES]))
    many = f"{kind}s" if len(names) > 1 else kind
    return f"{len(names):,} {many} ({shown}{more}) {'are' if len(names) > 1 else 'is'}"


def read_image_files(paths: Sequence[Path], size: int) -> np.ndarray:
    """Read a user's own pictures for a network that takes ``size × size`` images.

    Returns:
        ``(n, size, size, 3)`` uint8 RGB; see :func:`decode_image` for the scaling.

    Raises:
        DataError: A path is missing, a directory, unreadable or not an image; the first one is named.
    """
    images, on_white = np.empty((len(paths), size, size, 3), dtype=np.uint8), list[str]()
    for index, path in enumerate(paths):
        if path.is_dir():
            raise DataError(f"image `{path}` is a directory: name the files in it")
        try:
            images[index], transparent = _decode(path.read_bytes(), size)
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
    blobs: Iterable[Blob], size: int | None, workers: int
) -> Iterator[tuple[tuple[str, ...], _Decoded]]:
    """Decoded chunks in order; at most ``2 × workers`` of them are in memory."""
    pending: deque[tuple[tuple[str, ...], Future[_Decoded]]] = deque()
    pool = ThreadPoolExecutor(workers)
    try:
        for chunk in _chunks(blobs):
            names, contents = zip(*chunk, strict=True)
            pending.append((names, pool.submit(_decode_chunk, contents, size)))
            if len(pending) >= 2 * workers:
                names, future = pending.popleft()
                yield names, future.result()
        while pending:
            names, future = pending.popleft()
            yield names, future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _chunks(blobs: Iterable[Blob]) -> Iterator[list[Blob]]:
    chunk: list[Blob] = []
    weight = 0
    for blob in blobs:
        chunk.append(blob)
        weight += len(blob[1])
        if len(chunk) == _CHUNK_IMAGES or weight >= _CHUNK_BYTES:
            yield chunk
            chunk, weight = [], 0
    if chunk:
        yield chunk


def _decode_chunk(contents: Sequence[bytes], size: int | None) -> _Decoded:
    decoded: _Decoded = []
    for content in contents:
        try:
            decoded.append(_decode(content, size))
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


def _reason(error: Exception) -> str:
    if isinstance(error, Image.UnidentifiedImageError):
        return "not an image"
    return one_line(error) or type(error).__name__
