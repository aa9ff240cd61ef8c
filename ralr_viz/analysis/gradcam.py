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
from ralr_viz.analysis.head import classify, is_map
from ralr_viz.errors import InputError, UnknownNameError
from ralr_viz.models.outputs import find_logits
from ralr_viz.train.evaluate import eval_mode

_LARGEST_BATCH = 32
"""Images, or masked copies of one, whose graph and activations the package holds at once."""


def find_gradient_layer(model: nn.Module, probe: Tensor) -> str | None:
    """The last module with a map for Grad-CAM, in order of execution.

    It returns one tensor of four dimensions with more than one position and no more positions than any map
    before it, runs once, and the logits depend on it.

    Args:
        model: Any classifier; evaluated in eval mode, left as it was.
        probe: Normalised images (b, 3, H, W), on the model's device; one is enough.

    Returns:
        The module's name, or None where there is none, as in an MLP.
    """
    calls, total = _run_with_graph(model, probe, [name for name, _ in model.named_modules() if name])
    runs = Counter(call.name for call in calls)
    maps = [call for call in calls if call.is_tensor and is_map(call.outputs[0])]
    positions = [call.outputs[0][0, 0].numel() for call in maps]
    for i in reversed(range(len(maps))):
        # a map larger than an earlier one is that one blown up, as VGG's pooling does to small images
        if runs[maps[i].name] > 1 or positions[i] > min(positions[: i + 1]):
            continue
        if _depends_on(total, maps[i].outputs[0]):
            return maps[i].name
    return None


def check_layer(model: nn.Module, probe: Tensor, layer: str) -> None:
    """Refuse a layer of the caller's that the package cannot take maps from.

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
    calls, total = _run_with_graph(model, probe, [layer])
    if len(calls) != 1:
        raise InputError(f"layer `{layer}` runs {len(calls)} times: choose a module that runs once")
    if not calls[0].is_tensor or not is_map(calls[0].outputs[0]):
        got = f"{tuple(calls[0].outputs[0].shape)}" if calls[0].is_tensor else "no single tensor"
        raise InputError(
            f"layer `{layer}` returns {got}, a map is (images, channels, h, w) of more than one position: "
            "choose a convolution or a block of them"
        )
    if not _depends_on(total, calls[0].outputs[0]):
        raise InputError(f"the logits do not depend on layer `{layer}`: choose another")


def package_batch(method: str, batch: int) -> int:
    """Images per call of `package_step` where ``batch`` are asked for: at most 32.

    One for Score-CAM, which makes a masked copy of every image for every channel before its first pass.
    """
    return 1 if method == "scorecam" else min(batch, _LARGEST_BATCH)


def package_step(
    model: nn.Module, layer: str, method: str, x: Tensor, target: Tensor, *, masked: int = _LARGEST_BATCH
) -> tuple[Tensor, ...]:
    """Maps of one batch through the `grad-cam` package, which leaves no trace on the model.

    Args:
        model: In eval mode.
        layer: Module that the maps are taken from, as `check_layer` wants it.
        method: ``gradcam``, ``gradcam++``, ``layercam``, ``eigencam`` or ``scorecam``.
        x: (b, 3, H, W) normalised images; see `package_batch`.
        target: (b,) int64 classes, −1 for the prediction.
        masked: Masked copies of an image per forward pass of Score-CAM, at most 32.

    Returns:
        The first five of `closed_form_step`; ``raw`` is h·w times the package's map.
    """
    with _package_cam(model, layer, method, keep_raw=True) as cam:
        _call(cam, method, x, target.tolist(), masked)
    # it averages Grad-CAM's gradients over the map, the closed form's units want their sum
    raw = torch.from_numpy(cam.raw * np.float32(cam.raw[0].size))
    return raw, *classify(cam.outputs.detach().float(), target)


def draw_with_package(
    model: nn.Module, layer: str, method: str, x: Tensor, target: Tensor, *, masked: int = _LARGEST_BATCH
) -> tuple[Tensor, ...]:
    """What the `grad-cam` package itself draws, from its own unchanged class; arguments of `package_step`.

    Returns:
        Maps (b, H, W) float32 in [0, 1], alone in a tuple as a step's columns are.
    """
    with _package_cam(model, layer, method, keep_raw=False) as cam:
        return (torch.from_numpy(_call(cam, method, x, target.tolist(), masked)),)


@contextmanager
def _package_cam(model: nn.Module, layer: str, method: str, *, keep_raw: bool) -> Iterator[Any]:
    """The package's object for a network, which is as it was after the block."""
    module = model.get_submodule(layer)
    kind = _package_class(method)
    cam = (_raw_class(kind) if keep_raw else kind)(_LogitsOnly(model), [module])
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
    """Calls of the named modules with their graph, and the sum of the logits."""
    with (
        eval_mode(model),
        frozen_parameters(model),
        torch.enable_grad(),
        capture(model, names, keep=lambda tensor: tensor) as calls,
    ):
        # images that require grad give frozen parameters a graph; a copy of them may be changed in place
        total = find_logits(model(probe.detach().requires_grad_().clone())).sum()
    return calls, total


def _depends_on(total: Tensor, features: Tensor) -> bool:
    if not features.requires_grad:
        return False
    return torch.autograd.grad(total, features, retain_graph=True, allow_unused=True)[0] is not None
