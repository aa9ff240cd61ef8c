from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ralr_viz.errors import InputError
from ralr_viz.models import build_model
from ralr_viz.models.densenet import DenseNet


def _densenet_twin(x: Tensor, state: dict[str, Tensor], bottlenecks: int) -> Tensor:
    """The forward pass written out: each layer sees all maps before it, oldest first."""

    def bn_relu(x: Tensor, name: str) -> Tensor:
        mean, var = state[f"{name}.running_mean"], state[f"{name}.running_var"]
        scale = state[f"{name}.weight"] / torch.sqrt(var + 1e-5)
        shifted = (x - mean[:, None, None]) * scale[:, None, None] + state[f"{name}.bias"][:, None, None]
        return shifted.clamp(min=0)

    x = F.conv2d(x, state["conv1.weight"], padding=1)
    for block in (1, 2, 3):
        maps = [x]
        for i in range(bottlenecks):
            name = f"dense{block}.{i}"
            y = bn_relu(torch.cat(maps, dim=1), f"{name}.bn1")
            y = bn_relu(
                torch.einsum("nchw,kc->nkhw", y, state[f"{name}.conv1.weight"][:, :, 0, 0]), f"{name}.bn2"
            )
            maps.append(F.conv2d(y, state[f"{name}.conv2.weight"], padding=1))
        x = torch.cat(maps, dim=1)
        if block < 3:
            y = bn_relu(x, f"trans{block}.bn1")
            y = torch.einsum("nchw,kc->nkhw", y, state[f"trans{block}.conv1.weight"][:, :, 0, 0])
            x = (y[..., ::2, ::2] + y[..., 1::2, ::2] + y[..., ::2, 1::2] + y[..., 1::2, 1::2]) / 4
    return bn_relu(x, "bn").mean(dim=(2, 3)) @ state["linear.weight"].T + state["linear.bias"]


def test_densenet_equals_its_literal_twin() -> None:
    torch.manual_seed(0)
    model = DenseNet(22, 4, 5).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    x = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        expected = _densenet_twin(x, model.state_dict(), bottlenecks=3)
        torch.testing.assert_close(model(x), expected, rtol=1e-4, atol=1e-4)


def test_densenet_has_100_weighted_layers_and_compresses_by_half() -> None:
    with torch.device("meta"):
        model = build_model("densenet-bc-100-12", 10)
    weighted = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(weighted) == 100
    assert model.conv1.out_channels == 24
    for transition, channels in ((model.trans1, 24 + 16 * 12), (model.trans2, 108 + 16 * 12)):
        assert (transition.conv1.in_channels, transition.conv1.out_channels) == (channels, channels // 2)
    assert model.linear.in_features == 150 + 16 * 12


@pytest.mark.parametrize("depth", [4, 99, 102])
def test_densenet_rejects_a_depth_that_is_not_6n_plus_4(depth: int) -> None:
    with pytest.raises(InputError, match=rf"`depth` is {depth}: a DenseNet-BC has 6n \+ 4 layers"):
        DenseNet(depth, 12, 10)
