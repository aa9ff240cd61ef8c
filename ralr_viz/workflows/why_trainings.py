"""Diagnostics of `why` that train: they are listed with what they cost, and run only where they are asked for by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ralr_viz.comparison.arms import Arms, Run
from ralr_viz.nouns import NOUNS
from ralr_viz.nouns import fork as options

TRAININGS = tuple(noun.name for noun in NOUNS.values() if noun.trains)
ANNEAL, REPEATS = (5, 5), 2
"""Epochs at a tenth and a hundredth of the rate, and data orders of each factor: two, for the noise of SGD alone."""


def plan_fork(arms: Arms) -> tuple[dict[str, Any], str]:
    """Arguments of an annealed fork of the first arm's runs, and what it trains, a sentence; none where it cannot be.

    It begins at the kept state nearest to a third of the training, where the rate has not decayed yet, as a rule.
    """
    runs = [row[0] for row in arms.runs]
    last = min(run.last for run in runs)
    kept = sorted(
        set.intersection(*(_trainable(run) for run in runs)) - set(range(last, max(r.last for r in runs) + 1))
    )
    if not kept:
        return {}, (
            f"fork, annealed, cannot be made: no run of {arms.names[0]} kept a state with its optimizer before the end; train "
            "with --set keep_every=N"
        )
    epoch = min(kept, key=lambda e: abs(3 * e - last))
    factors, seeds = options.FACTORS.default, len(runs)
    per_seed = len(factors) * REPEATS * (options.EPOCHS.default + sum(ANNEAL))
    return {"ckpt": [run.at(epoch) for run in runs]}, (
        f"fork, annealed, from epoch {epoch} of {arms.names[0]} trains {per_seed:,} epochs of each of {seeds} seed"
        f"{'s' * (seeds > 1)}, as much as {per_seed * seeds / last:.1f} trainings"
    )


def list_trainings(arms: Arms, only: Sequence[str]) -> list[str]:
    """What is not run because it trains and was not asked for, a sentence each."""
    if "fork" in only:
        return []
    given, cost = plan_fork(arms)
    return [f"{cost}: it is run only by --only fork"] if given else []


def _trainable(run: Run) -> set[int]:
    """Epochs whose state was kept as training needs it."""
    return {
        epoch for epoch in run.saved if (Path(run.folder) / "checkpoints" / f"epoch_{epoch:04d}.pt").is_file()
    }
