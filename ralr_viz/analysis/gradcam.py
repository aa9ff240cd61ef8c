"""Class activation maps of networks without a closed form, through the `grad-cam` package."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ralr_viz.analysis.capture import capture, copied_output, frozen_parameters
from ralr_viz.analysis.head import classify, find_logits, is_map
from ralr_viz.train.evaluate import eval_mode


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
    names = [name for name, _ in model.named_modules() if name]
    with (
        eval_mode(model),
        frozen_parameters(model),
        torch.enable_grad(),
        capture(model, names, keep=lambda tensor: tensor) as calls,
    ):
        # images that require grad give frozen parameters a graph; a copy of them may be changed in place
        total = find_logits(model(probe.detach().requires_grad_().clone())).sum()
    runs = Counter(call.name for call in calls)
    maps = [call for call in calls if call.is_tensor and is_map(call.outputs[0])]
    positions = [call.outputs[0][0, 0].numel() for call in maps]
    for i in reversed(range(len(maps))):
        features = maps[i].outputs[0]
        # a map larger than an earlier one is that one blown up, as VGG's pooling does to small images
        if runs[maps[i].name] > 1 or positions[i] > min(positions[: i + 1]) or not features.requires_grad:
            continue
        if torch.autograd.grad(total, features, retain_graph=True, allow_unused=True)[0] is not None:
            return maps[i].name
    return None


@contextmanager
def gradient_step(model: nn.Module, layer: str) -> Iterator[Callable[[Tensor, Tensor], tuple[Tensor, ...]]]:
    """Maps of one batch through the `grad-cam` package, which leaves no trace on the model.

    Args:
        model: In eval mode.
        layer: Module that the maps are taken from.

    Yields:
        A function of (b, 3, H, W) normalised images and (b,) targets (−1: the prediction) that returns the
        first five of `closed_form_step`.
    """
    from pytorch_grad_cam import GradCAM  # imports OpenCV and pyplot

    class RawGradCAM(GradCAM):
        """Keeps the signed map at its own resolution, before the package scales and resizes it."""

        def get_cam_image(self, *args: Any, **kwargs: Any) -> np.ndarray:
            self.raw = super().get_cam_image(*args, **kwargs)
            return self.raw

    def step(x: Tensor, target: Tensor) -> tuple[Tensor, ...]:
        # frozen parameters get their graph from the images: no time goes into gradients of the weights
        with torch.enable_grad():
            x = x.detach().requires_grad_().clone()  # a copy, which may be changed in place
            grad_cam(input_tensor=x, targets=[_target_logit(c) for c in target.tolist()])
        # the package averages the gradients over the map, the closed form's units want their sum
        raw = torch.from_numpy(grad_cam.raw * np.float32(grad_cam.raw[0].size))
        return raw, *classify(grad_cam.outputs.detach().float(), target)

    grad_cam = RawGradCAM(_LogitsOnly(model), [model.get_submodule(layer)])
    try:
        with frozen_parameters(model), copied_output(model.get_submodule(layer)):
            yield step
    finally:
        grad_cam.activations_and_grads.release()  # its own context manager swallows IndexError


class _LogitsOnly(nn.Module):
    """A network that returns its logits and nothing else, as `grad-cam` wants it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return find_logits(self.model(x))


def _target_logit(category: int) -> Callable[[Tensor], Tensor]:
    """What `grad-cam` differentiates: one of the (classes,) logits of an image, for −1 the largest."""
    return lambda logits: logits[category] if category >= 0 else logits.max()
