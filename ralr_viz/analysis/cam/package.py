"""Class activation maps through the `grad-cam` package, for all that has no closed form."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ralr_viz.analysis.cam.method import LARGEST_BATCH, Method
from ralr_viz.analysis.capture import LentModule, copied_output, frozen_parameters
from ralr_viz.analysis.head import classify
from ralr_viz.analysis.maps import FIRST, MapAxes
from ralr_viz.models.outputs import find_logits
from ralr_viz.runtime.eager import uncompiled


def package_step(
    model: nn.Module,
    layer: str,
    method: Method,
    x: Tensor,
    target: Tensor,
    *,
    masked: int = LARGEST_BATCH,
    axes: MapAxes = FIRST,
) -> tuple[Tensor, ...]:
    """Maps of one batch through the `grad-cam` package, which leaves no trace on the model.

    Args:
        model: In eval mode.
        layer: Module that the maps are taken from, as `check_layer` wants it.
        method: One of `methods.METHODS`.
        x: (b, 3, H, W) normalised images, at most `Method.batch` of them.
        target: (b,) int64 classes, −1 for the prediction.
        masked: Changed copies of an image per forward pass of a method that makes them, at most 32.
        axes: Of what the layer returns, as `check_layer` found them.

    Returns:
        The first five of `closed_form_step`, where ``raw`` is h·w times the package's map, and the target's logit
        (b,).
    """
    with _package_cam(model, layer, method, axes, keep_raw=True) as cam:
        _call(cam, method, x, target.tolist(), masked)
    # it averages Grad-CAM's gradients over the map, the closed form's units want their sum
    raw = torch.from_numpy(cam.raw * np.float32(cam.raw[0].size))
    logits = cam.outputs.detach().float()
    classes = classify(logits, target)
    return raw, *classes, logits.gather(1, classes[0][:, None]).squeeze(1)


def draw_with_package(
    model: nn.Module,
    layer: str,
    method: Method,
    x: Tensor,
    target: Tensor,
    *,
    masked: int = LARGEST_BATCH,
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
    model: nn.Module, layer: str, method: Method, axes: MapAxes, *, keep_raw: bool
) -> Iterator[Any]:
    """The package's object for a network, which is as it was after the block."""
    module = model.get_submodule(layer)
    lent = LentModule(module)
    kind = method.load()
    with ExitStack() as stack:
        stack.callback(lent.give_back)  # the package's own context manager swallows IndexError
        options = method.options(lent, axes)
        cam = (_raw_class(kind) if keep_raw else kind)(
            _LogitsOnly(model), [lent], reshape_transform=axes, **options
        )
        # frozen parameters get their graph from the images: no time goes into gradients of the weights
        stack.enter_context(frozen_parameters(model))
        stack.enter_context(uncompiled())  # as in `capture`
        # registered after the package's hooks: what they keep is not overwritten by an in-place ReLU
        stack.enter_context(copied_output(module))
        if method.per_channel:
            stack.enter_context(_without_bars(kind))
        yield cam


def _call(cam: Any, method: Method, x: Tensor, categories: Sequence[int], masked: int) -> np.ndarray:
    cam.batch_size = min(masked, LARGEST_BATCH)
    # a diverged network's infinities are reported by whoever reads the maps
    with torch.set_grad_enabled(method.gradient), np.errstate(all="ignore"):
        return cam(
            input_tensor=x.detach().requires_grad_(method.gradient),
            targets=[_target_logit(cam, i, category) for i, category in enumerate(categories)],
        )


def _target_logit(cam: Any, image: int, category: int) -> Callable[[Tensor], Tensor]:
    """What the package explains: one of the (classes,) logits, for −1 the largest of the image itself.

    Score-CAM asks for it with masked copies, whose largest logit may be another one.
    """
    return lambda logits: logits[category if category >= 0 else int(cam.outputs[image].argmax())]


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
                # each pass with changed copies would be copied to the host and kept
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
    """A network that returns its logits and nothing else, as `grad-cam` wants it.

    Its modules are hidden: Ablation-CAM looks among them for the one to replace, and stumbles over a None.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self._hidden = (model,)

    def parameters(self, recurse: bool = True) -> Iterator[nn.Parameter]:
        return self._hidden[0].parameters(recurse)

    def forward(self, x: Tensor) -> Tensor:
        return find_logits(self._hidden[0](x.clone()))  # a copy, which may be changed in place


@contextmanager
def _without_bars(kind: Any) -> Iterator[None]:
    """One of the package's classes without the progress bars that it writes to stderr for every image."""
    module: Any = sys.modules[kind.__module__]
    bars = module.tqdm
    module.tqdm = SimpleNamespace(tqdm=iter)
    try:
        yield
    finally:
        module.tqdm = bars
