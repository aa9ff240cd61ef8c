"""Class activation maps through the `grad-cam` package, for all that has no closed form."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ralr_viz.analysis.capture import Call, capture, copied_output, frozen_parameters
from ralr_viz.analysis.head import classify
from ralr_viz.analysis.maps import FIRST, MapAxes, Shape, find_axes, find_tokens
from ralr_viz.errors import InputError, UnknownNameError
from ralr_viz.models.outputs import find_logits
from ralr_viz.train.evaluate import eval_mode

_LARGEST_BATCH = 32
"""Images, or masked copies of one, whose graph and activations the package holds at once."""


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


def package_batch(method: str, batch: int) -> int:
    """Images per call of `package_step` where ``batch`` are asked for: at most 32.

    One for Score-CAM, which makes a masked copy of every image for every channel before its first pass.
    """
    return 1 if method == "scorecam" else min(batch, _LARGEST_BATCH)


def package_step(
    model: nn.Module,
    layer: str,
    method: str,
    x: Tensor,
    target: Tensor,
    *,
    masked: int = _LARGEST_BATCH,
    axes: MapAxes = FIRST,
) -> tuple[Tensor, ...]:
    """Maps of one batch through the `grad-cam` package, which leaves no trace on the model.

    Args:
        model: In eval mode.
        layer: Module that the maps are taken from, as `check_layer` wants it.
        method: ``gradcam``, ``gradcam++``, ``layercam``, ``eigencam`` or ``scorecam``.
        x: (b, 3, H, W) normalised images; see `package_batch`.
        target: (b,) int64 classes, −1 for the prediction.
        masked: Masked copies of an image per forward pass of Score-CAM, at most 32.
        axes: Of what the layer returns, as `check_layer` found them.

    Returns:
        The first five of `closed_form_step`; ``raw`` is h·w times the package's map.
    """
    with _package_cam(model, layer, method, axes, keep_raw=True) as cam:
        _call(cam, method, x, target.tolist(), masked)
    # it averages Grad-CAM's gradients over the map, the closed form's units want their sum
    raw = torch.from_numpy(cam.raw * np.float32(cam.raw[0].size))
    return raw, *classify(cam.outputs.detach().float(), target)


def draw_with_package(
    model: nn.Module,
    layer: str,
    method: str,
    x: Tensor,
    target: Tensor,
    *,
    masked: int = _LARGEST_BATCH,
    axes: MapAxes = FIRST,
) -> tuple[Tensor, ...]:
    """What the `grad-cam` package itself draws, from its own unchanged class; arguments of `package_step`.

    Returns:
        Maps (b, H, W) float32 in [0, 1], alone in a tuple as a step's columns are.
    """
    with _package_cam(model, layer, method, axes, keep_raw=False) as cam:
        return (torch.from_numpy(_call(cam, method, x, target.tolist(), masked)),)


@contextmanager
def _package_cam(
    model: nn.Module, layer: str, method: str, axes: MapAxes, *, keep_raw: bool
) -> Iterator[Any]:
    """The package's object for a network, which is as it was after the block."""
    module = model.get_submodule(layer)
    kind = _package_class(method)
    cam = (_raw_class(kind) if keep_raw else kind)(_LogitsOnly(model), [module], reshape_transform=axes)
    with ExitStack() as stack:
        stack.callback(cam.activations_and_grads.release)  # its own context manager swallows IndexError
        # frozen parameters get their graph from the images: no time goes into gradients of the weights
        stack.enter_context(frozen_parameters(model))
        stack.enter_context(torch.compiler.set_stance("force_eager"))  # as in `capture`
        # registered after the package's hooks: what they keep is not overwritten by an in-place ReLU
        stack.enter_context(copied_output(module))
        if method == "scorecam":
            stack.enter_context(_without_bars())
        yield cam


def _call(cam: Any, method: str, x: Tensor, categories: Sequence[int], masked: int) -> np.ndarray:
    needs_graph = method not in ("eigencam", "scorecam")
    cam.batch_size = min(masked, _LARGEST_BATCH)
    # a diverged network's infinities are reported by whoever reads the maps
    with torch.set_grad_enabled(needs_graph), np.errstate(all="ignore"):
        return cam(
            input_tensor=x.detach().requires_grad_(needs_graph),
            targets=[_target_logit(cam, i, category) for i, category in enumerate(categories)],
        )


def _target_logit(cam: Any, image: int, category: int) -> Callable[[Tensor], Tensor]:
    """What the package explains: one of the (classes,) logits, for −1 the largest of the image itself.

    Score-CAM asks for it with masked copies, whose largest logit may be another one.
    """
    return lambda logits: logits[category if category >= 0 else int(cam.outputs[image].argmax())]


def _package_class(method: str) -> Any:
    import pytorch_grad_cam as package  # imports OpenCV and pyplot

    return {
        "gradcam": package.GradCAM,
        "gradcam++": package.GradCAMPlusPlus,
        "layercam": package.LayerCAM,
        "eigencam": package.EigenCAM,
        "scorecam": package.ScoreCAM,
    }[method]


def _raw_class(kind: Any) -> Any:
    class RawCAM(kind):
        """Keeps the signed map at its own resolution, before the package scales and resizes it."""

        def get_cam_image(
            self,
            input_tensor: Tensor,
            target_layer: nn.Module,
            targets: list[Any],
            activations: np.ndarray,
            *rest: Any,
        ) -> np.ndarray:
            if not self.uses_gradients:
                # Score-CAM would copy each masked pass to the host and keep it
                self.activations_and_grads.release()
            # Eigen-CAM's decomposition raises where a value is infinite
            broken = ~np.isfinite(activations).all(axis=(1, 2, 3))
            if broken.any():
                activations = np.where(broken[:, None, None, None], np.float32(0), activations)
            self.raw = super().get_cam_image(input_tensor, target_layer, targets, activations, *rest)
            self.raw[broken] = np.nan
            return self.raw

    return RawCAM


class _LogitsOnly(nn.Module):
    """A network that returns its logits and nothing else, as `grad-cam` wants it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return find_logits(self.model(x.clone()))  # a copy, which may be changed in place


@contextmanager
def _without_bars() -> Iterator[None]:
    """The package's Score-CAM without the progress bar that it writes to stderr for every image."""
    from pytorch_grad_cam import score_cam

    bars = score_cam.tqdm
    score_cam.tqdm = SimpleNamespace(tqdm=iter)
    try:
        yield
    finally:
        score_cam.tqdm = bars


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
