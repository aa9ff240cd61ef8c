"""The check behind ``--verify``: it passes where maps are right, and it can fail."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ralr_viz.analysis.cam import check as cam_check
from ralr_viz.analysis.cam import network_maps
from ralr_viz.analysis.cam.check import PARITY_LIMIT, CamCheck, verify_cam
from ralr_viz.analysis.cam.network_maps import Cam, explain
from ralr_viz.analysis.head import find_cam_head
from ralr_viz.errors import InputError
from ralr_viz.models.wrn import WideResNet
from ralr_viz.nouns.cam import METHOD_NAMES
from ralr_viz.results.cam import normalise_cam
from ralr_viz.results.interpolation import interpolate_maps

SCALE = {"mean": (0.5, 0.45, 0.4), "std": (0.25, 0.2, 0.3)}
TARGETS = np.array([0, 3, 1, 4])


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (4, 24, 32, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(1)
    return WideResNet(10, 1, 5)


class FunctionalEnd(nn.Module):
    """The final ReLU is a function, and in place: no module returns the map that is pooled."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 6, 3, stride=2)
        self.norm = nn.BatchNorm2d(6)
        self.linear = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = nn.functional.relu(self.norm(self.conv(x)), inplace=True)
        return {"logits": self.linear(x.mean((2, 3)))}


class MaxEnd(nn.Module):
    """No closed form, and a ReLU that overwrites the map."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 6, 3, stride=2)
        self.linear = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.conv(x).relu_().amax((2, 3)))


def test_verify_cam_passes_and_returns_the_maps_that_are_drawn(model: nn.Module, images: np.ndarray) -> None:
    check = verify_cam(model, images, **SCALE, targets=TARGETS)
    assert check.passed
    assert 0 < check.parity <= 1e-6
    assert 0 < check.identity <= 1e-6
    drawn = explain(model, images, **SCALE, targets=TARGETS)
    np.testing.assert_array_equal(check.cam.raw, drawn.raw)
    assert check.cam.notes == drawn.notes
    assert str(check).startswith(
        f"CAM at `relu` drawn as grad-cam's Grad-CAM within {check.parity:.1e} (limit 1e-05); "
    )
    assert str(check).endswith(
        f"mean(CAM) + b = logit within {check.identity:.1e} (relative); 4 images, fp32"
    )


@pytest.mark.parametrize("method", list(METHOD_NAMES)[1:])
def test_verify_cam_of_the_packages_methods_has_no_identity(
    model: nn.Module, images: np.ndarray, method: str
) -> None:
    check = verify_cam(model, images, **SCALE, method=method, precision="bf16")
    assert check.passed
    assert check.parity <= 1e-6
    assert check.identity is None
    assert check.precision == "fp32"  # the package has no other
    assert "not in closed form, so there is no identity to check; 4 images, fp32" in str(check)
    assert f"grad-cam's {METHOD_NAMES[method]} within" in str(check)


def test_verify_cam_spells_out_a_head_that_no_module_returns(images: np.ndarray) -> None:
    model = FunctionalEnd()
    x = torch.randn(4, 3, 24, 32)
    assert find_cam_head(model, x).relu
    check = verify_cam(model, images, **SCALE, targets=TARGETS)
    assert (check.cam.method, check.cam.layer) == ("cam", "relu(norm)")
    assert check.passed
    assert check.identity <= 1e-6
    # what the package makes of the module itself is another picture: its map before the ReLU
    other = explain(model, images, **SCALE, targets=TARGETS, method="gradcam", layer="norm")
    assert abs(normalise_cam(other.raw, (24, 32)) - normalise_cam(check.cam.raw, (24, 32))).max() > 0.01


def test_verify_cam_of_a_network_without_closed_form_survives_an_inplace_relu(images: np.ndarray) -> None:
    check = verify_cam(MaxEnd(), images, **SCALE, targets=TARGETS)
    assert (check.cam.method, check.cam.layer) == ("gradcam", "conv")
    assert check.passed
    assert check.identity is None


def test_verify_cam_in_bf16_reports_only(model: nn.Module, images: np.ndarray) -> None:
    check = verify_cam(model, images, **SCALE, targets=TARGETS, precision="bf16")
    assert check.precision == "bf16"
    assert check.parity > PARITY_LIMIT
    assert check.identity > 1e-5
    assert check.passed
    assert "(no limit in bf16)" in str(check)


def test_verify_cam_fails_where_the_drawing_is_another(
    model: nn.Module, images: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interpolation before the ReLU, the commonest mistake."""
    monkeypatch.setattr(
        cam_check, "normalise_cam", lambda raw, size: normalise_cam(interpolate_maps(raw, size), size)
    )
    check = verify_cam(model, images, **SCALE, targets=TARGETS)
    assert check.parity > PARITY_LIMIT
    assert not check.passed


