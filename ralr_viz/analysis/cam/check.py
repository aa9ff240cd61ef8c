"""Whether the maps that a figure shows are right: held against another library and an identity."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from ralr_viz.analysis.cam.methods import METHODS
from ralr_viz.analysis.cam.network_maps import Cam, batch_sizes, explain
from ralr_viz.analysis.cam.package import draw_with_package
from ralr_viz.analysis.capture import capture
from ralr_viz.analysis.head import CamHead, find_cam_head
from ralr_viz.analysis.map_layer import check_layer
from ralr_viz.analysis.network import classifying
from ralr_viz.analysis.pictures import Pictures
from ralr_viz.comparison.network import plain_network
from ralr_viz.errors import InputError
from ralr_viz.models.outputs import find_logits
from ralr_viz.nouns.cam import METHOD_NAMES
from ralr_viz.results.cam import normalise_cam
from ralr_viz.runtime.arithmetic import fp32_products
from ralr_viz.runtime.device import resolve_runtime

PARITY_LIMIT = 1e-5
"""Largest difference of drawn maps, which are in [0, 1], between two fp32 computations."""


@dataclass(frozen=True, eq=False)
class CamCheck:
    """What `verify_cam` found.

    Attributes:
        cam: The maps that were verified.
        parity: Largest absolute difference over all images and pixels between the maps as they are drawn, in
            [0, 1], and what the `grad-cam` package draws in fp32.
        identity: Of the closed form, the largest ``|mean(M) + b − z| / (mean(|M|) + |b|)`` over the images,
            with M the map, b the class's bias and z its logit from a plain forward pass in fp32; else None.
        precision: Of the verified maps.
    """

    cam: Cam
    parity: float
    identity: float | None
    precision: str

    @property
    def passed(self) -> bool:
        """Whether parity keeps to PARITY_LIMIT; rounding to bf16 or TF32 is reported, not judged."""
        return self.precision != "fp32" or self.parity <= PARITY_LIMIT  # NaN does not pass

    def __str__(self) -> str:
        n, method, layer = len(self.cam.raw), METHOD_NAMES[self.cam.method], self.cam.layer
        peer = "Grad-CAM" if self.cam.method == "cam" else method
        limit = f"limit {PARITY_LIMIT:g}" if self.precision == "fp32" else f"no limit in {self.precision}"
        identity = "not in closed form, so there is no identity to check"
        if self.identity is not None:
            identity = f"mean(CAM) + b = logit within {self.identity:.1e} (relative)"
        return (
            f"{method} at `{layer}` drawn as grad-cam's {peer} within {self.parity:.1e} ({limit}); {identity}; "
            f"{n} {'image' if n == 1 else 'images'}, {self.precision}"
        )


def verify_cam(
    model: nn.Module,
    images: np.ndarray,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    targets: np.ndarray | None = None,
    method: str = "cam",
    layer: str | None = None,
    batch: int | None = None,
    device: str = "cpu",
    precision: str = "fp32",
    progress: Callable[[int], object] | None = None,
) -> CamCheck:
    """Compute maps and hold them against the `grad-cam` package and, in closed form, against the logits.

    The package runs by itself: its own class on the same network, layer and images, then its own scaling and
    resizing. A closed form whose map no module returns (its final ReLU is a function, say) is compared with
    the package on that map, pooled and classified once more. The package runs in fp32, the maps as `explain`
    computes them.

    Args:
        model, images, mean, std, targets, method, layer, batch, device, precision, progress: As for
            `explain`.

    Raises:
        RalrVizError: As `explain`.
    """
    model = plain_network(model)
    with fp32_products(resolve_runtime(device, "fp32").device):
        cam = explain(
            model, images, mean=mean, std=std, targets=targets, method=method, layer=layer, batch=batch,
            device=device, precision=precision, progress=progress,
        )  # fmt: skip
        at_once, with_graph = batch_sizes(images, batch)
        # the package has no other than fp32
        precision = resolve_runtime(device, precision if cam.method == "cam" else "fp32").precision
        pictures = Pictures.on_device(images, cam.target, mean, std, resolve_runtime(device, "fp32"))
        probe = pictures.probe()
        identity = None
        with classifying(model, probe, cam.target):
            network, peer, place = model, cam.method, cam.layer
            if cam.method == "cam":
                head = find_cam_head(model, probe)
                assert head is not None  # else the method would be another
                identity = _identity_error(model, head, cam, pictures, at_once)
                peer = "gradcam"
                if not _is_hookable(model, head, probe):
                    network, place = _SpeltOut(model, head), "map"
            axes = check_layer(network, probe, place)
            by = METHODS[peer]
            step = partial(draw_with_package, network, place, by, masked=at_once, axes=axes)
            (expected,) = pictures.run(step, by.batch(with_graph), None)
    drawn = normalise_cam(cam.raw, (images.shape[1], images.shape[2]))
    return CamCheck(cam, float(np.abs(drawn - expected).max()), identity, precision)


def _identity_error(model: nn.Module, head: CamHead, cam: Cam, pictures: Pictures, batch: int) -> float:
    @torch.no_grad()
    def step(x: Tensor, target: Tensor) -> tuple[Tensor, ...]:
        return (find_logits(model(x)).gather(1, target[:, None])[:, 0],)

    (logit,) = pictures.run(step, batch, None)
    bias = head.classifier(model)[1].detach().cpu().numpy()[cam.target].astype(np.float64)
    raw = cam.raw.astype(np.float64)
    error = np.abs(raw.mean((1, 2)) + bias - logit)
    scale = np.abs(raw).mean((1, 2)) + np.abs(bias)
    return float((error / np.maximum(scale, np.finfo(np.float32).tiny)).max())


def _is_hookable(model: nn.Module, head: CamHead, probe: Tensor) -> bool:
    """Whether a module returns the closed form's map, once and by itself."""
    try:
        check_layer(model, probe, head.layer)
    except InputError:
        return False
    return not head.relu


class _SpeltOut(nn.Module):
    """The end of a network once more, after a module that returns the map, which the package can hook."""

    def __init__(self, model: nn.Module, head: CamHead) -> None:
        super().__init__()
        self.model, self.head, self.map = model, head, nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad(), capture(self.model, [self.head.layer]) as calls:
            self.model(x)
        features = self.map(self.head.feature_map(calls).requires_grad_())
        weight, bias = self.head.classifier(self.model)
        return nn.functional.linear(features.mean((2, 3)), weight, bias)
