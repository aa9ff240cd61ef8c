from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torchvision.models.detection.ssd import SSDFeatureExtractorVGG

from ralr_viz.errors import CheckpointError
from ralr_viz.models import build_model
from ralr_viz.models.pretrained import IMAGENET_MEAN
from ralr_viz.tasks.detection.loss import match_priors, multibox_loss
from ralr_viz.tasks.detection.network import SSD300, SmallSSD, load_vgg16


def test_networks_have_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        assert sum(p.numel() for p in SSD300(20).parameters()) == 26_285_486
        assert sum(p.numel() for p in SmallSSD(3).parameters()) == 403_312


@pytest.mark.parametrize("size", [64, 96, 100])
def test_small_ssd_says_something_of_each_prior(size: int) -> None:
    model = SmallSSD(3, size)
    offsets, logits = model(torch.randn(2, 3, size, size))
    assert offsets.shape == (2, len(model.priors), 4)
    assert logits.shape == (2, len(model.priors), 4)
    assert "priors" not in model.state_dict()


def test_output_of_a_prior_is_from_its_place_in_its_map() -> None:
    """The finest level: the prior of shape 3 at row 5 and column 7 is number 4 · (24 · 5 + 7) + 3."""
    model = SmallSSD(2).eval()
    maps: list[Tensor] = []
    model.heads.register_forward_pre_hook(lambda _, args: maps.extend(args[0]))
    with torch.no_grad():
        offsets, logits = model(torch.randn(1, 3, 96, 96))
        said, classes = model.heads.offsets[0](maps[0]), model.heads.logits[0](maps[0])
    number = 4 * (24 * 5 + 7) + 3
    assert offsets[0, number].tolist() == said[0, 12:16, 5, 7].tolist()
    assert logits[0, number].tolist() == classes[0, 9:12, 5, 7].tolist()
    centre = model.priors[number, :2].tolist()
    assert centre == pytest.approx([7.5 / 24, 5.5 / 24])


def test_maps_before_the_heads_of_the_small_ssd_are_signed() -> None:
    """After a ReLU there the finest map can die, and platelets with it."""
    model, maps = SmallSSD(2).eval(), []
    model.heads.register_forward_pre_hook(lambda _, args: maps.extend(args[0]))
    model(torch.randn(1, 3, 96, 96))
    assert all(float((x < 0).float().mean()) > 0.2 for x in maps)


def test_every_parameter_of_the_small_ssd_gets_a_gradient() -> None:
    torch.manual_seed(0)
    model = SmallSSD(3).train()
    boxes = torch.tensor(
        [[[0.1, 0.1, 0.2, 0.2], [0.2, 0.2, 0.5, 0.4], [0.0, 0.0, 1.0, 1.0], [0.3, 0.3, 0.7, 0.7]]]
    )
    labels = torch.tensor([[1, 2, 3, 1]])
    targets = match_priors(model.priors, boxes, labels)
    multibox_loss(*model(torch.randn(1, 3, 96, 96)), targets).loss.backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


def test_networks_run_on_cuda_without_mixing_devices_or_synchronising() -> None:
    with FakeTensorMode(), torch.device("cuda"):
        for model, size in ((SSD300(20), 300), (SmallSSD(3), 96)):
            offsets, logits = model(torch.empty(2, 3, size, size))
            assert offsets.device.type == logits.device.type == "cuda"
            boxes, labels = torch.empty(2, 5, 4), torch.ones(2, 5, dtype=torch.int64)
            sums = multibox_loss(offsets, logits, match_priors(model.priors, boxes, labels))
            assert sums.loss.device.type == "cuda"
            assert sums.loss.shape == ()
            with pytest.raises(RuntimeError, match="device"):
                model(torch.empty(2, 3, size, size, device="cpu"))


@pytest.fixture(scope="module")
def vgg() -> nn.Module:
    torch.manual_seed(1)
    return build_model("torchvision:vgg16", 10)


@pytest.mark.slow
def test_ssd300_from_vgg16_has_the_maps_of_torchvisions_extractor(tmp_path: Path, vgg: nn.Module) -> None:
    path = tmp_path / "vgg16.pt"
    torch.save(vgg.state_dict(), path)
    model = SSD300(4)
    weights = load_vgg16(model, str(path))
    assert weights.mean == IMAGENET_MEAN
    theirs = SSDFeatureExtractorVGG(vgg.features, highres=False)
    ours = [
        m
        for block in (model.block6, model.extra8, model.extra9, model.extra10, model.extra11)
        for m in block
        if isinstance(m, nn.Conv2d)
    ]
    extra = [m for block in theirs.extra for m in block.modules() if isinstance(m, nn.Conv2d)]
    for mine, other in zip(ours, extra[3:], strict=True):  # after conv5_1 to conv5_3
        other.load_state_dict(mine.state_dict())
    seen: list[Tensor] = []
    model.heads.register_forward_pre_hook(lambda _, args: seen.extend(args[0]))
    x = torch.randn(1, 3, 300, 300)
    with torch.no_grad():
        model(x)
        expected = theirs(x).values()
    for mine, other in zip(seen, expected, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_vgg16_is_decimated_to_every_fourth_unit_and_third_position(tmp_path: Path, vgg: nn.Module) -> None:
    path = tmp_path / "vgg16.pt"
    torch.save(vgg.state_dict(), path)
    model = SSD300(4)
    load_vgg16(model, str(path))
    first, second = vgg.classifier[0], vgg.classifier[3]
    weight = first.weight.view(4096, 512, 7, 7)
    assert torch.equal(model.block6[0].weight[3, 5, 1, 2], weight[12, 5, 3, 6])
    assert torch.equal(model.block6[0].bias[3], first.bias[12])
    assert torch.equal(model.block6[2].weight[7, 9, 0, 0], second.weight[28, 36])
    assert torch.equal(model.block5[4].weight, vgg.features[28].weight)
    state = vgg.state_dict()
    del state["features.28.bias"]
    torch.save(state, path)
    with pytest.raises(CheckpointError, match="`features.28.bias` \\(512,\\) is missing"):
        load_vgg16(model, str(path))