@pytest.mark.parametrize(
    ("change", "parity", "identity"),
    [
        (lambda raw: raw, True, True),
        (lambda raw: np.roll(raw, 1, axis=2), False, True),  # each value in the wrong place
        (lambda raw: raw[::-1], False, False),  # maps of other images
        (lambda raw: 1.01 * raw, True, False),  # other units, which the picture hides
        (lambda raw: raw * np.nan, False, False),
    ],
)
def test_verify_cam_finds_wrong_maps(
    model: nn.Module,
    images: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
    change,
    parity: bool,
    identity: bool,
) -> None:
    def wrong(*args: object, **options: object) -> Cam:
        cam = explain(*args, **options)
        return replace(cam, raw=change(cam.raw).astype(np.float32))

    monkeypatch.setattr(cam_check, "explain", wrong)
    check = verify_cam(model, images, **SCALE, targets=TARGETS)
    assert check.passed == parity
    assert (check.identity <= 1e-6) == identity


def test_cam_check_judges_fp32_alone(model: nn.Module, images: np.ndarray) -> None:
    cam = explain(model, images[:1], **SCALE)
    for parity, fp32 in ((0.0, True), (1e-5, True), (1.1e-5, False), (np.nan, False)):
        assert CamCheck(cam, parity, None, "fp32").passed == fp32
        assert CamCheck(cam, parity, None, "bf16").passed
    assert "; 1 image, fp32" in str(CamCheck(cam, 0.0, None, "fp32"))


def snapshot(model: nn.Module) -> list[object]:
    return [
        [(len(m._forward_hooks), m.training) for m in model.modules()],
        [(p.requires_grad, id(p.grad), p.grad.tolist()) for p in model.parameters()],
        [v.tolist() for v in model.state_dict().values()],
        (torch.backends.cuda.matmul.fp32_precision, torch.backends.cudnn.conv.fp32_precision),
    ]


@pytest.fixture(params=["tf32", "ieee"])
def rounding(request: pytest.FixtureRequest) -> Iterator[None]:
    torch.backends.fp32_precision = request.param
    yield
    torch.backends.fp32_precision = "none"


@pytest.mark.parametrize("method", METHOD_NAMES)
def test_verify_cam_leaves_no_trace(images: np.ndarray, method: str, rounding: None) -> None:
    model = FunctionalEnd()
    model(torch.randn(2, 3, 24, 32))["logits"].sum().backward()
    model.norm.eval()
    before = snapshot(model)
    verify_cam(model, images, **SCALE, method=method)
    assert snapshot(model) == before
    model.linear.bias.data.fill_(float("nan"))
    before = str(snapshot(model))
    with pytest.raises(InputError, match="not finite"):
        verify_cam(model, images, **SCALE, method=method)
    assert str(snapshot(model)) == before


def test_verify_cam_computes_without_tf32(
    model: nn.Module, images: np.ndarray, rounding: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = set()

    def look(*args: object, **options: object) -> object:
        seen.add((torch.backends.mkldnn.conv.fp32_precision, torch.backends.cuda.matmul.fp32_precision))
        return find_cam_head(*args, **options)

    for module in (cam_check, network_maps):
        monkeypatch.setattr(module, "find_cam_head", look)
    verify_cam(model, images, **SCALE)
    assert seen == {("ieee", "ieee")}
