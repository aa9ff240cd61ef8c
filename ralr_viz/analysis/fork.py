"""Continue one checkpoint at several learning rates: the controlled experiment beside RALR's own draws."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch

from ralr_viz.analysis.branch import (
    Branch,
    BranchOutcome,
    ForkPoint,
    branch_file,
    load_branch,
    read_fork_point,
    save_branch,
    train_branch,
)
from ralr_viz.analysis.branch_probe import BranchProbe
from ralr_viz.analysis.reproduction import SETTINGS, compare_with_run, recorded_epochs
from ralr_viz.data import Dataset, load_dataset
from ralr_viz.errors import DataError, InputError, InterruptedRunError, RalrVizError
from ralr_viz.results.fork import CURVES, ForkResult
from ralr_viz.results.storage import remove_leftovers, storage_error
from ralr_viz.train.checkpoint import resolve_checkpoint
from ralr_viz.train.recipe_rules import HIGHEST_FACTOR
from ralr_viz.train.runtime import configure, describe_environment, resolve_runtime
from ralr_viz.train.stop import StopSignal, catch_stop_signals
from ralr_viz.train.training import EpochStoppedError, Training

_COLUMNS = {"train_loss": "train_loss_eval"}
"""Where a curve has another name in a run's records, in which ``train_loss`` is the running mean."""


def compute_fork(
    checkpoint: str | Path,
    data_root: Path,
    *,
    factors: Sequence[float] = (1.0, 1.5, 2.0, 3.0),
    epochs: int = 1,
    repeats: int = 1,
    probe_images: int = 1000,
    work: Path | None = None,
    device: str = "auto",
    deterministic: bool = False,
    compile: bool = False,
    progress: Callable[[int, int], object] | None = None,
    provenance: dict[str, Any] | None = None,
) -> ForkResult:
    """Continue a checkpoint for ``epochs`` epochs at each factor, then for as many at factor 1.

    The scheduled learning rate goes on and is multiplied. Repeat 0 has the run's own order and augmentation;
    it also replays the factors that the run drew, which must give the run itself. Each other repeat has an
    order and augmentation of its own, the same for all factors. Nothing in the run directory is changed.

    Args:
        checkpoint: ``RUN@E`` or a ``.pt`` file, with the optimizer's state.
        data_root: Folder of the ingested data sets.
        factors: Different numbers > 0, 1 among them.
        epochs: K ≥ 1.
        repeats: R ≥ 1.
        probe_images: Training images for sharpness and barrier, after the amplified epochs and after the
            last; 0 leaves the two out.
        work: Folder in which each finished branch is kept and found again, also with more factors or
            repeats; nothing is kept when left out.
        device, deterministic, compile: As in training; the precision is the checkpoint's.
        progress: Called with epochs done and epochs of all branches.
        provenance: More of what the result says about its origin.

    Raises:
        CheckpointError: No checkpoint, or one from which training cannot go on.
        InputError: Factors, epochs or repeats outside their range; other data than was trained on; epochs
            beyond the end of a cosine schedule.
        InterruptedRunError: SIGINT or SIGTERM; the finished branches are kept.
        StorageError: The disk is full; what was kept before is intact.
    """
    chosen = _check_settings(factors, epochs, repeats)
    point = read_fork_point(resolve_checkpoint(checkpoint))
    total = 2 * epochs
    schedule = point.recipe.schedule
    if schedule in ("cosine", "onecycle") and point.epoch + total > point.recipe.epochs:
        raise InputError(
            f"`--epochs {epochs}`: a {schedule} schedule ends with the run, {point.recipe.epochs - point.epoch} "
            f"epochs after `{checkpoint}`, and a fork takes 2·{epochs}: fork earlier or take fewer"
        )
    dataset = _load_data(point, data_root)
    runtime = resolve_runtime(
        device, str(point.state["header"]["precision"]), deterministic=deterministic, compile=compile
    )
    configure(runtime)
    environment = {k: v for k, v in describe_environment(runtime).items() if k in SETTINGS}
    directory = point.path.parent.parent if point.path.parent.name == "checkpoints" else None
    recorded = recorded_epochs(directory, point.epoch)[:total]
    branches = [Branch(f, r, total, epochs) for r in range(repeats) for f in chosen]
    twin = next((b for b in branches if b.repeat == 0 and _has_factors(b, recorded)), None)
    if twin is None and recorded:
        twin = Branch(None, 0, len(recorded), epochs)
        branches.append(twin)
    if work is not None:
        _make_folder(work)
    try:
        training = Training(point.recipe, point.method, point.seed, dataset, runtime)
        with catch_stop_signals() as stop:
            start, base_lr = _look_at_start(training, point, total)
            probe = BranchProbe(training, point.state["model"], probe_images) if probe_images else None
            key = {
                "checkpoint": point.sha256,
                "data": dataset.content_hash,
                "environment": environment,
                "probe": probe.settings if probe else None,
            }
            outcomes = _train_all(training, point, branches, probe, work, key, stop, progress)
            start_sharpness = probe.sharpness(point.state["model"]) if probe else math.nan
    except torch.OutOfMemoryError:
        raise RalrVizError(
            f"{runtime.device} is out of memory at `batch` = {point.recipe.batch}: choose a larger --device"
        ) from None
    reproduction = compare_with_run(
        outcomes[branches.index(twin)] if twin else outcomes[0], recorded, directory, environment
    )
    notes = _notes(branches, outcomes, recorded, twin, point, base_lr)
    return ForkResult(
        run=f"{point.method}, seed {point.seed}, epoch {point.epoch}",
        start_epoch=point.epoch,
        amplified_epochs=epochs,
        factor=np.array([math.nan if b.factor is None else b.factor for b in branches]),
        repeat=np.array([b.repeat for b in branches]),
        status=tuple(outcome.status for outcome in outcomes),
        base_lr=base_lr,
        **_curves(outcomes, start, total),
        sharpness=_probed(outcomes, "sharpness", probe),
        barrier=_probed(outcomes, "barrier", probe),
        start_sharpness=start_sharpness,
        probe=probe.describe() if probe else (),
        images={name: len(labels) for name, (_, labels) in training.eval_sets.items()},
        dataset=dataset.name,
        reproduction=reproduction.outcome,
        reproduction_note=reproduction.note,
        notes=notes,
        provenance={
            "checkpoint": {"sha256": point.sha256, "method": point.method, "seed": point.seed, "epoch": point.epoch},
            "recipe": point.recipe.to_dict(),
            "data": dataset.content_hash,
            "environment": environment,
        }
        | (provenance or {}),
    )  # fmt: skip


