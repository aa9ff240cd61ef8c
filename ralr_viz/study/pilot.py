"""The speed of a training on this machine, from a few steps of it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch

from ralr_viz.recipe import Recipe
from ralr_viz.results.columns import speed_of
from ralr_viz.runtime.device import Runtime, configured, resolve_runtime
from ralr_viz.runtime.faults import named_faults
from ralr_viz.runtime.stop import StopSignal
from ralr_viz.study.plan import Rate
from ralr_viz.tasks.opening import open_task
from ralr_viz.train.training import EpochStoppedError, Training

# Steps that warm up (memory, convolution plans, compilation) and that are measured.
WARM_UP, MEASURED = 4, 20


class _StopAfter(StopSignal):
    """A stop signal that comes after a number of questions: the training asks once a step."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    @property
    def number(self) -> int | None:  # type: ignore[override]
        self.left -= 1
        return 0 if self.left <= 0 else None


def measure_rate(
    recipe: Recipe,
    data_root: Path,
    *,
    device: str = "auto",
    deterministic: bool = True,
    compile: bool = False,
) -> Rate:
    """Train a few steps and forget them.

    Args:
        recipe: What to measure; where an epoch has fewer steps, fewer are measured.
        data_root: Folder of the data sets.
        device, deterministic, compile: As they will be in the study.

    Raises:
        InputError: The data set, the network or the device is not there.
    """
    runtime = resolve_runtime(
        device, recipe.precision, deterministic=deterministic, compile=compile, threads=recipe.threads
    )
    remedy = f"at `batch` = {recipe.batch}: lower it by --set batch"
    with named_faults(runtime.device, remedy), configured(runtime):
        return _measure(recipe, data_root, runtime)


def _measure(recipe: Recipe, data_root: Path, runtime: Runtime) -> Rate:
    training = Training(open_task(recipe, data_root), "baseline", 0, runtime)
    where = f"{runtime.device}, {runtime.precision}, {torch.get_num_threads()} threads"
    if training.steps < 3:  # too few to stop among them: an epoch, with its warming up
        record = training.next_epoch(StopSignal())
        return Rate(speed_of(record), _state_bytes(training), f"1 epoch, on {where}")
    warm = _train(training, min(WARM_UP, training.steps - 2))
    done = _train(training, min(MEASURED, training.steps - 1 - warm["step"]))
    steps, seconds = done["step"] - warm["step"], done["seconds"] - warm["seconds"]
    return Rate(
        steps * recipe.batch / seconds, _state_bytes(training), f"{steps} step{'s' * (steps > 1)}, on {where}"
    )


def _state_bytes(training: Training) -> int:
    """Size of a checkpoint, after the first step, with which the optimizer's moments come."""
    buffer = io.BytesIO()
    torch.save({"model": training.model.state_dict(), "optimizer": training.optimizer.state_dict()}, buffer)
    return buffer.tell()


def _train(training: Training, steps: int) -> dict[str, Any]:
    """Go on for some steps of the first epoch; what it returns says how many and how long."""
    try:
        training.next_epoch(_StopAfter(steps))
    except EpochStoppedError as stopped:
        training.partial = stopped.partial
        return stopped.partial
    raise AssertionError("the epoch ended before it was stopped")
