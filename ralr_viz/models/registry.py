"""The names of networks and how each is built."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn

from ralr_viz.errors import InputError, UnknownNameError
from ralr_viz.models.densenet import DenseNet
from ralr_viz.models.efficientnet_lite import EfficientNetLite0
from ralr_viz.models.resnet import ResNet
from ralr_viz.models.wrn import WideResNet
from ralr_viz.own_code import call_named

_BUILDERS: dict[str, Callable[[int], nn.Module]] = {
    "resnet20": partial(ResNet, 20),
    "resnet32": partial(ResNet, 32),
    "resnet44": partial(ResNet, 44),
    "resnet56": partial(ResNet, 56),
    "resnet110": partial(ResNet, 110),
    "wrn-28-10": partial(WideResNet, 28, 10),
    "densenet-bc-100-12": partial(DenseNet, 100, 12),
    "efficientnet_lite0": EfficientNetLite0,
}

# Auxiliary classifiers make the training output a tuple, which no loop here wants; the explicit
# `init_weights` keeps torchvision's initialisation without its warning about the default.
_TORCHVISION_OPTIONS: dict[str, dict[str, Any]] = {
    "googlenet": {"aux_logits": False, "init_weights": True},
    "inception_v3": {"aux_logits": False, "init_weights": True},
}


def model_names() -> tuple[str, ...]:
    """Returns the names of the networks that ralr-viz itself defines, in the order of their families."""
    return tuple(_BUILDERS)


def check_model(arch: str, *, allow_import: bool = False) -> None:
    """Refuses a name that `build_model` would refuse; nothing is built or imported.

    Raises:
        UnknownNameError: If no network has that name.
        InputError: If importing is not allowed.
    """
    if arch in _BUILDERS:
        return
    source, colon, name = arch.partition(":")
    if not colon:
        hint = f"(`torchvision:{arch}` is torchvision's)" if arch in _torchvision_names() else ""
        raise UnknownNameError("model", arch, model_names(), hint)
    if source == "torchvision":
        if name not in _torchvision_names():
            raise UnknownNameError("torchvision model", name, _torchvision_names())
    elif not allow_import:
        raise InputError(
            f"`{arch}` names code to import, which is done only when you ask for it: pass `--arch {arch}`"
        )


def build_model(arch: str, num_classes: int, *, allow_import: bool = False) -> nn.Module:
    """Builds a network with fresh weights, drawn from torch's global generator, on the default device.

    Args:
        arch: One of `model_names`; ``torchvision:<name>`` for torchvision's classifiers; or, for a network of
            the user's own, ``package.module:factory``, called as ``factory(num_classes=num_classes)``, or without where it
            takes no such argument.
        num_classes: Number of logits, at least 1.
        allow_import: Accept ``package.module:factory``, which runs that module's code. Only for names that
            the user has typed: a name read from a checkpoint must never make us import anything.

    Returns:
        A network in training mode that maps images (N, 3, H, W) to logits (N, num_classes).

    Raises:
        UnknownNameError: If no network has that name.
        InputError: If ``num_classes`` is below 1, importing is not allowed, or the factory cannot be
            imported, fails, or returns something else than a `torch.nn.Module`.
    """
    if num_classes < 1:
        raise InputError(f"`num_classes` is {num_classes}: a network needs at least 1 class")
    check_model(arch, allow_import=allow_import)
    if arch in _BUILDERS:
        return _BUILDERS[arch](num_classes)
    source, _, name = arch.partition(":")
    if source == "torchvision":
        from torchvision import models  # loads torch.compile's machinery, which no network of ours needs

        options = _TORCHVISION_OPTIONS.get(name, {})
        return models.get_model(name, weights=None, num_classes=num_classes, **options)
    return _build_imported(arch, num_classes)


def is_user_factory(arch: str) -> bool:
    """Whether ``arch`` names code of the user's (``package.module:factory``)."""
    source, colon, _ = arch.partition(":")
    return bool(colon) and source != "torchvision"


def _torchvision_names() -> list[str]:
    from torchvision import models

    return models.list_models(module=models)


def _build_imported(arch: str, num_classes: int) -> nn.Module:
    model = call_named(arch, num_classes=num_classes)
    if not isinstance(model, nn.Module):
        raise InputError(f"`{arch}` returned a {type(model).__name__}: a factory returns a torch.nn.Module")
    return model
