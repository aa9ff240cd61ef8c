"""All continuations of one checkpoint: trained, probed, and held against the run itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ralr_viz.analysis.fork.branch import Branch, BranchOutcome
from ralr_viz.analysis.fork.branch_probe import BranchProbe
from ralr_viz.analysis.fork.branches import make_folder, train_all
from ralr_viz.analysis.fork.children import child_barriers
from ralr_viz.analysis.fork.point import ForkPoint, ForkState
from ralr_viz.analysis.fork.reproduction import (
    Reproduction,
    compare_with_run,
    recorded_epochs,
    recorded_threads,
    settings_of,
)
from ralr_viz.comparison import Progress
from ralr_viz.results.fork import CURVES
from ralr_viz.results.tasks import Score
from ralr_viz.runtime.device import configured, resolve_runtime
from ralr_viz.runtime.faults import named_faults
from ralr_viz.runtime.stop import catch_stop_signals
from ralr_viz.train.training import Training

_COLUMNS = {"train_loss": "train_loss_eval"}
"""Where a curve has another name in a run's records, in which ``train_loss`` is the running mean."""


@dataclass(frozen=True)
class ForkPlan:
    """What `compute_fork` was asked for, the same for every checkpoint."""

    factors: tuple[float, ...]
    epochs: int
    anneal: tuple[int, ...]
    repeats: int
    probe_images: int
    deterministic: bool
    compile: bool

    @property
    def total(self) -> int:
        """Epochs of a branch."""
        return self.epochs + (sum(self.anneal) or self.epochs)

    def branches(self) -> list[Branch]:
        """All but a replay of the run."""
        return [
            Branch(f, r, self.total, self.epochs, self.anneal)
            for r in range(self.repeats)
            for f in self.factors
        ]


@dataclass(frozen=True, eq=False)
class StateFork:
    """The continuations of one checkpoint.

    Attributes:
        state: Where they began.
        branches, outcomes: In the same order.
        base_lr: (T,) scheduled LR of each epoch.
        curves: (B, T + 1) by name.
        probes: ``sharpness`` and ``barrier`` (B, 2), and ``child_barrier`` (B,); (B, 0) where they were not measured.
        start_sharpness: Of the checkpoint; NaN likewise.
        described: How these were measured, a sentence each.
        images: Samples behind each split.
        reproduction: Whether the run's own branch is the run.
        notes: A sentence each.
        environment: Of the branches.
    """

    state: ForkState
    branches: tuple[Branch, ...]
    outcomes: tuple[BranchOutcome, ...]
    base_lr: np.ndarray
    curves: dict[str, np.ndarray]
    probes: dict[str, np.ndarray]
    start_sharpness: float
    described: tuple[str, ...]
    images: dict[str, int]
    reproduction: Reproduction
    notes: tuple[str, ...]
    environment: dict[str, Any]


def train_fork(state: ForkState, plan: ForkPlan, work: Path | None, progress: Progress | None) -> StateFork:
    """Train, or find again, the continuations of one checkpoint; for the rest see `compute_fork`."""
    point, task, device = state
    directory = point.directory
    runtime = resolve_runtime(
        device,
        str(point.state["header"]["precision"]),
        deterministic=plan.deterministic,
        compile=plan.compile,
        threads=point.recipe.threads or recorded_threads(directory),
    )
    environment = settings_of(runtime)
    # annealed, a branch is the run's only while its factor is asked for
    recorded = recorded_epochs(directory, point.epoch)[: plan.epochs if plan.anneal else plan.total]
    branches = plan.branches()
    twin = next((b for b in branches if b.repeat == 0 and _has_factors(b, recorded)), None)
    if twin is None and recorded:
        twin = Branch(None, 0, len(recorded), plan.epochs)
        branches.append(twin)
    if work is not None:
        make_folder(work)
    remedy = f"at `batch` = {point.recipe.batch}: choose a larger --device"
    with named_faults(runtime.device, remedy), configured(runtime), catch_stop_signals() as stop:
        training = Training(task, point.method, point.seed, runtime)
        start, base_lr = _look_at_start(training, point, plan)
        probe = BranchProbe(training, point.state["model"], plan.probe_images) if plan.probe_images else None
        key = {
            "checkpoint": point.sha256,
            "data": task.facts.get("content_hash"),
            "environment": environment,
            "probe": probe.settings if probe else None,
        }
        if "products" in runtime.key:
            key["products"] = runtime.key["products"]
        outcomes = train_all(training, point, branches, probe, work, key, stop, progress)
        start_sharpness = probe.sharpness(point.state["model"]) if probe else math.nan
        none = np.zeros((len(branches), 0))
        probes = {name: _probed(outcomes, name) if probe else none for name in ("sharpness", "barrier")}
        if probe and plan.anneal:
            probes["child_barrier"] = child_barriers(branches, outcomes, probe, progress)
    return StateFork(
        state,
        tuple(branches),
        tuple(outcomes),
        base_lr,
        _curves(outcomes, start, plan.total, task.score),
        probes,
        start_sharpness,
        probe.describe() if probe else (),
        dict(training.evaluator.sizes) if training.evaluator else {},
        compare_with_run(
            outcomes[branches.index(twin)] if twin else outcomes[0], recorded, directory, environment
        ),
        _notes(branches, outcomes, recorded, twin, point, base_lr),
        environment,
    )


def _has_factors(branch: Branch, recorded: Sequence[dict[str, float]]) -> bool:
    """Whether a branch trains at the very factors that the run had, so that it is the recorded one too."""
    planned = [branch.factor if k < branch.amplified else 1.0 for k in range(len(recorded))]
    return bool(recorded) and planned == [record.get("factor") for record in recorded]


def _look_at_start(
    training: Training, point: ForkPoint, plan: ForkPlan
) -> tuple[dict[str, float], np.ndarray]:
    """What a record says of the checkpoint itself, and the scheduled LR (T,) of the epochs since it."""
    training.restore(dict(point.state), point.path)
    start = {n: math.nan if v is None else v for n, v in training.evaluate().items()}
    rate = training.scheduler.base_lr[0]
    scheduled = []
    for _ in range(plan.epochs if plan.anneal else plan.total):
        scheduled.append(training.scheduler.base_lr[0])
        training.scheduler.step()
    for part in plan.anneal:
        rate *= 0.1
        scheduled += [rate] * part
    return start | {"distance": 0.0, "sum_lr": 0.0}, np.array(scheduled)


def _probed(outcomes: Sequence[BranchOutcome], name: str) -> np.ndarray:
    """(B, 2) of what was measured by that name; NaN of a replay that ended before."""
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
    if beyond > 0 and not any(branch.anneal for branch in branches):
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
