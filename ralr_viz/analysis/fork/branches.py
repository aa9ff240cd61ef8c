"""All continuations of a checkpoint, one after the other; each finished one is kept, and found again."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from ralr_viz.analysis.fork.branch import (
    Branch,
    BranchOutcome,
    branch_file,
    load_branch,
    save_branch,
    train_branch,
)
from ralr_viz.analysis.fork.branch_probe import BranchProbe
from ralr_viz.analysis.fork.point import ForkPoint
from ralr_viz.comparison import Progress
from ralr_viz.errors import InterruptedRunError
from ralr_viz.results.storage import remove_leftovers, storage_error
from ralr_viz.runtime.stop import StopSignal
from ralr_viz.train.training import EpochStoppedError, Training


def make_folder(work: Path) -> None:
    """Make the folder that branches are kept in, without what a stop left in it."""
    try:
        work.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(work, error) from error
    remove_leftovers(work)


def train_all(
    training: Training,
    point: ForkPoint,
    branches: Sequence[Branch],
    probe: BranchProbe | None,
    work: Path | None,
    key: dict[str, Any],
    stop: StopSignal,
    progress: Progress | None,
) -> list[BranchOutcome]:
    """Train every branch that is not kept already, and keep it."""
    total = sum(branch.epochs for branch in branches)
    before = 0
    outcomes: list[BranchOutcome] = []
    for branch in branches:

        def move(done: int, before: int = before) -> None:
            if progress is not None:
                progress(before + done, total, "epochs of all branches")

        own = key | {name: v for name, v in dataclasses.asdict(branch).items() if name != "anneal" or v}
        file = None if work is None else branch_file(work, own)
        outcome = None if file is None else load_branch(file, own)
        if outcome is None:
            try:
                outcome = train_branch(training, point, branch, stop, move)
            except EpochStoppedError:
                _interrupt(stop, len(outcomes), len(branches), work)
            if probe is not None:
                ends = {
                    e: state for e, state in outcome.states.items() if branch.anneal and e == branch.epochs
                }
                outcome = dataclasses.replace(outcome, probes=_probe(probe, outcome, branch), states=ends)
            else:
                outcome = dataclasses.replace(outcome, states={})
            if file is not None:
                save_branch(file, own, outcome)
        outcomes.append(outcome)
        before += branch.epochs
        move(0, before)
        if stop.number is not None and len(outcomes) < len(branches):
            _interrupt(stop, len(outcomes), len(branches), work)
    return outcomes


def _probe(probe: BranchProbe, outcome: BranchOutcome, branch: Branch) -> dict[str, tuple[float, ...]]:
    """Sharpness and barrier after the amplified epochs and after the last; NaN where it ended before."""
    last = branch.epochs if branch.anneal else 2 * branch.amplified
    states = [outcome.states.get(epoch) for epoch in (branch.amplified, last)]
    return {
        name: tuple(math.nan if state is None else measure(state) for state in states)
        for name, measure in (("sharpness", probe.sharpness), ("barrier", probe.barrier))
    }


def _interrupt(stop: StopSignal, done: int, total: int, work: Path | None) -> NoReturn:
    assert stop.number is not None
    kept = "nothing was kept" if work is None else "the finished ones are kept: run the same command to go on"
    raise InterruptedRunError(f"stopped after {done} of {total} branches; {kept}", stop.number)
