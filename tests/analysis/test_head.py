"""Global average pooling and one linear layer, recognised by numbers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ralr_viz.analysis.capture import capture
from ralr_viz.analysis.head import CamHead, find_cam_head
from ralr_viz.errors import InputError
from ralr_viz.models.outputs import find_logits


class Net(nn.Module):
    """Two convolutions; what follows them is the test's."""

    def __init__(self, end: Callable[[Net, Tensor], object], features: int = 6, classes: int = 5) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.bn = nn.BatchNorm2d(6)
        self.relu = nn.ReLU()
        self.inplace = nn.ReLU(inplace=True)
        self.last = nn.Conv2d(6, 6, 3, padding=1)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(0.5)
        self.linear = nn.Linear(features, classes)
        self.mlp = nn.Linear(6, 6)
        self.end = end

    def forward(self, x: Tensor) -> object:
        return self.end(self, self.last(self.relu(self.bn(self.stem(x)))))


def functional(net: Net, x: Tensor) -> Tensor:
    return net.linear(F.adaptive_avg_pool2d(x, 1).flatten(1))


def module_pool(net: Net, x: Tensor) -> Tensor:
    return net.linear(net.dropout(net.pool(net.inplace(x)).flatten(1)))


def mean(net: Net, x: Tensor) -> Tensor:
    return net.linear(net.relu(x).mean((2, 3)))


def functional_relu(net: Net, x: Tensor) -> Tensor:
    return net.linear(F.relu(x, inplace=True).mean((2, 3)))


@pytest.fixture
def probe() -> Tensor:
    return torch.randn(4, 3, 7, 9, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (functional, CamHead("last", "linear")),
        (module_pool, CamHead("inplace", "linear")),
        (mean, CamHead("relu", "linear")),
        (functional_relu, CamHead("last", "linear", relu=True)),
        (lambda net, x: (functional(net, x), x), CamHead("last", "linear")),
        (lambda net, x: {"features": x, "logits": functional(net, x)}, CamHead("last", "linear")),
    ],
)
@pytest.mark.parametrize("training", [False, True])
def test_find_cam_head_of_gap_networks(
    end: Callable, expected: CamHead, training: bool, probe: Tensor
) -> None:
    model = Net(end).train(training)
    assert find_cam_head(model, probe) == expected
    assert model.training == training
    assert model.bn.num_batches_tracked == 0  # probed in eval mode only


@pytest.mark.parametrize(
    "end",
    [
        lambda net, x: net.linear(x.relu().amax((2, 3))),  # max pooling
        lambda net, x: functional(net, x).softmax(1),
        lambda net, x: functional(net, x) / 2,  # a temperature
        lambda net, x: net.linear(net.mlp(x.mean((2, 3))).relu()),  # an MLP
        lambda net, x: net.linear(F.normalize(x.mean((2, 3)))),
        lambda net, x: net.linear((x * torch.linspace(0, 2, 9)).mean((2, 3))),  # weighted pooling
        lambda net, x: net.linear(F.silu(x).mean((2, 3))),  # no module returns the map
        lambda net, x: net.linear(x[:, :, :1, :1].flatten(1)),
        lambda net, x: x.mean((2, 3)) @ net.linear.weight.T,  # no nn.Linear runs
        lambda net, x: net.linear(net.pool(x).flatten(1)) + 1e-3 * x.mean(),
    ],
)
def test_find_cam_head_is_none_where_the_closed_form_is_not_exact(end: Callable, probe: Tensor) -> None:
    assert find_cam_head(Net(end), probe) is None


class CosineLinear(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return F.linear(F.normalize(x), F.normalize(self.weight))


def test_find_cam_head_rejects_a_linear_that_computes_something_else(probe: Tensor) -> None:
    model = Net(functional)
    model.linear = CosineLinear(6, 5)
    assert find_cam_head(model, probe) is None


def test_find_cam_head_is_none_for_a_map_of_one_position() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    assert find_cam_head(model, torch.randn(2, 3, 3, 3)) is None
    assert find_cam_head(model, torch.randn(2, 3, 4, 4)) == CamHead("0", "3")


def test_find_cam_head_of_a_network_without_finite_weights_is_none(probe: Tensor) -> None:
    model = Net(functional)
    nn.init.constant_(model.last.bias, float("nan"))
    assert find_cam_head(model, probe) is None


class Twins(nn.Module):
    """The map is the second output of a module's first call, the second call is something else."""

    def __init__(self) -> None:
        super().__init__()
        self.twin = Twin()
        self.linear = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        _, features = self.twin(x)
        self.twin(features + 1)
        return self.linear(features.mean((2, 3)))


class Twin(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x.exp(), x.square() - x


def test_cam_head_picks_the_right_call_and_output(probe: Tensor) -> None:
    model = Twins()
    head = find_cam_head(model, probe)
    assert head == CamHead("twin", "linear", call=-2, output=1)
    with capture(model, [head.layer]) as calls:
        model(probe)
    torch.testing.assert_close(head.feature_map(calls), probe.square() - probe)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_find_cam_head_in_other_precisions(dtype: torch.dtype, probe: Tensor) -> None:
    model = Net(functional).to(dtype)
    for parameter in model.parameters():
        parameter.data *= 1.1  # weights that float32 cannot hold
    assert find_cam_head(model, probe.to(dtype)) == CamHead("last", "linear")
    model.end = lambda net, x: functional(net, x).softmax(1)
    assert find_cam_head(model, probe.to(dtype)) is None


def test_cam_head_names_the_relu() -> None:
    assert str(CamHead("features", "classifier", relu=True)) == "relu(features)"


@pytest.mark.parametrize("output", [None, torch.zeros(2, 3, 4, 4), [], "logits"])
def test_find_logits_of_something_else_is_an_input_error(output: object) -> None:
    with pytest.raises(InputError, match="a classifier returns logits of shape"):
        find_logits(output)
