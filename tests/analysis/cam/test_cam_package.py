"""Maps of networks without a closed form, through the `grad-cam` package."""

from __future__ import annotations

import re
import sys
import warnings

import numpy as np
import pytest
import pytorch_grad_cam
import torch
from pytorch_grad_cam.ablation_layer import AblationLayer
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn

from ralr_viz.analysis.cam.methods import METHODS
from ralr_viz.analysis.cam.package import draw_with_package, package_step
from ralr_viz.nouns.cam import METHOD, METHOD_NAMES
from ralr_viz.results.cam import normalise_cam


def test_the_table_of_methods_has_every_name_of_a_method_in_its_order(peers: dict) -> None:
    assert list(METHOD_NAMES) == ["cam", *METHODS]
    assert all(re.search(rf"(^|[ ,]){re.escape(key)}[ ,]", METHOD.help) for key in METHOD_NAMES)
    assert all(method.name == METHOD_NAMES[key] for key, method in METHODS.items())
    assert [m.load() for m in METHODS.values()] == [getattr(peers[m], "func", peers[m]) for m in METHODS]


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


def test_package_step_equals_the_definition(x: Tensor) -> None:
    model, target = Mlp().eval(), torch.tensor([0, 2, -1, 1, -1])
    prediction = model(x).argmax(1)
    raw, classes, probability, predicted, best, logit = package_step(
        model, "last", METHODS["gradcam"], x, target
    )
    assert classes.tolist() == torch.where(target < 0, prediction, target).tolist()
    expected = torch.stack([naive_grad_cam(model, x[i], int(classes[i])) for i in range(5)])
    torch.testing.assert_close(raw, expected, rtol=1e-5, atol=1e-6)
    softmax = model(x).softmax(1).detach()
    torch.testing.assert_close(probability, softmax[torch.arange(5), classes])
    torch.testing.assert_close(logit, model(x)[torch.arange(5), classes].detach())
    torch.testing.assert_close(best, softmax.amax(1))
    assert predicted.tolist() == prediction.tolist()


@pytest.mark.parametrize("method", METHODS)
def test_package_step_is_drawn_like_the_package_itself(x: Tensor, peers: dict, method: str) -> None:
    model = Mlp().eval()
    raw = package_step(model, "last", METHODS[method], x.clone(), torch.tensor([0, 1, 2, 0, 1]))[0].numpy()
    targets = [ClassifierOutputTarget(c) for c in (0, 1, 2, 0, 1)]
    expected = peers[method](model, [model.last])(input_tensor=x, targets=targets)
    assert (expected.max((1, 2)) > 0.5).sum() >= 3
    assert abs(normalise_cam(raw, (10, 8)) - expected).max() <= 1e-5
    assert abs(normalise_cam(raw[::-1], (10, 8)) - expected).max() > 0.1  # it can fail


@pytest.mark.parametrize("method", METHODS)
def test_draw_with_package_is_what_the_step_draws(x: Tensor, method: str) -> None:
    model, target = Mlp().eval(), torch.tensor([0, 2, -1, 1, -1])
    raw = package_step(model, "last", METHODS[method], x, target)[0].numpy()
    (drawn,) = draw_with_package(model, "last", METHODS[method], x, target)
    assert drawn.shape == (5, 10, 8)
    assert abs(normalise_cam(raw, (10, 8)) - drawn.numpy()).max() <= 1e-5


def naive_score_cam(model: Mlp, image: Tensor, target: int) -> Tensor:
    """Wang et al., algorithm 1, one image, one mask at a time; the target's logit as the score."""
    features = model.last(model.relu(model.stem(image[None])))[0]
    scores = []
    for channel in features:
        mask = nn.functional.interpolate(
            channel[None, None], image.shape[1:], mode="bilinear", align_corners=True
        )
        mask = (mask - mask.min()) / (mask.max() - mask.min() + 1e-8)
        scores.append(model(image[None] * mask[0])[0, target])
    weights = torch.stack(scores).softmax(0)
    return sum(w * channel for w, channel in zip(weights, features, strict=True)).detach()


