"""Continue one checkpoint at several learning rates: the controlled experiment beside RALR's own draws."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ralr_viz._version import __version__
from ralr_viz.analysis.fork.branch import Branch, BranchOutcome
from ralr_viz.analysis.fork.branch_probe import BranchProbe
from ralr_viz.analysis.fork.branches import make_folder, train_all
from ralr_viz.analysis.fork.point import ForkPoint, ForkState, open_state
from ralr_viz.analysis.fork.reproduction import SETTINGS, compare_with_run, recorded_epochs, recorded_threads
from ralr_viz.comparison import Progress
from ralr_viz.errors import InputError
from ralr_viz.nouns import check
from ralr_viz.nouns import fork as options
from ralr_viz.recipe.rules import HIGHEST_FACTOR
from ralr_viz.results.fork import CURVES, ForkResult
from ralr_viz.results.of_loss import describe_task
from ralr_viz.results.tasks import Score
from ralr_viz.runtime.device import configured, describe_environment, resolve_runtime
from ralr_viz.runtime.faults import named_faults
from ralr_viz.runtime.stop import catch_stop_signals
from ralr_viz.tasks.opening import about_task
from ralr_viz.train.training import Training

_COLUMNS = {"train_loss": "train_loss_eval"}
"""Where a curve has another name in a run's records, in which ``train_loss`` is the running mean."""


def compute_fork(
    state: str | Path | ForkState,
    *,
    factors: Sequence[float] = options.FACTORS.default,
    epochs: int = options.EPOCHS.default,
    repeats: int = options.REPEATS.default,
    probe_images: int = options.PROBE_IMAGES.default,
    deterministic: bool = options.DETERMINISTIC.default,
    compile: bool = options.COMPILE.default,
    work: Path | None = None,
    progress: Progress | None = None,
) -> ForkResult:
    """Continue a checkpoint for ``epochs`` epochs at each factor, then for as many at factor 1.

    The scheduled learning rate goes on and is multiplied. Repeat 0 has the run's own order and augmentation;
    it also replays the factors that the run drew, which must give the run itself. Each other repeat has an
    order and augmentation of its own, the same for all factors. Nothing in the run directory is changed.

    Args:
        state: ``RUN@E`` or a ``.pt`` file, with the optimizer's state, or what `open_state` returned, which takes
            another folder of data or device.
        factors: Different numbers > 0, 1 among them.
        epochs: K ≥ 1.
        repeats: R ≥ 1.
        probe_images: Training images for sharpness and barrier, after the amplified epochs and after the
            last; 0 leaves the two out.
        work: Folder in which each finished branch is kept and found again, also with more factors or
            repeats; nothing is kept when left out.
        deterministic, compile: As in training; precision and threads are the run's own.
        progress: Called as ``progress(done, total, what)`` with the epochs of all branches.

    Raises:
        CheckpointError: No checkpoint, or one from which training cannot go on.
        InputError: Factors, epochs, repeats or images outside their range; other data than was trained on; epochs
            beyond the end of a cosine schedule.
        InterruptedRunError: SIGINT or SIGTERM; the finished branches are kept.
        StorageError: The disk is full; what was kept before is intact.

    Example:
        >>> compute_fork("runs/R/ralr/seed0@16", factors=(1, 2, 3), work=Path("branches"))  # doctest: +SKIP
    """
    check(options.SPEC.options, epochs=epochs, repeats=repeats, probe_images=probe_images)
    chosen = _check_factors(factors)
    point, task, device = state if isinstance(state, ForkState) else open_state(state)
    _check_schedule(point, epochs)
    total = 2 * epochs
    directory = point.path.parent.parent if point.path.parent.name == "checkpoints" else None
    runtime = resolve_runtime(
        device,
        str(point.state["header"]["precision"]),
        deterministic=deterministic,
        compile=compile,
        threads=point.recipe.threads or recorded_threads(directory),
    )
    content_hash = task.facts.get("content_hash")
    environment = {k: v for k, v in describe_environment(runtime).items() if k in SETTINGS}
    recorded = recorded_epochs(directory, point.epoch)[:total]
    branches = [Branch(f, r, total, epochs) for r in range(repeats) for f in chosen]
    twin = next((b for b in branches if b.repeat == 0 and _has_factors(b, recorded)), None)
    if twin is None and recorded:
        twin = Branch(None, 0, len(recorded), epochs)
        branches.append(twin)
    if work is not None:
        make_folder(work)
    remedy = f"at `batch` = {point.recipe.batch}: choose a larger --device"
    with named_faults(runtime.device, remedy), configured(runtime), catch_stop_signals() as stop:
        training = Training(task, point.method, point.seed, runtime)
        start, base_lr = _look_at_start(training, point, total)
        probe = BranchProbe(training, point.state["model"], probe_images) if probe_images else None
        key = {
            "checkpoint": point.sha256,
            "data": content_hash,
            "environment": environment,
            "probe": probe.settings if probe else None,
        }
        if "products" in runtime.key:
            key["products"] = runtime.key["products"]
        outcomes = train_all(training, point, branches, probe, work, key, stop, progress)
        start_sharpness = probe.sharpness(point.state["model"]) if probe else math.nan
    reproduction = compare_with_run(
        outcomes[branches.index(twin)] if twin else outcomes[0], recorded, directory, environment
    )
    told = describe_task(about_task(task))
    curves: dict[str, Any] = _curves(outcomes, start, total, task.score)
    notes = _notes(branches, outcomes, recorded, twin, point, base_lr)
    return ForkResult(
        run=f"{point.method}, seed {point.seed}, epoch {point.epoch}",
        start_epoch=point.epoch,
        amplified_epochs=epochs,
        factor=np.array([math.nan if b.factor is None else b.factor for b in branches]),
        repeat=np.array([b.repeat for b in branches]),
        status=tuple(outcome.status for outcome in outcomes),
        base_lr=base_lr,
        **curves,
        sharpness=_probed(outcomes, "sharpness", probe),
        barrier=_probed(outcomes, "barrier", probe),
        start_sharpness=start_sharpness,
        probe=probe.describe() if probe else (),
        images=dict(training.evaluator.sizes) if training.evaluator else {},
        score_key=task.score.key if task.score else "acc",
        **told,
        dataset=point.recipe.dataset,
        reproduction=reproduction.outcome,
        reproduction_note=reproduction.note,
        notes=notes,
        provenance={
            "ralr_viz": __version__,
            "checkpoint": {"sha256": point.sha256, "method": point.method, "seed": point.seed, "epoch": point.epoch},
            "recipe": point.recipe.to_dict(),
            "data": content_hash,
            "environment": environment,
        },
    )  # fmt: skip


