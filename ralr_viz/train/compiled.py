"""How a network is compiled: its kernels are replayed where starting them is what takes the time."""

from __future__ import annotations

from typing import Any

from ralr_viz.runtime.device import Runtime
from ralr_viz.runtime.ranks import Ranks

# Pixels a side up to which a step's kernels end sooner than the host starts the next: CIFAR's 32, Tiny ImageNet's 64.
_SMALL = 64


def compile_options(runtime: Runtime, ranks: Ranks, image_size: int | None) -> dict[str, Any]:
    """Arguments of `torch.nn.Module.compile` for a training's network.

    Forward and backward passes of a network on small images are replayed as CUDA graphs. The optimizer's step is outside
    of them: within, the learning rate would be that of the recording, and an amplified epoch would silently do nothing.

    Args:
        runtime: Where.
        ranks: That train it together; the exchange of gradients among several is not recorded.
        image_size: Side of the images in pixels; None where samples are of many sizes, each of which would be recorded.
    """
    # one shape, since all full batches have it; in place, so that the state dict keeps its keys
    options: dict[str, Any] = {"dynamic": False}
    small = image_size is not None and image_size <= _SMALL
    if runtime.device.type == "cuda" and ranks.size == 1 and small:
        options["mode"] = "reduce-overhead"
    return options
