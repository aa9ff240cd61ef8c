"""Hooks that leave no trace."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import Tensor, nn

from ralr_viz.analysis.capture import capture, copied_output, frozen_parameters
from ralr_viz.errors import UnknownNameError
from ralr_viz.runtime.eager import uncompiled


class Net(nn.Module):
    """A ReLU that is used twice, an in-place one, a module that returns a tuple, and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.inplace = nn.ReLU(inplace=True)
        self.relu = nn.ReLU()
        self.split = Split()
        self.linear = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.relu(self.inplace(self.conv(x))) - 0.1)
        left, right = self.split(x)
        return self.linear(input=torch.cat((left, right), 1).mean((2, 3)))


class Split(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        return x[:, :2], x[:, 2:]


@pytest.fixture
def model() -> Net:
    torch.manual_seed(0)
    model = Net()
    model.conv.bias.requires_grad_(False)
    model.inplace.eval()  # a mode of its own, which must survive
    model(torch.randn(2, 3, 5, 5)).sum().backward()
    return model


def trace(model: nn.Module) -> list[object]:
    """Everything that looking at a model could change."""
    modules = [
        (m.training, len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks))
        for m in model.modules()
    ]
    parameters = [
        (p.requires_grad, id(p.grad), p._version, p.grad is None or p.grad._version)
        for p in model.parameters()
    ]
    return [modules, parameters, [v.clone().tolist() for v in model.state_dict().values()]]


def test_capture_records_outputs_in_order_of_execution(model: Net) -> None:
    x = torch.randn(2, 3, 5, 5)
    with capture(model, ["relu", "conv"]) as calls:
        model(x)
    assert [call.name for call in calls] == ["conv", "relu", "relu"]
    torch.testing.assert_close(calls[1].outputs[0], model.conv(x).relu())
    torch.testing.assert_close(calls[2].outputs[0], (calls[1].outputs[0] - 0.1).relu())


def test_capture_survives_an_inplace_relu_after_the_module(model: Net) -> None:
    x = torch.randn(2, 3, 5, 5)
    with capture(model, ["conv"]) as calls:
        model(x)
    assert calls[0].outputs[0].min() < 0
    assert not calls[0].outputs[0].requires_grad
    torch.testing.assert_close(calls[0].outputs[0], model.conv(x).detach(), rtol=0, atol=0)


def test_capture_records_the_input_of_a_linear_passed_by_keyword(model: Net) -> None:
    with capture(model, ["linear"]) as calls:
        logits = model(torch.randn(2, 3, 5, 5))
    assert calls[0].input.shape == (2, 4)
    torch.testing.assert_close(model.linear(calls[0].input), logits)


def test_capture_flattens_a_tuple(model: Net) -> None:
    with capture(model, ["split", "conv"]) as calls:
        model(torch.randn(2, 3, 5, 5))
    conv, split = calls
    assert [tuple(t.shape) for t in split.outputs] == [(2, 2, 5, 5), (2, 2, 5, 5)]
    assert conv.is_tensor
    assert not split.is_tensor


def test_capture_keeps_what_the_caller_asks_for(model: Net) -> None:
    with capture(model, ["conv"], keep=lambda t: float(t.detach().mean())) as calls:
        model(torch.zeros(1, 3, 5, 5))
    assert calls[0].outputs[0] == pytest.approx(model.conv.bias.mean().item(), abs=1e-6)


def test_capture_takes_modules_under_names_of_the_callers(model: Net) -> None:
    with capture(model, {"first": model.conv}) as calls:
        model(torch.randn(1, 3, 5, 5))
    assert [call.name for call in calls] == ["first"]


def test_capture_leaves_no_trace(model: Net) -> None:
    before = trace(model)
    with capture(model, [name for name, _ in model.named_modules()]) as calls:
        model(torch.randn(2, 3, 5, 5))
    assert calls
    assert trace(model) == before


def test_capture_leaves_no_trace_after_an_exception(model: Net) -> None:
    before = trace(model)
    with pytest.raises(RuntimeError), capture(model, ["conv", "linear"]):
        model(torch.randn(2, 7, 5, 5))  # wrong number of channels
    assert trace(model) == before


def test_capture_stops_recording_after_the_block(model: Net) -> None:
    with capture(model, ["conv"]) as calls:
        model(torch.randn(1, 3, 5, 5))
    model(torch.randn(1, 3, 5, 5))
    assert len(calls) == 1


def test_capture_of_an_unknown_module_offers_the_nearest_and_hooks_nothing(model: Net) -> None:
    before = trace(model)
    with pytest.raises(UnknownNameError, match="unknown module `convv`: did you mean `conv`"):  # noqa: SIM117
        with capture(model, ["linear", "convv"]):
            pass
    assert trace(model) == before


def test_frozen_parameters_hides_and_restores_gradients(model: Net) -> None:
    before = trace(model)
    with pytest.raises(ZeroDivisionError), frozen_parameters(model):
        assert not any(p.requires_grad for p in model.parameters())
        model.zero_grad()
        raise ZeroDivisionError
    assert trace(model) == before
    assert model.linear.weight.grad is not None


def test_copied_output_shields_what_an_earlier_hook_took(model: Net) -> None:
    before, taken, x = trace(model), [], torch.randn(2, 3, 5, 5)
    handle = model.conv.register_forward_hook(lambda module, args, output: taken.append(output))
    with copied_output(model.conv):
        shielded = model(x)
    assert taken[0].min() < 0  # the in-place ReLU worked on the copy
    torch.testing.assert_close(model(x), shielded, rtol=0, atol=0)
    assert taken[1].min() == 0  # and without the copy it overwrites what was taken
    handle.remove()
    assert trace(model) == before


def test_eager_stance_loads_no_compiler_where_nothing_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch._dynamo", raising=False)
    with uncompiled():
        assert "torch._dynamo" not in sys.modules