def test_package_step_by_score_cam_equals_the_definition_times_the_positions(x: Tensor) -> None:
    model, target = Mlp().eval(), torch.tensor([0, 2, -1, 1, -1])
    nn.init.normal_(model.linear.bias, 0, 0.03)  # masked copies of one image get different predictions
    nn.init.normal_(model.linear.weight, 0, 2)
    raw, classes, *_ = package_step(model, "last", METHODS["scorecam"], x, target, masked=3)
    assert classes.tolist() == torch.where(target < 0, model(x).argmax(1), target).tolist()
    expected = torch.stack([naive_score_cam(model, x[i], int(classes[i])) for i in range(5)])
    torch.testing.assert_close(raw / (5 * 4), expected, rtol=1e-4, atol=1e-6)


def test_package_step_by_layer_cam_equals_the_definition_times_the_positions(x: Tensor) -> None:
    """Jiang et al., equations 5 and 6 without the ReLU."""
    model = Mlp().eval()
    features = model.last(model.relu(model.stem(x))).detach().requires_grad_()
    logits = model.linear(model.relu(model.hidden(model.relu(features).flatten(1))))
    (gradient,) = torch.autograd.grad(logits[:, 1].sum(), features)
    raw = package_step(model, "last", METHODS["layercam"], x, torch.ones(5, dtype=torch.int64))[0]
    torch.testing.assert_close(raw / (5 * 4), (gradient.relu() * features).sum(1).detach())


def activations_and_gradients(model: Mlp, x: Tensor, target: int) -> tuple[Tensor, Tensor]:
    features = model.last(model.relu(model.stem(x))).detach().requires_grad_()
    logits = model.linear(model.relu(model.hidden(model.relu(features).flatten(1))))
    return features.detach(), torch.autograd.grad(logits[:, target].sum(), features)[0]


def test_package_step_by_hires_cam_equals_the_definition_times_the_positions(x: Tensor) -> None:
    """Draelos & Carin, equation 5."""
    features, gradient = activations_and_gradients(Mlp(), x, 1)
    raw = package_step(Mlp().eval(), "last", METHODS["hirescam"], x, torch.ones(5, dtype=torch.int64))[0]
    torch.testing.assert_close(raw / (5 * 4), (gradient * features).sum(1))


def test_package_step_by_xgrad_cam_equals_the_definition_times_the_positions(x: Tensor) -> None:
    """Fu et al., equation 8: gradients averaged over the map with the activation as their weight."""
    features, gradient = activations_and_gradients(Mlp(), x, 1)
    weights = (gradient * features).sum((2, 3)) / features.sum((2, 3))
    raw = package_step(Mlp().eval(), "last", METHODS["xgradcam"], x, torch.ones(5, dtype=torch.int64))[0]
    torch.testing.assert_close(
        raw / (5 * 4), (weights[:, :, None, None] * features).sum(1), rtol=1e-4, atol=1e-6
    )


def naive_ablation_cam(model: Mlp, image: Tensor, target: int) -> Tensor:
    """Desai & Ramaswamy, equations 3 and 4 without the ReLU, one image, one channel at a time."""

    def score(features: Tensor) -> Tensor:
        return model.linear(model.relu(model.hidden(model.relu(features).flatten())))[target]

    features = model.last(model.relu(model.stem(image[None])))[0].detach()
    whole, raw = score(features), torch.zeros(features.shape[1:])
    for k in range(len(features)):
        without = features.clone()
        without[k] = 0
        raw += (whole - score(without)) / whole * features[k]
    return raw.detach()


@pytest.mark.parametrize("masked", [1, 3, 32])
def test_package_step_by_ablation_cam_equals_the_definition_times_the_positions(
    x: Tensor, masked: int
) -> None:
    model, target = Mlp().eval(), torch.tensor([0, 2, -1, 1, -1])
    raw, classes, *_, logit = package_step(model, "last", METHODS["ablationcam"], x, target, masked=masked)
    assert classes.tolist() == torch.where(target < 0, model(x).argmax(1), target).tolist()
    assert (logit < 0).any() and (logit > 0).any()
    expected = torch.stack([naive_ablation_cam(model, x[i], int(classes[i])) for i in range(5)])
    torch.testing.assert_close(raw / (5 * 4), expected, rtol=1e-4, atol=1e-5)


