"""The module that maps are taken from, and what is refused as one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from ralr_viz.analysis.map_layer import check_layer, find_gradient_layer
from ralr_viz.errors import InputError, UnknownNameError


class Mlp(nn.Module):
    """A convolutional network with an MLP behind it; the shared ReLU runs three times."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.relu = nn.ReLU()
        self.last = nn.Conv2d(6, 4, 3, stride=2, padding=1)
        self.hidden = nn.Linear(4 * 5 * 4, 8)
        self.linear = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.last(self.relu(self.stem(x))))
        return self.linear(self.relu(self.hidden(x.flatten(1))))


@pytest.fixture
def x() -> Tensor:
    return torch.randn(5, 3, 10, 8, generator=torch.Generator().manual_seed(1))


def test_find_gradient_layer_is_the_last_map_that_runs_once(x: Tensor) -> None:
    assert find_gradient_layer(Mlp(), x) == "last"


def snapshot(model: nn.Module) -> list[object]:
    return [
        [(len(m._forward_hooks), m.training) for m in model.modules()],
        [(p.requires_grad, id(p.grad), p.grad is not None and p.grad.tolist()) for p in model.parameters()],
    ]


class Branches(Mlp):
    """The last map feeds nothing that the logits depend on; the one before comes in a tuple."""

    def __init__(self) -> None:
        super().__init__()
        self.pair = Pair()
        self.auxiliary = nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.last(self.relu(self.stem(x)))
        (x,) = self.pair(x)
        self.auxiliary(x)
        return self.linear(self.relu(self.hidden(x.flatten(1))))


class Pair(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor]:
        return (x.relu(),)


def test_find_gradient_layer_skips_dead_branches_and_tuples(x: Tensor) -> None:
    model = Branches()
    before = snapshot(model)
    assert find_gradient_layer(model, x) == "last"
    assert snapshot(model) == before


def test_find_gradient_layer_is_not_a_map_blown_up(x: Tensor) -> None:
    stem = [nn.Conv2d(3, 2, 3, stride=4), nn.ReLU()]
    for pool, expected in ((nn.AdaptiveAvgPool2d(7), "1"), (nn.AdaptiveMaxPool2d((1, 2)), "2")):
        model = nn.Sequential(*stem, pool, nn.Flatten(), nn.LazyLinear(3))
        model(x)
        assert find_gradient_layer(model, x) == expected


def test_find_gradient_layer_of_an_mlp_is_none(x: Tensor) -> None:
    assert find_gradient_layer(nn.Sequential(nn.Flatten(), nn.Linear(240, 3)), x) is None


def test_check_layer_accepts_any_map_that_the_logits_depend_on(x: Tensor) -> None:
    model = Branches()
    before = snapshot(model)
    check_layer(model, x, "last")
    check_layer(model, x, "stem")
    assert snapshot(model) == before


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("relu", "layer `relu` runs 2 times: choose a module that runs once"),
        ("pair", "layer `pair` returns no single tensor, a map is"),
        ("hidden", r"layer `hidden` returns \(5, 8\), a map is"),
        ("auxiliary", "the logits do not depend on layer `auxiliary`: choose another"),
    ],
)
def test_check_layer_refuses_what_is_no_map(x: Tensor, layer: str, message: str) -> None:
    model = Branches()
    before = snapshot(model)
    with pytest.raises(InputError, match=message):
        check_layer(model, x, layer)
    assert snapshot(model) == before


def test_check_layer_offers_names_of_the_depth_that_was_asked(x: Tensor) -> None:
    model = nn.Sequential(Branches(), nn.Flatten())
    with pytest.raises(UnknownNameError, match="did you mean `0.stem`"):
        check_layer(model, x, "0.stam")
    with pytest.raises(UnknownNameError, match="unknown layer `zzz`: known: 0, 1$"):
        check_layer(model, x, "zzz")
