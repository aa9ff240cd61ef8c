"""Networks that start from weights of another training: all but the classifier, from a file or from torchvision."""

from __future__ import annotations

import hashlib
import http.client
import urllib.error
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import torch
from torch import Tensor, nn

from ralr_viz.errors import CheckpointError, StorageError, UnknownNameError
from ralr_viz.foreign import describe_error
from ralr_viz.models.checkpoint_file import parse_checkpoint, read_checkpoint_bytes
from ralr_viz.models.classifier import find_classifier_layer
from ralr_viz.models.weights import adapt_state_dict

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
_TORCHVISION = "torchvision:"


@dataclass(frozen=True)
class Weights:
    """What a network started from.

    Attributes:
        source: As it was asked for, a file or a name.
        path: The file that was read.
        sha256: Of the file.
        mean, std: Per channel, in units of [0, 1], of the images that the weights expect: what the file's own header
            says, or torchvision of its weights; else ImageNet's.
    """

    source: str
    path: Path
    sha256: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


def load_backbone(model: nn.Module, arch: str, source: str, *, download: bool = False) -> Weights:
    """Load all but the classifier, in place; nothing is changed where that fails.

    Args:
        model: A network of `build_model`, of any number of classes.
        arch: Its name.
        source: A file (``.safetensors``, or a state dict of ``torch.save``, read without running code), or for
            ``torchvision:…`` the name of its weights, such as ``IMAGENET1K_V1``, looked for where torchvision keeps
            what it downloads.
        download: Fetch them where they are not there.

    Raises:
        UnknownNameError: torchvision has no such weights of this network.
        CheckpointError: The file is missing, damaged or unsafe, or an entry beside the classifier's does not fit.
        InputError: The classifier is not known.
        StorageError: What was downloaded cannot be written.
    """
    taken, weights = read_backbone(model, arch, source, download=download)
    own = model.state_dict()
    model.load_state_dict(taken | {name: own[name] for name in own if name not in taken})
    return weights


def read_backbone(
    model: nn.Module, arch: str, source: str, *, download: bool = False
) -> tuple[dict[str, Tensor], Weights]:
    """What `load_backbone` would load, by the names of the network, which is only read and may be on ``meta``."""
    head = find_classifier_layer(model, arch)
    path, mean, std = locate_weights(arch, source, download=download)
    data = read_checkpoint_bytes(path)
    content = parse_checkpoint(path, data)
    leave = {name for name in model.state_dict() if name.startswith(f"{head}.")}
    try:
        taken = adapt_state_dict(content["model"], model, arch, leave=leave)
    except CheckpointError as error:
        raise CheckpointError(f"`{path}`: {error}") from None
    header = content.get("header") or {}
    mean = _three(path, header.get("mean"), "mean") or mean
    std = _three(path, header.get("std"), "std") or std
    return taken, Weights(source, path, hashlib.sha256(data).hexdigest(), mean, std)


def locate_weights(
    arch: str, source: str, *, download: bool = False
) -> tuple[Path, tuple[float, float, float], tuple[float, float, float]]:
    """The file of ``source``, and the mean and std that its images are normalised by; see `load_backbone`."""
    name = source.removeprefix(f"{arch}/")
    if not arch.startswith(_TORCHVISION) or Path(source).is_file() or not _looks_like_a_name(name):
        return Path(source), IMAGENET_MEAN, IMAGENET_STD
    from torchvision import models

    known = models.get_model_weights(arch.removeprefix(_TORCHVISION)).__members__
    if name not in known:
        raise UnknownNameError(f"weights of `{arch}`", name, known, "(or give a file)")
    weights = known[name]
    path = Path(torch.hub.get_dir()) / "checkpoints" / PurePosixPath(urlsplit(weights.url).path).name
    if not path.is_file():
        if not download:
            raise CheckpointError(
                f"the weights `{name}` of `{arch}` are not on this machine: run `ralr-viz data weights {arch} {name}`, or put "
                f"{weights.url} at `{path}`"
            )
        _download(weights.url, path)
    transforms = weights.transforms()
    return path, _plain(transforms.mean), _plain(transforms.std)


def _looks_like_a_name(text: str) -> bool:
    return text.isidentifier() and text.isupper()


def _download(url: str, path: Path) -> None:
    """Fetch a file whose name ends in the first digits of its SHA-256, which are checked."""
    digits = path.stem.rpartition("-")[2]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), hash_prefix=digits, progress=False)
    except (urllib.error.URLError, http.client.HTTPException, RuntimeError, TimeoutError) as error:
        raise CheckpointError(
            f"{url} cannot be downloaded ({describe_error(error)}): put it at `{path}`"
        ) from None
    except OSError as error:
        raise StorageError(f"`{path}` cannot be written ({error.strerror}): free some space") from None


def _three(path: Path, value: Any, name: str) -> tuple[float, float, float] | None:
    if value is None:
        return None
    try:
        return _plain(value)
    except (TypeError, ValueError):
        raise CheckpointError(
            f"`{path}` has a damaged header (`{name}` is no three numbers): export it again"
        ) from None


def _plain(values: Sequence[float]) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue
