"""BatchNorm folded into the convolution before it: same values, same derivatives, and only where that is right."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from ralr_viz.analysis.objective import classification_objective
from ralr_viz.analysis.spectrum import folding, hessian
from ralr_viz.analysis.spectrum.folding import find_pairs, folded
from ralr_viz.models import build_model
from ralr_viz.models.densenet import DenseNet
from ralr_viz.models.wrn import WideResNet
from ralr_viz.runtime.device import resolve_runtime
from tests.analysis.spectrum.test_hessian import MEAN, STD, images, operator


class Block(nn.Module):
    """One convolution and norm, wired as asked, between two ordinary layers."""

    def __init__(self, wiring: str, **options) -> None:
        super().__init__()
        self.first, self.conv = nn.Conv2d(3, 4, 3, bias=False), nn.Conv2d(4, 4, 3, padding=1, **options)
        self.norm = nn.BatchNorm2d(4, affine=wiring != "plain", track_running_stats=wiring != "no statistics")
        self.head, self.wiring = nn.Linear(4, 3), wiring

    def forward(self, x: Tensor) -> Tensor:
        made = self.conv(torch.relu(self.first(x)))
        x = self.norm(made)
        if self.wiring == "skip":
            x = x + made
        elif self.wiring == "twice":
            x = self.norm(self.conv(torch.relu(x)))
        elif self.wiring == "function":
            x = self.norm(torch.tanh(made))
        return self.head(torch.relu(x).mean((2, 3)))


class Padded(nn.Conv2d):
    """A convolution with a forward pass of its own."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(nn.functional.pad(x, (1, 0, 1, 0)))


def shake(model: nn.Module) -> nn.Module:
    """In float64, with norms that do something."""
    torch.manual_seed(3)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d) and module.running_var is not None:
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            if module.affine:
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.normal_(module.bias)
    return model.double().eval()


@pytest.mark.parametrize(
    ("wiring", "options", "pairs"),
    [
        ("norm", {}, 1),
        ("norm", {"bias": False, "groups": 2, "stride": 2}, 1),
        ("norm", {"padding_mode": "reflect"}, 1),
        ("plain", {}, 1),
        ("skip", {}, 0),
        ("twice", {}, 0),
        ("function", {}, 0),
        ("no statistics", {}, 0),
    ],
)
def test_folded_products_are_those_of_the_network(monkeypatch, wiring, options, pairs):
    torch.manual_seed(0)
    apply = operator(shake(Block(wiring, **options)))
    vectors = torch.randn(apply.size, 2, dtype=torch.float64)
    found = apply(vectors)
    assert len(apply._pairs) == pairs
    monkeypatch.setattr(hessian, "find_pairs", lambda model, loss: [])
    expected = operator(apply.objective.model)(vectors)
    assert (found - expected).abs().max() <= 1e-9 * expected.abs().max()


@pytest.mark.parametrize(
    ("make", "count"),
    [
        (lambda: build_model("resnet20", 10), 19),
        (
            lambda: WideResNet(10, 1, 10),
            3,
        ),  # the second of each block; the first one's input is skipped to the sum
        (lambda: DenseNet(16, 4, 10), 6),
    ],
)
def test_networks_of_the_package_are_folded_where_that_is_right(monkeypatch, make, count):
    torch.manual_seed(0)
    model = shake(make())
    x, y = images(3)
    x, y = x.repeat(3, axis=1).repeat(3, axis=2), y % 10
    runtime = resolve_runtime("cpu", "fp32")

    def apply():
        return hessian.HessianOperator(
            classification_objective(model, x, y, mean=MEAN, std=STD, runtime=runtime)
        )

    one = apply()
    vector = torch.randn(one.size, 1, dtype=torch.float64)
    found = one(vector)
    assert len(one._pairs) == count
    monkeypatch.setattr(hessian, "find_pairs", lambda model, loss: [])
    expected = apply()(vector)
    assert (found - expected).abs().max() <= 1e-9 * expected.abs().max()


def test_a_convolution_with_a_forward_pass_of_its_own_is_left():
    model = shake(nn.Sequential(Padded(3, 4, 2), nn.BatchNorm2d(4), nn.Flatten(), nn.LazyLinear(3)))
    x = torch.randn(2, 3, 5, 5, dtype=torch.float64)
    model[3].double()
    assert find_pairs(model, lambda: model(x).sum()) == []


def test_a_norm_in_training_mode_is_left_and_forward_passes_come_back():
    model = shake(nn.Sequential(nn.Conv2d(3, 4, 2), nn.BatchNorm2d(4)))
    x = torch.randn(2, 3, 5, 5, dtype=torch.float64)
    pairs = find_pairs(model, lambda: model(x).sum())
    assert len(pairs) == 1
    with folded(pairs):
        assert vars(model[1])["forward"] is folding._pass_on
    assert "forward" not in vars(model[0]) and "forward" not in vars(model[1])
    model.train()
    expected = copy.deepcopy(model)(x)
    with folded(pairs):
        assert torch.equal(model(x), expected)
