"""The layers at which a network's activations are looked at: the end of each stage of one resolution."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ralr_viz.analysis.capture import capture
from ralr_viz.analysis.maps import FIRST, LAST, MapAxes, Shape, find_axes, find_tokens
from ralr_viz.errors import InputError, UnknownNameError
from ralr_viz.models.outputs import of_its_size
from ralr_viz.tasks.eval_mode import eval_mode


def find_stages(model: nn.Module, probe: Tensor, layers: Sequence[str] | None = None) -> dict[str, Shape]:
    """Where each spatial resolution ends, or the layers that the caller names.

    Of the modules that return a map of one resolution, once in a pass, the outermost are taken (fewest dots
    in the name) and the last of these in order of execution: ``layer1`` to ``layer3`` of a CIFAR ResNet. A map with
    more positions than an earlier one is that one blown up, as VGG's pooling does to small images, and is left out.
    So is the stem of a network that goes on with the channels last, or with tokens: of these the maps with the channels
    last are taken instead, or, where the places of the image's tokens are known, the last blocks of the quarters of a
    transformer, without its class token.

    Args:
        model: Any network; evaluated in eval mode, left as it was.
        probe: Normalised images (b, 3, H, W), on the model's device; one is enough.
        layers: Names as in `model.named_modules()`, which may also return features (b, channels).

    Returns:
        Name → shape (channels, h, w) or (channels,) of one image's output, in order of execution or as named.

    Raises:
        InputError: The network does not take the images or has no map; a named layer returns no activations
            or runs not exactly once.
        UnknownNameError: No module of a given name.
    """
    known = [name for name, _ in model.named_modules() if name]
    for name in layers or ():
        if name not in known:
            raise UnknownNameError("module", name, known)
    looks, runs, late = _look(model, probe, known)
    if layers is not None:
        names = [*dict.fromkeys(layers)]
        for name in names:
            _check_named(name, runs[name], looks.get(name))
        return {name: looks[name].shape for name in names}
    found: list[str] = []
    for kind in ("first", "last"):
        if not found and kind in late:
            found = _ends({name: look.shape for name, look in looks.items() if look.axes.kind == kind})
    found = found or _token_blocks(
        model, [name for name, look in looks.items() if look.axes.kind == "tokens"]
    )
    if not found:
        raise InputError(
            f"`{type(model).__name__}` has no module that returns a map of more than one position: "
            "name the modules to look at with --layer"
        )
    return {name: looks[name].shape for name in found}


def find_stage_axes(model: nn.Module, probe: Tensor, stages: Iterable[str]) -> dict[str, MapAxes]:
    """Where channels and positions are in what the layers return, which are some that `find_stages` found.

    Args:
        model, probe: As there.
        stages: Their names.
    """
    looks, _, _ = _look(model, probe, [name for name, _ in model.named_modules() if name])
    return {name: looks[name].axes for name in stages}


class _Look(NamedTuple):
    """What a module returns: of one image (channels, h, w) or (channels,), and where that is."""

    shape: Shape
    axes: MapAxes


def _look(
    model: nn.Module, probe: Tensor, names: Sequence[str]
) -> tuple[dict[str, _Look], Counter[str], set[str]]:
    """What modules that run once return, how often each runs, and the kinds of maps after the last work on tokens."""
    with (
        eval_mode(model),
        torch.no_grad(),
        capture(model, names, keep=_shape) as calls,
        of_its_size(model, probe),
    ):
        model(probe)
    runs = Counter(call.name for call in calls)
    every: list[tuple[str, Shape]] = [
        (call.name, call.outputs[0] if call.is_tensor else ()) for call in calls
    ]
    axes, on_tokens = find_axes(model, every, len(probe))
    late: set[str] = {found.kind for found in axes[on_tokens + 1 :] if found is not None}
    tokens = None if on_tokens < 0 or "first" in late else find_tokens(model, probe)
    looks = {}
    for (name, shape), found in zip(every, axes, strict=True):
        if runs[name] != 1 or shape[:1] != (len(probe),):
            continue
        if found == LAST:
            looks[name] = _Look((shape[3], *shape[1:3]), LAST)
        elif found == FIRST or len(shape) == 2 or shape[2:] == (1, 1):
            looks[name] = _Look(shape[1:], FIRST)
        elif tokens is not None and shape[1:] == tokens[1]:
            looks[name] = _Look((shape[2], *tokens[0].size), tokens[0])
    return looks, runs, late


def _ends(maps: Mapping[str, Shape]) -> list[str]:
    """The outermost and last module of each resolution, in order of execution."""
    found: dict[Shape, str] = {}
    smallest = None
    for name, shape in maps.items():
        positions, size = _positions(shape), shape[1:]
        if positions < 2 or (smallest is not None and positions > smallest):
            continue
        smallest = positions
        if size not in found or name.count(".") <= found[size].count("."):
            found[size] = name
    return list(found.values())


def _token_blocks(model: nn.Module, names: Sequence[str]) -> list[str]:
    """Of modules that return the tokens, the last of each quarter of those of one kind and parent that are the most."""
    alike: dict[tuple[str, type], list[str]] = {}
    for name in names:
        alike.setdefault((name.rpartition(".")[0], type(model.get_submodule(name))), []).append(name)
    blocks = max(alike.values(), key=len, default=[])
    return (
        [blocks[i] for i in sorted({math.ceil(len(blocks) * k / 4) - 1 for k in (1, 2, 3, 4)})]
        if blocks
        else []
    )


def common_stages(
    pair: str, networks: Sequence[nn.Module], probes: Sequence[Tensor], layers: Sequence[str] | None = None
) -> dict[str, Shape]:
    """The layers of several states of one architecture, see `find_stages`.

    Args:
        pair: What the networks together are called.
        networks: Two or more.
        probes: What each of them is fed.
        layers: Names, or None for the stages.

    Raises:
        InputError: Of `find_stages`, or the layers or their shapes differ.
    """
    first, *others = (find_stages(n, probe, layers) for n, probe in zip(networks, probes, strict=True))
    for other in others:
        if list(other.items()) != list(first.items()):
            shown = (", ".join(f"{n} {'×'.join(map(str, s))}" for n, s in x.items()) for x in (first, other))
            raise InputError(
                f"the networks of `{pair}` differ ({' and '.join(shown)}): pair two states of one architecture"
            )
    return first


def _shape(tensor: Tensor) -> Shape:
    """Shape of what may be activations, else nothing."""
    return tuple(tensor.shape) if tensor.is_floating_point() else ()


def _positions(shape: Shape) -> int:
    return shape[1] * shape[2] if len(shape) == 3 else 1


def _check_named(name: str, runs: int, look: _Look | None) -> None:
    if runs == 0:
        raise InputError(f"layer `{name}` does not run in a forward pass: name another --layer")
    if runs > 1:
        raise InputError(f"layer `{name}` runs {runs} times in a forward pass: name a --layer that runs once")
    if look is None:
        raise InputError(
            f"layer `{name}` returns no activations (images, channels, h, w): name another --layer"
        )
