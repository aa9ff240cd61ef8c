from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from ralr_viz.errors import CheckpointError
from ralr_viz.models import adapt_state_dict, build_model, guess_arch, model_names
from ralr_viz.models.densenet import DenseNet
from ralr_viz.models.resnet import ResNet
from ralr_viz.models.wrn import WideResNet

State = dict[str, Tensor]


def _random_state(model: nn.Module) -> State:
    """Values that no fresh network has, so that a lost or swapped tensor shows."""
    generator = torch.Generator().manual_seed(3)
    return {
        name: torch.rand(t.shape, generator=generator) if t.is_floating_point() else torch.tensor(7)
        for name, t in model.state_dict().items()
    }


def _renamed(state: State, *rules: tuple[str, str]) -> State:
    for pattern, replacement in rules:
        state = {re.sub(pattern, replacement, name): tensor for name, tensor in state.items()}
    return state


def _meta(arch: str, num_classes: int = 10) -> nn.Module:
    with torch.device("meta"):
        return build_model(arch, num_classes)


def _meta_state(arch: str, num_classes: int = 10) -> State:
    return dict(_meta(arch, num_classes).state_dict())


def _assert_same(adapted: State, expected: State) -> None:
    assert adapted.keys() == expected.keys()
    assert all(torch.equal(adapted[name], expected[name]) for name in expected)


def _message(checkpoint: Any, arch: str = "resnet20", num_classes: int = 10) -> str:
    with pytest.raises(CheckpointError) as caught:
        adapt_state_dict(checkpoint, _meta(arch, num_classes), arch)
    message = str(caught.value)
    assert message.isprintable()
    return message


RESNET = ResNet(8, 10)
RESNET_STATE = _random_state(RESNET)


@settings(max_examples=50)
@given(
    containers=st.lists(
        st.sampled_from(["state_dict", "model_state_dict", "model", "net", "weights"]), max_size=4
    ),
    wrappers=st.lists(st.sampled_from(["module.", "_orig_mod.", "model.", "net."]), max_size=4),
    classifier=st.sampled_from(["linear", "fc", "classifier"]),
    counters=st.booleans(),
)
def test_adapt_state_dict_undoes_any_nesting_and_wrapping(
    containers: list[str], wrappers: list[str], classifier: str, counters: bool
) -> None:
    checkpoint: dict[str, Any] = {
        "".join(wrappers) + re.sub(r"^linear\.", f"{classifier}.", name): tensor
        for name, tensor in RESNET_STATE.items()
        if counters or not name.endswith("num_batches_tracked")
    }
    for container in containers:
        checkpoint = {"epoch": 3, container: checkpoint, "best_prec1": 91.7, "optimizer": {"state": {}}}
    adapted = adapt_state_dict(checkpoint, RESNET, "resnet8")
    assert adapted.keys() == RESNET_STATE.keys()
    for name, tensor in RESNET_STATE.items():
        lost = not counters and name.endswith("num_batches_tracked")
        assert torch.equal(adapted[name], torch.tensor(0) if lost else tensor)
    ResNet(8, 10).load_state_dict(adapted, strict=True)


def test_adapt_state_dict_unwraps_key_by_key() -> None:
    mixed = {("module." if i % 2 else "") + name: t for i, (name, t) in enumerate(RESNET_STATE.items())}
    _assert_same(adapt_state_dict(mixed, RESNET, "resnet8"), RESNET_STATE)


def test_adapt_state_dict_keeps_a_prefix_that_the_network_has() -> None:
    wrapper = nn.ModuleDict({"module": nn.Linear(2, 3)})
    state = {f"module.{name}": tensor for name, tensor in wrapper.state_dict().items()}
    _assert_same(adapt_state_dict(state, wrapper, "usernet:net"), dict(wrapper.state_dict()))
    _assert_same(adapt_state_dict(wrapper.state_dict(), wrapper, "usernet:net"), dict(wrapper.state_dict()))


@pytest.mark.parametrize("classifier", ["linear", "fc", "classifier"])
def test_adapt_state_dict_names_the_classifier_as_the_network_does(classifier: str) -> None:
    model = nn.Module()
    model.add_module(classifier, nn.Linear(4, 3))
    tensors = _random_state(nn.Linear(4, 3))
    for theirs in ("linear", "fc", "classifier"):
        state = {f"{theirs}.{name}": tensor for name, tensor in tensors.items()}
        expected = {f"{classifier}.{name}": tensor for name, tensor in tensors.items()}
        _assert_same(adapt_state_dict(state, model, "usernet:net"), expected)


