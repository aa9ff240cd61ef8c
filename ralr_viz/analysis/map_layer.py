"""The module that maps and features are taken from: the last with a map that the logits depend on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ralr_viz.analysis.capture import Call, capture, frozen_parameters
from ralr_viz.analysis.maps import FIRST, MapAxes, Shape, find_axes, find_tokens
from ralr_viz.errors import InputError, UnknownNameError
from ralr_viz.models.outputs import find_logits
from ralr_viz.tasks.eval_mode import eval_mode


def find_gradient_layer(model: nn.Module, probe: Tensor) -> str | None:
    """The last module with a map for Grad-CAM, in order of execution.

    It returns one tensor with more than one position and no more positions than any map before it, runs once,
    and the logits depend on it. In a network that goes on with linear or attention layers on positions, it
    comes after these: the map of a stem explains nothing. Where no map with the channels first does, it is one
    with the channels last, or tokens whose places are known, in which the logits depend on those of the image.

    Args:
        model: Any classifier; evaluated in eval mode, left as it was.
        probe: Normalised images (b, 3, H, W), on the model's device; one is enough.

    Returns:
        The module's name, or None where there is none, as in an MLP.
    """
    calls, total = _run_with_graph(model, probe, [name for name, _ in model.named_modules() if name])
    runs = Counter(call.name for call in calls)
    axes, on_tokens = find_axes(model, [(call.name, _shape(call)) for call in calls], len(probe))
    first = [i for i, found in enumerate(axes) if found == FIRST]
    positions = [calls[i].outputs[0][0, 0].numel() for i in first]
    for at in reversed(range(len(first))):
        call = calls[first[at]]
        # a map larger than an earlier one is that one blown up, as VGG's pooling does to small images
        if runs[call.name] > 1 or positions[at] > min(positions[: at + 1]) or first[at] < on_tokens:
            continue
        if _depends_on(total, call.outputs[0], FIRST):
            return call.name
    if on_tokens < 0:
        return None
    tokens = find_tokens(model, probe)
    for call, found in reversed(list(zip(calls, axes, strict=True))):
        if tokens is not None and _shape(call)[1:] == tokens[1]:
            found = tokens[0]
        if found in (None, FIRST) or runs[call.name] > 1:
            continue
        if _depends_on(total, call.outputs[0], found):
            return call.name
    return None


def check_layer(model: nn.Module, probe: Tensor, layer: str) -> MapAxes:
    """Refuse a layer that the package cannot take maps from, and find out where its channels and positions are.

    Args:
        model: As for `find_gradient_layer`.
        probe: Likewise.
        layer: A module's name.

    Raises:
        UnknownNameError: The network has no such module.
        InputError: It runs more or less often than once, returns no map, or the logits do not depend on it.
    """
    names = [name for name, _ in model.named_modules() if name]
    if layer not in names:
        # no deeper than asked: a network may have hundreds of modules
        near = [name for name in names if name.count(".") <= layer.count(".")]
        raise UnknownNameError("layer", layer, near)
    calls, total = _run_with_graph(model, probe, names)
    found, _ = find_axes(model, [(call.name, _shape(call)) for call in calls], len(probe))
    at = [i for i, call in enumerate(calls) if call.name == layer]
    if len(at) != 1:
        raise InputError(f"layer `{layer}` runs {len(at)} times: choose a module that runs once")
    call, axes = calls[at[0]], found[at[0]]
    if axes is None and len(_shape(call)) == 3:
        tokens = find_tokens(model, probe)
        axes = tokens[0] if tokens is not None and _shape(call)[1:] == tokens[1] else None
    if axes is None:
        got = f"{_shape(call)}" if call.is_tensor else "no single tensor"
        raise InputError(
            f"layer `{layer}` returns {got}, a map is (images, channels, h, w) of more than one position, or its "
            "axes and places must be known: choose a convolution or a block of them"
        )
    if not _depends_on(total, call.outputs[0], axes):
        raise InputError(f"the logits do not depend on layer `{layer}`: choose another")
    return axes


def _run_with_graph(model: nn.Module, probe: Tensor, names: Sequence[str]) -> tuple[list[Call], Tensor]:
    """Calls of the named modules with their graph, and a number that depends on what the logits depend on."""
    with (
        eval_mode(model),
        frozen_parameters(model),
        torch.enable_grad(),
        capture(model, names, keep=lambda tensor: tensor) as calls,
    ):
        # images that require grad give frozen parameters a graph; a copy of them may be changed in place
        logits = find_logits(model(probe.detach().requires_grad_().clone()))
    total = _mix(logits)
    for call in calls:
        # a classifier that starts at zero, as a transformer's does, passes on no gradient
        if call.input is not None and call.is_tensor and torch.equal(call.outputs[0], logits):
            total = total + _mix(call.input)
    return calls, total


def _mix(tensor: Tensor) -> Tensor:
    """Sum with random weights: a plain one is constant after a LayerNorm or a softmax."""
    weights = torch.randn(tensor.shape, generator=torch.Generator().manual_seed(0))
    return (tensor * weights.to(tensor)).sum()


def _shape(call: Call) -> Shape:
    """Of what a call returned, if that is one tensor of numbers."""
    return tuple(call.outputs[0].shape) if call.is_tensor and call.outputs[0].is_floating_point() else ()


def _depends_on(total: Tensor, output: Tensor, axes: MapAxes) -> bool:
    """Whether the logits depend on a module's output; of tokens, on those of the image."""
    if not output.requires_grad:
        return False
    gradient = torch.autograd.grad(total, output, retain_graph=True, allow_unused=True)[0]
    if gradient is None or axes.kind != "tokens":
        return gradient is not None
    # the class token alone goes on from the last attention
    return bool((axes(gradient) != 0).any())
