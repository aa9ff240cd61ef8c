"""The states of one training that a run has kept."""

from __future__ import annotations

from pathlib import Path

from ralr_viz.errors import InputError
from ralr_viz.train.checkpoint import resolve_checkpoint, saved_epochs

MOST_STATES = 200


def kept_states(run: Path) -> tuple[list[str], list[int]]:
    """Checkpoints of a run, as `compare` takes them, and their epochs, growing.

    Of more than `MOST_STATES` as many are taken, evenly spread, the first and the last among them.

    Raises:
        InputError: No run directory, or fewer than three, which make no path.
        CheckpointError: One of them is gone.
    """
    if not run.is_dir():
        raise InputError(f"`--run {run}` is no run directory: give RUNS/RECIPE/METHOD/seedK")
    epochs = saved_epochs(run)
    if len(epochs) < 3:
        raise InputError(
            f"`--run {run}` has kept {len(epochs)} epochs, a path takes 3 or more: train with --set keep_every=1"
        )
    if len(epochs) > MOST_STATES:
        epochs = [epochs[i * (len(epochs) - 1) // (MOST_STATES - 1)] for i in range(MOST_STATES)]
    specs = [f"{run}@{epoch}" for epoch in epochs]
    for spec in specs:  # before any is read
        resolve_checkpoint(spec)
    return specs, epochs
