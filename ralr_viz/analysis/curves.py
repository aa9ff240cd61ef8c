"""Learning curves of runs, put on one axis of epochs; imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ralr_viz.errors import InputError
from ralr_viz.results.columns import CURVES, SELECTING
from ralr_viz.results.curves import CurvesResult
from ralr_viz.results.names import group_runs, name_runs
from ralr_viz.results.of_loss import describe_task
from ralr_viz.results.records import Source, describe_runs, read_logs
from ralr_viz.results.run import RunRecord
from ralr_viz.results.tasks import About


def compute_curves(
    runs: Source | Sequence[Source],
    *,
    columns: Mapping[str, str] | None = None,
    progress: Callable[[int, int, str], object] | None = None,
) -> CurvesResult:
    """Put runs on one axis of epochs and find each one's best epoch.

    Args:
        runs: In the order in which they are to be drawn: run directories, folders of them, CSVs of anybody's log,
            or records.
        columns: Quantity → column of the CSVs, where its name is not recognised: ``{"val_acc": "score"}``.
        progress: Called as ``progress(done, total, what)`` after each log.

    Raises:
        InputError: No run, one that cannot be read, or runs that share no split: some with validation only, others
            with test only.
        UnknownNameError: ``columns`` names a quantity or a column that does not exist.

    Example:
        >>> compute_curves(["runs/R/ralr", "mine.csv"], columns={"val_acc": "score"})  # doctest: +SKIP
    """
    return _put_side_by_side(read_logs(runs, columns, progress))


def _put_side_by_side(runs: Sequence[RunRecord]) -> CurvesResult:
    if not runs:
        raise InputError("no run was given: name at least one run directory or .csv log")
    epoch = np.unique(np.concatenate([run.epoch for run in runs]))
    arrays: dict[str, Any] = {name: np.full((len(runs), len(epoch)), np.nan) for name in CURVES}
    for i, run in enumerate(runs):
        columns = np.searchsorted(epoch, run.epoch)
        for name, array in arrays.items():
            values = run.values(name)
            array[i, columns] = np.where(np.isfinite(values), values, np.nan)
    best = [_best(epoch, {name: arrays[name][i] for name in SELECTING}) for i in range(len(runs))]
    names = name_runs(runs)
    return CurvesResult(
        run=names,
        recipe=tuple(run.recipe_name for run in runs),
        method=tuple(run.method for run in runs),
        seed=tuple(run.seed for run in runs),
        status=tuple(run.status for run in runs),
        split=_common_split(runs, arrays),
        epoch=epoch,
        best_epoch=np.array([number for number, _ in best], dtype=np.int64),
        best_by=tuple(by for _, by in best),
        group=group_runs(runs),
        notes=tuple(f"{name}: {note}" for name, run in zip(names, runs, strict=True) for note in run.notes),
        provenance=describe_runs(runs),
        **describe_task(_common_task(runs)),
        **arrays,
    )


def _common_task(runs: Sequence[RunRecord]) -> About:
    """How one speaks of all of them."""
    first = runs[0]
    for run in runs:
        if run.about != first.about:
            raise InputError(
                f"`{run.label}` is scored by {run.about.score}, `{first.label}` by {first.about.score}: draw them one by one"
            )
    return first.about


def _best(epoch: np.ndarray, selecting: dict[str, np.ndarray]) -> tuple[int, str]:
    for name, losses in selecting.items():
        if np.isfinite(losses).any():
            return int(epoch[np.flatnonzero(losses == np.nanmin(losses))[-1]]), name
    return 0, ""


def _common_split(runs: Sequence[RunRecord], arrays: dict[str, np.ndarray]) -> str:
    has = {
        split: np.isfinite(arrays[f"{key}_loss"]).any(axis=1) | np.isfinite(arrays[f"{key}_acc"]).any(axis=1)
        for split, key in (("validation", "val"), ("test", "test"))
    }
    evaluated = has["validation"] | has["test"]
    if not evaluated.any():
        return ""
    for split, there in has.items():
        if there[evaluated].all():
            return split
    lacking = [
        next(run.label for run, there in zip(runs, has[split], strict=True) if not there) for split in has
    ]
    raise InputError(
        f"`{lacking[0]}` has no validation values and `{lacking[1]}` no test values: draw them one by one"
    )