def test_ablation_cam_of_the_package_alone_depends_on_the_batch_where_a_map_is_not_rectified(
    x: Tensor,
) -> None:
    """Why a channel is set to zero here; where that is what the package does, its maps are ours."""
    head, targets = (nn.Flatten(), nn.Linear(80, 3)), [ClassifierOutputTarget(0)] * 5
    model = nn.Sequential(Mlp().stem, nn.ReLU(), Mlp().last, *head).eval()

    def draw(layer: str, batch: int) -> np.ndarray:
        cam = pytorch_grad_cam.AblationCAM(
            model, [model.get_submodule(layer)], ablation_layer=AblationLayer(), batch_size=batch
        )
        return cam(input_tensor=x, targets=targets)

    assert abs(draw("2", 1) - draw("2", 32)).max() > 0.1
    model = nn.Sequential(*model[:3], nn.ReLU(), *head).eval()
    raw = package_step(model, "3", METHODS["ablationcam"], x, torch.zeros(5, dtype=torch.int64))[0].numpy()
    assert abs(normalise_cam(raw, (10, 8)) - draw("3", 1)).max() <= 1e-5


def test_package_step_by_ablation_cam_finds_a_layer_of_two_names_beside_an_absent_one(x: Tensor) -> None:
    """The package would replace the first name, which does not run, and stumble over the absent module."""
    plain, model = Mlp().eval(), Mlp()
    model.unused = nn.ModuleDict({"alias": model.last})
    model._modules = {"absent": None, "unused": model.unused, **model._modules}
    target = torch.zeros(5, dtype=torch.int64)
    maps = [package_step(m.eval(), "last", METHODS["ablationcam"], x, target)[0] for m in (plain, model)]
    assert torch.equal(*maps) and (maps[0].abs().amax((1, 2)) > 0).all()


def test_package_step_by_eigen_cam_ignores_the_target(x: Tensor) -> None:
    model = Mlp().eval()
    one, two = (
        package_step(model, "last", METHODS["eigencam"], x, torch.full((5,), c, dtype=torch.int64))[0]
        for c in (0, 2)
    )
    assert torch.equal(one, two)


class Passes(Mlp):
    """Notes the images of each pass, and the hooks that look at its last map."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[int, int]] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append((len(x), len(self.last._forward_hooks)))
        return super().forward(x)


def test_package_step_by_score_cam_bounds_its_passes_and_keeps_none(
    x: Tensor, capsys: pytest.CaptureFixture[str]
) -> None:
    model, bars = Passes().eval(), pytorch_grad_cam.score_cam.tqdm
    package_step(model, "last", METHODS["scorecam"], x[:1], torch.tensor([0]), masked=3)
    # the image, which the package's two hooks keep, then its four channels, of which nothing is kept
    assert model.seen == [(1, 3), (3, 1), (1, 1)]
    assert capsys.readouterr() == ("", "")
    assert pytorch_grad_cam.score_cam.tqdm is bars


def test_package_step_by_ablation_cam_bounds_its_passes_and_keeps_none(
    x: Tensor, capsys: pytest.CaptureFixture[str]
) -> None:
    model, bars = Passes().eval(), pytorch_grad_cam.ablation_cam.tqdm
    package_step(model, "last", METHODS["ablationcam"], x[:1], torch.tensor([0]), masked=3)
    # ours, the package's two and the copy; the image once more; then ours and the copy at its four channels
    assert model.seen == [(1, 4), (1, 3), (3, 2), (1, 2)]
    assert capsys.readouterr() == ("", "")
    assert pytorch_grad_cam.ablation_cam.tqdm is bars


def test_method_batch_is_one_image_where_copies_are_made_of_it_else_at_most_32() -> None:
    assert [METHODS[m].batch(b) for m in ("scorecam", "gradcam") for b in (5, 256)] == [1, 1, 5, 32]


class InplaceEnd(Mlp):
    """The ReLU after the map overwrites it."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.last(self.relu(self.stem(x))).relu_()
        return self.linear(self.hidden(x.flatten(1)).relu())


