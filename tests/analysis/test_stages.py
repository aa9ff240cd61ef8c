"""Where a network's stages end, on the families of the paper and on strangers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from ralr_viz.analysis.stages import common_stages, find_stages
from ralr_viz.errors import InputError, UnknownNameError
from ralr_viz.models import build_model
from ralr_viz.models.densenet import DenseNet
from ralr_viz.models.wrn import WideResNet

STAGES = {
    "resnet20": (
        lambda: build_model("resnet20", 7),
        32,
        {"layer1": (16, 32, 32), "layer2": (32, 16, 16), "layer3": (64, 8, 8)},
    ),
    "wrn": (
        lambda: WideResNet(10, 1, 7),
        16,
        {"layer1": (16, 16, 16), "layer2": (32, 8, 8), "relu": (64, 4, 4)},
    ),
    "densenet": (
        lambda: DenseNet(10, 12, 7),
        16,
        {"dense1": (36, 16, 16), "dense2": (30, 8, 8), "relu": (27, 4, 4)},
    ),
    "resnet18": (
        lambda: build_model("torchvision:resnet18", 5),
        64,
        {
            "relu": (64, 32, 32),
            "layer1": (64, 16, 16),
            "layer2": (128, 8, 8),
            "layer3": (256, 4, 4),
            "layer4": (512, 2, 2),
        },
    ),
    # at 32×32 the last map has one position, and the pooling after it blows it up to 7×7
    "vgg11": (
        lambda: build_model("torchvision:vgg11", 5),
        32,
        {
            "features.1": (64, 32, 32),
            "features.4": (128, 16, 16),
            "features.9": (256, 8, 8),
            "features.14": (512, 4, 4),
            "features.19": (512, 2, 2),
        },
    ),
}


@pytest.mark.parametrize("name", STAGES)
def test_find_stages_finds_the_end_of_each_resolution(name: str) -> None:
    build, size, expected = STAGES[name]
    if name == "vgg11":  # its classifier has 120 million weights, which nobody looks at
        with torch.device("meta"):
            model, probe = build(), torch.empty(2, 3, size, size)
    else:
        model, probe = build(), torch.randn(2, 3, size, size)
    assert list(find_stages(model, probe).items()) == list(expected.items())


def test_find_stages_looks_into_a_wrapper() -> None:
    """The backbone itself ends the last stage; the others end inside it."""

    class Wrapper(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(
                nn.Conv2d(3, 4, 3, padding=1), nn.Sequential(nn.ReLU(), nn.MaxPool2d(2)), nn.ReLU()
            )
            self.head = nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.body(x).mean((2, 3)))

    stages = find_stages(Wrapper(), torch.randn(1, 3, 8, 8))
    assert stages == {"body.0": (4, 8, 8), "body": (4, 4, 4)}


def test_find_stages_takes_named_layers_in_the_order_given() -> None:
    model, probe = build_model("resnet20", 7), torch.randn(2, 3, 16, 16)
    names = ["linear", "layer2.0.bn1", "pool", "layer1", "linear"]
    assert list(find_stages(model, probe, names).items()) == [
        ("linear", (7,)),
        ("layer2.0.bn1", (32, 8, 8)),
        ("pool", (64, 1, 1)),
        ("layer1", (16, 16, 16)),
    ]


def test_find_stages_leaves_no_trace() -> None:
    model = WideResNet(10, 1, 7)
    model.layer1.eval()
    state = [(m.training, len(m._forward_hooks)) for m in model.modules()]
    values = {k: v.clone() for k, v in model.state_dict().items()}
    find_stages(model, torch.randn(2, 3, 8, 8))
    with pytest.raises(InputError):
        find_stages(model, torch.randn(2, 5, 8, 8))
    assert [(m.training, len(m._forward_hooks)) for m in model.modules()] == state
    assert all(torch.equal(v, values[k]) for k, v in model.state_dict().items())


class Odd(nn.Module):
    """One module that runs twice, one that never does, one that returns a pair."""

    def __init__(self) -> None:
        super().__init__()
        self.twice, self.never, self.pair = nn.ReLU(), nn.ReLU(), Pair()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.twice(self.pair(self.twice(self.conv(x)))[0]).mean((2, 3))


class Pair(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x


def test_find_stages_skips_what_is_no_single_map() -> None:
    assert find_stages(Odd(), torch.randn(2, 3, 8, 8)) == {"conv": (4, 8, 8)}


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("twice", "layer `twice` runs 2 times in a forward pass"),
        ("never", "layer `never` does not run in a forward pass"),
        ("pair", "layer `pair` returns no activations"),
    ],
)
def test_find_stages_refuses_a_layer(layer: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        find_stages(Odd(), torch.randn(2, 3, 8, 8), [layer])


@pytest.mark.parametrize(
    ("build", "channels", "message"),
    [
        (lambda: nn.Sequential(nn.Flatten(), nn.Linear(192, 2)), 3, "`Sequential` has no module that"),
        (lambda: nn.Sequential(nn.Conv2d(3, 2, 8), nn.Flatten()), 3, "has no module that returns a map"),
        (lambda: build_model("resnet20", 3), 4, "`ResNet` does not take 8×8 images"),
    ],
)
def test_find_stages_refuses_a_network(build: Callable[[], nn.Module], channels: int, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        find_stages(build(), torch.randn(1, channels, 8, 8))
    assert "\n" not in str(caught.value)


def test_find_stages_offers_the_nearest_name() -> None:
    with pytest.raises(UnknownNameError, match="unknown module `layr3`: did you mean `layer3`"):
        find_stages(build_model("resnet20", 3), torch.randn(1, 3, 8, 8), ["layr3"])


def test_common_stages_refuses_networks_that_differ() -> None:
    probe = torch.randn(1, 3, 16, 16)
    pair = [WideResNet(10, 1, 7), WideResNet(10, 2, 7)]
    message = "the networks of `A` differ \\(layer1 16×16×16.* and layer1 32×16×16.*\\): pair two states"
    with pytest.raises(InputError, match=message):
        common_stages("A", pair, [probe, probe])
    assert common_stages("A", [pair[0], pair[0]], [probe, probe]) == find_stages(pair[0], probe)