def _check_settings(factors: Sequence[float], epochs: int, repeats: int) -> tuple[float, ...]:
    """The factors, growing."""
    chosen = sorted(float(factor) for factor in factors)
    shown = ",".join(f"{factor:g}" for factor in factors)
    if not all(0 < factor <= HIGHEST_FACTOR for factor in chosen):  # false for NaN too
        raise InputError(
            f"`--factors {shown}` must be numbers in (0, {HIGHEST_FACTOR:.0e}], such as 1,1.5,2,3"
        )
    if len(set(chosen)) < len(chosen):
        raise InputError(f"`--factors {shown}` names a factor twice: give each once")
    if 1.0 not in chosen:
        raise InputError(f"`--factors {shown}` must contain 1, which the others are compared with: add it")
    for name, value in (("epochs", epochs), ("repeats", repeats)):
        if value < 1:
            raise InputError(f"`--{name} {value}` must be at least 1")
    return tuple(chosen)


def _load_data(point: ForkPoint, data_root: Path) -> Dataset:
    dataset = load_dataset(point.recipe.dataset, data_root)
    if point.state["header"].get("content_hash") != dataset.content_hash:
        raise DataError(
            f"`{point.path}` was trained on other images than `{dataset.name}` holds now: a fork needs the same; "
            "choose the data by --data"
        )
    return dataset


def _has_factors(branch: Branch, recorded: Sequence[dict[str, float]]) -> bool:
    """Whether a branch trains at the very factors that the run had, so that it is the recorded one too."""
    planned = [branch.factor if k < branch.amplified else 1.0 for k in range(len(recorded))]
    return bool(recorded) and planned == [record.get("factor") for record in recorded]


def _make_folder(work: Path) -> None:
    try:
        work.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(work, error) from error
    remove_leftovers(work)


def _look_at_start(training: Training, point: ForkPoint, epochs: int) -> tuple[dict[str, float], np.ndarray]:
    """What a record says of the checkpoint itself, and the base LR (epochs,) that the schedule goes on with."""
    training.restore(dict(point.state), point.path)
    start = {n: math.nan if v is None else v for n, v in training.evaluate().items()}
    base_lr = np.empty(epochs)
    for k in range(epochs):
        base_lr[k] = training.scheduler.base_lr[0]
        training.scheduler.step()
    return start | {"distance": 0.0, "sum_lr": 0.0}, base_lr


