"""Which of the tensors that modules return are maps, and where their channels and positions are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList

from ralr_viz.analysis.capture import capture
from ralr_viz.tasks.eval_mode import eval_mode

Shape = tuple[int, ...]

_CHANNELS_FIRST = (
    nn.modules.conv._ConvNd,
    nn.modules.batchnorm._NormBase,
    nn.modules.pooling._MaxPoolNd,
    nn.modules.pooling._AvgPoolNd,
    nn.modules.pooling._AdaptiveAvgPoolNd,
    nn.modules.pooling._AdaptiveMaxPoolNd,
    nn.GroupNorm,
    nn.LocalResponseNorm,
    nn.PixelShuffle,
    nn.Upsample,
)
_ON_LAST_AXIS = (nn.Linear, nn.LayerNorm, nn.RMSNorm)
_MOST_EXTRA_TOKENS = 16
"""Class and register tokens before or after those of the image."""


@dataclass(frozen=True)
class MapAxes:
    """How to read what a module returns as a map.

    Attributes:
        kind: ``first`` for (b, channels, h, w), ``last`` for (b, h, w, channels), ``tokens`` for
            (b, tokens, channels).
        size: h and w; of tokens only.
        offset: Tokens before those of the image, such as a class token; of tokens only.
    """

    kind: Literal["first", "last", "tokens"] = "first"
    size: tuple[int, int] = (0, 0)
    offset: int = 0

    def __call__(self, tensor: Tensor) -> Tensor:
        """A view (b, channels, h, w) of the module's output or of its gradient."""
        if self.kind == "first":
            return tensor
        if self.kind == "tokens":
            stop = self.offset + math.prod(self.size)
            tensor = tensor[:, self.offset : stop].unflatten(1, self.size)
        return tensor.permute(0, 3, 1, 2)


FIRST, LAST = MapAxes("first"), MapAxes("last")


def find_axes(
    model: nn.Module, calls: Sequence[tuple[str, Shape]], images: int
) -> tuple[list[MapAxes | None], int]:
    """Where channels and positions are in what modules returned.

    A convolution's, its normalisation's and its pooling's output has the channels first; a linear layer's and a
    LayerNorm's, after the axes were exchanged, last. What any other module (a block, an activation) returns has
    them where such a layer's output of the same shape has. Where none has that shape, they are first, as is
    usual, but only in a network in which nothing works on the last axis: elsewhere it may be the attention of
    all tokens to all.

    Args:
        model: The network.
        calls: Name and output shape of each call of a module, in order; () where it returned no single tensor.
        images: That were run: the first axis of a map.

    Returns:
        For each call ``FIRST`` or ``LAST``, or None where it is no map or not known which; and the position of the
        last linear or attention layer that worked on more than one position, −1 where none does.
    """
    modules = dict(model.named_modules())
    # modules that compute a weight (spectral_norm, weight_norm) return it: no activation
    of_weights = tuple(f"{name}." for name, m in modules.items() if isinstance(m, ParametrizationList))
    known = [_known_axes(modules[name], shape) for name, shape in calls]
    by_shape: dict[Shape, set[MapAxes]] = {}
    on_tokens = -1
    for i, ((name, shape), axes) in enumerate(zip(calls, known, strict=True)):
        if axes is not None and len(shape) == 4:
            by_shape.setdefault(shape, set()).add(axes)
        if isinstance(modules[name], nn.MultiheadAttention) or (
            isinstance(modules[name], nn.Linear) and math.prod(shape[1:-1]) > 1
        ):
            on_tokens = i
    only_first = all(axes != LAST for axes in known) and on_tokens < 0
    found: list[MapAxes | None] = []
    for (name, shape), axes in zip(calls, known, strict=True):
        if len(shape) != 4 or shape[0] != images or f"{name}.".startswith(of_weights):
            found.append(None)
            continue
        alike = by_shape.get(shape, {FIRST} if only_first else set())
        axes = axes or (next(iter(alike)) if len(alike) == 1 else None)
        positions = 0 if axes is None else math.prod(shape[2:] if axes == FIRST else shape[1:3])
        found.append(axes if positions > 1 else None)
    return found, on_tokens


@torch.no_grad()
def find_tokens(model: nn.Module, probe: Tensor) -> tuple[MapAxes, Shape] | None:
    """Where the tokens of an image are among those of a transformer, found out by numbers.

    Of two images, the first tokens differ exactly as what the patch embedding's convolution returned for
    them, token by token: embedded positions and class tokens are the same for both.

    Args:
        model: In any mode; left as it was.
        probe: Normalised images (b, 3, H, W), for the size.

    Returns:
        The axes and the shape (tokens, channels) of one image's tokens, or None where no convolution's positions
        become tokens.
    """
    names = [name for name, _ in model.named_modules() if name]
    noise = torch.randn(2, *probe.shape[1:], generator=torch.Generator().manual_seed(0)).to(probe)
    with eval_mode(model), capture(model, names) as calls:
        model(noise)
    patches: Tensor | None = None
    found = None
    for call in calls:
        if not call.is_tensor or len(call.outputs[0]) != 2:
            continue
        output = call.outputs[0]
        if output.ndim == 4 and isinstance(model.get_submodule(call.name), nn.Conv2d):
            patches = output[1] - output[0]
        elif output.ndim == 3 and patches is not None and output.shape[2] == len(patches):
            offset = _offset(output[1] - output[0], patches.flatten(1).T)
            if offset is not None:
                height, width = patches.shape[1:]
                found = MapAxes("tokens", (height, width), offset), tuple(output.shape[1:])
    return found


def _offset(tokens: Tensor, patches: Tensor) -> int | None:
    """Where patches (n, channels) begin among tokens (m, channels)."""
    extra = len(tokens) - len(patches)
    tolerance = torch.finfo(patches.dtype).eps ** 0.75 * float(patches.abs().max())
    for offset in range(extra + 1 if 0 <= extra <= _MOST_EXTRA_TOKENS else 0):
        if (tokens[offset : offset + len(patches)] - patches).abs().max() <= tolerance:
            return offset
    return None


def _known_axes(module: nn.Module, shape: Shape) -> MapAxes | None:
    """Of a layer that by its kind has the channels on one axis."""
    if isinstance(module, _CHANNELS_FIRST):
        return FIRST
    if len(shape) < 3 or not isinstance(module, _ON_LAST_AXIS):
        return None
    if isinstance(module, nn.Linear):
        return LAST
    if len(module.normalized_shape) > 1:  # (channels, h, w)
        return FIRST
    kind = nn.LayerNorm if isinstance(module, nn.LayerNorm) else nn.RMSNorm
    if type(module).forward is kind.forward:
        return LAST
    # a child that exchanges the axes itself, as torchvision's and timm's LayerNorm2d do
    places = [place for place in (1, len(shape) - 1) if shape[place] == module.normalized_shape[0]]
    return None if len(places) != 1 else FIRST if places == [1] else LAST