def _check_factors(factors: Sequence[float]) -> tuple[float, ...]:
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
    return tuple(chosen)


def _check_schedule(point: ForkPoint, epochs: int) -> None:
    """Refuse epochs beyond the end of a schedule that has one."""
    schedule, left = point.recipe.schedule, point.recipe.epochs - point.epoch
    if schedule in ("cosine", "onecycle") and 2 * epochs > left:
        raise InputError(
            f"`--epochs {epochs}`: a {schedule} schedule ends with the run, {left} epochs after `{point.path}`, and a "
            f"fork takes 2·{epochs}: fork earlier or take fewer"
        )


def _has_factors(branch: Branch, recorded: Sequence[dict[str, float]]) -> bool:
    """Whether a branch trains at the very factors that the run had, so that it is the recorded one too."""
    planned = [branch.factor if k < branch.amplified else 1.0 for k in range(len(recorded))]
    return bool(recorded) and planned == [record.get("factor") for record in recorded]


def _look_at_start(training: Training, point: ForkPoint, epochs: int) -> tuple[dict[str, float], np.ndarray]:
    """What a record says of the checkpoint itself, and the base LR (epochs,) that the schedule goes on with."""
    training.restore(dict(point.state), point.path)
    start = {n: math.nan if v is None else v for n, v in training.evaluate().items()}
    base_lr = np.empty(epochs)
    for k in range(epochs):
        base_lr[k] = training.scheduler.base_lr[0]
        training.scheduler.step()
    return start | {"distance": 0.0, "sum_lr": 0.0}, base_lr


def _probed(outcomes: Sequence[BranchOutcome], name: str, probe: BranchProbe | None) -> np.ndarray:
    """(B, 2), or (B, 0) without probes."""
    if probe is None:
        return np.zeros((len(outcomes), 0))
    return np.array([outcome.probes[name] for outcome in outcomes])


def _curves(
    outcomes: Sequence[BranchOutcome], start: dict[str, float], epochs: int, score: Score | None
) -> dict[str, np.ndarray]:
    """The arrays (B, epochs + 1) of a result, in which the score stands as ``acc`` whatever it is."""
    key = score.key if score else "acc"
    of_records = _COLUMNS | {f"{split}_acc": f"{split}_{key}" for split in ("val", "test")}
    curves = {name: np.full((len(outcomes), epochs + 1), math.nan) for name in CURVES}
    for i, outcome in enumerate(outcomes):
        for name, values in curves.items():
            column = of_records.get(name, name)
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
