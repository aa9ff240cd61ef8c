"""What torch raises for want of memory or of a kernel, in one line with its remedy."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ralr_viz.errors import RalrVizError

# Of torch's allocators on the CPU and on MPS, which have no error of their own for it.
_NO_MEMORY = re.compile("can't allocate memory|not enough memory|out of memory")
_NOT_DETERMINISTIC = re.compile(r"(\w+) does not have a deterministic implementation")


@contextmanager
def named_faults(device: torch.device, memory: str) -> Iterator[None]:
    """For the block, a training or a part of it; what an inner one has named is left as it is.

    Args:
        device: Where it is.
        memory: What it needed the memory for, and what would need less; another remedy stands in its place where other
            processes hold most of a GPU's memory.

    Raises:
        RalrVizError: The device's memory is full, or the network needs a kernel that has no deterministic version, such
            as adaptive pooling to more than one position on CUDA.
    """
    try:
        yield
    except torch.OutOfMemoryError:
        raise RalrVizError(f"{device} is out of memory {_blame_others(device) or memory}") from None
    except RuntimeError as error:
        if _NO_MEMORY.search(str(error)):
            raise RalrVizError(f"{device} is out of memory {memory}") from None
        kernel = _NOT_DETERMINISTIC.search(str(error))
        if kernel is None:
            raise
        raise RalrVizError(
            f"`{kernel[1]}`, which this network needs, has no deterministic kernel on {device.type}: pass --fast "
            "(deterministic=False), with which arms are no longer bit-identical, or take another network"
        ) from None


def _blame_others(device: torch.device) -> str:
    """What to do where other processes hold more of a GPU's memory than this one; empty where they do not."""
    if device.type != "cuda":
        return ""
    free, total = torch.cuda.mem_get_info(device)
    own = torch.cuda.memory_reserved(device)
    others = total - free - own
    if others <= own:
        return ""
    return (
        f"of which other processes hold {others / 1e9:.1f} of {total / 1e9:.1f} GB: wait for them, run fewer at once by "
        "--jobs, or choose another --device"
    )
