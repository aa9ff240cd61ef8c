"""The speed of a training on this machine, from a few steps of it."""

from __future__ import annotations

import io
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ralr_viz.recipe import Recipe
from ralr_viz.results.columns import speed_of
from ralr_viz.runtime.device import Runtime, configured
from ralr_viz.runtime.faults import named_faults
from ralr_viz.runtime.stop import StopSignal
from ralr_viz.tasks.opening import open_task
from ralr_viz.train.training import EpochStoppedError, Training

# Steps that warm up (memory, convolution plans, compilation) and that are measured, at most, and seconds after which
# either ends: a step of a large network takes a minute on a laptop.
WARM_UP, MEASURED = 4, 20
_LONG_ENOUGH = 10.0


class Speed(NamedTuple):
    """What was measured.

    Attributes:
        samples_per_second: In training, without the evaluations.
        state_bytes: Size of a checkpoint.
        steps: How many were measured; 0 for a whole epoch.
    """

    samples_per_second: float
    state_bytes: int
    steps: int


class _StopAfter(StopSignal):
    """A stop signal that comes after a number of questions, or long enough: the training asks once a step."""

    def __init__(self, steps: int) -> None:
        self.left, self.end = steps, time.monotonic() + _LONG_ENOUGH

    @property
    def number(self) -> int | None:  # type: ignore[override]
        self.left -= 1
        return 0 if self.left <= 0 or time.monotonic() >= self.end else None


def measure_speed(recipe: Recipe, data_root: Path, runtime: Runtime) -> Speed:
    """Train a few steps and forget them; torch's switches are afterwards as they were.

    Args:
        recipe: What to measure; where an epoch has fewer steps, fewer are measured.
        data_root: Folder of the data sets.
        runtime: Where and in which precision.

    Raises:
        InputError: The data set or the network is not there.
        RalrVizError: The device is out of memory, or lacks a deterministic kernel.
    """
    remedy = f"at `batch` = {recipe.batch}: lower it by --set batch"
    with named_faults(runtime.device, remedy), configured(runtime):
        training = Training(open_task(recipe, data_root), "baseline", 0, runtime)
        if training.steps < 3:  # too few to stop among them: an epoch, with its warming up
            record = training.next_epoch(StopSignal())
            return Speed(speed_of(record), _state_bytes(training), 0)
        warm = _train(training, min(WARM_UP, training.steps - 2))
        done = _train(training, min(MEASURED, training.steps - 1 - warm["step"]))
        steps, seconds = done["step"] - warm["step"], done["seconds"] - warm["seconds"]
        return Speed(steps * recipe.batch / seconds, _state_bytes(training), steps)


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
