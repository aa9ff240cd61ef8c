"""What torch raises for want of memory or of a kernel, in one line with its remedy."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ralr_viz.errors import RalrVizError

_NOT_DETERMINISTIC = re.compile(r"(\w+) does not have a deterministic implementation")


@contextmanager
def named_faults(device: torch.device, memory: str) -> Iterator[None]:
    """For the block, a training.

    Args:
        device: Where it is.
        memory: What it needed the memory for, and what would need less.

    Raises:
        RalrVizError: The device's memory is full, or the network needs a kernel that has no deterministic version, such
            as adaptive pooling to more than one position on CUDA.
    """
    try:
        yield
    except torch.OutOfMemoryError:
        raise RalrVizError(f"{device} is out of memory {memory}") from None
    except RuntimeError as error:
        kernel = _NOT_DETERMINISTIC.search(str(error))
        if kernel is None:
            raise
        raise RalrVizError(
            f"`{kernel[1]}`, which this network needs, has no deterministic kernel on {device.type}: pass --fast "
            "(deterministic=False), with which arms are no longer bit-identical, or take another network"
        ) from None
