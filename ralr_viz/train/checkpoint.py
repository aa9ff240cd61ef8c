"""Read checkpoints of ralr-viz and of others, never executing anything from them, and export them."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from ralr_viz.errors import CheckpointError, InputError
from ralr_viz.models import adapt_state_dict, build_model
from ralr_viz.train.storage import write_bytes

FORMAT_VERSION = 1
_METADATA_KEY = "ralr_viz"
_SUFFIXES = (".pt", ".safetensors")


@dataclass(frozen=True)
class Checkpoint:
    """Weights and what is known about them.

    Attributes:
        path: The file that was read.
        sha256: Of the file.
        weights: Raw state dict on the CPU.
        arch: Architecture as `ralr_viz.models.build_model` takes it.
        num_classes: Rows of the classifier.
        image_size: Side of the training images in pixels, where known.
        mean, std: Per-channel normalisation in [0, 1] units, where known.
        class_names: In label order; empty where not known.
        dataset, method, seed, epoch, recipe: Where the weights come from, where known.
        trusted_arch: The architecture was named by the caller, so a factory of theirs may be imported.
    """

    path: Path
    sha256: str
    weights: Mapping[str, Tensor] = field(repr=False)
    arch: str
    num_classes: int
    image_size: int | None = None
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    class_names: tuple[str, ...] = ()
    dataset: str | None = None
    method: str | None = None
    seed: int | None = None
    epoch: int | None = None
    recipe: Mapping[str, Any] | None = None
    trusted_arch: bool = False

    @property
    def label(self) -> str:
        """Short name for figures: method, seed and epoch, else the file's name."""
        if self.method is None:
            return self.path.stem
        seed = f", seed {self.seed}" if self.seed is not None else ""
        return f"{self.method}{seed}" + (f", epoch {self.epoch}" if self.epoch is not None else "")

    def build(self) -> nn.Module:
        """The network with these weights, on the CPU in eval mode.

        Raises:
            CheckpointError: The weights belong to another architecture or number of classes.
        """
        model = build_model(self.arch, self.num_classes, allow_import=self.trusted_arch)
        model.load_state_dict(adapt_state_dict(self.weights, model, self.arch))
        return model.eval()


def load_checkpoint(
    spec: str | os.PathLike[str],
    *,
    arch: str | None = None,
    num_classes: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    class_names: Sequence[str] = (),
    dataset: str | None = None,
) -> Checkpoint:
    """Read a checkpoint file or one of a run directory's.

    Args:
        spec: A file (``.pt``, ``.safetensors``, or anybody's state dict), a run directory (its last
            checkpoint), ``DIR@200``, ``DIR@best`` or ``DIR@prev``.
        arch, num_classes, mean, std, class_names, dataset: What a third party's file does not say; where
            given they take precedence.

    Raises:
        CheckpointError: Missing, damaged, unsafe, or without a known architecture.
    """
    path = resolve_checkpoint(spec)
    data = _read_file(path)
    content = _parse(path, data)
    header, weights = (content.get("header") or {}), content["model"]
    known = {**header}
    overrides = {"arch": arch, "num_classes": num_classes, "mean": mean, "std": std, "dataset": dataset}
    known.update({k: v for k, v in overrides.items() if v is not None})
    if class_names:
        known["class_names"] = class_names
    if not known.get("arch"):
        raise CheckpointError(f"`{path}` does not say its architecture: pass --arch, e.g. --arch resnet20")
    if known["arch"] != header.get("arch") and "num_classes" in header and num_classes is None:
        known["num_classes"] = None
    classes = known.get("num_classes") or _count_classes(path, weights)
    try:
        return Checkpoint(
            path=path,
            sha256=hashlib.sha256(data).hexdigest(),
            weights=weights,
            arch=str(known["arch"]),
            num_classes=int(classes),
            image_size=_optional(int, known.get("image_size")),
            mean=_three(known.get("mean"), "mean"),
            std=_three(known.get("std"), "std"),
            class_names=tuple(map(str, known.get("class_names") or ())),
            dataset=_optional(str, known.get("dataset")),
            method=_optional(str, known.get("method")),
            seed=_optional(int, known.get("seed")),
            epoch=_optional(int, known.get("epoch")),
            recipe=known.get("recipe"),
            trusted_arch=arch is not None,
        )
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"`{path}` has a damaged header ({error}): export it again") from None


