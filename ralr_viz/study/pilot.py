"""The speed of a study's training on this machine, from a few steps of it."""

from __future__ import annotations

from pathlib import Path

import torch

from ralr_viz.recipe import Recipe
from ralr_viz.runtime.device import resolve_runtime
from ralr_viz.study.plan import Rate
from ralr_viz.train.speed import measure_speed


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
    speed = measure_speed(recipe, data_root, runtime)
    measured = f"{speed.steps} step{'s' * (speed.steps > 1)}" if speed.steps else "1 epoch"
    where = f"{runtime.device}, {runtime.precision}, {runtime.threads or torch.get_num_threads()} threads"
    return Rate(speed.samples_per_second, speed.state_bytes, f"{measured}, on {where}")
