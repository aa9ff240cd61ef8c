"""Checkpoints that hold the network and more: a loss, metrics, an average of the weights, a prefix, a number."""

from __future__ import annotations

import io
import warnings

import numpy as np
import pytest
import torch

from ralr_viz.errors import CheckpointError
from ralr_viz.models import adapt_state_dict, build_model
from ralr_viz.models.resnet import ResNet
from ralr_viz.train.checkpoint import load_checkpoint

NET = ResNet(8, 10)
STATE = {
    name: torch.rand_like(t) if t.is_floating_point() else torch.tensor(7)
    for name, t in NET.state_dict().items()
}
AVERAGE = {name: t + 1 if t.is_floating_point() else t for name, t in STATE.items()}


def below(prefix, state=STATE):
    return {prefix + name: tensor for name, tensor in state.items()}


def adapt(checkpoint):
    """What is taken, and what is said."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = adapt_state_dict(checkpoint, NET, "resnet8")
    return found, [str(w.message) for w in caught]


def assert_is(found, state):
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], state[name]) for name in state)


def test_loss_and_metrics_of_a_lightning_module_are_left_out_by_name():
    extra = {
        "criterion.weight": torch.ones(10),
        "val_acc.total": torch.tensor(3),
        "val_acc.confmat": torch.ones(9, 9),
    }
    found, said = adapt({"state_dict": below("model.") | extra, "epoch": 3, "hyper_parameters": {"lr": 0.1}})
    assert_is(found, STATE)
    assert said == [
        "the network was taken from below `model.`; left out: `criterion.weight`, `val_acc.total`, `val_acc.confmat`"
    ]
    found, said = adapt(STATE | extra)  # without a prefix
    assert_is(found, STATE)
    assert said[0].startswith("the network was taken; left out: `criterion.weight`")


@pytest.mark.parametrize("prefix", ["backbone.", "encoder.net.", "student.module."])
def test_common_prefix_is_seen_through_in_silence(prefix):
    found, said = adapt({"state_dict": below(prefix)})
    assert_is(found, STATE)
    assert said == []


@pytest.mark.parametrize("average", ["ema_model.module.", "model_ema.", "swa.", "averaged_model.", "ema."])
def test_average_beside_the_weights_is_never_taken_without_a_word(average):
    found, said = adapt({"state_dict": below("model.") | below(average, AVERAGE)})
    assert_is(found, STATE)
    assert len(said) == 1
    assert f"`{average}conv1.weight`" in said[0]
    found, said = adapt({"model": STATE, "model_ema": AVERAGE})  # entries of their own, as timm saves them
    assert_is(found, STATE)
    assert said == ["the weights as they were trained were taken; left out: `model_ema`"]


def test_network_that_is_there_twice_is_refused():
    with pytest.raises(
        CheckpointError, match="holds the network 2 times, below `student.`, `teacher.`: save the one"
    ):
        adapt({"state_dict": below("student.") | below("teacher.")})


def test_deeper_network_below_a_prefix_is_no_part():
    deeper = ResNet(14, 10).state_dict()
    with pytest.raises(CheckpointError, match="does not fit `resnet8`"):
        adapt({"state_dict": below("backbone.", deeper) | {"criterion.weight": torch.ones(10)}})


def test_numpy_number_beside_the_weights_is_read_and_left_out(tmp_path):
    """weights_only refuses NumPy scalars by default: best accuracies are often ones."""
    path, state = tmp_path / "best.pt", build_model("resnet20", 10).state_dict()
    torch.save(
        {"state_dict": state | {"best": np.float32(3)}, "acc": np.float64(91.5), "n": np.int64(3)}, path
    )
    with pytest.warns(UserWarning, match="left out: `best`"):
        checkpoint = load_checkpoint(path, arch="resnet20")
        assert_is(dict(checkpoint.build().state_dict()), state)
    assert checkpoint.num_classes == 10


def test_numpy_objects_are_still_refused(tmp_path):
    path = tmp_path / "evil.pt"
    torch.save({"conv1.weight": np.array([object()], dtype=object)}, path)
    with pytest.raises(CheckpointError, match="holds more than tensors and plain values"):
        load_checkpoint(path, arch="resnet8")


def test_matrix_of_a_metric_is_no_classifier(tmp_path):
    path = tmp_path / "metrics.pt"
    torch.save({"state_dict": below("model.") | {"confusion.matrix": torch.ones(3, 3)}}, path)
    assert load_checkpoint(path, arch="resnet8").num_classes == 10


def test_loading_leaves_torchs_own_list_alone():
    buffer = io.BytesIO()
    torch.save({"x": np.float64(1)}, buffer)
    buffer.seek(0)
    with pytest.raises(Exception, match="Weights only load failed"):
        torch.load(buffer, weights_only=True)
