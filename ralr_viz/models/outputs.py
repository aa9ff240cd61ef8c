"""What a network returns: its tensors, and which of them are the logits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ralr_viz.errors import InputError
from ralr_viz.foreign import one_line


def tensors_in(output: Any) -> Iterator[Tensor]:
    """The tensors in what a module returned (a tensor, or containers of them), depth first."""
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, Mapping):
        for value in output.values():
            yield from tensors_in(value)
    elif isinstance(output, tuple | list):
        for value in output:
            yield from tensors_in(value)


def find_logits(output: Any, classes: int | None = None, *, labelled: int | None = None) -> Tensor:
    """The logits (b, classes) in what a network returned: under ``logits``, or the tensor as wide as the classes.

    Args:
        output: A tensor, or a mapping, tuple or list of them, such as features and logits.
        classes: How many there are, where known.
        labelled: Else how many the labels show (see `count_labelled`); it decides among several tensors only.

    Raises:
        InputError: No tensor (b, width), none or several as wide as the classes, several where the number of
            classes is not known, or a single logit.
    """
    if isinstance(output, Mapping) and "logits" in output:
        output = output["logits"]
    tensors = list(tensors_in(output))
    found = [tensor for tensor in tensors if tensor.ndim == 2 and tensor.is_floating_point()]
    if not found:
        got = f"a tensor of shape {tuple(tensors[0].shape)}" if tensors else type(output).__name__
        raise InputError(f"the network returns {got}, a classifier returns logits of shape (images, classes)")
    count = classes if classes is not None or len(found) == 1 else labelled
    fitting = found if count is None else [tensor for tensor in found if tensor.shape[1] == count]
    if len(fitting) != 1:
        widths = " and ".join(str(tensor.shape[1]) for tensor in found)
        what = f"an output {widths} wide" if len(found) == 1 else f"{len(found)} outputs, {widths} wide"
        problem = f"{len(fitting) or 'none'} of them for {count} classes"
        if count is None:
            problem = "and how many classes there are is not known"
        raise InputError(f"the network returns {what}, {problem}: let it return its logits and nothing else")
    if fitting[0].shape[1] == 1:
        raise InputError(
            "the network returns one logit, whose softmax is 1 whatever it is: let it return two, such as (0, z), "
            "for two classes"
        )
    return fitting[0]


def count_labelled(labels: Any) -> int | None:
    """Number of classes that labels show: the highest plus 1 where none below it is missing, else None.

    Args:
        labels: (n,) integers, an array or a tensor; negative ones are unknown.
    """
    present = {label for label in labels.tolist() if label >= 0}
    return len(present) if present and max(present) == len(present) - 1 else None


def return_logits(
    model: nn.Module, classes: int | None = None, *, labelled: int | None = None
) -> RemovableHandle:
    """Let a network return its logits and nothing else, as `find_logits` finds them, until the handle is removed."""
    return model.register_forward_hook(partial(_only_logits, classes=classes, labelled=labelled))


def _only_logits(
    model: nn.Module, args: Any, output: Any, *, classes: int | None, labelled: int | None
) -> Tensor:
    return find_logits(output, classes, labelled=labelled)


def check_outputs(model: nn.Module, probe: Tensor, targets: np.ndarray, classes: int | None = None) -> None:
    """Run a network on one image and hold the targets against its classes.

    Args:
        model: Any classifier.
        probe: Normalised images (b, 3, H, W), on the model's device; the first is run.
        targets: (n,) integer classes, −1 where none is given.
        classes: How many there are, where known; else the targets show it, see `find_logits`.

    Raises:
        InputError: It does not take images of this size, its logits are not known, or a target is none of its
            classes.
    """
    with of_its_size(model, probe), torch.no_grad():
        logits = find_logits(model(probe[:1]), classes, labelled=count_labelled(targets))
    width = logits.shape[1]
    outside = targets[(targets < -1) | (targets >= width)]
    if len(outside):
        raise InputError(
            f"target class {outside[0]} is outside the network's {width} classes (0 to {width - 1}): "
            "use the data set that it was trained on"
        )


@contextmanager
def of_its_size(model: nn.Module, probe: Tensor) -> Iterator[None]:
    """Say in one line that a network does not take images of the size (b, 3, H, W) that the block gives it.

    Raises:
        InputError: It raised an error; an `InputError` is passed on.
    """
    try:
        yield
    except InputError:
        raise
    except (RuntimeError, ValueError, AssertionError) as error:
        height, width = probe.shape[2:]
        raise InputError(
            f"`{type(model).__name__}` does not take {height}×{width} images ({one_line(error)}): "
            "use images of the size that it was trained on"
        ) from error
