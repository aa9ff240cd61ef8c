"""Saved results: a folder of ``arrays.npz`` (no pickle) and ``manifest.json`` that a figure is drawn from.

Every result is a frozen dataclass that derives from `Result`. By the rule of the house the kind ``cam`` lives
in ``ralr_viz/results/cam.py``, so a saved result is read back without anybody having imported its class.
Equal results give equal bytes: no time, no absolute path, no compression (which differs between zlibs).
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import io
import json
import math
import pkgutil
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePath
from typing import Any, ClassVar, Self

import numpy as np

from ralr_viz import results
from ralr_viz.errors import InputError, UnknownNameError
from ralr_viz.foreign import one_line
from ralr_viz.results.document import check_unpacked_size, parse_json
from ralr_viz.results.fields import check_fields
from ralr_viz.results.storage import build_folder, storage_errors, write_synced

MANIFEST = "manifest.json"
ARRAYS = "arrays.npz"
FORMAT = "ralr-viz result"

_REGISTRY: dict[str, type[Result]] = {}
_FLOAT = "$float"  # key that marks a NaN or an infinity in the manifest
_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)
# An absolute path of two parts or more: `/home/me/x` (not `images/s`, not `https://…`) or `C:\me\x`.
_ABSOLUTE_PATH = re.compile(r"(?<![\w.:/~-])/[^\s\"'=:,/]+(?:/[^\s\"'=:,/]+)+/?|\b[A-Za-z]:\\[^\s\"',]+")


@dataclass(frozen=True, eq=False)
class Result:
    """Base of all saved results.

    A child is a ``@dataclass(frozen=True, eq=False)`` with two class variables: ``kind``, the name of its
    module, and ``schema``, a number that grows when its fields change meaning. ``np.ndarray`` fields are kept
    as read-only views and saved in ``arrays.npz``. All others are strings, numbers, booleans, ``None``, and
    tuples or string-keyed dicts of these (lists become tuples), saved in ``manifest.json``.

    Attributes:
        provenance: Where the numbers come from: recipe, checkpoint hashes, device, versions, command line.
            Absolute paths in it are cut to their last part, so that a published result names no machine.

    Raises:
        TypeError: A field holds something else, for example an array of Python objects.
    """

    kind: ClassVar[str]
    schema: ClassVar[int]

    provenance: dict[str, Any] = field(default_factory=dict, kw_only=True)

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "kind" in vars(cls):  # else a base of several kinds
            _REGISTRY[cls.kind] = cls

    def __post_init__(self) -> None:
        for name, value in _values(self).items():
            frozen = _frozen_array(value, name) if isinstance(value, np.ndarray) else _plain(value, name)
            object.__setattr__(self, name, frozen)
        object.__setattr__(self, "provenance", without_paths(self.provenance))
        check_fields(_values(self), type(self))

    def __eq__(self, other: object) -> bool:
        """Equal kind, fields and provenance; arrays by dtype, shape and value, NaN equal to NaN."""
        if type(self) is not type(other):
            return NotImplemented
        mine, others = _values(self), _values(other)
        return all(_same(value, others[name]) for name, value in mine.items())

    __hash__ = None  # type: ignore[assignment]

    def asked_by(self, provenance: Mapping[str, Any]) -> Self:
        """The same with who asked for it, before what it was computed from."""
        return dataclasses.replace(self, provenance=dict(provenance) | self.provenance)

    def describe(self) -> list[str]:
        """Its numbers, a line each, as its command prints them."""
        return []

    def remarks(self) -> list[str]:
        """What a reader should know of them, a line each: its notes, where it has any."""
        return list(getattr(self, "notes", ()))


def save_result(result: Result, directory: Path, *, force: bool = False) -> Path:
    """Save a result as a folder, whole or not at all.

    It is built in a hidden sibling folder, synced to disk and renamed. With ``force`` the old result is
    renamed away first and deleted last, so that one of the two is complete on disk at every moment.

    Args:
        result: What to save.
        directory: The folder to make; its parents are made too. It may exist if it is empty.
        force: Replace a saved result. A folder that holds anything else is never replaced.

    Returns:
        ``directory``.

    Raises:
        InputError: Something is there already.
        StorageError: The disk is full or cannot be written; nothing is left behind, an old result is intact.
    """
    directory = Path(directory)
    with storage_errors(directory):
        target = directory.resolve()  # a link keeps pointing where it pointed
        _refuse_to_destroy(target, directory, force)
        check = partial(_refuse_to_destroy, target, directory, force)
        with build_folder(target, replace=force, check=check) as new:
            arrays = _npz(result)
            write_synced(new / ARRAYS, arrays)
            write_synced(new / MANIFEST, _manifest(result, arrays))
    return directory


def load_result(directory: Path) -> Result:
    """Load a saved result as the class of its kind.

    Args:
        directory: A folder that `save_result` wrote.

    Returns:
        The result; its class follows from the kind in the manifest.

    Raises:
        InputError: No result there, damaged, or of another schema than this version reads.
        UnknownNameError: A kind that this version does not know.
    """
    directory = Path(directory)
    manifest = _read_manifest(directory)
    cls = _class_of(manifest["kind"])
    schema = manifest["schema"]
    if schema != cls.schema:
        remedy = "upgrade ralr-viz" if schema > cls.schema else "compute it again"
        raise InputError(
            f"`{directory}` has schema {schema} of `{cls.kind}`, this version reads {cls.schema}: {remedy}"
        )
    try:
        arrays = _read_arrays(directory / ARRAYS, manifest["arrays_sha256"])
        values = {name: _decode(value) for name, value in manifest["fields"].items()}
        return cls(**values, **arrays, provenance=_decode(manifest["provenance"]))
    except InputError:
        raise
    except Exception as error:  # of damaged arrays NumPy and zipfile raise many kinds
        raise _damaged(directory, error) from error


def without_paths(value: Any) -> Any:
    """The same nested value with every absolute path in its strings cut to the path's last part."""
    if isinstance(value, str):
        return _ABSOLUTE_PATH.sub(lambda match: re.split(r"[\\/]", match[0].rstrip("\\/"))[-1], value)
    if isinstance(value, dict):
        return {name: without_paths(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return tuple(without_paths(item) for item in value)
    return value


def _values(result: Any) -> dict[str, Any]:
    return {item.name: getattr(result, item.name) for item in dataclasses.fields(result)}


def _frozen_array(array: np.ndarray, name: str) -> np.ndarray:
    if array.dtype.hasobject:
        raise TypeError(f"field `{name}` is an array of Python objects, which cannot be saved without pickle")
    view = np.asarray(array).view()
    view.flags.writeable = False
    return view


def _plain(value: Any, name: str) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, PurePath):
        return value.as_posix()
    if isinstance(value, list | tuple):
        return tuple(_plain(item, name) for item in value)
    if isinstance(value, dict) and all(isinstance(key, str) for key in value) and value.keys() != {_FLOAT}:
        return {key: _plain(item, name) for key, item in value.items()}
    raise TypeError(f"field `{name}` holds a {type(value).__name__}, which a manifest cannot keep")


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        if a.dtype != b.dtype or a.shape != b.shape:
            return False
        return np.array_equal(a, b, equal_nan=a.dtype.kind in "fcmM")
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return False
    return _encode(a) == _encode(b)


def _encode(value: Any) -> Any:
    """Plain value → strict JSON, which has no NaN and no infinity."""
    if isinstance(value, float) and not math.isfinite(value):
        return {_FLOAT: repr(value)}
    if isinstance(value, tuple):
        return [_encode(item) for item in value]
    if isinstance(value, dict):
        return {name: _encode(item) for name, item in value.items()}
    return value


def _decode(value: Any) -> Any:
    if isinstance(value, dict):
        if value.keys() == {_FLOAT}:
            return float(value[_FLOAT])
        return {name: _decode(item) for name, item in value.items()}
    return tuple(_decode(item) for item in value) if isinstance(value, list) else value


def _refuse_to_destroy(target: Path, shown: Path, force: bool) -> None:
    if not target.exists():
        return
    if not target.is_dir():
        raise InputError(f"`{shown}` is a file, a result is a folder: choose another --out")
    names = {entry.name for entry in target.iterdir()}
    if not names <= {MANIFEST, ARRAYS}:
        raise InputError(f"`{shown}` holds other files and is never replaced: choose another --out")
    if names and not force:
        raise InputError(f"`{shown}` exists: choose another --out or pass --force to replace it")


def _npz(result: Result) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, value in _values(result).items():
            if isinstance(value, np.ndarray):
                entry = zipfile.ZipInfo(f"{name}.npy", _ZIP_EPOCH)
                entry.create_system = 3  # else it differs between operating systems
                with archive.open(entry, "w", force_zip64=True) as stream:
                    np.lib.format.write_array(stream, value, allow_pickle=False)
    return buffer.getvalue()


def _manifest(result: Result, arrays: bytes) -> bytes:
    values = {name: value for name, value in _values(result).items() if not isinstance(value, np.ndarray)}
    provenance = values.pop("provenance")
    manifest = {
        "format": FORMAT,
        "kind": result.kind,
        "schema": result.schema,
        "fields": _encode(values),
        "arrays_sha256": hashlib.sha256(arrays).hexdigest(),
        "provenance": _encode(provenance),
    }
    return (json.dumps(manifest, indent=2, allow_nan=False) + "\n").encode("ascii")


def _read_manifest(directory: Path) -> dict[str, Any]:
    try:
        manifest = parse_json((directory / MANIFEST).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(
            f"no result in `{directory}`: expects the folder with {MANIFEST} and {ARRAYS} that --out named"
        ) from error
    except (OSError, ValueError) as error:
        raise _damaged(directory, error) from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise InputError(f"`{directory / MANIFEST}` is not the manifest of a ralr-viz result")
    expected = {"kind": str, "schema": int, "fields": dict, "arrays_sha256": str, "provenance": dict}
    for name, kind in expected.items():
        if not isinstance(manifest.get(name), kind):
            raise _damaged(directory, f"`{name}` is missing or not a {kind.__name__} in {MANIFEST}")
    return manifest


def _class_of(kind: str) -> type[Result]:
    modules = {module.name for module in pkgutil.iter_modules(results.__path__)}
    if kind not in _REGISTRY and kind in modules:  # a manifest can import only modules of this package
        importlib.import_module(f"{results.__name__}.{kind}")
    if kind not in _REGISTRY:
        raise UnknownNameError("kind of result", kind, _REGISTRY, "(or upgrade ralr-viz)")
    return _REGISTRY[kind]


def _read_arrays(path: Path, sha256: str) -> dict[str, np.ndarray]:
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
            raise ValueError(f"{ARRAYS} is not the file that {MANIFEST} describes")
        check_unpacked_size(file)
        with np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}


def _damaged(directory: Path, reason: object) -> InputError:
    return InputError(f"result `{directory}` is damaged: {one_line(reason)}; compute it again")