def resolve_checkpoint(spec: str | os.PathLike[str]) -> Path:
    """File that ``FILE``, ``DIR``, ``DIR@200`` or ``DIR@best`` means.

    Raises:
        CheckpointError: There is none; the message lists what the run has.
    """
    text = os.fspath(spec)
    path = Path(text)
    if path.is_file():
        return path
    folder, name = path, "last"
    if not path.is_dir() and "@" in text:
        head, _, name = text.rpartition("@")
        folder = Path(head)
    if not folder.is_dir():
        raise CheckpointError(f"`{text}` does not exist: give a checkpoint file or a run directory")
    stem = f"epoch_{int(name):04d}" if re.fullmatch(r"\d{1,6}", name) else name
    for suffix in _SUFFIXES:
        candidate = folder / "checkpoints" / (stem + suffix)
        if candidate.is_file():
            return candidate
    files = (folder / "checkpoints").glob("*")
    there = sorted({f.stem.removeprefix("epoch_").lstrip("0") for f in files if f.suffix in _SUFFIXES})
    if not there:
        raise CheckpointError(
            f"`{folder}` has no checkpoints: give a run directory such as runs/RECIPE/METHOD/seed0"
        )
    raise CheckpointError(
        f"`{folder}` has no checkpoint `{name}`: it has {', '.join('@' + t for t in there)}"
    )


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Whole content of one of ralr-viz's own ``.pt`` files, on the CPU.

    Raises:
        CheckpointError: Missing, damaged, unsafe, or not ralr-viz's.
    """
    content = _parse(path, _read_file(path))
    if not content.get("header"):
        raise CheckpointError(f"`{path}` was not written by ralr-viz, so training cannot go on from it")
    return content


def export_checkpoint(
    spec: str | os.PathLike[str], out: Path, *, force: bool = False, **known: Any
) -> Checkpoint:
    """Write weights and header as safetensors, which holds no code; returns what was exported.

    Args:
        spec: As `load_checkpoint` takes it.
        out: The ``.safetensors`` file.
        force: Overwrite.
        **known: As for `load_checkpoint`.

    Raises:
        InputError: ``out`` exists or has another suffix.
        CheckpointError: The weights do not fit their architecture.
    """
    if out.suffix != ".safetensors":
        raise InputError(f"`{out}` must end in .safetensors")
    if out.exists() and not force:
        raise InputError(f"`{out}` exists: pass --force to overwrite it")
    checkpoint = load_checkpoint(spec, **known)
    weights = {k: v.contiguous() for k, v in checkpoint.build().state_dict().items()}
    header = {
        "format": FORMAT_VERSION,
        "arch": checkpoint.arch,
        "num_classes": checkpoint.num_classes,
        "image_size": checkpoint.image_size,
        "mean": checkpoint.mean,
        "std": checkpoint.std,
        "class_names": checkpoint.class_names,
        "dataset": checkpoint.dataset,
        "method": checkpoint.method,
        "seed": checkpoint.seed,
        "epoch": checkpoint.epoch,
        "recipe": checkpoint.recipe,
        "exported_from_sha256": checkpoint.sha256,
    }
    metadata = {_METADATA_KEY: json.dumps(header, sort_keys=True)}
    out.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(out, safetensors.torch.save(weights, metadata=metadata))
    return checkpoint


def _read_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"`{path}` cannot be read: {(error.strerror or str(error)).lower()}") from None


def _parse(path: Path, data: bytes) -> dict[str, Any]:
    if path.suffix == ".safetensors":
        try:
            weights = safetensors.torch.load(data)
            metadata = _safetensors_metadata(data)
            header = json.loads(metadata.get(_METADATA_KEY, "{}"))
        except (safetensors.SafetensorError, ValueError) as error:
            raise CheckpointError(f"`{path}` is damaged or not safetensors: {_one_line(error)}") from None
        if not isinstance(header, dict):
            raise CheckpointError(f"`{path}` has a damaged header: export it again")
        return {"header": _check_format(path, header), "model": weights}
    try:
        with warnings.catch_warnings(action="ignore"):  # of the pickle protocol, on the way to a refusal
            content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise CheckpointError(
            f"`{path}` is damaged or holds more than tensors and plain values, so it was not loaded "
            "(it could run code): ask its author for safetensors or a plain state dict"
        ) from None
    except Exception as error:  # torch raises many kinds for damaged archives
        raise CheckpointError(f"`{path}` is damaged or no checkpoint: {_one_line(error)}") from None
    if not isinstance(content, dict):
        raise CheckpointError(f"`{path}` holds a {type(content).__name__}, not a state dict")
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
            f"`{path}` has format {version}, this ralr-viz reads up to {FORMAT_VERSION}: upgrade it"
        )
    return header


def _safetensors_metadata(data: bytes) -> dict[str, str]:
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]).get("__metadata__", {})


def _count_classes(path: Path, weights: Mapping[str, Any]) -> int:
    """Rows of the last matrix: every supported network ends in a linear classifier."""
    values: Mapping[str, Any] = weights
    for nest in ("state_dict", "model", "net", "model_state_dict", "weights"):
        if isinstance(values.get(nest), dict):
            values = values[nest]
    matrices = [v for v in values.values() if isinstance(v, Tensor) and v.ndim == 2]
    if not matrices:
        raise CheckpointError(f"`{path}` holds no linear classifier: pass --num-classes")
    return matrices[-1].shape[0]


def _three(value: Any, name: str) -> tuple[float, float, float] | None:
    if value is None:
        return None
    numbers = tuple(float(v) for v in value)
    if len(numbers) != 3 or (name == "std" and min(numbers) <= 0):
        rule = "three positive numbers" if name == "std" else "three numbers"
        raise InputError(f"`{name}` = {list(numbers)} must be {rule}, in units of [0, 1]")
    return numbers


def _optional(kind: type, value: Any) -> Any:
    return None if value is None else kind(value)


def _one_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:160] if str(error).strip() else type(error).__name__
