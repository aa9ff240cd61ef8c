"""Read checkpoints of ralr-viz and of others, never executing anything from them, and export them."""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ralr_viz.errors import CheckpointError, InputError
from ralr_viz.foreign import one_line
from ralr_viz.models import adapt_state_dict, build_model
from ralr_viz.models.checkpoint_file import (
    FORMAT_VERSION,
    pack_weights,
    parse_checkpoint,
    read_checkpoint_bytes,
)
from ralr_viz.models.outputs import return_logits
from ralr_viz.models.registry import is_user_factory
from ralr_viz.results.storage import write_bytes
from ralr_viz.results.tasks import classifies

_SUFFIXES = (".pt", ".safetensors")
# What a header may say; a damaged one must not make us allocate or print without end.
_MOST_CLASSES, _LARGEST_IMAGE = 1_000_000, 4096


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
        dataset, content_hash: What was trained on, where known; the hash is of its pixels and labels.
        method, seed, epoch, recipe: Where the weights come from, where known.
        parameters: Names of the trained weights among them, where known.
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
    content_hash: str | None = None
    method: str | None = None
    seed: int | None = None
    epoch: int | None = None
    recipe: Mapping[str, Any] | None = None
    parameters: tuple[str, ...] = ()
    trusted_arch: bool = False

    @property
    def is_classifier(self) -> bool:
        """Whether it maps images to classes, so that `build` alone knows its network."""
        return classifies(self.recipe)

    @property
    def label(self) -> str:
        """Short name for figures: method, seed and epoch, else the file's name."""
        if self.method is None:
            return self.path.stem
        seed = f", seed {self.seed}" if self.seed is not None else ""
        return f"{self.method}{seed}" + (f", epoch {self.epoch}" if self.epoch is not None else "")

    def build(self, *, classifier: bool = True, make: Callable[[], nn.Module] | None = None) -> nn.Module:
        """The network with these weights, on the CPU in eval mode; a classifier returns its logits and nothing else.

        Args:
            classifier: False leaves it to return what it returns, for a task that is no classification.
            make: Makes the network, where that is the task's business.

        Raises:
            CheckpointError: The weights belong to another architecture or number of classes.
        """
        if make is not None:
            return self._fill(make())
        model = build_model(self.arch, self.num_classes, allow_import=self.trusted_arch)
        model.load_state_dict(adapt_state_dict(self.weights, model, self.arch))
        if classifier:
            return_logits(model, self.num_classes)
        return model.eval()

    def _fill(self, model: nn.Module) -> nn.Module:
        try:
            model.load_state_dict(self.weights)
        except (RuntimeError, ValueError, TypeError, AttributeError) as error:
            raise CheckpointError(
                f"`{self.path}` has weights of another network than its recipe's ({one_line(error, 200)})"
            ) from None
        return model.eval()


def load_checkpoint(
    spec: str | os.PathLike[str],
    *,
    arch: str | None = None,
    num_classes: int | None = None,
    image_size: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    class_names: Sequence[str] = (),
    dataset: str | None = None,
) -> Checkpoint:
    """Read a checkpoint file or one of a run directory's.

    Args:
        spec: A file (``.pt``, ``.safetensors``, or anybody's state dict), a run directory (its last
            checkpoint), ``DIR@200``, ``DIR@best`` or ``DIR@prev``.
        arch, num_classes, image_size, mean, std, class_names, dataset: What a third party's file does not
            say; where given they take precedence.

    Raises:
        CheckpointError: Missing, damaged, unsafe, or without a known architecture.
        InputError: A value outside its range.
    """
    path = resolve_checkpoint(spec)
    data = read_checkpoint_bytes(path)
    content = parse_checkpoint(path, data)
    header, weights = (content.get("header") or {}), content["model"]
    known = {**header}
    overrides = {
        "arch": arch,
        "num_classes": num_classes,
        "image_size": image_size,
        "mean": mean,
        "std": std,
        "dataset": dataset,
    }
    known.update({k: v for k, v in overrides.items() if v is not None})
    if class_names:
        known["class_names"] = class_names
    if not known.get("arch"):
        raise CheckpointError(f"`{path}` does not say its architecture: pass --arch, e.g. --arch resnet20")
    if known["arch"] != header.get("arch") and "num_classes" in header and num_classes is None:
        known["num_classes"] = None
    own = arch is not None and is_user_factory(arch)
    free = own or not classifies(header.get("recipe"))
    classes = known.get("num_classes") or _count_classes(path, weights, own=free)
    try:
        names = tuple(one_line(name) for name in known.get("class_names") or ())
        if len(names) not in (0, int(classes)):
            if num_classes is None:
                raise ValueError(f"{len(names)} class names for {classes} classes")
            names = ()
        return Checkpoint(
            path=path,
            sha256=hashlib.sha256(data).hexdigest(),
            weights=weights,
            arch=one_line(known["arch"]),
            num_classes=_between(1, classes, _MOST_CLASSES, "num_classes"),
            image_size=_optional(
                lambda size: _between(1, size, _LARGEST_IMAGE, "image_size"), known.get("image_size")
            ),
            mean=_three(known.get("mean"), "mean"),
            std=_three(known.get("std"), "std"),
            class_names=names,
            dataset=_optional(one_line, known.get("dataset")),
            content_hash=_optional(one_line, header.get("content_hash")),
            method=_optional(one_line, known.get("method")),
            seed=_optional(int, known.get("seed")),
            epoch=_optional(int, known.get("epoch")),
            recipe=_optional(_mapping, known.get("recipe")),
            parameters=tuple(map(str, header.get("parameters") or ())),
            trusted_arch=arch is not None,
        )
    except InputError:
        raise
    except (TypeError, ValueError, OverflowError) as error:
        raise CheckpointError(f"`{path}` has a damaged header ({one_line(error)}): export it again") from None


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
    if not text or not folder.is_dir():
        problem = "is neither file nor folder" if text and path.exists() else "does not exist"
        raise CheckpointError(f"`{text}` {problem}: give a checkpoint file or a run directory")
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


