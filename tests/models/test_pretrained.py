"""Networks that start from the weights of another training, in one line where they do not fit."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from ralr_viz.errors import CheckpointError, InputError, UnknownNameError
from ralr_viz.models import build_model
from ralr_viz.models.checkpoint_file import pack_weights
from ralr_viz.models.classifier import find_classifier_layer, head_parameters, initialise_head
from ralr_viz.models.pretrained import IMAGENET_MEAN, IMAGENET_STD, load_backbone

ARCH = "torchvision:resnet18"


@pytest.fixture(scope="module")
def published() -> dict[str, Tensor]:
    """A state dict of 1,000 classes with values that no fresh network has."""
    generator = torch.Generator().manual_seed(3)
    with torch.device("meta"):
        state = build_model(ARCH, 1000).state_dict()
    return {
        name: torch.rand(t.shape, generator=generator) if t.is_floating_point() else torch.tensor(7)
        for name, t in state.items()
    }


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return build_model(ARCH, 5)


def below(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in state.items()}


def assert_backbone(model: nn.Module, state: dict[str, Tensor], head: dict[str, Tensor]) -> None:
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, head[name.removeprefix("fc.")] if name.startswith("fc.") else state[name])


@pytest.mark.parametrize(
    "kind", ["pt", "safetensors", "nested", "module", "prefixed", "no head", "ten classes"]
)
def test_load_backbone_takes_all_but_the_classifier(tmp_path, model, published, kind) -> None:
    head = {name: tensor.clone() for name, tensor in model.fc.state_dict().items()}
    without = {name: tensor for name, tensor in published.items() if not name.startswith("fc.")}
    saved = {
        "nested": {"state_dict": published, "epoch": 3},
        "module": below("module.", published),
        "prefixed": below("backbone.net.", published),
        "no head": without,
        "ten classes": without | {"fc.weight": torch.ones(10, 512), "fc.bias": torch.ones(10)},
    }.get(kind, published)
    path = tmp_path / f"weights.{'safetensors' if kind == 'safetensors' else 'pt'}"
    if kind == "safetensors":
        safetensors.torch.save_file(saved, path)
    else:
        torch.save(saved, path)
    if kind == "prefixed":
        with pytest.warns(UserWarning, match="left out: `backbone.net.fc.weight`, `backbone.net.fc.bias`"):
            weights = load_backbone(model, ARCH, str(path))
    else:
        weights = load_backbone(model, ARCH, str(path))
    assert_backbone(model, published, head)
    assert weights.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (weights.path, weights.source) == (path, str(path))
    assert (weights.mean, weights.std) == (IMAGENET_MEAN, IMAGENET_STD)


def test_load_backbone_takes_the_normalisation_of_a_header(tmp_path) -> None:
    path, donor = tmp_path / "own.safetensors", build_model("resnet20", 10)
    header = {"format": 1, "arch": "resnet20", "mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}
    path.write_bytes(pack_weights(donor.state_dict(), header))
    model = build_model("resnet20", 3)
    weights = load_backbone(model, "resnet20", str(path))
    assert (weights.mean, weights.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert torch.equal(model.layer3[2].conv2.weight, donor.layer3[2].conv2.weight)
    path.write_bytes(pack_weights(donor.state_dict(), header | {"mean": [0.1]}))
    with pytest.raises(CheckpointError, match="damaged header \\(`mean` is no three numbers\\)"):
        load_backbone(model, "resnet20", str(path))


def message(model: nn.Module, path: Path, arch: str = ARCH) -> str:
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(CheckpointError) as caught:
        load_backbone(model, arch, str(path))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_load_backbone_names_the_first_entry_that_does_not_fit(tmp_path, model, published) -> None:
    path = tmp_path / "w.pt"
    torch.save({k: v for k, v in published.items() if k != "layer3.0.bn1.bias"}, path)
    assert "`layer3.0.bn1.bias` (256,) is missing" in message(model, path)
    torch.save(published | {"conv1.weight": torch.ones(64, 1, 7, 7)}, path)
    assert "`conv1.weight` is (64, 1, 7, 7), expected (64, 3, 7, 7)" in message(model, path)
    torch.save(published | {"layer5.weight": torch.ones(2)}, path)
    assert "`layer5.weight` (2,) is not part of it" in message(model, path)
    torch.save(build_model("resnet20", 10).state_dict(), path)
    assert "does not fit `torchvision:resnet18`" in message(model, path)


def test_weights_of_another_network_say_what_the_recipe_would_need(tmp_path, model) -> None:
    """A training has no `--arch`."""
    torch.save(build_model("resnet20", 10).state_dict(), tmp_path / "w.pt")
    found = message(model, tmp_path / "w.pt")
    assert "`--set model=resnet20`" in found and "--arch" not in found
    torch.save({"nothing.weight": torch.ones(2)}, tmp_path / "w.pt")
    assert "pass the network it was made for as `--set model=package.module:factory`" in message(
        model, tmp_path / "w.pt"
    )


class Evil:
    def __reduce__(self):
        return Path.touch, (Path("executed"),)


def test_load_backbone_runs_no_code(tmp_path, monkeypatch, model) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "w.pt").write_bytes(pickle.dumps({"conv1.weight": Evil()}))
    assert "was not loaded (it could run code)" in message(model, tmp_path / "w.pt")
    assert not Path("executed").exists()
    assert "cannot be read: no such file" in message(model, tmp_path / "absent.pt")


def test_load_backbone_finds_torchvisions_weights_where_it_keeps_them(
    tmp_path, monkeypatch, model, published
) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", lambda *args, **kwargs: pytest.fail("downloaded"))
    with pytest.raises(
        CheckpointError,
        match="are not on this machine: run `ralr-viz data weights torchvision:resnet18 .*`, or put .*resnet18-f37072fd.pth at",
    ):
        load_backbone(model, ARCH, "IMAGENET1K_V1")
    with pytest.raises(UnknownNameError, match="did you mean `IMAGENET1K_V1`"):
        load_backbone(model, ARCH, "IMAGENET1K_V3")
    (tmp_path / "checkpoints").mkdir()
    torch.save(published, tmp_path / "checkpoints" / "resnet18-f37072fd.pth")
    for source in ("IMAGENET1K_V1", f"{ARCH}/IMAGENET1K_V1"):
        weights = load_backbone(build_model(ARCH, 7), ARCH, source)
        assert weights.path.name == "resnet18-f37072fd.pth"
        assert weights.mean == IMAGENET_MEAN


def test_load_backbone_downloads_when_asked_and_checks_the_digits_of_the_name(
    tmp_path, monkeypatch, model, published
) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    asked = []

    def download(url: str, path: str, hash_prefix: str, progress: bool) -> None:
        asked.append((url.rpartition("/")[2], hash_prefix))
        torch.save(published, path)

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    for _ in range(2):  # the second finds it there
        load_backbone(model, ARCH, "IMAGENET1K_V1", download=True)
    assert asked == [("resnet18-f37072fd.pth", "f37072fd")]
    (tmp_path / "checkpoints" / "resnet18-f37072fd.pth").unlink()

    def fail(*args: object, **kwargs: object) -> None:
        raise RuntimeError('invalid hash value (expected "f37072fd", got "0")')

    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    with pytest.raises(
        CheckpointError, match="resnet18-f37072fd.pth cannot be downloaded .*invalid hash value"
    ):
        load_backbone(model, ARCH, "IMAGENET1K_V1", download=True)


QUICK = [
    "torchvision:resnet50", "torchvision:vgg16", "torchvision:squeezenet1_1", "torchvision:convnext_tiny",
    "torchvision:vit_b_16", "torchvision:mobilenet_v3_large", "torchvision:swin_t", "efficientnet_lite0",
    "resnet20", "wrn-28-10", "densenet-bc-100-12",
]  # fmt: skip


def assert_head_is_what_depends_on_the_classes(arch: str, device: str = "meta") -> None:
    with torch.device(device):
        model, other = build_model(arch, 7), build_model(arch, 8)
    shapes = {name: tuple(value.shape) for name, value in other.state_dict().items()}
    expected = {name for name, value in model.state_dict().items() if tuple(value.shape) != shapes[name]}
    head = find_classifier_layer(model, arch)
    assert {name for name in model.state_dict() if name.startswith(f"{head}.")} == expected
    names = {id(value): name for name, value in model.named_parameters()}
    assert {names[id(value)] for value in head_parameters(model, arch)} == expected


@pytest.mark.parametrize("arch", QUICK)
def test_classifier_is_the_layer_whose_shape_depends_on_the_classes(arch: str) -> None:
    assert_head_is_what_depends_on_the_classes(arch)


@pytest.mark.slow
def test_classifier_of_every_network_of_torchvision_is_known() -> None:
    from torchvision import models

    # RegNets compute their widths by tensors; all are of one class
    for name in models.list_models(module=models, exclude="regnet*"):
        assert_head_is_what_depends_on_the_classes(f"torchvision:{name}")
    assert_head_is_what_depends_on_the_classes("torchvision:regnet_y_400mf", "cpu")


def test_classifier_that_is_not_known_is_said(model) -> None:
    with pytest.raises(
        InputError, match="the classifier of `mine:net` is not known: its last layer .* BatchNorm1d"
    ):
        head_parameters(nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)), "mine:net")
    with pytest.raises(InputError, match="its last layer with weights is a Flatten"):
        head_parameters(nn.Flatten(), "mine:net")


def test_initialise_head_draws_its_weights_and_nothing_else(model) -> None:
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    initialise_head(model, ARCH, "default")
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    initialise_head(model, ARCH, "kaiming")
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {"fc.weight"}
    assert float(model.fc.weight.detach().std()) == pytest.approx((2 / 512) ** 0.5, rel=0.05)
    with pytest.raises(InputError, match="`head_init` = 'zeros' must be one of default, kaiming"):
        initialise_head(model, ARCH, "zeros")