@pytest.mark.parametrize(
    ("build", "rules"),
    [
        (  # xternalz and bearpaw
            partial(WideResNet, 16, 2, 10),
            [(r"^layer(\d)\.", r"block\1.layer."), (r"shortcut", "convShortcut"), (r"^linear", "fc")],
        ),
        (partial(DenseNet, 16, 4, 10), [(r"^linear", "fc")]),  # bearpaw
        (  # andreasveit
            partial(DenseNet, 16, 4, 10),
            [(r"^dense(\d)\.", r"block\1.layer."), (r"^bn\.", "bn1."), (r"^linear", "fc")],
        ),
    ],
    ids=["wrn", "densenet-bearpaw", "densenet-andreasveit"],
)
def test_adapt_state_dict_maps_common_layouts(
    build: Callable[[], nn.Module], rules: list[tuple[str, str]]
) -> None:
    state = _random_state(build())
    theirs = _renamed(state, *rules, (r"^", "module."))
    assert not theirs.keys() & state.keys()
    _assert_same(adapt_state_dict({"state_dict": theirs}, build(), "ours"), state)


def test_adapt_state_dict_maps_the_published_torchvision_densenets() -> None:
    state = _meta_state("torchvision:densenet121")
    theirs = _renamed(state, (r"(denselayer\d+\.(?:norm|conv))([12])\.", r"\1.\2."))
    assert "features.denseblock1.denselayer1.norm.1.weight" in theirs
    adapted = adapt_state_dict(theirs, _meta("torchvision:densenet121"), "torchvision:densenet121")
    assert adapted.keys() == state.keys()


def test_adapt_state_dict_leaves_out_the_auxiliary_classifiers_of_torchvision() -> None:
    arch = "torchvision:googlenet"
    state = _meta_state(arch)
    extra = {"aux1.fc1.weight": torch.zeros(2, 2), "aux2.conv.bn.bias": torch.zeros(2)}
    assert adapt_state_dict(state | extra, _meta(arch), arch).keys() == state.keys()
    assert "`aux1.fc1.weight` (2, 2) is not part of it" in _message(_meta_state("resnet20") | extra)


def test_adapt_state_dict_copies_no_tensor_and_changes_no_argument() -> None:
    before = dict(RESNET_STATE)
    weights = RESNET.conv1.weight.clone()
    adapted = adapt_state_dict(RESNET_STATE, RESNET, "resnet8")
    assert adapted["conv1.weight"] is RESNET_STATE["conv1.weight"]
    _assert_same(RESNET_STATE, before)
    assert torch.equal(RESNET.conv1.weight, weights)


def test_message_of_another_number_of_classes() -> None:
    assert _message(_meta_state("resnet20", 100)) == (
        "the checkpoint has 100 classes, the model 10 (`linear.weight` is (100, 64), expected (10, 64)): "
        "pass `--num-classes 100` or the `--dataset` it was trained on"
    )
    # the key as the file has it, and a classifier that is not the last name of the model
    theirs = _renamed(_meta_state("resnet20", 100), (r"^linear", "module.fc"))
    assert "(`module.fc.weight` is (100, 64), expected (10, 64))" in _message(theirs)
    vgg = _message(_meta_state("torchvision:vgg11", 1000), "torchvision:vgg11")
    assert vgg.startswith("the checkpoint has 1000 classes, the model 10 (`classifier.6.weight` is ")


def test_message_of_a_deeper_network() -> None:
    assert _message(_meta_state("resnet56", 100)) == (
        "the checkpoint does not fit `resnet20`: `linear.weight` is (100, 64), expected (10, 64); "
        "nearest architecture: `resnet56`, which it fits with 100 classes; pass `--arch resnet56`"
    )
    assert _message(_meta_state("resnet56")).startswith(
        "the checkpoint does not fit `resnet20`: `layer1.3.conv1.weight` (16, 16, 3, 3) is not part of it; "
    )


def test_message_of_a_shallower_network() -> None:
    assert _message(_meta_state("resnet20"), "resnet56").startswith(
        "the checkpoint does not fit `resnet56`: `layer1.3.conv1.weight` (16, 16, 3, 3) is missing; "
        "nearest architecture: `resnet20`, "
    )


@pytest.mark.parametrize("arch", model_names())
def test_message_names_the_right_one_of_all_architectures(arch: str) -> None:
    other = "resnet20" if arch != "resnet20" else "densenet-bc-100-12"
    state = _renamed(_meta_state(arch, 100), (r"^linear", "fc"), (r"^", "module."))
    assert _message({"state_dict": state}, other).endswith(
        f"nearest architecture: `{arch}`, which it fits with 100 classes; pass `--arch {arch}`"
    )


