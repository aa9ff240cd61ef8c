"""Grad-CAM of networks without a closed form, through the package."""

from __future__ import annotations

import pytest
import torch
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn

from ralr_viz.analysis.gradcam import find_gradient_layer, gradient_step
from ralr_viz.results.cam import normalise_cam


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


def naive_grad_cam(model: Mlp, x: Tensor, target: int) -> Tensor:
    """Selvaraju et al., equations 1 and 2 without the ReLU, one image, times h·w."""
    features = model.last(model.relu(model.stem(x[None]))).detach().requires_grad_()
    logits = model.linear(model.relu(model.hidden(model.relu(features).flatten(1))))
    (gradient,) = torch.autograd.grad(logits[0, target], features)
    return sum(gradient[0, k].sum() * features[0, k] for k in range(4)).detach()


def test_find_gradient_layer_is_the_last_map_that_runs_once(x: Tensor) -> None:
    assert find_gradient_layer(Mlp(), x) == "last"


def test_gradient_step_equals_the_definition(x: Tensor) -> None:
    model, target = Mlp().eval(), torch.tensor([0, 2, -1, 1, -1])
    prediction = model(x).argmax(1)
    with gradient_step(model, "last") as step:
        raw, classes, probability, predicted, best = step(x, target)
    assert classes.tolist() == torch.where(target < 0, prediction, target).tolist()
    expected = torch.stack([naive_grad_cam(model, x[i], int(classes[i])) for i in range(5)])
    torch.testing.assert_close(raw, expected, rtol=1e-5, atol=1e-6)
    softmax = model(x).softmax(1).detach()
    torch.testing.assert_close(probability, softmax[torch.arange(5), classes])
    torch.testing.assert_close(best, softmax.amax(1))
    assert predicted.tolist() == prediction.tolist()


def test_gradient_step_is_drawn_like_grad_cam_itself(x: Tensor) -> None:
    model = Mlp().eval()
    with gradient_step(model, "last") as step:
        raw = step(x.clone(), torch.tensor([0, 1, 2, 0, 1]))[0].numpy()
    targets = [ClassifierOutputTarget(c) for c in (0, 1, 2, 0, 1)]
    expected = GradCAM(model, [model.last])(input_tensor=x, targets=targets)
    assert abs(normalise_cam(raw, (10, 8)) - expected).max() <= 1e-5


class InplaceEnd(Mlp):
    """The ReLU after the map overwrites it."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.last(self.relu(self.stem(x))).relu_()
        return self.linear(self.hidden(x.flatten(1)).relu())


def test_gradient_step_survives_an_inplace_relu(x: Tensor) -> None:
    target = torch.tensor([0, 1, 2, 0, 1])
    maps = []
    for model in (Mlp().eval(), InplaceEnd().eval()):
        with gradient_step(model, "last") as step:
            maps.append(step(x.clone(), target)[0])
    assert maps[0].abs().max() > 0
    torch.testing.assert_close(maps[1], maps[0], rtol=0, atol=0)


def snapshot(model: nn.Module) -> list[object]:
    return [
        [(len(m._forward_hooks), m.training) for m in model.modules()],
        [(p.requires_grad, id(p.grad), p.grad is not None and p.grad.tolist()) for p in model.parameters()],
    ]


@pytest.mark.parametrize("fails", [False, True])
def test_gradient_step_leaves_no_trace(x: Tensor, fails: bool) -> None:
    model = Mlp()
    model(x).sum().backward()
    model.stem.weight.requires_grad_(False)
    model.eval()
    before = snapshot(model)
    try:
        with gradient_step(model, "last") as step, torch.no_grad():
            step(x[:, :2] if fails else x, torch.zeros(5, dtype=torch.int64))
    except RuntimeError:
        assert fails
    assert snapshot(model) == before


def test_gradient_step_does_not_swallow_an_index_error(x: Tensor) -> None:
    with pytest.raises(IndexError), gradient_step(Mlp().eval(), "last"):
        raise IndexError  # grad-cam's own context manager would


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


def test_gradient_step_runs_where_every_parameter_is_frozen(x: Tensor) -> None:
    model = Mlp().eval().requires_grad_(False)
    with gradient_step(model, find_gradient_layer(model, x)) as step:
        raw = step(x, torch.zeros(5, dtype=torch.int64))[0]
    assert raw.isfinite().all()
    assert raw.abs().max() > 0
