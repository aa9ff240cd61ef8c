"""What a training promises of a device: the same bits twice, over a stop, beside another process, on the next device."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from ralr_viz.analysis.fork import compute_fork
from ralr_viz.analysis.fork.point import open_state
from ralr_viz.train.checkpoint import read_checkpoint
from ralr_viz.train.distributed import ProcessRanks
from ralr_viz.train.loop import train_run
from ralr_viz.train.prepare import prepare_run

SETTINGS = {"epochs": 3, "keep_every": 1, "train_sample": 20, "subset": 48, "batch": 18}
"""Two steps an epoch."""


ROUNDING: set[str] = set()
"""How the trainings rounded convolutions of fp32 numbers."""


class StoppedError(Exception):
    """What a report raises after an epoch, in the place of a power cut."""


@pytest.fixture
def train(
    make_recipe: Callable[..., Any], squares_root: Path, tmp_path: Path, device: str
) -> Callable[..., Path]:
    """``train("a", method, stop_after=…)``: a run directory, deterministic where the device is not by itself."""

    def run(
        name: str, method: str = "baseline", *, on: str = device, stop_after: int = 0, **options: Any
    ) -> Path:
        recipe = make_recipe(**(SETTINGS | options.pop("settings", {})))
        directory = prepare_run(recipe, method, 2, tmp_path / name, resume=True)

        def report(step: Any) -> None:
            ROUNDING.add(torch.backends.cudnn.conv.fp32_precision)  # type: ignore[attr-defined]
            if step.record is not None and step.epoch == stop_after:
                raise StoppedError

        given: dict[str, Any] = {"deterministic": on == "cuda", "report": report}
        try:
            train_run(directory, squares_root, device=on, **(given | options))
        except StoppedError:
            assert stop_after
        return directory

    return run


def weights(directory: Path, name: str = "last") -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = read_checkpoint(directory / "checkpoints" / f"{name}.pt")["model"]
    return {key: value.cpu() for key, value in found.items()}


def losses(directory: Path) -> list[float]:
    return [json.loads(line)["train_loss"] for line in (directory / "metrics.jsonl").read_text().splitlines()]


def same(one: Path, other: Path, name: str = "last") -> bool:
    ours, theirs = weights(one, name), weights(other, name)
    return ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_two_trainings_have_the_same_bits_and_a_resumed_one_too(
    device: str, train: Callable[..., Path], precision: str
) -> None:
    settings = {"precision": precision}
    ROUNDING.clear()
    whole, again = (train(name, "ralr", settings=settings) for name in ("whole", "again"))
    assert same(whole, again)
    stopped = train("stopped", "ralr", stop_after=1, settings=settings)
    assert not (stopped / "result.json").exists()
    assert same(train("stopped", "ralr", settings=settings), whole)
    assert {"ieee"} == ROUNDING  # also what is left in fp32 beside bf16
    known = json.loads((whole / "env.json").read_text())
    assert (known["precision"], known["deterministic"]) == (precision, device == "cuda")


def test_a_state_saved_on_one_device_goes_on_on_the_other_and_back(
    device: str, train: Callable[..., Path]
) -> None:
    on_cpu = train("on-cpu", "ralr", on="cpu")
    train("moving", "ralr", stop_after=1)
    train("moving", "ralr", stop_after=2, on="cpu")
    moving = train("moving", "ralr")
    if device == "cpu":
        assert same(moving, on_cpu)
    # six steps of the same training, whose rounding BatchNorm of 18 images makes grow
    assert losses(moving) == pytest.approx(losses(on_cpu), rel=2e-2)


def test_replay_of_a_run_is_the_run(device: str, train: Callable[..., Path], squares_root: Path) -> None:
    directory = train("run", "ralr")
    state = open_state(f"{directory}@1", root=squares_root, device=device)
    result = compute_fork(
        state, factors=(1,), epochs=1, repeats=1, probe_images=8, deterministic=device == "cuda"
    )
    assert result.reproduction == "reproduced", result.reproduction_note


@pytest.fixture
def group_of_one(device: str) -> Iterator[ProcessRanks]:
    """torchrun of one process makes no group, and two may not share a GPU: NCCL's way is tried by this."""
    where = "cuda:0" if device == "cuda" else "cpu"
    backend = "cpu:gloo,cuda:nccl" if device == "cuda" else "gloo"
    dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1)
    yield ProcessRanks(0, 1, where)
    dist.destroy_process_group()


def test_a_group_of_one_trains_what_one_process_does(
    group_of_one: ProcessRanks, train: Callable[..., Path]
) -> None:
    alone, grouped = train("alone", "ralr"), train("grouped", "ralr", ranks=group_of_one)
    assert same(alone, grouped)
    assert json.loads((grouped / "env.json").read_text())["backend"] == group_of_one.backend


@pytest.mark.parametrize(
    "device", [pytest.param("cpu", marks=pytest.mark.slow), pytest.param("cuda", marks=pytest.mark.gpu)]
)
def test_compiled_training_is_the_eager_one_up_to_rounding(device: str, train: Callable[..., Path]) -> None:
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("torch sees no CUDA device")
    eager, compiled = train("eager", "ralr"), train("compiled", "ralr", compile=True)
    assert losses(compiled) == pytest.approx(losses(eager), rel=2e-2)
