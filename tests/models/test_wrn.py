from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ralr_viz.errors import InputError
from ralr_viz.models import build_model
from ralr_viz.models.wrn import WideResNet


def _wrn_twin(x: Tensor, state: dict[str, Tensor], blocks: int) -> Tensor:
    """The forward pass written out, from weights alone."""

    def bn_relu(x: Tensor, name: str) -> Tensor:
        mean, var = state[f"{name}.running_mean"], state[f"{name}.running_var"]
        scale = state[f"{name}.weight"] / torch.sqrt(var + 1e-5)
        shifted = (x - mean[:, None, None]) * scale[:, None, None] + state[f"{name}.bias"][:, None, None]
        return shifted.clamp(min=0)

    x = F.conv2d(x, state["conv1.weight"], padding=1)
    for stage in (1, 2, 3):
        for block in range(blocks):
            name = f"layer{stage}.{block}"
            stride = 2 if stage > 1 and block == 0 else 1
            activated = bn_relu(x, f"{name}.bn1")
            y = F.conv2d(activated, state[f"{name}.conv1.weight"], stride=stride, padding=1)
            y = F.conv2d(bn_relu(y, f"{name}.bn2"), state[f"{name}.conv2.weight"], padding=1)
            if block == 0:
                x = F.conv2d(activated, state[f"{name}.shortcut.weight"], stride=stride)
            x = x + y
    return bn_relu(x, "bn1").mean(dim=(2, 3)) @ state["linear.weight"].T + state["linear.bias"]


def test_wide_resnet_equals_its_literal_twin() -> None:
    torch.manual_seed(0)
    model = WideResNet(16, 2, 5).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    x = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        expected = _wrn_twin(x, model.state_dict(), blocks=2)
        torch.testing.assert_close(model(x), expected, rtol=1e-4, atol=1e-4)


def test_wide_resnet_has_28_convolutions_without_bias() -> None:
    with torch.device("meta"):
        model = build_model("wrn-28-10", 10)
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert len(convolutions) == 28
    assert all(m.bias is None for m in convolutions)
    assert sum(m.kernel_size == (1, 1) for m in convolutions) == 3
    assert [getattr(model, f"layer{i}")[0].conv1.out_channels for i in (1, 2, 3)] == [160, 320, 640]


def test_wide_resnet_of_width_1_has_no_shortcut_convolution_in_its_first_stage() -> None:
    model = WideResNet(10, 1, 10)
    assert model.layer1[0].shortcut is None
    assert model.layer2[0].shortcut is not None


@pytest.mark.parametrize("depth", [4, 20, 27])
def test_wide_resnet_rejects_a_depth_that_is_not_6n_plus_4(depth: int) -> None:
    with pytest.raises(InputError, match=rf"`depth` is {depth}: a wide ResNet has 6n \+ 4 layers"):
        WideResNet(depth, 1, 10)
