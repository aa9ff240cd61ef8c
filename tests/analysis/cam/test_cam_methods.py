"""Every method of `explain` against the grad-cam package, and the layer that the maps come from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn

from ralr_viz.analysis.cam.network_maps import explain
from ralr_viz.analysis.capture import capture
from ralr_viz.errors import InputError, UnknownNameError
from ralr_viz.models.wrn import WideResNet
from ralr_viz.nouns.cam import METHOD_NAMES
from ralr_viz.results.cam import normalise_cam

MEAN, STD = (0.5, 0.45, 0.4), (0.25, 0.2, 0.3)
TARGETS = np.arange(6) % 5
Peers = dict[str, Callable[..., Any]]


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """Bright blobs in the colour of their class on noise; not square."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:24, :32]
    images = rng.integers(0, 90, (6, 24, 32, 3))
    for i, (a, b) in enumerate(rng.uniform([4, 4], [20, 28], (6, 2))):
        images[i, :, :, i % 3] += (165 * np.exp(-((y - a) ** 2 + (x - b) ** 2) / 40)).astype(int)
    return images.astype(np.uint8)


def normalised(images: np.ndarray) -> Tensor:
    x = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
    return (x - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]


@pytest.fixture(scope="module")
def trained(images: np.ndarray) -> nn.Module:
    torch.manual_seed(0)
    model = WideResNet(10, 1, 5)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    x, y = normalised(images), torch.from_numpy(TARGETS)
    for _ in range(15):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    return model.eval()


def draw_by_package(kind: Callable[..., Any], model: nn.Module, layer: str, images: np.ndarray) -> np.ndarray:
    """What the package draws, on the memory format and the batch that are used here."""
    cam = kind(model, [model.get_submodule(layer)])
    x = normalised(images).contiguous(memory_format=torch.channels_last)
    return cam(input_tensor=x, targets=[ClassifierOutputTarget(int(c)) for c in TARGETS])


@pytest.mark.parametrize("layer", [None, "layer2"])
@pytest.mark.parametrize("method", METHOD_NAMES)
def test_explain_by_every_method_is_drawn_like_the_package(
    trained: nn.Module, images: np.ndarray, peers: Peers, method: str, layer: str | None
) -> None:
    cam = explain(trained, images, mean=MEAN, std=STD, targets=TARGETS, method=method, layer=layer)
    assert (cam.method, cam.layer) == (
        method if layer is None or method != "cam" else "gradcam",
        layer or "relu",
    )
    assert (cam.raw.dtype, cam.raw.shape) == (np.float32, (6, 6, 8) if layer is None else (6, 12, 16))
    expected = draw_by_package(peers[method], trained, cam.layer, images)
    assert (expected.max((1, 2)) > 0.5).sum() >= 5
    assert abs(normalise_cam(cam.raw, (24, 32)) - expected).max() <= 1e-5


def test_explain_by_different_methods_gives_different_maps(trained: nn.Module, images: np.ndarray) -> None:
    maps = [
        normalise_cam(explain(trained, images, mean=MEAN, std=STD, targets=TARGETS, method=m).raw, (24, 32))
        for m in list(METHOD_NAMES)[1:]
        if m not in ("hirescam", "xgradcam")  # Grad-CAM itself, at this layer
    ]
    for i, a in enumerate(maps):
        assert all(abs(a - b).max() > 0.02 for b in maps[:i])


