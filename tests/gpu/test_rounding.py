"""What a device computes: fp32 is IEEE's, so that it is what the CPU computes, up to the order of sums."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from ralr_viz.analysis.cam.check import verify_cam
from ralr_viz.analysis.evaluation import evaluate_networks
from ralr_viz.analysis.predictions import compute_predictions
from ralr_viz.comparison import Comparison, compare
from ralr_viz.data.augment import BatchLoader, pad_images, plan_epoch
from ralr_viz.models import build_model
from ralr_viz.runtime.arithmetic import fp32_products

SCALE: dict[str, Any] = {"mean": (0.5, 0.45, 0.4), "std": (0.25, 0.2, 0.3)}
# TF32 keeps 10 bits behind the point, IEEE's fp32 keeps 23.
JUST_ABOVE_ONE = 1 + 2.0**-12


def convolve(x: torch.Tensor) -> torch.Tensor:
    """128 channels of 32×32 positions, each itself."""
    images = x.expand(8, 128, 32, 32).contiguous(memory_format=torch.channels_last)
    return nn.functional.conv2d(images, torch.eye(128, device=x.device)[..., None, None])


def multiply(x: torch.Tensor) -> torch.Tensor:
    return x.expand(256, 256) @ torch.eye(256, device=x.device)


@pytest.mark.parametrize("product", [convolve, multiply])
def test_fp32_products_are_exact_and_tf32_is_not(device: str, product: Callable[..., torch.Tensor]) -> None:
    x = torch.full((1, 1), JUST_ABOVE_ONE, device=device)
    with fp32_products(x.device):
        assert (product(x) == JUST_ABOVE_ONE).all()
    with fp32_products(x.device, tf32=True):  # of which the CPU has none
        exact = bool((product(x) == JUST_ABOVE_ONE).all())
    assert exact == (device == "cpu")


@pytest.fixture(scope="module")
def network() -> nn.Module:
    """ResNet-20 whose BatchNorm has seen something."""
    torch.manual_seed(0)
    model = build_model("resnet20", 10)
    for _ in range(3):
        model(torch.randn(16, 3, 32, 32))
    return model.eval()


def look(network: nn.Module, device: str, precision: str = "fp32") -> Comparison:
    images = np.random.default_rng(0).integers(0, 256, (16, 32, 32, 3), dtype=np.uint8)
    given = {"images": images, "labels": np.arange(16) % 10, **SCALE}
    return compare({"a": network}, device=device, precision=precision, **given)


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-4), ("bf16", 5e-2)])
def test_predictions_are_those_of_the_cpu(
    device: str, network: nn.Module, precision: str, tolerance: float
) -> None:
    (found,) = compute_predictions(look(network, device, precision))
    x = torch.from_numpy(np.asarray(look(network, "cpu").labelled().images)).permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        mean, std = (torch.tensor(SCALE[name])[:, None, None] for name in ("mean", "std"))
        expected = network((x - mean) / std).numpy()
    np.testing.assert_allclose(found.logits, expected, rtol=0, atol=tolerance * np.abs(expected).max())
    # the closed form: mean(CAM) + b = logit, whatever the precision of the network before it
    rows, predicted = np.arange(16), found.logits.argmax(1)
    logit = found.predicted_maps.mean((1, 2)) + network.linear.bias.detach().numpy()[predicted]
    np.testing.assert_allclose(
        logit, found.logits[rows, predicted], rtol=0, atol=tolerance * np.abs(expected).max()
    )


def test_evaluation_is_that_of_the_cpu(device: str, network: nn.Module) -> None:
    (found,), (expected,) = (evaluate_networks(look(network, where)) for where in (device, "cpu"))
    assert found.loss == pytest.approx(expected.loss, rel=1e-5)
    assert (found.top1, found.top5) == (expected.top1, expected.top5)


@pytest.mark.parametrize("method", ["cam", "gradcam"])
def test_verified_maps_pass(device: str, network: nn.Module, method: str) -> None:
    images = look(network, "cpu").labelled().images[:4]
    check = verify_cam(network, images, **SCALE, method=method, device=device)
    assert check.passed, check
    assert check.identity is None or check.identity < 1e-5


@pytest.mark.parametrize("options", [{}, {"cutout": 3}, {"mixup": 1.0}, {"cutmix": 1.0}])
def test_batches_are_those_of_the_cpu(device: str, options: dict[str, float]) -> None:
    """Which images, crops, holes and partners: all drawn on the CPU."""

    def load(where: str) -> list[torch.Tensor]:
        generator = torch.Generator().manual_seed(0)
        images = torch.randint(0, 256, (20, 8, 8, 3), dtype=torch.uint8, generator=generator).to(where)
        labels = (torch.arange(20) % 5).to(where)
        plan = plan_epoch(0, 3, 20, padding=2, flip=True, size=(8, 8), batch=10, **options)
        mean, std = (torch.tensor(SCALE[name], device=where) for name in ("mean", "std"))
        loader = BatchLoader(pad_images(images, 2), labels, mean, std, 5, 2)
        found = loader.load(plan.to(torch.device(where)), 10, 20)
        return [tensor.cpu() for tensor in found if tensor is not None]

    for ours, theirs in zip(load(device), load("cpu"), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)


def test_deepest_torchvision_network_trains_deterministically(device: str) -> None:
    """ResNet-50's max-pool and 1×1 average pooling have deterministic gradients on CUDA."""
    torch.manual_seed(0)
    model = build_model("torchvision:resnet50", 10).to(device).train()
    x = torch.randn(4, 3, 64, 64, device=device)
    strict = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        gradients = []
        for _ in range(2):
            model.zero_grad()
            model(x).square().sum().backward()
            gradients.append(model.conv1.weight.grad.clone())
    finally:
        torch.use_deterministic_algorithms(strict)
    assert torch.equal(*gradients) and gradients[0].abs().sum() > 0