def test_message_of_an_option_b_network() -> None:
    state = _renamed(_meta_state("resnet20"), (r"^linear", "fc"))
    for stage, channels in ((2, 32), (3, 64)):
        name = f"layer{stage}.0.downsample"
        state[f"{name}.0.weight"] = torch.zeros(channels, channels // 2, 1, 1)
        for leaf in ("weight", "bias", "running_mean", "running_var"):
            state[f"{name}.1.{leaf}"] = torch.zeros(channels)
    assert _message(state) == (
        "the checkpoint does not fit `resnet20`: `layer2.0.downsample.0.weight` (32, 16, 1, 1) is not part "
        "of it; nearest architecture: `resnet20` (the same, 91 % of the tensors fit); pass the network it "
        "was made for as `--arch package.module:factory`"
    )


def test_message_of_a_network_unlike_ours() -> None:
    assert _message({"encoder.weight": torch.zeros(3, 2)}) == (
        "the checkpoint does not fit `resnet20`: `conv1.weight` (16, 3, 3, 3) is missing; no known "
        "architecture is near; pass the network it was made for as `--arch package.module:factory`"
    )


def test_message_of_a_key_given_twice() -> None:
    state = _meta_state("resnet20") | {"module.conv1.weight": torch.zeros(16, 3, 3, 3)}
    assert _message(state) == (
        "`conv1.weight` and `module.conv1.weight` in the checkpoint both mean `conv1.weight` of `resnet20`: "
        "remove one"
    )


def _cycle() -> dict[str, Any]:
    checkpoint: dict[str, Any] = {}
    checkpoint["model"] = checkpoint
    return checkpoint


@pytest.mark.parametrize(
    ("checkpoint", "expected"),
    [
        (
            [torch.zeros(2)],
            "the checkpoint is of type list: a state dict, bare or under one of `state_dict`, ",
        ),
        ({}, "the checkpoint holds no tensors: "),
        ({"state_dict": {}}, "the checkpoint holds no tensors: "),
        ({"conv1.weight": torch.zeros(2), "epoch": 3}, "`epoch` in the checkpoint is of type int: "),
        ({"ema": {"conv1.weight": torch.zeros(2)}}, "`ema` in the checkpoint is of type dict: "),
        ({"state_dict": {"conv1.weight": [1.0]}}, "`conv1.weight` in the checkpoint is of type list: "),
        ({0: torch.zeros(2)}, "`0` in the checkpoint is not a name: "),
        (_cycle(), "`model` in the checkpoint is of type dict: "),
        (
            {"w": torch.eye(2).to_sparse()},
            "`w` in the checkpoint is a torch.sparse_coo tensor: save it dense and real",
        ),
        ({"w": torch.zeros(2, dtype=torch.complex64)}, "`w` in the checkpoint is a torch.complex64 tensor: "),
        ({"w\n\x1b[2J": 1}, "`w\\n\\x1b[2J` in the checkpoint is of type int: "),
        ({"w" * 10_000: 1}, f"`{'w' * 133}…{'w' * 66}` in the checkpoint is of type int: "),
    ],
)
def test_adapt_state_dict_rejects_what_is_no_state_dict(checkpoint: Any, expected: str) -> None:
    assert _message(checkpoint).startswith(expected)
    with pytest.raises(CheckpointError):
        guess_arch(checkpoint)


@pytest.mark.parametrize("arch", model_names())
def test_guess_arch_knows_every_network_and_its_classes(arch: str) -> None:
    state = _renamed(_meta_state(arch, 37), (r"^linear", "fc"), (r"^", "module."))
    assert guess_arch({"state_dict": state}) == (arch, 37)
    without_counters = {name: t for name, t in state.items() if not name.endswith("num_batches_tracked")}
    assert guess_arch(without_counters) == (arch, 37)


@pytest.mark.parametrize(
    "change",
    [
        {"conv1.weight": torch.zeros(16, 1, 3, 3)},
        {"linear.bias": torch.zeros(9)},
        {"linear.weight": torch.zeros(10, 32)},
        {"linear.bias": torch.tensor(0.0)},
        {"extra": torch.zeros(1)},
        {"module.conv1.weight": torch.zeros(16, 3, 3, 3)},
    ],
)
def test_guess_arch_is_none_unless_all_fits(change: State) -> None:
    state = _meta_state("resnet20")
    assert guess_arch(state) == ("resnet20", 10)
    assert guess_arch(state | change) is None
    del state["layer3.2.bn2.running_var"]
    assert guess_arch(state) is None


def test_guess_arch_leaves_the_random_state_alone() -> None:
    before = torch.get_rng_state()
    guess_arch(_meta_state("resnet32"))
    assert torch.equal(torch.get_rng_state(), before)
