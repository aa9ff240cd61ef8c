"""Diagnostics of `why` that train: they are listed with what they cost, and run only where they are asked for by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ralr_viz.analysis.fork.annealed import anneal_end
from ralr_viz.analysis.fork.point import open_state
from ralr_viz.comparison import Progress
from ralr_viz.comparison.arms import Arms, Run
from ralr_viz.nouns import NOUNS
from ralr_viz.nouns import fork as options

TRAININGS = tuple(noun.name for noun in NOUNS.values() if noun.trains)
ANNEALING = "annealing"
"""What is no noun of its own: the ends of all runs, annealed, for what is compared at equal training loss."""
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


class AnnealedEnds(NamedTuple):
    """Of one seed: the annealed weights of each arm, and the ratio of the largest of their training losses to the smallest."""

    files: tuple[str, ...]
    ratio: float


def anneal_ends(
    arms: Arms, out: Path, *, data: Path | None, device: str, progress: Progress | None = None
) -> list[AnnealedEnds]:
    """Train the last state of every run on at low rates, or find in ``out`` what was; one entry for each seed.

    Raises:
        CheckpointError: A run has no last state with its optimizer.
        InputError: A training diverged.
    """
    found = []
    for seed, runs in zip(arms.seeds, arms.runs, strict=True):
        ends = [
            anneal_end(
                open_state(run.folder, root=data, device=device),
                ANNEAL,
                out / f"seed{seed}" / ANNEALING / f"{'abc'[i]}.safetensors",
                progress=progress,
            )
            for i, run in enumerate(runs)
        ]
        losses = [end.loss for end in ends]
        ratio = max(losses) / min(losses) if min(losses) > 0 else float("inf")
        found.append(AnnealedEnds(tuple(str(end.file) for end in ends), ratio))
    return found


def list_trainings(arms: Arms, only: Sequence[str]) -> list[str]:
    """What is not run because it trains and was not asked for, a sentence each."""
    left = []
    if "fork" not in only:
        given, cost = plan_fork(arms)
        left += [f"{cost}: it is run only by --only fork"] if given else []
    if ANNEALING not in only and all(_can_go_on(run) for row in arms.runs for run in row):
        count = len(arms.runs) * len(arms.names)
        left.append(
            f"annealing, for flatness at equal training loss, trains the ends of {count} runs for {sum(ANNEAL)} epochs each, "
            f"as much as {count * sum(ANNEAL) / min(r.last for row in arms.runs for r in row):.1f} trainings: it is run only by "
            f"--only {ANNEALING}"
        )
    return left


def _can_go_on(run: Run) -> bool:
    return (Path(run.folder) / "checkpoints" / "last.pt").is_file()


def _trainable(run: Run) -> set[int]:
    """Epochs whose state was kept as training needs it."""
    return {
        epoch for epoch in run.saved if (Path(run.folder) / "checkpoints" / f"epoch_{epoch:04d}.pt").is_file()
    }
