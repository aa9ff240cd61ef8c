"""How far the weights move, from the records and the kept states of runs (the paper's "the network keeps moving")."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ralr_viz.analysis.movement.weights import Weights, collect_late, common_late_epochs
from ralr_viz.analysis.predictions import predictions_of
from ralr_viz.comparison import Comparison, Progress
from ralr_viz.comparison.states import Moved, RunStates, open_states
from ralr_viz.errors import InputError
from ralr_viz.nouns import check
from ralr_viz.nouns import movement as options
from ralr_viz.nouns.option import SEED
from ralr_viz.results.movement import MovementResult, late_start
from ralr_viz.results.names import group_runs, name_methods
from ralr_viz.results.predictions import PredictionsResult
from ralr_viz.results.records import describe_runs
from ralr_viz.results.run import RunRecord

_RECORDED = {
    "step_length": "step_length",
    "distance": "distance_from_init",
    "weight_norm": "weight_norm",
    "lr": "lr",
}


def compute_movement(
    runs: Moved | Sequence[Moved],
    *,
    late: Comparison | Sequence[PredictionsResult] | None = None,
    seed: int = SEED.default,
    progress: Progress | None = None,
) -> MovementResult:
    r"""Angular path, function change, path, net distance and churn of runs, over all epochs and over the last third.

    Angular path and function change are what no rescaling before a normalisation moves; `MovementResult` defines both.
    The records alone give the path :math:`\sum_e \|w_e - w_{e-1}\|`, the distance from the start and both per
    :math:`\sum_e \eta_e`; what needs the weights or predictions themselves is NaN without them. A path of
    equal, unrelated steps has path/net = √T, a straight one 1.

    Args:
        runs: In the order in which they are compared: run directories, folders of them, records, or records with
            states of your own, ``(record, {epoch: {name: array}})``. States are looked up one at a time and not
            held, so a mapping that reads from disk is fine; running statistics are left out. The late phase needs
            epochs 2/3·E and E, its angular path all between them that it shall see, angles three epochs in a row.
        late: The networks after 2/3·E and after E epochs of each run, in order, as `late_states` opens them, or
            their predictions, on images that all share; two for each run that has both states, or for each run.
            Left out, function change and churn are not measured.
        seed: Of the bootstrap over images.
        progress: Called as ``progress(done, total, what)``.

    Raises:
        InputError: No run; a run that never recorded its steps, of which there are no states either; runs of
            different architectures; or predictions on different images or of another number of networks. That the
            networks of a comparison do not predict is noted.

    References:
        Deng et al. 2022, section 3. van Laarhoven 2017 for angles. Toneva et al. 2019 and Milani Fard et al. 2016 for
        churn.

    Example:
        >>> compute_movement(["runs/R/baseline/seed0", "runs/R/ralr/seed0"]).describe()  # doctest: +SKIP
    """
    check(options.SPEC.options, seed=seed)
    opened = open_states(runs)
    if not opened:
        raise InputError("no run was given: name at least one run directory")
    records = [run.record for run in opened]
    epoch = np.unique(np.concatenate([record.epoch for record in records]))
    curves: dict[str, Any] = {name: _align(records, epoch, key) for name, key in _RECORDED.items()}
    if not np.isfinite(curves["step_length"]).any():
        raise InputError(
            "no run has recorded `step_length`: log it from your own loop with `RunWriter.log(step_length=…)`"
        )
    weights = _read_weights(opened, progress)
    curves["angle"] = np.full((len(records), len(epoch)), np.nan)
    for i, one in enumerate(weights):
        for e, angle in one.angles.items():
            curves["angle"][i, epoch == e] = angle
    churn = _measure_churn(opened, late, progress)
    lasts = [record.planned_epochs for record in records]
    return MovementResult(
        models=name_methods(records),
        methods=group_runs(records),
        epoch=epoch,
        late_after=np.array([late_start(last) for last in lasts], dtype=np.int64),
        last_epoch=np.array(lasts, dtype=np.int64),
        **curves,
        **collect_late([record.label for record in records], [one.late for one in weights]),
        changed=churn.changed,
        function_change=churn.change,
        dataset=churn.dataset,
        split=churn.split,
        seed=seed,
        notes=(*churn.notes, *_notes(opened)),
        provenance=describe_runs(records, **_looked_at(late)),
    )


def _read_weights(runs: Sequence[RunStates], progress: Progress | None) -> list[Weights]:
    total, done = sum(len(run.states) for run in runs), 0

    def advance() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total, "weights")

    grids = common_late_epochs(runs)
    return [Weights.read(run, grid, advance) for run, grid in zip(runs, grids, strict=True)]


def _notes(runs: Sequence[RunStates]) -> list[str]:
    """What is not known of the runs."""
    notes = [f"left out: {run.damage}" for run in runs if run.damage]
    for record, last in ((run.record, run.record.planned_epochs) for run in runs):
        if record.epoch[-1] < last:
            notes.append(f"{record.label}: {record.epoch[-1]} of {last} epochs, so its sums are not known")
    for run in runs:
        if run.late_ends is None:
            last = run.record.planned_epochs
            notes.append(
                f"{run.record.label}: the states after {late_start(last)} and {last} epochs are not kept"
            )
    return notes


def _align(runs: Sequence[RunRecord], epoch: np.ndarray, quantity: str) -> np.ndarray:
    values = np.full((len(runs), len(epoch)), np.nan)
    for i, run in enumerate(runs):
        recorded = run.values(quantity)
        values[i, np.searchsorted(epoch, run.epoch)] = np.where(np.isfinite(recorded), recorded, np.nan)
    return values


class _Churn(NamedTuple):
    """Of each image (m, n) whether its prediction changed, −1 where not known, and how much probability moved, NaN likewise; and where the images are from."""

    changed: np.ndarray
    change: np.ndarray | None = None
    dataset: str | None = None
    split: str | None = None
    notes: tuple[str, ...] = ()


def _measure_churn(
    runs: Sequence[RunStates],
    late: Comparison | Sequence[PredictionsResult] | None,
    progress: Progress | None,
) -> _Churn:
    nothing = _Churn(np.zeros((len(runs), 0), np.int8))
    if late is None:
        return nothing
    whose = _owners(runs, len(late))
    try:
        found = predictions_of(late, progress)
    except InputError as error:
        return nothing._replace(notes=(note_no_churn(error),))
    if not found:
        return nothing
    first = found[0]
    for one in found:
        where = (one.dataset, one.split)
        if where != (first.dataset, first.split) or not np.array_equal(one.indices, first.indices):
            raise InputError(
                f"`{one.model}` was predicted on other images than `{first.model}`: churn needs the same for all"
            )
    changed = np.full((len(runs), len(first.indices)), -1, np.int8)
    change = np.full(changed.shape, np.nan, np.float32)
    for row, before, after in zip(whose, found[::2], found[1::2], strict=True):
        changed[row] = before.predicted != after.predicted
        change[row] = np.abs(after.probabilities - before.probabilities).sum(axis=1) / 2
    return _Churn(changed, change, first.dataset, first.split)


def note_no_churn(error: InputError) -> str:
    """Says why there is neither function change nor churn, and how to go without."""
    return f"churn is not measured: {error} (nor the function change; --no-churn leaves out both)"


def _owners(runs: Sequence[RunStates], networks: int) -> list[int]:
    """Places of the runs that so many late networks belong to, two each."""
    kept = [i for i, run in enumerate(runs) if run.late_ends is not None]
    for owners in (kept, list(range(len(runs)))):
        if networks == 2 * len(owners):
            return owners
    raise InputError(
        f"`late` has {networks} networks for {len(runs)} runs, {len(kept)} of which kept their late states: give two "
        "for each of these, as `late_states` does"
    )


def _looked_at(late: Any) -> dict[str, Any]:
    """Of the late states, where they were opened here."""
    if not isinstance(late, Comparison):
        return {}
    return {"late": late.facts(), "device": late.runtime.device.type, "precision": late.runtime.precision}
