"""Channels-last maps, tokens, attention and weights: what is a map, and where in it the channels are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from ralr_viz.analysis.activations import compute_activations
from ralr_viz.analysis.cam.check import verify_cam
from ralr_viz.analysis.cam.network_maps import explain
from ralr_viz.analysis.map_layer import check_layer, find_gradient_layer
from ralr_viz.analysis.maps import FIRST, LAST, MapAxes, Shape, find_axes, find_tokens
from ralr_viz.analysis.stages import find_stages
from ralr_viz.comparison import compare
from ralr_viz.errors import InputError
from ralr_viz.nouns.cam import METHOD_NAMES

SCALE = {"mean": (0.5,) * 3, "std": (0.25,) * 3}


def corner_images(n: int = 2) -> np.ndarray:
    """(n, 16, 32, 3) uint8: grey, and noise in the lower right corner."""
    images = np.full((n, 16, 32, 3), 128, dtype=np.uint8)
    images[:, 8:, 16:] = np.random.default_rng(0).integers(0, 256, (n, 8, 16, 3))
    return images


def share_in_corner(raw: np.ndarray) -> float:
    """Of a map's magnitude, for networks that see grey as 0."""
    size = np.abs(raw)
    h, w = raw.shape[1:]
    return float(size[:, h // 2 :, w // 2 :].sum() / size.sum())


class Permuted(nn.Module):
    """Convolutions whose map ends with the channels last, as in the issue."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Sequential(
            nn.Conv2d(3, 8, 2, stride=2, bias=False), nn.ReLU(), nn.Conv2d(8, 12, 1, bias=False)
        )
        self.norm = nn.LayerNorm(12)
        self.hidden, self.linear = nn.Linear(12, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv(x).permute(0, 2, 3, 1))
        return self.linear(self.hidden(x.mean((1, 2))).relu())


class Attention(nn.Module):
    """One head of attention over (b, n, c), whose matrix a module returns."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.qkv, self.softmax = nn.Linear(width, 3 * width), nn.Softmax(-1)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, -1)
        weights = self.softmax((q @ k.transpose(1, 2))[:, None])  # (b, heads, n, n)
        return (weights @ v[:, None])[:, 0]


class Twin(nn.Module):
    """A vision transformer of two blocks on 4 × 8 patches.

    Args:
        extra: Class tokens before the others; without any, the tokens are averaged.
        last: Blocks work on (b, h, w, c), as Swin's do.
        shuffled: Tokens are in an order that nothing tells.
    """

    def __init__(self, *, extra: int = 1, last: bool = False, shuffled: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.patches = nn.Conv2d(3, 10, 4, stride=4)
        self.start = nn.Parameter(torch.randn(1, extra, 10))
        self.places = nn.Parameter(0.1 * torch.randn(1, extra + 32, 10))
        self.embed = nn.Identity()
        self.norms = nn.ModuleList(nn.LayerNorm(10) for _ in range(2))
        self.blocks = nn.ModuleList(Attention(10) for _ in range(2))
        self.norm, self.linear = nn.LayerNorm(10), nn.Linear(10, 3)
        self.extra, self.last, self.shuffled = extra, last, shuffled

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        if self.shuffled:
            x = x[:, torch.arange(32).flip(0)]
        x = self.embed(torch.cat([self.start.expand(len(x), -1, -1), x], 1) + self.places)
        for norm, block in zip(self.norms, self.blocks, strict=True):
            x = x.unflatten(1, (4, 8)) if self.last else x
            x = norm(x).flatten(1, -2)
            x = x + block(x)
        x = self.norm(x.unflatten(1, (4, 8)) if self.last else x)
        return self.linear(x.flatten(1, -2)[:, 0] if self.extra else x.flatten(1, -2).mean(1))


def test_layer_norm_with_the_channels_last_is_no_map_of_its_own() -> None:
    model, images = Permuted(), corner_images()
    cam = explain(model, images, targets=np.zeros(2, dtype=int), **SCALE)
    assert (cam.layer, cam.raw.shape) == ("conv", (2, 8, 16))
    assert share_in_corner(cam.raw) > 0.9
    assert check_layer(model, torch.zeros(1, 3, 16, 32), "norm") == LAST


@pytest.mark.parametrize(
    ("model", "layer", "axes"),
    [
        (Twin(), "norms.1", MapAxes("tokens", (4, 8), 1)),
        (Twin(extra=3), "norms.1", MapAxes("tokens", (4, 8), 3)),
        (Twin(extra=0), "norm", MapAxes("tokens", (4, 8), 0)),
        (Twin(extra=0, last=True), "norm", LAST),
    ],
    ids=["class-token", "registers", "averaged", "channels-last"],
)
def test_tokens_are_reshaped_at_the_last_layer_that_keeps_their_places(
    model: nn.Module, layer: str, axes: MapAxes
) -> None:
    probe = torch.randn(2, 3, 16, 32)
    assert find_gradient_layer(model, probe) == layer
    assert check_layer(model, probe, layer) == axes
    images = np.random.default_rng(0).integers(0, 256, (3, 16, 32, 3), dtype=np.uint8)
    cam = explain(model, images, **SCALE)
    assert (cam.layer, cam.method, cam.raw.shape) == (layer, "gradcam", (3, 4, 8))
    assert f"`{layer}`" in cam.notes[0]
    for method in METHOD_NAMES:
        assert verify_cam(model, images, method=method, **SCALE).passed


def test_a_token_map_equals_the_definition() -> None:
    model = Twin().eval()
    images = np.random.default_rng(0).integers(0, 256, (2, 16, 32, 3), dtype=np.uint8)
    cam = explain(model, images, targets=np.array([1, 1]), **SCALE)
    kept: list[Tensor] = []
    handle = model.norms[1].register_forward_hook(lambda m, a, out: kept.append(out))
    logits = model((torch.from_numpy(images).permute(0, 3, 1, 2) / 255 - 0.5) / 0.25)
    handle.remove()
    (gradient,) = torch.autograd.grad(logits[:, 1].sum(), kept[0])
    tokens, weights = kept[0][:, 1:], gradient[:, 1:].sum(1, keepdim=True)
    expected = (tokens * weights).sum(2).reshape(2, 4, 8).detach().numpy()
    np.testing.assert_allclose(cam.raw, expected, rtol=1e-4, atol=1e-6)


def test_tokens_of_unknown_places_and_a_stem_are_refused() -> None:
    model, images = Twin(shuffled=True), corner_images()
    assert find_tokens(model, torch.zeros(1, 3, 16, 32)) is None
    with pytest.raises(InputError, match="tokens whose places are known") as refused:
        explain(model, images, **SCALE)
    assert "\n" not in str(refused.value)
    with pytest.raises(InputError, match="axes and places must be known"):
        explain(model, images, method="gradcam", layer="norm", **SCALE)
    with pytest.raises(InputError, match="axes and places must be known"):
        explain(Twin(), images, method="gradcam", layer="blocks.1.softmax", **SCALE)
    with pytest.raises(InputError, match="no module that returns a map"):
        compute_activations(compare([model, model], images=images, **SCALE))


@pytest.mark.parametrize(
    ("model", "layers"),
    [
        (Twin(), {"norms.0": (10, 4, 8), "norms.1": (10, 4, 8)}),
        (Twin(extra=0, last=True), {"norm": (10, 4, 8)}),
        (Permuted(), {"conv": (12, 8, 16)}),
    ],
)
def test_activations_of_tokens_are_those_of_the_image(model: nn.Module, layers: dict[str, Shape]) -> None:
    """The class token is no place of it; channels are the last axis."""
    images = corner_images(5)
    assert find_stages(model, torch.zeros(1, 3, 16, 32)) == layers
    result = compute_activations(compare([model, model], images=images, **SCALE))
    assert dict(zip(result.layers[0], result.shapes[0], strict=True)) == layers
    name = list(layers)[-1]
    kept: list[Tensor] = []
    handle = model.get_submodule(name).register_forward_hook(lambda m, a, out: kept.append(out.detach()))
    model.eval()((torch.from_numpy(images).permute(0, 3, 1, 2) / 255 - 0.5) / 0.25)
    handle.remove()
    values = kept[0] if kept[0].ndim == 4 else kept[0][:, model.extra :]
    squares = (values.double() - result.shifts[0, -1]) ** 2
    assert result.sums[0, -1, 2].sum() == pytest.approx(float(squares.sum()), rel=1e-4)


def test_a_named_layer_with_the_channels_last_is_one_of_activations() -> None:
    assert find_stages(Permuted(), torch.zeros(1, 3, 16, 32), ["norm"]) == {"norm": (12, 8, 16)}


@pytest.mark.parametrize("wrap", [parametrizations.spectral_norm, parametrizations.weight_norm])
@pytest.mark.parametrize("images", [1, 2, 6])
def test_a_parametrised_weight_is_no_map(wrap, images: int) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.ReLU(), wrap(nn.Conv2d(6, images, 3)), nn.Flatten(), nn.LazyLinear(4), nn.ReLU(),
        nn.Linear(4, 2),
    )  # fmt: skip
    probe = torch.randn(images, 3, 16, 32)
    model(probe)
    assert find_gradient_layer(model, probe) == "2"
    assert set(find_stages(model, probe)) <= {"0", "1", "2"}
    with pytest.raises(InputError):
        check_layer(model, probe, "2.parametrizations.weight")


def test_find_axes_of_what_other_modules_return_is_by_shape() -> None:
    model = nn.ModuleDict({"conv": nn.Conv2d(3, 4, 1), "norm": nn.LayerNorm(4), "block": nn.Identity()})
    first, last = ("conv", (2, 4, 8, 9)), ("norm", (2, 8, 9, 4))
    calls = [
        first,
        last,
        ("block", first[1]),
        ("block", last[1]),
        ("block", (2, 1, 72, 72)),
        ("block", (5, 4, 8, 9)),
    ]
    assert find_axes(model, calls, 2) == ([FIRST, LAST, FIRST, LAST, None, None], -1)
    # nothing but convolutions: a block that nothing explains has the channels first, as is usual
    assert find_axes(model, [first, ("block", (2, 9, 3, 3))], 2)[0] == [FIRST, FIRST]
    # both readings of a shape: neither is taken
    square = [("conv", (2, 4, 4, 4)), ("norm", (2, 4, 4, 4)), ("block", (2, 4, 4, 4))]
    assert find_axes(model, square, 2)[0] == [FIRST, LAST, None]


@pytest.mark.parametrize(
    ("name", "options", "size", "layer"),
    [
        ("vit", {"patch_size": 8, "num_layers": 2, "num_heads": 2, "hidden_dim": 16, "mlp_dim": 16}, 32,
         "encoder.layers.encoder_layer_1.ln_1"),
        ("swin", {"patch_size": [4, 4], "embed_dim": 12, "depths": [1, 1], "num_heads": [2, 2], "window_size": [4, 4]},
         32, "norm"),
    ],
)  # fmt: skip
def test_torchvisions_transformers(name: str, options: dict, size: int, layer: str) -> None:
    torch.manual_seed(0)
    if name == "vit":
        model = torchvision.models.VisionTransformer(image_size=size, num_classes=5, **options)
    else:
        model = torchvision.models.SwinTransformer(num_classes=5, **options)
    images = np.random.default_rng(0).integers(0, 256, (2, size, size, 3), dtype=np.uint8)
    cam = explain(model, images, method="gradcam", **SCALE)
    assert cam.layer == layer and cam.raw.shape[1:] == (4, 4)


@pytest.mark.parametrize(
    ("name", "layer", "size"),
    [
        ("vit_tiny_patch16_224", "blocks.11.norm1", (14, 14)),
        ("swin_tiny_patch4_window7_224", "norm", (7, 7)),
        ("convnext_atto", "norm_pre", (7, 7)),
    ],
)
def test_timms_networks(name: str, layer: str, size: tuple[int, int]) -> None:
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    images = np.random.default_rng(0).integers(0, 256, (1, 224, 224, 3), dtype=np.uint8)
    cam = explain(timm.create_model(name, num_classes=5), images, **SCALE)
    assert (cam.layer, cam.raw.shape[1:]) == (layer, size)