@pytest.mark.parametrize("method", METHODS)
def test_package_step_survives_an_inplace_relu(x: Tensor, method: str) -> None:
    target = torch.tensor([0, 1, 2, 0, 1])
    maps = [
        package_step(m.eval(), "last", METHODS[method], x.clone(), target)[0] for m in (Mlp(), InplaceEnd())
    ]
    assert maps[0].abs().max() > 0
    torch.testing.assert_close(maps[1], maps[0], rtol=0, atol=0)


class InplaceStart(Mlp):
    """It overwrites the images that it is given."""

    def forward(self, x: Tensor) -> Tensor:
        image = x.clone()
        x.zero_()
        return super().forward(image)


@pytest.mark.parametrize("method", METHODS)
def test_package_step_survives_a_network_that_overwrites_its_input(x: Tensor, method: str) -> None:
    target, before = torch.tensor([0, 1, 2, 0, 1]), x.clone()
    maps = [package_step(m.eval(), "last", METHODS[method], x, target)[0] for m in (Mlp(), InplaceStart())]
    torch.testing.assert_close(maps[1], maps[0])
    assert torch.equal(x, before)
    assert not x.requires_grad


def snapshot(model: nn.Module) -> list[object]:
    return [
        [(id(m), len(m._forward_hooks), m.training) for m in model.modules()],
        [(p.requires_grad, id(p.grad), p.grad is not None and p.grad.tolist()) for p in model.parameters()],
    ]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("fails", [False, True])
def test_package_step_leaves_no_trace(x: Tensor, fails: bool, method: str) -> None:
    model = Mlp()
    model(x).sum().backward()
    model.stem.weight.requires_grad_(False)
    model.eval()
    before = snapshot(model)
    try:
        with torch.no_grad():
            package_step(
                model, "last", METHODS[method], x[:, :2] if fails else x, torch.zeros(5, dtype=torch.int64)
            )
    except RuntimeError:
        assert fails
    assert snapshot(model) == before
    assert torch.is_grad_enabled()


class Failing(Mlp):
    """It fails at a later image."""

    def __init__(self, error: Exception, after: int) -> None:
        super().__init__()
        self.error, self.left = error, after

    def forward(self, x: Tensor) -> Tensor:
        self.left -= 1
        if self.left < 0:
            raise self.error
        return super().forward(x)


@pytest.mark.parametrize("error", [IndexError("mine"), RuntimeError("mine")])
@pytest.mark.parametrize("after", [0, 1, 2])
@pytest.mark.parametrize("method", [key for key, method in METHODS.items() if method.per_channel])
def test_package_step_does_not_swallow_errors_midway(
    x: Tensor, method: str, after: int, error: Exception
) -> None:
    """An IndexError least of all, which grad-cam's own context manager would."""
    model, kept = Failing(error, after).eval(), sys.modules[METHODS[method].load().__module__]
    bars, before = kept.tqdm, snapshot(model)
    with pytest.raises(type(error), match="mine"):
        package_step(model, "last", METHODS[method], x[:1], torch.tensor([0]), masked=1)
    assert model.left == -1
    assert snapshot(model) == before
    assert kept.tqdm is bars


@pytest.mark.parametrize("method", METHODS)
def test_package_step_marks_images_with_infinite_activations(x: Tensor, method: str) -> None:
    x = x.clone()
    x[3, :, 5, 4] = float("inf")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        raw = package_step(Mlp().eval(), "last", METHODS[method], x, torch.zeros(5, dtype=torch.int64))[0]
    assert raw.isnan().all((1, 2)).tolist() == [False, False, False, True, False]
    assert raw.isfinite().all((1, 2)).tolist() == [True, True, True, False, True]


@pytest.mark.parametrize("method", METHODS)
def test_package_step_runs_where_every_parameter_is_frozen(x: Tensor, method: str) -> None:
    model = Mlp().eval().requires_grad_(False)
    raw = package_step(model, "last", METHODS[method], x, torch.zeros(5, dtype=torch.int64))[0]
    assert raw.isfinite().all()
    assert raw.abs().max() > 0
