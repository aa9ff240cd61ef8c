"""What all of our networks have in common: pinned sizes, names that hooks rely on, layout, devices."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from ralr_viz.models import build_model, model_names
from ralr_viz.models.densenet import DenseNet
from ralr_viz.models.resnet import ResNet
from ralr_viz.models.wrn import WideResNet

PARAMETERS = {
    "resnet20": (269_722, 275_572),
    "resnet32": (464_154, 470_004),
    "resnet44": (658_586, 664_436),
    "resnet56": (853_018, 858_868),
    "resnet110": (1_727_962, 1_733_812),
    "wrn-28-10": (36_479_194, 36_536_884),
    "densenet-bc-100-12": (769_162, 800_032),
    "efficientnet_lite0": (3_383_818, 3_499_108),
}

# The module whose output `pool` averages.
LAST_MAP = {"resnet": "layer3", "wrn": "relu", "densenet": "relu"}

SMALL = {
    "resnet": lambda: ResNet(8, 10),
    "wrn": lambda: WideResNet(10, 2, 10),
    "densenet": lambda: DenseNet(16, 4, 10),
}


@pytest.fixture(params=list(SMALL))
def family(request: pytest.FixtureRequest) -> str:
    return request.param


def _trained_looking(model: nn.Module) -> nn.Module:
    """Gives the BN layers statistics and weights that differ by channel, so that no mistake cancels out."""
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight.data, module.running_var):
                tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
            for tensor in (module.bias.data, module.running_mean):
                tensor.copy_(0.3 * torch.randn(tensor.shape, generator=generator))
    return model.eval()


def _images(size: int = 32) -> Tensor:
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))


def test_parameters_cover_every_name() -> None:
    assert tuple(PARAMETERS) == model_names()


@pytest.mark.parametrize("arch", PARAMETERS)
def test_build_model_has_the_published_number_of_parameters(arch: str) -> None:
    for num_classes, expected in zip((10, 100), PARAMETERS[arch], strict=True):
        with torch.device("meta"):
            model = build_model(arch, num_classes)
        assert sum(p.numel() for p in model.parameters()) == expected


@pytest.mark.parametrize(
    "arch", ["resnet20", "resnet110", "wrn-28-10", "densenet-bc-100-12", "efficientnet_lite0"]
)
@pytest.mark.parametrize("size", [32, 64])
def test_forward_runs_on_cuda_without_mixing_devices_or_synchronising(arch: str, size: int) -> None:
    # A fake tensor raises on a device mix, on `.item()` and on shapes that depend on values.
    with FakeTensorMode(), torch.device("cuda"):
        model = build_model(arch, 100)
        images = torch.empty(4, 3, size, size).to(memory_format=torch.channels_last)
        for mode in (True, False):
            logits = model.train(mode)(images)
            assert logits.device.type == "cuda"
            assert logits.shape == (4, 100)
        with pytest.raises(RuntimeError, match="device"):
            model(torch.empty(4, 3, size, size, device="cpu"))


@pytest.mark.parametrize("size", [32, 64])
def test_logits_are_the_linear_map_of_the_mean_of_the_last_map(family: str, size: int) -> None:
    model = _trained_looking(SMALL[family]())
    seen: dict[str, Tensor] = {}
    model.pool.register_forward_pre_hook(lambda _, args: seen.update(pooled=args[0]))
    model.get_submodule(LAST_MAP[family]).register_forward_hook(lambda *args: seen.update(last=args[2]))
    with torch.no_grad():
        logits = model(_images(size))
        expected = model.linear(seen["pooled"].mean(dim=(2, 3)))
    assert seen["pooled"] is seen["last"]
    assert seen["pooled"].shape[2:] == (size // 4, size // 4)
    assert seen["pooled"].min() == 0  # after a ReLU
    torch.testing.assert_close(logits, expected, rtol=1e-6, atol=1e-6)


def test_classifier_and_pool_are_plain_modules(family: str) -> None:
    model = SMALL[family]()
    assert type(model.linear) is nn.Linear
    assert type(model.pool) is nn.AdaptiveAvgPool2d
    assert not any(m.inplace for m in model.modules() if isinstance(m, nn.ReLU))


def test_every_relu_runs_once_a_forward_pass(family: str) -> None:
    model = SMALL[family]().eval()
    calls = {name: 0 for name, m in model.named_modules() if isinstance(m, nn.ReLU)}
    for name in calls:
        model.get_submodule(name).register_forward_hook(
            lambda *_, name=name: calls.update({name: calls[name] + 1})
        )
    model(_images())
    assert set(calls.values()) == {1}


def test_channels_last_keeps_values_and_layout(family: str) -> None:
    model = _trained_looking(SMALL[family]()).double()
    images = _images().double()
    maps: list[Tensor] = []
    model.pool.register_forward_pre_hook(lambda _, args: maps.append(args[0]))
    with torch.no_grad():
        expected = model(images)
        logits = model.to(memory_format=torch.channels_last)(images.to(memory_format=torch.channels_last))
    torch.testing.assert_close(logits, expected, rtol=1e-10, atol=1e-10)
    assert maps[1].is_contiguous(memory_format=torch.channels_last)


def test_forward_compiles_without_a_graph_break(family: str) -> None:
    torch._dynamo.reset()
    model = _trained_looking(SMALL[family]())
    with torch.no_grad():
        compiled = torch.compile(model, backend="eager", fullgraph=True)(_images())
        torch.testing.assert_close(compiled, model(_images()))


def test_every_parameter_gets_a_gradient(family: str) -> None:
    model = SMALL[family]().train()
    nn.functional.cross_entropy(model(_images()), torch.tensor([0, 1])).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_equal_seeds_give_equal_weights(family: str) -> None:
    states = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        states.append(SMALL[family]().state_dict())
    first, again, other = states
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["conv1.weight"], other["conv1.weight"])
