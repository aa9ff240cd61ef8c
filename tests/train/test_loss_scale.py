"""Training in fp16: what overflows is skipped and said, what would vanish is trained, and a resumed run is the run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from ralr_viz.comparison import compare
from ralr_viz.errors import InputError
from ralr_viz.runtime.device import Runtime
from ralr_viz.tasks.task import Part
from ralr_viz.train.checkpoint import read_checkpoint
from ralr_viz.train.loop import train_run
from ralr_viz.train.loss_scale import LossScale
from ralr_viz.train.step import Totals, train_step

CPU = torch.device("cpu")
FP16 = Runtime(CPU, "fp16")


class Times:
    """The mean output of a linear network, times a number that the batch brings."""

    def train_loss(self, network: nn.Module, batch: tuple[Tensor, float], runtime: Runtime) -> Part:
        x, factor = batch
        with runtime.autocast():
            output = network(x)
        return Part(output.float().mean() * factor, 1.0, torch.zeros(0))


def linear() -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = nn.Linear(4, 2)
    return model, torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, fused=True)


def step(
    model: nn.Module, optimizer: Any, factor: float, scale: LossScale, totals: Totals, clip: float = 0
) -> None:
    train_step(model, optimizer, Times(), [(torch.ones(3, 4), factor)], totals, FP16, clip, scale)  # type: ignore[arg-type]


@pytest.mark.parametrize("clip", [0.0, 0.5])
def test_a_step_that_overflows_changes_nothing_and_is_counted(clip: float) -> None:
    (model, optimizer), scale, totals = linear(), LossScale("fp16", CPU), Totals.zero(0, CPU)
    step(model, optimizer, 0.5, scale, totals, clip)
    before = [p.detach().clone() for p in model.parameters()]
    kept, sums = scale.state_dict()["scale"], totals.values[-3:].tolist()
    step(model, optimizer, 1e9, scale, totals, clip)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert scale.skipped == 1 and scale.state_dict()["scale"] == kept / 2
    assert totals.values[-3:].tolist() == sums  # neither in the norms nor in the clipped ones
    step(model, optimizer, 0.5, scale, totals, clip)
    assert scale.skipped == 1 and not torch.equal(before[0], next(model.parameters()))


def test_a_first_step_that_is_skipped_leaves_the_momenta_at_zero() -> None:
    ends = []
    for factors in ((1e9, 0.5), (0.5,)):
        (model, optimizer), scale, totals = linear(), LossScale("fp16", CPU), Totals.zero(0, CPU)
        scale.prepare(optimizer)
        for factor in factors:
            step(model, optimizer, factor, scale, totals)
        assert all((state["momentum_buffer"] != 0).all() for state in optimizer.state.values())
        ends.append([p.detach() for p in model.parameters()])
    for skipped, plain in zip(*ends, strict=True):
        torch.testing.assert_close(skipped, plain)


def test_a_gradient_below_what_fp16_holds_is_trained_with() -> None:
    ends = []
    for scale in (LossScale("fp16", CPU), LossScale("fp32", CPU)):
        (model, optimizer), totals = linear(), Totals.zero(0, CPU)
        before = next(model.parameters()).detach().clone()
        step(model, optimizer, 1e-8, scale, totals)
        ends.append((float(totals.values[-1]), torch.equal(before, next(model.parameters()))))
    assert ends[0][0] == pytest.approx(
        1e-8 * 0.5 * (2 * 5) ** 0.5, rel=1e-2
    )  # d mean / d(weights, biases) = 1/2
    assert ends[1][0] == 0.0  # without the scale, nothing is left of it


def test_a_step_in_fp16_has_no_operator_that_waits_for_the_device() -> None:
    waits = []

    class Recorder(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func.overloadpacket.__name__ in ("_local_scalar_dense", "nonzero", "masked_select"):
                waits.append(func.overloadpacket.__name__)
            return func(*args, **(kwargs or {}))

    (model, optimizer), scale, totals = linear(), LossScale("fp16", CPU), Totals.zero(0, CPU)
    step(model, optimizer, 1.0, scale, totals, 0.5)  # which makes the scale
    with Recorder():
        step(model, optimizer, 1.0, scale, totals, 0.5)
        step(model, optimizer, 1e9, scale, totals, 0.5)
    assert waits == [] and scale.skipped == 1


class StoppedError(Exception):
    """In the place of a power cut."""


def test_a_state_goes_on_where_it_was_and_may_not_be_missing() -> None:
    (model, optimizer), scale, totals = linear(), LossScale("fp16", CPU), Totals.zero(0, CPU)
    for factor in (0.5, 1e9, 0.5):
        step(model, optimizer, factor, scale, totals)
    other = LossScale("fp16", CPU)
    other.load_state_dict(scale.state_dict())
    assert other.state_dict() == scale.state_dict() != LossScale("fp16", CPU).state_dict()
    with pytest.raises(RuntimeError):
        other.load_state_dict({})
    LossScale("bf16", CPU).load_state_dict({})


@pytest.mark.slow  # convolutions in fp16, which CPUs have not
def test_a_resumed_training_in_fp16_is_the_training(prepare: Callable[..., Path], squares_root: Path) -> None:
    settings = {
        "precision": "fp16", "subset": 16, "batch": 8, "epochs": 2, "milestones": (), "train_sample": 4,
        "validation": 0.0, "evaluate_test": "end", "lr": 0.01,
    }  # fmt: skip

    def cut(report: Any) -> None:
        if report.record is not None and report.epoch == 1:
            raise StoppedError

    whole, stopped = (prepare("ralr", folder=name, **settings) for name in ("whole", "stopped"))
    train_run(whole, squares_root, device="cpu")
    with pytest.raises(StoppedError):
        train_run(stopped, squares_root, device="cpu", report=cut)
    train_run(stopped, squares_root, device="cpu")
    a, b = (read_checkpoint(d / "checkpoints" / "last.pt") for d in (whole, stopped))
    assert all(torch.equal(a["model"][key], b["model"][key]) for key in a["model"])
    assert a["loss_scale"] == b["loss_scale"] and a["loss_scale"]["_growth_tracker"] > 0
    records = [json.loads(line) for line in (whole / "metrics.jsonl").read_text().splitlines()]
    assert all(record["skipped_steps"] >= 0 for record in records)
    assert json.loads((whole / "env.json").read_text())["precision"] == "fp16"


def test_other_precisions_have_no_column_of_skipped_steps(
    prepare: Callable[..., Path], squares_root: Path
) -> None:
    directory = prepare(epochs=1, milestones=(), subset=48, train_sample=16)
    train_run(directory, squares_root, device="cpu")
    assert "skipped_steps" not in (directory / "metrics.jsonl").read_text()
    assert "loss_scale" not in read_checkpoint(directory / "checkpoints" / "last.pt")


def test_fp16_is_of_training_alone() -> None:
    with pytest.raises(InputError, match="`--precision fp16` is of training"):
        compare({"a": nn.Linear(3, 2)}, precision="fp16")