def saved_epochs(run: Path) -> list[int]:
    """Epochs whose state a run directory has kept, growing."""
    names = {file.stem for file in (run / "checkpoints").glob("epoch_*") if file.suffix in _SUFFIXES}
    return sorted(int(name[6:]) for name in names if name[6:].isdigit())


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Whole content of one of ralr-viz's own ``.pt`` files, on the CPU.

    Raises:
        CheckpointError: Missing, damaged, unsafe, or not ralr-viz's.
    """
    content = parse_checkpoint(path, read_checkpoint_bytes(path))
    if not content.get("header"):
        raise CheckpointError(f"`{path}` was not written by ralr-viz, so training cannot go on from it")
    return content


def export_checkpoint(
    spec: str | os.PathLike[str], out: Path, *, force: bool = False, **known: Any
) -> Checkpoint:
    """Write weights and header as safetensors, which holds no code; returns what was exported.

    Args:
        spec: As `load_checkpoint` takes it.
        out: The ``.safetensors`` file; its folder is made.
        force: Overwrite.
        **known: As for `load_checkpoint`.

    Raises:
        InputError: ``out`` exists, cannot be made or has another suffix.
        CheckpointError: The weights do not fit their architecture.
        StorageError: The disk is full or cannot be written.
    """
    if out.suffix != ".safetensors":
        raise InputError(f"`{out}` must end in .safetensors, e.g. --out weights.safetensors")
    if out.is_dir():
        raise InputError(f"`{out}` is a folder: give the name of a file")
    if out.exists() and not force:
        raise InputError(f"`{out}` exists: pass --force to overwrite it")
    checkpoint = load_checkpoint(spec, **known)
    whole = checkpoint.build().state_dict() if checkpoint.is_classifier else checkpoint.weights
    weights = {k: v.contiguous() for k, v in whole.items()}
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"the folder of `{out}` cannot be made ({error.strerror}): choose another --out"
        ) from None
    header = describe_weights(checkpoint) | {"exported_from_sha256": checkpoint.sha256}
    write_bytes(out, pack_weights(weights, header), replace=force)
    return checkpoint


def describe_weights(checkpoint: Checkpoint) -> dict[str, Any]:
    """Header of a ``.safetensors`` file with weights of the checkpoint's network."""
    known = {
        name: getattr(checkpoint, name)
        for name in (
            *("arch", "num_classes", "image_size", "mean", "std", "class_names", "dataset", "content_hash"),
            *("method", "seed", "epoch", "recipe"),
        )
    }
    parameters = {"parameters": list(checkpoint.parameters)} if checkpoint.parameters else {}
    return {"format": FORMAT_VERSION, **known, **parameters}


def _count_classes(path: Path, weights: Mapping[str, Any], *, own: bool) -> int:
    """Rows of the last matrix: every supported network ends in a linear classifier."""
    values: Mapping[str, Any] = weights
    for nest in ("state_dict", "model", "net", "model_state_dict", "weights"):
        if isinstance(values.get(nest), dict):
            values = values[nest]
    tensors = [v for v in values.values() if isinstance(v, Tensor)]
    if not tensors:
        raise CheckpointError(f"`{path}` holds no tensors: save `model.state_dict()` in it")
    matrices = {k: v for k, v in values.items() if isinstance(v, Tensor) and v.ndim == 2}
    if not matrices and own:
        return 1  # whose factory need not know
    if not matrices:
        raise CheckpointError(f"`{path}` holds no linear classifier: pass --num-classes")
    # a metric beside the network may hold a matrix, too
    named = [
        v
        for k, v in matrices.items()
        if str(k).split(".")[-2:-1] in (["linear"], ["fc"], ["classifier"], ["head"])
    ]
    return (named or list(matrices.values()))[-1].shape[0]


def _three(value: Any, name: str) -> tuple[float, float, float] | None:
    if value is None:
        return None
    numbers = tuple(float(v) for v in value)
    lowest = math.ulp(0.0) if name == "std" else 0.0
    if len(numbers) != 3 or not all(lowest <= v <= 1 for v in numbers):
        rule = "in (0, 1]" if name == "std" else "in [0, 1]"
        raise InputError(
            f"`{name}` = {list(numbers)} must be three numbers {rule}: divide pixel values by 255"
        )
    return numbers


def _mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"the recipe is a {type(value).__name__}")
    return value


def _between(low: int, value: Any, high: int, name: str) -> int:
    number = int(value)
    if not low <= number <= high:
        raise ValueError(f"{name} = {number}, must be in [{low}, {high}]")
    return number


def _optional(kind: Callable[[Any], Any], value: Any) -> Any:
    return None if value is None else kind(value)
