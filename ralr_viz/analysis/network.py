"""A caller's network, made ready to be looked into and left as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from ralr_viz.errors import InputError
from ralr_viz.foreign import one_line
from ralr_viz.models.outputs import count_labelled, find_logits, return_logits
from ralr_viz.train.evaluate import eval_mode


@contextmanager
def classifying(
    model: nn.Module, probe: Tensor, targets: np.ndarray, classes: int | None = None
) -> Iterator[None]:
    """Eval mode for the block, in which the network returns its logits alone, whatever it returns otherwise.

    Args:
        model: Any classifier.
        probe: Normalised images (b, 3, H, W), on the model's device; the first is run.
        targets: (n,) integer classes, −1 where none is given, which are held against the network's.
        classes: How many there are, where known; else the targets show it, see `find_logits`.

    Raises:
        InputError: It does not take images of this size, its logits are not known, or a target is none of its
            classes.
    """
    with eval_mode(model):
        labelled = count_labelled(targets)
        check_outputs(model, probe, targets, classes)
        handle = return_logits(model, classes, labelled=labelled)
        try:
            yield
        finally:
            handle.remove()


def check_outputs(model: nn.Module, probe: Tensor, targets: np.ndarray, classes: int | None = None) -> None:
    """Run a network on one image and hold the targets against its classes; arguments of `classifying`.

    Raises:
        InputError: As there.
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
