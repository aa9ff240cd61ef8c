"""The report's histograms: an earlier epoch of each side against the state that is looked at."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from ralr_viz.analysis.activations import compute_activations
from ralr_viz.comparison import Progress, compare
from ralr_viz.errors import InputError
from ralr_viz.results.activations import ActivationsResult
from ralr_viz.results.movement import nearest_late
from ralr_viz.train.checkpoint import Checkpoint, load_checkpoint, saved_epochs
from ralr_viz.workflows.report.gathering import Options, in_small_passes

_REMEDY = "train with `--set keep=0.6666666666666666,1.0`, or give two states to `ralr-viz activations`"


def compute_late_activations(
    checkpoints: Sequence[Checkpoint],
    names: Sequence[str],
    folders: Sequence[Path],
    options: Options,
    progress: Progress,
) -> ActivationsResult:
    """Histograms of two epochs of each side, on images that are not chosen by their answers.

    Args:
        checkpoints: State of each side that the report looks at.
        names: Of the sides.
        folders: Run directories of the sides; fewer where one is only weights.
        options: Of the command.
        progress: Called as ``progress(done, total, what)``.

    Raises:
        InputError: No earlier state that all sides have kept, or images of different splits.
    """
    before = [load_checkpoint(spec, **options.theirs) for spec in _earlier_states(checkpoints, folders)]
    comparison = compare(
        [state for pair in zip(before, checkpoints, strict=True) for state in pair],
        root=options.data,
        split=options.split,
        limit=min(options.samples, options.limit or options.samples),
        device=options.device,
        precision=options.precision,
        batch=options.batch,
    )
    result = compute_activations(in_small_passes(comparison, options), progress=progress)
    return dataclasses.replace(
        result,
        rows=tuple(names),
        checkpoints=tuple(
            (f"epoch {earlier.epoch}", f"epoch {later.epoch}")
            for earlier, later in zip(before, checkpoints, strict=True)
        ),
    ).asked_by(options.provenance)


def _earlier_states(checkpoints: Sequence[Checkpoint], folders: Sequence[Path]) -> list[str]:
    """``--ckpt`` of each side at the epoch nearest to 2/3 of what it is looked at, of those that all have kept."""
    if len(folders) < len(checkpoints):
        raise InputError(f"weights without a run have no earlier state; {_REMEDY}")
    last = min(checkpoint.epoch or 0 for checkpoint in checkpoints)
    common = set.intersection(*(set(saved_epochs(folder)) for folder in folders))
    before = {epoch for epoch in common if epoch < last}
    if not before:
        raise InputError(f"the runs have kept no earlier epoch in common; {_REMEDY}")
    early = nearest_late(before, last)
    return [f"{folder}@{early}" for folder in folders]
