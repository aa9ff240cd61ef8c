"""BatchNorm at frozen statistics as part of the convolution before it, so that no pass touches its activations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node
from torch.nn.modules.batchnorm import _BatchNorm

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


class Pair(NamedTuple):
    """A convolution and the BatchNorm that alone takes its output."""

    convolution: nn.Conv1d | nn.Conv2d | nn.Conv3d
    norm: _BatchNorm


def find_pairs(model: nn.Module, loss: Callable[[], Tensor]) -> list[Pair]:
    """Which convolution's output enters which BatchNorm and nothing else, read off the graph of one loss.

    A module that is called more than once, whose class has a forward pass of its own, or whose output goes somewhere else as
    well (the skip of a pre-activation network) is in no pair.

    Args:
        model: In eval mode.
        loss: Makes a forward pass of the model and returns what has its graph.
    """
    made: dict[nn.Module, list[Node | None]] = {}

    def note(module: nn.Module, _: Any, output: Tensor) -> None:
        made.setdefault(module, []).append(output.grad_fn)

    with ExitStack() as hooks:
        for module in model.modules():
            if isinstance(module, (*_CONVOLUTIONS, _BatchNorm)):
                hooks.enter_context(module.register_forward_hook(note))
        takers = _takers(loss().grad_fn)
    norms = {
        nodes[0]: module
        for module, nodes in made.items()
        if len(nodes) == 1 and isinstance(module, _BatchNorm)
    }
    pairs = []
    for module, nodes in made.items():
        if not isinstance(module, _CONVOLUTIONS) or len(nodes) > 1 or type(module).forward not in _PLAIN:
            continue
        taken = takers.get(nodes[0], [])
        if len(taken) == 1 and (norm := norms.get(taken[0])) is not None and norm.running_var is not None:
            pairs.append(Pair(module, norm))
    return pairs


@contextmanager
def folded(pairs: Sequence[Pair]) -> Iterator[None]:
    r"""Let each convolution do its BatchNorm's work.

    At running statistics BatchNorm is the affine map :math:`s x + t` of each channel, :math:`s = \gamma / \sqrt{\sigma^2 +
    \epsilon}` and :math:`t = \beta - \mu s`. Here the convolution has the weights :math:`s W` and the bias :math:`s b + t`, as
    functions of the parameters: values and derivatives of all orders are those of the network, but for rounding. A
    BatchNorm in training mode is left as it is.
    """
    active = [pair for pair in pairs if not pair.norm.training]
    for convolution, norm in active:
        vars(convolution)["forward"] = partial(_convolve, convolution, norm)
        vars(norm)["forward"] = _pass_on
    try:
        yield
    finally:
        for pair in active:
            for module in pair:
                del vars(module)["forward"]


_PLAIN = tuple(kind.forward for kind in _CONVOLUTIONS)


def _convolve(convolution: Any, norm: Any, x: Tensor) -> Tensor:
    scale = torch.rsqrt(norm.running_var + norm.eps)
    if norm.weight is not None:
        scale = scale * norm.weight
    bias = -norm.running_mean * scale
    if convolution.bias is not None:
        bias = bias + convolution.bias * scale
    if norm.bias is not None:
        bias = bias + norm.bias
    weight = convolution.weight * scale.reshape(-1, *[1] * (convolution.weight.ndim - 1))
    made: Tensor = convolution._conv_forward(x, weight, bias)
    return made


def _pass_on(x: Tensor) -> Tensor:
    return x


def _takers(last: Node | None) -> dict[Node | None, list[Node | None]]:
    """Of each node of a graph, those that take its output."""
    found: dict[Node | None, list[Node | None]] = {}
    waiting, seen = [last], {last}
    while waiting:
        node = waiting.pop()
        for source, _ in node.next_functions if node is not None else ():
            found.setdefault(source, []).append(node)
            if source not in seen:
                seen.add(source)
                waiting.append(source)
    return found
