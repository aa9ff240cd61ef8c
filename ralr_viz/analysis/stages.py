"""The layers at which a network's activations are looked at: the end of each stage of one resolution."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ralr_viz.analysis.capture import capture
from ralr_viz.analysis.maps import FIRST, Shape, find_axes
from ralr_viz.errors import InputError, UnknownNameError
from ralr_viz.models.outputs import of_its_size
from ralr_viz.tasks.eval_mode import eval_mode


def find_stages(model: nn.Module, probe: Tensor, layers: Sequence[str] | None = None) -> dict[str, Shape]:
    """Where each spatial resolution ends, or the layers that the caller names.

    Of the modules that return a map of one resolution, once in a pass, the outermost are taken (fewest dots
    in the name) and the last of these in order of execution: ``layer1`` to ``layer3`` of a CIFAR ResNet. A map with
    more positions than an earlier one is that one blown up, as VGG's pooling does to small images, and is left out.
    So are activations with the channels last, and tokens.

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
    names = known if layers is None else [*dict.fromkeys(layers)]
    for name in names:
        if name not in known:
            raise UnknownNameError("module", name, known)
    with (
        eval_mode(model),
        torch.no_grad(),
        capture(model, known, keep=_shape) as calls,
        of_its_size(model, probe),
    ):
        model(probe)
    runs = Counter(call.name for call in calls)
    every = [(call.name, call.outputs[0] if call.is_tensor else ()) for call in calls]
    axes, on_tokens = find_axes(model, every, len(probe))
    shapes = {
        name: shape[1:]
        for (name, shape), found_axes in zip(every, axes, strict=True)
        if runs[name] == 1
        and shape[:1] == (len(probe),)
        and (found_axes == FIRST or len(shape) == 2 or shape[2:] == (1, 1))
    }
    if layers is not None:
        for name in names:
            _check_named(name, runs[name], shapes.get(name))
        return {name: shapes[name] for name in names}
    if FIRST not in axes[on_tokens + 1 :]:
        shapes = {}  # a stem alone, of a network that goes on with tokens or with the channels last
    found: dict[tuple[int, ...], str] = {}
    smallest = None
    for name, shape in shapes.items():
        positions = _positions(shape)
        if positions < 2 or (smallest is not None and positions > smallest):
            continue
        smallest = positions
        size = shape[1:]
        if size not in found or name.count(".") <= found[size].count("."):
            found[size] = name
    if not found:
        raise InputError(
            f"`{type(model).__name__}` has no module that returns a map of more than one position: "
            "name the modules to look at with --layer"
        )
    return {name: shapes[name] for name in found.values()}


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


def _check_named(name: str, runs: int, shape: Shape | None) -> None:
    if runs == 0:
        raise InputError(f"layer `{name}` does not run in a forward pass: name another --layer")
    if runs > 1:
        raise InputError(f"layer `{name}` runs {runs} times in a forward pass: name a --layer that runs once")
    if shape is None:
        raise InputError(
            f"layer `{name}` returns no activations (images, channels, h, w): name another --layer"
        )
