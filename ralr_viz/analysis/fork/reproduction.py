"""Whether a continuation in a run's own order and factors is that run, bit for bit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ralr_viz.analysis.fork.branch import BranchOutcome, digest_state
from ralr_viz.errors import InputError
from ralr_viz.recipe.rules import MOST_THREADS
from ralr_viz.results.columns import TIMES
from ralr_viz.results.environment import comparable, on_cuda
from ralr_viz.results.run import load_run
from ralr_viz.runtime.device import Runtime, describe_environment
from ralr_viz.train.checkpoint import load_checkpoint, saved_epochs

SETTINGS = ("torch", "platform", "device", "threads", "precision", "deterministic", "compile", "world_size")
"""What the last bit of a training depends on, beside the recipe."""


def settings_of(runtime: Runtime) -> dict[str, Any]:
    """`SETTINGS` of what is trained there now."""
    return {name: value for name, value in describe_environment(runtime).items() if name in SETTINGS}


class Reproduction(NamedTuple):
    """``reproduced``, ``differs``, ``not comparable`` or ``nothing to compare``, and a sentence."""

    outcome: str
    note: str


def recorded_epochs(directory: Path | None, after: int) -> list[dict[str, float]]:
    """The run's records of the epochs ``after + 1``, … without a gap; empty where there are none."""
    if directory is None:
        return []
    try:
        run = load_run(directory)
    except InputError:
        return []
    rows = {
        int(e): {n: float(v[i]) for n, v in run.metrics.items()} | {"epoch": float(e)}
        for i, e in enumerate(run.epoch)
    }
    found = []
    while after + 1 in rows:
        after += 1
        found.append(rows[after])
    return found


def recorded_threads(directory: Path | None) -> int:
    """CPU threads that the run was trained with; 0 where it does not say."""
    try:
        found = (load_run(directory).env or {}).get("threads", 0) if directory is not None else 0
    except InputError:
        return 0
    return found if isinstance(found, int) and 0 < found <= MOST_THREADS else 0


def compare_with_run(
    outcome: BranchOutcome,
    recorded: Sequence[Mapping[str, float]],
    directory: Path | None,
    environment: Mapping[str, Any],
) -> Reproduction:
    """Compare records and weights.

    Args:
        outcome: Of the branch in the run's own order and factors; as far as it went, at most as the run.
        recorded: The run's records of the same epochs.
        directory: The run.
        environment: Of the branch, as in ``env.json``.
    """
    if directory is None or not recorded:
        return Reproduction("nothing to compare", "the run has no record of an epoch after the checkpoint")
    epochs = min(len(recorded), len(outcome.records))
    if not epochs:
        return Reproduction("nothing to compare", "the branch diverged in its first epoch")
    first, last = int(recorded[0]["epoch"]), int(recorded[epochs - 1]["epoch"])
    where = f"epoch {first}" if first == last else f"epochs {first} to {last}"
    difference = _find_difference(outcome, recorded, epochs)
    kept = [e for e in saved_epochs(directory) if first <= e <= last]
    if not difference:
        for epoch in kept:
            weights = load_checkpoint(f"{directory}@{epoch}").weights
            if digest_state(weights) != outcome.digests[epoch - first]:
                difference = f"the weights after epoch {epoch}"
                break
    also = f" and the weights of {len(kept)} of them" if epochs > 1 else " and its weights"
    compared = f"every number of {where}" + also * bool(kept)
    if not difference:
        return Reproduction("reproduced", f"{compared}: equal to the last bit")
    changed = _changed_settings(directory, environment)
    found = f"first difference: {difference}"
    if changed:
        return Reproduction(
            "not comparable", f"{found}; but the settings differ too ({changed}), so nothing is claimed"
        )
    return Reproduction("differs", f"{found}; the settings agree")


def _find_difference(
    outcome: BranchOutcome, recorded: Sequence[Mapping[str, float]], epochs: int
) -> str | None:
    for ours, theirs in zip(outcome.records[:epochs], recorded, strict=False):
        for name, value in theirs.items():
            if name in TIMES or name not in ours:
                continue
            if ours[name] != value and not (math.isnan(ours[name]) and math.isnan(value)):
                return f"`{name}` of epoch {int(theirs['epoch'])} ({ours[name]:.9g}, not {value:.9g})"
    return None


def _changed_settings(directory: Path, environment: Mapping[str, Any]) -> str:
    """``threads 1, not 2, …``; empty where all that is known agrees."""
    recorded = load_run(directory).env
    if recorded is None:
        return "env.json is missing"
    before, environment = comparable(recorded), comparable(environment)
    changed = [
        f"{name} {environment[name]}, not {before[name]}"
        for name in SETTINGS
        if name in before and before[name] != environment[name]
    ]
    fast = on_cuda(environment) and not environment["deterministic"]
    return ", ".join(changed + ["CUDA with --fast"] * fast)