def _train_all(
    training: Training,
    point: ForkPoint,
    branches: Sequence[Branch],
    probe: BranchProbe | None,
    work: Path | None,
    key: dict[str, Any],
    stop: StopSignal,
    progress: Callable[[int, int], object] | None,
) -> list[BranchOutcome]:
    """Train every branch that is not kept already, and keep it."""
    total = sum(branch.epochs for branch in branches)
    before = 0
    outcomes: list[BranchOutcome] = []
    for branch in branches:

        def move(done: int, before: int = before) -> None:
            if progress is not None:
                progress(before + done, total)

        own = key | dataclasses.asdict(branch)
        file = None if work is None else branch_file(work, own)
        outcome = None if file is None else load_branch(file, own)
        if outcome is None:
            try:
                outcome = train_branch(training, point, branch, stop, move)
            except EpochStoppedError:
                _interrupt(stop, len(outcomes), len(branches), work)
            if probe is not None:
                outcome = dataclasses.replace(outcome, probes=_probe(probe, outcome, branch), states={})
            if file is not None:
                save_branch(file, own, outcome)
        outcomes.append(outcome)
        before += branch.epochs
        move(0, before)
        if stop.number is not None and len(outcomes) < len(branches):
            _interrupt(stop, len(outcomes), len(branches), work)
    return outcomes


def _probe(probe: BranchProbe, outcome: BranchOutcome, branch: Branch) -> dict[str, tuple[float, ...]]:
    """Sharpness and barrier after the amplified epochs and after twice as many; NaN where it ended before."""
    states = [outcome.states.get(epoch) for epoch in (branch.amplified, 2 * branch.amplified)]
    return {
        name: tuple(math.nan if state is None else measure(state) for state in states)
        for name, measure in (("sharpness", probe.sharpness), ("barrier", probe.barrier))
    }


def _probed(outcomes: Sequence[BranchOutcome], name: str, probe: BranchProbe | None) -> np.ndarray:
    """(B, 2), or (B, 0) without probes."""
    if probe is None:
        return np.zeros((len(outcomes), 0))
    return np.array([outcome.probes[name] for outcome in outcomes])


def _interrupt(stop: StopSignal, done: int, total: int, work: Path | None) -> NoReturn:
    assert stop.number is not None
    kept = "nothing was kept" if work is None else "the finished ones are kept: run the same command to go on"
    raise InterruptedRunError(f"stopped after {done} of {total} branches; {kept}", stop.number)


def _curves(outcomes: Sequence[BranchOutcome], start: dict[str, float], epochs: int) -> dict[str, np.ndarray]:
    """The arrays (B, epochs + 1) of a result."""
    curves = {name: np.full((len(outcomes), epochs + 1), math.nan) for name in CURVES}
    for i, outcome in enumerate(outcomes):
        for name, values in curves.items():
            column = _COLUMNS.get(name, name)
            values[i, 0] = start.get(column, math.nan)
            if name != "sum_lr":
                values[i, 1 : len(outcome.records) + 1] = [r.get(column, math.nan) for r in outcome.records]
        lr = [record["lr"] for record in outcome.records]
        curves["sum_lr"][i, 1 : len(lr) + 1] = np.cumsum(lr)
    return curves


def _notes(
    branches: Sequence[Branch],
    outcomes: Sequence[BranchOutcome],
    recorded: Sequence[dict[str, float]],
    twin: Branch | None,
    point: ForkPoint,
    base_lr: np.ndarray,
) -> tuple[str, ...]:
    notes = []
    if twin is not None and twin.factor is not None:
        notes.append(f"The run's own factors are those of factor {twin.factor:g}, whose repeat 0 replays it.")
    elif twin is not None:
        shown = ", ".join(f"{record['factor']:.2f}" for record in recorded)
        notes.append(f"Recorded factors: {shown}.")
    beyond = point.epoch + len(base_lr) - point.recipe.epochs
    if beyond > 0:
        notes.append(
            f"The recipe of the run ends {beyond} epoch{'s' * (beyond > 1)} before the branches do: its last base LR goes on."
        )
    diverged = [
        f"{b.label}, repeat {b.repeat}"
        for b, o in zip(branches, outcomes, strict=True)
        if o.status == "diverged"
    ]
    if diverged:
        notes.append(f"Diverged: {'; '.join(diverged)}; means and differences that need it are left out.")
    return tuple(notes)
