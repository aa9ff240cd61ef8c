"""The classifier of a network: the one layer whose rows are the classes."""

from __future__ import annotations

from typing import Literal

from torch import nn

from ralr_viz.errors import InputError

HeadInit = Literal["default", "kaiming"]
HEAD_INITS: tuple[HeadInit, ...] = ("default", "kaiming")


def find_classifier_layer(model: nn.Module, arch: str) -> str:
    """Name of the last layer with weights, in the order in which the network was put together.

    Args:
        model: Any classifier; it is only read.
        arch: Its name, for messages.

    Raises:
        InputError: That is neither a linear layer nor a convolution, as SqueezeNet has.
    """
    weighted = [name for name, module in model.named_modules() if [*module.parameters(recurse=False)]]
    layer = model.get_submodule(weighted[-1]) if weighted else model
    if not isinstance(layer, nn.Linear | nn.Conv2d):
        raise InputError(
            f"the classifier of `{arch}` is not known: its last layer with weights is a {type(layer).__name__}, "
            "let it be a `torch.nn.Linear`"
        )
    return weighted[-1]


def head_parameters(model: nn.Module, arch: str) -> list[nn.Parameter]:
    """Parameters of the classifier, such as for a learning rate of its own; all others are the backbone's.

    Args:
        model: Any classifier.
        arch: Its name, for messages.

    Raises:
        InputError: See `find_classifier_layer`.
    """
    return list(model.get_submodule(find_classifier_layer(model, arch)).parameters())


def initialise_head(model: nn.Module, arch: str, init: HeadInit) -> None:
    """Draw the classifier's weights from torch's global generator, in place.

    Args:
        model: Any classifier.
        arch: Its name, for messages.
        init: ``default`` leaves what the network drew; ``kaiming`` draws a normal law of variance 2 / inputs for
            the weights and leaves the biases, as the code does that the paper's settings are the defaults of.

    Raises:
        InputError: See `find_classifier_layer`; or no such ``init``.

    References:
        zhangyongshun/resnet_finetune_cub, ``utils/weight_init.py``.
    """
    if init not in HEAD_INITS:
        raise InputError(f"`head_init` = {init!r} must be one of {', '.join(HEAD_INITS)}")
    if init == "kaiming":
        layer = model.get_submodule(find_classifier_layer(model, arch))
        assert isinstance(layer, nn.Linear | nn.Conv2d)
        nn.init.kaiming_normal_(layer.weight)