def test_explain_by_layer_cam_is_what_speaks_for_the_class_in_units_of_its_logit(
    trained: nn.Module, images: np.ndarray
) -> None:
    """At the map before GAP + linear every gradient is W/(hw), so the ReLU leaves the positive weights."""
    closed = explain(trained, images, mean=MEAN, std=STD, targets=TARGETS)
    layer = explain(trained, images, mean=MEAN, std=STD, targets=TARGETS, method="layercam")
    against = type(trained)(10, 1, 5).eval()
    against.load_state_dict(trained.state_dict())
    with torch.no_grad():
        against.linear.weight.clamp_(max=0)
    negative = explain(against, images, mean=MEAN, std=STD, targets=TARGETS)
    np.testing.assert_allclose(layer.raw, closed.raw - negative.raw, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("method", ["gradcam", "hirescam", "xgradcam"])
def test_explain_before_pooling_and_a_linear_layer_is_the_closed_form(
    trained: nn.Module, images: np.ndarray, method: str
) -> None:
    """Every gradient is W/(hw), so that no way of averaging or multiplying them makes a difference."""
    closed = explain(trained, images, mean=MEAN, std=STD, targets=TARGETS)
    found = explain(trained, images, mean=MEAN, std=STD, targets=TARGETS, method=method)
    assert found.layer == closed.layer
    np.testing.assert_allclose(found.raw, closed.raw, rtol=1e-4, atol=1e-5 * abs(closed.raw).max())


def test_explain_by_ablation_cam_weighs_a_channel_by_its_share_of_the_logit(
    trained: nn.Module, images: np.ndarray
) -> None:
    """Before pooling and a linear layer y − y_k = W_k·mean(A_k)."""
    found = explain(trained, images, mean=MEAN, std=STD, targets=TARGETS, method="ablationcam")
    with torch.no_grad(), capture(trained, ["relu"]) as calls:
        logits = trained(normalised(images)).numpy()[range(6), TARGETS]
    features = calls[-1].outputs[0].numpy()
    weights = trained.linear.weight.detach().numpy()[TARGETS] * features.mean((2, 3)) / logits[:, None]
    expected = (weights[:, :, None, None] * features).sum(1) * found.raw[0].size
    np.testing.assert_allclose(found.raw, expected, rtol=1e-3, atol=1e-4 * abs(expected).max())


def test_explain_by_ablation_cam_says_where_it_divides_by_a_logit_below_zero(
    trained: nn.Module, images: np.ndarray
) -> None:
    with torch.no_grad():
        logits = trained(normalised(images))
    worst = logits.argmin(1).numpy()
    assert (logits.amin(1) < 0).all()
    found = explain(trained, images, mean=MEAN, std=STD, targets=worst, method="ablationcam")
    assert found.notes[0] == (
        "Ablation-CAM divides by the target's logit, which is negative on 6 of 6 images: their maps show what "
        "speaks against the class"
    )
    best = explain(trained, images, mean=MEAN, std=STD, targets=TARGETS, method="ablationcam")
    assert not any("divides" in note for note in best.notes)


def test_explain_by_ablation_cam_refuses_to_divide_by_zero(images: np.ndarray) -> None:
    model = WideResNet(10, 1, 5)
    nn.init.zeros_(model.linear.weight), nn.init.zeros_(model.linear.bias)
    with pytest.raises(
        InputError, match="divides by the target's logit, which is 0 on 6 of 6 images: use an"
    ):
        explain(model, images, mean=MEAN, std=STD, method="ablationcam")


@pytest.mark.parametrize("method", METHOD_NAMES)
def test_explain_by_no_method_depends_on_the_batch(
    trained: nn.Module, images: np.ndarray, method: str
) -> None:
    whole, parts = (
        explain(
            trained, images, mean=MEAN, std=STD, targets=TARGETS, method=method, layer="layer2", batch=batch
        ).raw
        for batch in (256, 4)
    )
    np.testing.assert_allclose(parts, whole, rtol=1e-3, atol=1e-4 * abs(whole).max())


def test_explain_by_eigen_cam_notes_that_it_ignores_the_class(trained: nn.Module, images: np.ndarray) -> None:
    one, two = (
        explain(trained, images, mean=MEAN, std=STD, targets=targets, method="eigencam")
        for targets in (TARGETS, TARGETS[::-1])
    )
    np.testing.assert_array_equal(one.raw, two.raw)
    assert one.target.tolist() == TARGETS.tolist()
    assert any("no class is explained, its sign is arbitrary" in note for note in one.notes)


@pytest.mark.parametrize("method", ["scorecam", "ablationcam"])
def test_explain_by_channels_reports_every_image(trained: nn.Module, images: np.ndarray, method: str) -> None:
    done: list[int] = []
    cam = explain(trained, images, mean=MEAN, std=STD, method=method, batch=7, progress=done.append)
    assert done == [1, 2, 3, 4, 5, 6]
    assert cam.target.tolist() == cam.prediction.tolist()
    if method == "scorecam":
        assert (cam.raw >= 0).all()  # a mean of ReLUs, weighted by a softmax


@pytest.mark.parametrize("method", list(METHOD_NAMES)[1:])
def test_explain_by_a_method_of_the_package_runs_in_fp32(
    trained: nn.Module, images: np.ndarray, method: str
) -> None:
    exact = explain(trained, images, mean=MEAN, std=STD, method=method)
    cam = explain(trained, images, mean=MEAN, std=STD, method=method, precision="bf16")
    np.testing.assert_array_equal(cam.raw, exact.raw)
    assert f"{METHOD_NAMES[method]} ran in fp32: it has no bf16 path" in cam.notes


def test_explain_at_another_layer_is_grad_cam_and_says_why(trained: nn.Module, images: np.ndarray) -> None:
    cam = explain(trained, images, mean=MEAN, std=STD, targets=TARGETS, layer="layer2")
    assert cam.notes[0] == "Grad-CAM at layer `layer2`: the closed form is at `relu`"
    closed = explain(trained, images, mean=MEAN, std=STD, targets=TARGETS, layer="relu")
    assert closed.method == "cam"


def test_explain_refuses_layers_that_are_none(trained: nn.Module, images: np.ndarray) -> None:
    with pytest.raises(UnknownNameError, match="unknown layer `layer4`: did you mean `layer3`"):
        explain(trained, images, mean=MEAN, std=STD, layer="layer4")
    with pytest.raises(InputError, match="layer `linear` returns \\(6, 5\\), a map is"):
        explain(trained, images, mean=MEAN, std=STD, layer="linear", method="scorecam")


@pytest.mark.parametrize("method", list(METHOD_NAMES)[2:])
def test_explain_of_a_diverged_network_is_one_error_and_leaves_no_trace(
    images: np.ndarray, method: str
) -> None:
    model = WideResNet(10, 1, 5)
    model.layer1.eval()
    model.conv1.weight.requires_grad_(False)
    nn.init.constant_(model.bn1.weight, float("inf"))
    before = [(m.training, len(m._forward_hooks)) for m in model.modules()]
    with pytest.raises(InputError, match="not finite on 6 of 6 images: the checkpoint has diverged"):
        explain(model, images, mean=MEAN, std=STD, method=method)
    assert [(m.training, len(m._forward_hooks)) for m in model.modules()] == before
    assert [p.requires_grad for p in model.parameters()].count(False) == 1
    assert all(p.grad is None for p in model.parameters())
