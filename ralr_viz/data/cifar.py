"""CIFAR-10 and CIFAR-100 from the official "python version": pickled batches, read without trusting them.

A pickle can run any code when it is loaded. These are read by an unpickler that knows no class or function
but the few recorders below: NumPy arrays come out as the bytes and shape that the file states.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ralr_viz.data.archive import Source
from ralr_viz.data.canonical import CHUNK
from ralr_viz.data.ingest import Intake
from ralr_viz.errors import DataError
from ralr_viz.foreign import one_line

_MAX_BATCH_BYTES = 256 * 2**20
_SIZE = 32


@dataclass(frozen=True)
class _Layout:
    name: str
    train: tuple[str, ...]
    test: str
    meta: str
    labels_key: str
    names_key: str

    @property
    def files(self) -> tuple[str, ...]:
        return (*self.train, self.test, self.meta)


_LAYOUTS = (
    _Layout(
        "CIFAR-10 python version", tuple(f"data_batch_{i}" for i in range(1, 6)), "test_batch",
        "batches.meta", "labels", "label_names",
    ),
    _Layout("CIFAR-100 python version", ("train",), "test", "meta", "fine_labels", "fine_label_names"),
)  # fmt: skip


def has_cifar_batches(source: Source) -> bool:
    """Whether the source has the first train batch and the test batch of either CIFAR."""
    return _find_layout(source) is not None


def read_cifar(source: Source) -> Intake:
    """Read the official archive or its extracted folder; the labels are the official (fine) ones.

    Raises:
        DataError: A batch is missing, damaged, or contains anything but arrays, lists and strings.
    """
    layout = _find_layout(source)
    assert layout is not None, "call has_cifar_batches first"
    batches = {
        name: _load_batch(f"{source.label}/{name}", content)
        for name, content in source.read(layout.files, limit=_MAX_BATCH_BYTES)
    }
    if missing := [name for name in layout.files if name not in batches]:
        raise DataError(f"`{source.label}` lacks the file `{missing[0]}` of the {layout.name}: get it again")
    class_ids = _class_names(f"{source.label}/{layout.meta}", batches[layout.meta].get(layout.names_key))
    parts = [
        _images_and_labels(f"{source.label}/{name}", batches[name], layout.labels_key, len(class_ids))
        for name in (*layout.train, layout.test)
    ]
    n_test = len(parts[-1][1])
    labels = np.concatenate([labels for _, labels in parts])
    return Intake(
        class_ids=class_ids,
        class_names=class_ids,
        is_test=np.arange(len(labels)) >= len(labels) - n_test,
        labels=labels,
        boxes=None,
        images=_chunks([images for images, _ in parts]),
        source={"file": source.label, "layout": layout.name, "test": layout.test},
    )


def _find_layout(source: Source) -> _Layout | None:
    names = set(source.names)
    return next((layout for layout in _LAYOUTS if {layout.train[0], layout.test} <= names), None)


def _images_and_labels(
    file: str, batch: dict[str, Any], labels_key: str, num_classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """``(n, 3, 32, 32)`` uint8 and ``(n,)`` int64."""
    data, labels = batch.get("data"), batch.get(labels_key)
    if not isinstance(data, _Array) or not isinstance(labels, list):
        raise DataError(f"batch `{file}` lacks `data` or `{labels_key}`: get the official archive again")
    images = data.to_numpy(file)
    if images.shape != (len(labels), 3 * _SIZE * _SIZE) or not labels:
        raise DataError(
            f"batch `{file}` holds {images.shape} bytes for {len(labels)} labels: get the archive again"
        )
    if not all(type(label) is int and 0 <= label < num_classes for label in labels):
        raise DataError(
            f"batch `{file}` has labels outside [0, {num_classes}): get the official archive again"
        )
    return images.reshape(-1, 3, _SIZE, _SIZE), np.array(labels, dtype=np.int64)


def _class_names(file: str, names: Any) -> tuple[str, ...]:
    if not isinstance(names, list) or not names or not all(isinstance(name, str | bytes) for name in names):
        raise DataError(f"`{file}` has no list of class names: get the official archive again")
    return tuple(name.decode("latin1") if isinstance(name, bytes) else name for name in names)


def _chunks(parts: list[np.ndarray]) -> Iterator[np.ndarray]:
    for part in parts:
        for start in range(0, len(part), CHUNK):
            yield np.ascontiguousarray(part[start : start + CHUNK].transpose(0, 2, 3, 1))


def _load_batch(file: str, content: bytes) -> dict[str, Any]:
    try:
        batch = _BatchUnpickler(io.BytesIO(content), encoding="bytes").load()
    except _ForbiddenGlobal as error:
        raise DataError(
            f"batch `{file}` is refused: it wants to run `{one_line(error)}`; get the official archive"
        ) from error
    except Exception as error:  # a damaged pickle may raise nearly any exception
        raise DataError(
            f"batch `{file}` is damaged ({one_line(error)}): get the official archive again"
        ) from error
    if not isinstance(batch, dict):
        raise DataError(f"batch `{file}` is not a dictionary: get the official archive again")
    return {
        key.decode("latin1") if isinstance(key, bytes) else str(key): value for key, value in batch.items()
    }


class _ForbiddenGlobal(Exception):
    """The pickle names a class or function that no CIFAR batch needs."""


class _DType:
    """Stands in for ``numpy.dtype``: remembers the type code."""

    def __init__(self, code: Any = None, *_: Any) -> None:
        self.code = code.decode("latin1") if isinstance(code, bytes) else code

    def __setstate__(self, state: Any) -> None:
        pass  # byte order and alignment, which single bytes do not have


class _Array:
    """Stands in for ``numpy.ndarray``: remembers the state ``(version, shape, dtype, fortran, bytes)``."""

    state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def to_numpy(self, file: str) -> np.ndarray:
        match self.state:
            case (
                _,
                (int() as n, int() as width),
                _DType(code="u1"),
                bool() | int() as fortran,
                bytes() as raw,
            ):
                if not fortran and n >= 0 and n * width == len(raw):
                    return np.frombuffer(raw, np.uint8).reshape(n, width)
        raise DataError(f"batch `{file}` holds no plain table of bytes: get the official archive again")


def _encode(text: str, encoding: str) -> bytes:
    """Stands in for ``_codecs.encode``, by which protocol 2 writes bytes."""
    if encoding != "latin1":
        raise _ForbiddenGlobal(f"_codecs.encode to {encoding}")
    return text.encode("latin1")


def _reconstruct(*_: Any) -> _Array:
    """Stands in for the function by which protocols below 5 begin an array."""
    return _Array()


def _from_buffer(raw: Any, dtype: Any, shape: Any, order: Any) -> _Array:
    """Stands in for the function by which protocol 5 writes a whole array."""
    array = _Array()
    array.state = (1, shape, dtype, order != "C", bytes(raw) if isinstance(raw, bytearray) else raw)
    return array


_INERT: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _DType,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy.core.numeric", "_frombuffer"): _from_buffer,
    ("numpy._core.numeric", "_frombuffer"): _from_buffer,
    ("_codecs", "encode"): _encode,
}


class _BatchUnpickler(pickle.Unpickler):
    """Knows the names that occur in pickled arrays and bytes; all of them are inert recorders."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _INERT:
            raise _ForbiddenGlobal(f"{module}.{name}")
        return _INERT[module, name]
