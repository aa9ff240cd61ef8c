"""The bytes of a checkpoint file: ours made of tensors, and ours or anybody's read without executing anything.

Ours carry a digest of themselves (`ralr_viz.models.digest`): a ``.pt`` at its end, as the comment of the archive that
it is, and a ``.safetensors`` in its metadata. What has none, as others' files and those of earlier versions, is
taken as it is.
"""

from __future__ import annotations

import io
import json
import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch

from ralr_viz.errors import CheckpointError
from ralr_viz.foreign import one_line
from ralr_viz.models.digest import MARK, PLACE, find_in_archive, is_whole, seal, seal_archive
from ralr_viz.results.document import check_unpacked_size, parse_json

FORMAT_VERSION = 1
METADATA_KEY = "ralr_viz"
_DIGEST_KEY = rb"\"digest\": \""  # as it stands in a header's JSON, in which our entry is JSON in a text
# What a NumPy number beside the weights is pickled by, such as a best accuracy: bytes and their type, no code.
_NUMBERS: list[Any] = [
    np.float64(0).__reduce__()[0],
    np.dtype,
    *(type(np.dtype(kind)) for kind in ("f8", "f4", "f2", "i8", "i4", "i2", "i1", "u1", "?")),
]


def pack_checkpoint(content: Mapping[str, Any]) -> bytes:
    """A ``.pt`` file of tensors and plain values, sealed."""
    buffer = io.BytesIO()
    torch.save(dict(content), buffer)
    return seal_archive(buffer)


def pack_weights(weights: Mapping[str, torch.Tensor], header: Mapping[str, Any]) -> bytes:
    """A ``.safetensors`` file of contiguous tensors with a header, sealed; equal input gives equal bytes."""
    # in our own entry of the metadata, since safetensors writes several in any order
    text = json.dumps({**header, "digest": PLACE.decode()}, sort_keys=True)
    data = bytearray(safetensors.torch.save(dict(weights), metadata={METADATA_KEY: text}))
    seal(data, data.index(PLACE))
    return bytes(data)


def read_checkpoint_bytes(path: Path) -> bytes:
    """The file's content.

    Raises:
        CheckpointError: It cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"`{path}` cannot be read: {(error.strerror or str(error)).lower()}") from None


def parse_checkpoint(path: Path, data: bytes) -> dict[str, Any]:
    """Content of a file: ``header`` (None where ralr-viz did not write it), ``model`` and, of ours, the rest.

    Args:
        path: For messages and the format, which its suffix tells.
        data: The file's bytes.

    Raises:
        CheckpointError: Damaged, of a newer format, or with more in it than tensors and plain values.
    """
    at = _find_digest(path, data)
    if at is not None and not is_whole(data, at):
        raise _differs(path)
    if path.suffix == ".safetensors":
        try:
            weights = safetensors.torch.load(data)
            header = parse_json(_safetensors_metadata(data).get(METADATA_KEY, "{}"))
        except (safetensors.SafetensorError, ValueError) as error:
            raise CheckpointError(
                f"`{path}` is damaged or not safetensors ({one_line(error)}): export or copy it again"
            ) from None
        if not isinstance(header, dict):
            raise CheckpointError(f"`{path}` has a damaged header: export it again")
        if at is None and "digest" in header:
            raise _differs(path)
        return {"header": _check_format(path, header), "model": weights}
    try:
        check_unpacked_size(io.BytesIO(data))
    except zipfile.BadZipFile:  # torch's older format, or damaged: torch tells
        pass
    except ValueError as error:
        raise CheckpointError(f"`{path}` is no checkpoint ({error}): save it by torch.save") from None
    try:
        # the warnings are of the pickle protocol, on the way to a refusal
        with warnings.catch_warnings(action="ignore"), torch.serialization.safe_globals(_NUMBERS):
            content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise CheckpointError(
            f"`{path}` is damaged or holds more than tensors and plain values, so it was not loaded "
            "(it could run code): ask its author for safetensors or a plain state dict"
        ) from None
    except Exception as error:  # torch raises many kinds for damaged archives, and words for some
        if "TorchScript" in str(error):
            raise CheckpointError(
                f"`{path}` is TorchScript, whose layers cannot be looked into: save the `state_dict()` of the "
                "network that it was made from"
            ) from None
        reason = f" ({one_line(error)})" if isinstance(error, RuntimeError) else ""
        raise CheckpointError(
            f"`{path}` is damaged or no checkpoint{reason}: give a whole .pt or .safetensors file"
        ) from None
    if not isinstance(content, dict):
        raise CheckpointError(
            f"`{path}` holds a {type(content).__name__}, not a state dict: save `model.state_dict()`"
        )
    if (empty := _find_meta(content)) is not None:
        raise CheckpointError(
            f"`{path}` holds tensors of the `meta` device, which have a shape and no values (`{one_line(empty)}`): "
            "save the weights after they were loaded"
        )
    header = content.get("header")
    if isinstance(header, dict) and "format" in header:
        if not isinstance(content.get("model"), dict):
            raise CheckpointError(f"`{path}` has a header but no weights: it is damaged")
        _check_format(path, header)
        return content
    return {"header": None, "model": content}


def _check_format(path: Path, header: dict[str, Any]) -> dict[str, Any]:
    version = header.get("format", FORMAT_VERSION)
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise CheckpointError(
            f"`{path}` has format {one_line(version)}, this ralr-viz reads up to {FORMAT_VERSION}: upgrade it"
        )
    return header


def _find_digest(path: Path, data: bytes) -> int | None:
    """Where the mark of a file's digest begins, None where it carries none."""
    if path.suffix != ".safetensors":
        return find_in_archive(data)
    # searched for, not parsed: a header with a flipped bit may be none any more
    end = min(8 + int.from_bytes(data[:8], "little"), len(data))
    at = data.find(MARK, 0, end)
    if at < 0 and (key := data.find(_DIGEST_KEY, 0, end)) >= 0:  # the mark itself has flipped bits
        at = key + len(_DIGEST_KEY)
        mark = data[at : at + len(MARK)]
        at = at if sum(a != b for a, b in zip(mark, MARK, strict=False)) <= 2 else -1
    return at if at >= 0 else None


def _differs(path: Path) -> CheckpointError:
    return CheckpointError(
        f"`{path}` is damaged: it is not what was written (its digest differs): copy or export it again, or "
        "take another state of the run, such as DIR@prev"
    )


def _find_meta(content: Any) -> str | None:
    """Name of the first tensor without values, wherever it lies: weights, an average, the optimizer's state."""
    waiting: list[tuple[str, Any]] = [("", content)]
    seen: set[int] = set()  # a pickle may hold itself
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, torch.Tensor) and value.is_meta:
            return name
        if isinstance(value, dict | list | tuple) and id(value) not in seen:
            seen.add(id(value))
            items = value.items() if isinstance(value, dict) else enumerate(value)
            waiting += [(f"{name}.{key}".removeprefix("."), item) for key, item in items]
    return None


def _safetensors_metadata(data: bytes) -> dict[str, str]:
    length = int.from_bytes(data[:8], "little")
    return parse_json(data[8 : 8 + length]).get("__metadata__") or {}
