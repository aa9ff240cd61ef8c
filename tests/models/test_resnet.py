from __future__ import annotations

import math
import re

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ralr_viz.errors import InputError
from ralr_viz.models import build_model
from ralr_viz.models.resnet import PadShortcut, ResNet


def _shortcut_twin(x: Tensor, out_channels: int, stride: int) -> Tensor:
    """Option A, pixel by pixel."""
    n, channels, height, width = x.shape
    out = torch.zeros(n, out_channels, -(-height // stride), -(-width // stride))
    for image in range(n):
        for channel in range(channels):
            for row in range(0, height, stride):
                for column in range(0, width, stride):
                    value = x[image, channel, row, column]
                    out[image, channel + (out_channels - channels) // 2, row // stride, column // stride] = (
                        value
                    )
    return out


@pytest.mark.parametrize(("channels", "out_channels", "size"), [(4, 8, 6), (16, 32, 4), (2, 4, 5)])
def test_pad_shortcut_equals_its_literal_twin(channels: int, out_channels: int, size: int) -> None:
    x = torch.randn(2, channels, size, size)
    shortcut = PadShortcut(channels, out_channels, stride=2)
    assert torch.equal(shortcut(x), _shortcut_twin(x, out_channels, 2))
    channels_last = x.to(memory_format=torch.channels_last)
    assert torch.equal(shortcut(channels_last), _shortcut_twin(x, out_channels, 2))
    if size % 2 == 0:  # every second row of an odd number does not tile the batch: PyTorch then falls back
        assert shortcut(channels_last).is_contiguous(memory_format=torch.channels_last)
    assert not list(shortcut.parameters())


def _resnet_twin(x: Tensor, state: dict[str, Tensor], blocks: int) -> Tensor:
    """The forward pass written out from the paper, from weights alone."""

    def bn(x: Tensor, name: str) -> Tensor:
        mean, var = state[f"{name}.running_mean"], state[f"{name}.running_var"]
        scale = state[f"{name}.weight"] / torch.sqrt(var + 1e-5)
        return (x - mean[:, None, None]) * scale[:, None, None] + state[f"{name}.bias"][:, None, None]

    x = bn(F.conv2d(x, state["conv1.weight"], padding=1), "bn1").clamp(min=0)
    for stage in (1, 2, 3):
        for block in range(blocks):
            name = f"layer{stage}.{block}"
            stride = 2 if stage > 1 and block == 0 else 1
            y = F.conv2d(x, state[f"{name}.conv1.weight"], stride=stride, padding=1)
            y = bn(y, f"{name}.bn1").clamp(min=0)
            y = bn(F.conv2d(y, state[f"{name}.conv2.weight"], padding=1), f"{name}.bn2")
            x = (y + (x if stride == 1 else _shortcut_twin(x, y.shape[1], 2))).clamp(min=0)
    return x.mean(dim=(2, 3)) @ state["linear.weight"].T + state["linear.bias"]


def test_resnet_equals_its_literal_twin() -> None:
    torch.manual_seed(0)
    model = ResNet(14, 5).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    x = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        expected = _resnet_twin(x, model.state_dict(), blocks=2)
        torch.testing.assert_close(model(x), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("depth", [20, 32, 44, 56, 110])
def test_resnet_has_as_many_weighted_layers_as_its_name_says(depth: int) -> None:
    with torch.device("meta"):
        model = build_model(f"resnet{depth}", 10)
    weighted = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(weighted) == depth
    assert all(m.bias is None for m in weighted[:-1])


def test_resnet_keys_are_those_of_the_published_checkpoints() -> None:
    bn = "weight|bias|running_mean|running_var|num_batches_tracked"
    block = rf"layer[123]\.[012]\.(conv[12]\.weight|bn[12]\.({bn}))"
    pattern = re.compile(rf"conv1\.weight|bn1\.({bn})|{block}|linear\.(weight|bias)")
    keys = list(build_model("resnet20", 10).state_dict())
    assert len(keys) == 6 + 9 * 12 + 2
    assert all(pattern.fullmatch(key) for key in keys)


def test_resnet_starts_from_he_initialisation() -> None:
    torch.manual_seed(0)
    model = ResNet(20, 100)
    for weight, fan_in in ((model.layer3[1].conv1.weight, 64 * 9), (model.linear.weight, 64)):
        assert weight.std().item() == pytest.approx(math.sqrt(2 / fan_in), rel=0.05)


@pytest.mark.parametrize("depth", [2, 18, 21, -4])
def test_resnet_rejects_a_depth_that_is_not_6n_plus_2(depth: int) -> None:
    with pytest.raises(InputError, match=rf"`depth` is {depth}: a CIFAR ResNet has 6n \+ 2 layers"):
        ResNet(depth, 10)
