"""What a network made of each example, epoch by epoch: one bit and one number, written beside a training.

A file ``examples/<set>.bin`` of a run directory is a line of JSON, the examples' places in their split, and from there
on one record of fixed length an epoch, at the place of its number: written anew after a kill it is the same file, and
of epochs that were not recorded there are holes, which take no disk. 50,000 examples × 300 epochs are 32 MB.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ralr_viz.errors import InputError
from ralr_viz.results.document import parse_json
from ralr_viz.results.storage import write_at, write_bytes
from ralr_viz.results.tasks import SETS

FOLDER = "examples"

_VERSION = 1
_LONGEST_HEAD = 4096
_MOST_EXAMPLES = 100_000_000
_HEAD, _TAIL = 4, 4  # bytes: number of the epoch; CRC-32 of all before it
_LARGEST = float(np.finfo(np.float16).max)


@dataclass(frozen=True, eq=False)
class Examples:
    """E recorded epochs of n examples.

    Attributes:
        set: One of SETS.
        places: (n,) int64 places in the split that they are of: ``test``, or ``train`` for the other sets.
        epochs: (E,) int64, rising, from 1.
        right: (E, n) bool, whether the class was predicted.
        losses: (E, n) float32 nats, rounded to float16; NaN where the example was not seen in the epoch.
        facts: Plain values of the data: ``dataset``, ``content_hash``.
    """

    set: str
    places: np.ndarray
    epochs: np.ndarray
    right: np.ndarray
    losses: np.ndarray
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def split(self) -> str:
        """Of the data set, in which the places are."""
        return "test" if self.set == "test" else "train"

    @property
    def seen(self) -> np.ndarray:
        """(E, n) bool."""
        return ~np.isnan(self.losses)


def examples_path(directory: Path, name: str) -> Path:
    """Of the set of that name in a run directory."""
    return directory / FOLDER / f"{name}.bin"


def write_examples(
    path: Path,
    epoch: int,
    right: np.ndarray,
    losses: np.ndarray,
    places: np.ndarray,
    facts: Mapping[str, Any] | None = None,
) -> None:
    """Write the record of an epoch, in place of one that is there.

    Args:
        path: See `examples_path`; made with its folder by the first call.
        epoch: From 1.
        right: (n,) bool.
        losses: (n,) in nats; NaN for an example that was not seen.
        places: (n,) of the examples in their split; the same in every call.
        facts: Plain values of the data; of the first call.

    Raises:
        InputError: The file is of other examples, or arrays do not fit each other.
        StorageError: The disk is full or cannot be written.
    """
    right, losses, places = (np.asarray(values) for values in (right, losses, places))
    if not right.shape == losses.shape == places.shape or right.ndim != 1 or not len(places) or epoch < 1:
        raise InputError(
            f"`right`, `losses` and `places` have the shapes {right.shape}, {losses.shape} and {places.shape} in epoch {epoch}: "
            "all must be (n,), of an epoch from 1"
        )
    if not path.exists():
        about = {"version": _VERSION, "set": path.stem, "n": len(places), "facts": dict(facts or {})}
        line = json.dumps(about, allow_nan=False).encode()
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, line + b"\n" + places.astype("<i4").tobytes())
    about, known, start = _read_head(path)
    if not np.array_equal(known, places):
        raise InputError(
            f"`{path}` is of {len(known):,} other examples: give the same ones in every epoch, or choose another run directory"
        )
    numbers = np.where(np.isnan(losses), np.nan, np.clip(losses, 0, _LARGEST)).astype("<f2")
    body = epoch.to_bytes(_HEAD, "little") + np.packbits(right.astype(bool)).tobytes() + numbers.tobytes()
    body += zlib.crc32(body).to_bytes(_TAIL, "little")
    write_at(path, start + (epoch - 1) * len(body), body)


def read_examples(path: Path, last: int | None = None) -> Examples:
    """All records of a file, up to an epoch; those that are not whole are left out, as after a kill.

    Args:
        path: See `examples_path`.
        last: Number of the run's last logged epoch: what is behind it belongs to an epoch that was not saved.

    Raises:
        InputError: No such file, or none of this kind.
    """
    about, places, start = _read_head(path)
    n = len(places)
    bits = (n + 7) // 8
    size = _HEAD + bits + 2 * n + _TAIL
    data = np.memmap(path, np.uint8, "r", offset=0)[start:]
    count = len(data) // size if last is None else min(last, len(data) // size)
    rows = data[: count * size].reshape(count, size)
    whole = [i for i in range(count) if _is_whole(rows[i].tobytes(), i + 1)]
    kept = np.asarray(rows[whole])
    right = np.unpackbits(kept[:, _HEAD : _HEAD + bits], axis=1, count=n).astype(bool)
    losses = np.ascontiguousarray(kept[:, _HEAD + bits : -_TAIL]).view("<f2").astype(np.float32)
    return Examples(
        about["set"],
        places.astype(np.int64),
        np.array(whole, dtype=np.int64) + 1,
        right.reshape(len(whole), n),
        losses.reshape(len(whole), n),
        about["facts"],
    )


def _is_whole(row: bytes, epoch: int) -> bool:
    body, check = row[:-_TAIL], row[-_TAIL:]
    return (
        int.from_bytes(body[:_HEAD], "little") == epoch
        and zlib.crc32(body).to_bytes(_TAIL, "little") == check
    )


def _read_head(path: Path) -> tuple[dict[str, Any], np.ndarray, int]:
    """What the file says of itself, the places, and where its records begin."""
    try:
        with path.open("rb") as file:
            line = file.readline(_LONGEST_HEAD)
            about = parse_json(line)
            n = about["n"]
            known = about["version"] == _VERSION and about["set"] in SETS and isinstance(about["facts"], dict)
            if not (known and isinstance(n, int) and 1 <= n <= _MOST_EXAMPLES):
                raise ValueError
            places = np.frombuffer(file.read(4 * n), "<i4")
            if len(places) < n or places.min() < 0:
                raise ValueError
    except FileNotFoundError:
        raise InputError(f"`{path}` is not there: train with --set examples={path.stem}") from None
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(
            f"`{path}` is no record of examples, or of a newer version: train again with --force"
        ) from None
    return about, places, len(line) + 4 * n
