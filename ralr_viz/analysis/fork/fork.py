"""Continue one checkpoint at several learning rates: the controlled experiment beside RALR's own draws."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np

from ralr_viz._version import __version__
from ralr_viz.analysis.fork.point import ForkPoint, ForkState, open_state
from ralr_viz.analysis.fork.state_fork import ForkPlan, StateFork, train_fork
from ralr_viz.comparison import Progress
from ralr_viz.errors import InputError
from ralr_viz.nouns import check
from ralr_viz.nouns import fork as options
from ralr_viz.recipe.rules import HIGHEST_FACTOR, MOST_EPOCHS
from ralr_viz.results.fork import CURVES, ForkResult
from ralr_viz.results.of_loss import describe_task
from ralr_viz.tasks.opening import about_task


def compute_fork(
    state: str | Path | ForkState | Sequence[str | Path | ForkState],
    *,
    factors: Sequence[float] = options.FACTORS.default,
    epochs: int = options.EPOCHS.default,
    anneal: Sequence[int] = options.ANNEAL.default,
    repeats: int = options.REPEATS.default,
    probe_images: int = options.PROBE_IMAGES.default,
    deterministic: bool = options.DETERMINISTIC.default,
    compile: bool = options.COMPILE.default,
    work: Path | None = None,
    progress: Progress | None = None,
) -> ForkResult:
    """Continue checkpoints for ``epochs`` epochs at each factor, then for as many at factor 1, or annealed.

    The scheduled learning rate goes on and is multiplied. Repeat 0 has the run's own order and augmentation;
    it also replays the factors that the run drew, which must give the run itself. Each other repeat has an
    order and augmentation of its own, the same for all factors. Nothing in the run directory is changed.

    Annealed, all branches go on at a tenth, then a hundredth, … of the scheduled rate of the checkpoint: a larger rate
    has a higher loss while it lasts, which is not what an escape to a better minimum is about; at the end of all
    branches at the same low rates only where they are is left. The child barrier is the one between such ends: of a
    factor and factor 1 in one order, beside two of factor 1 in different orders.

    Args:
        state: ``RUN@E`` or a ``.pt`` file, with the optimizer's state, or what `open_state` returned, which takes
            another folder of data or device. Or several of them, of one recipe and epoch and of different seeds, which
            are then the units of the intervals.
        factors: Different numbers > 0, 1 among them.
        epochs: K ≥ 1.
        anneal: Epochs ≥ 1 at a tenth, a hundredth, … of the scheduled rate; empty for K epochs at factor 1.
        repeats: R ≥ 1; a child barrier of factor 1 needs 2 or more.
        probe_images: Training images for sharpness and barriers, after the amplified epochs and after the
            last; 0 leaves these out.
        work: Folder in which each finished branch is kept and found again, also with more factors or
            repeats; nothing is kept when left out.
        deterministic, compile: As in training; precision and threads are the run's own.
        progress: Called as ``progress(done, total, what)`` with the epochs of all branches of a checkpoint.

    Raises:
        CheckpointError: No checkpoint, or one from which training cannot go on.
        InputError: Factors, epochs, repeats or images outside their range; other data than was trained on; epochs
            beyond the end of a cosine schedule; checkpoints of different recipes or epochs, or two of one seed.
        InterruptedRunError: SIGINT or SIGTERM; the finished branches are kept.
        StorageError: The disk is full; what was kept before is intact.

    References:
        Frankle et al., Linear mode connectivity and the lottery ticket hypothesis, ICML 2020 (children of a state).

    Example:
        >>> compute_fork("runs/R/ralr/seed0@16", factors=(1, 2, 3), work=Path("branches"))  # doctest: +SKIP
    """
    check(options.SPEC.options, epochs=epochs, repeats=repeats, probe_images=probe_images)
    chosen, shares = _check_factors(factors), _check_anneal(anneal)
    several = [state] if isinstance(state, str | Path | ForkState) else list(state)
    opened = [one if isinstance(one, ForkState) else open_state(one) for one in several]
    _check_states(opened)
    for one in opened:
        _check_schedule(one.point, epochs, shares)
    plan = ForkPlan(chosen, epochs, shares, repeats, probe_images, deterministic, compile)
    return _join([train_fork(one, plan, work, progress) for one in opened])


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


def _check_anneal(anneal: Sequence[int]) -> tuple[int, ...]:
    if all(isinstance(n, Integral) and 0 < n <= MOST_EPOCHS for n in anneal):
        return tuple(int(n) for n in anneal)
    raise InputError(
        f"`--anneal {','.join(map(str, anneal))}` must be whole numbers of epochs from 1 on, such as 5,5"
    )


def _check_schedule(point: ForkPoint, epochs: int, anneal: tuple[int, ...]) -> None:
    """Refuse epochs beyond the end of a schedule that has one."""
    schedule, left = point.recipe.schedule, point.recipe.epochs - point.epoch
    taken = epochs if anneal else 2 * epochs
    if schedule in ("cosine", "onecycle") and taken > left:
        raise InputError(
            f"`--epochs {epochs}`: a {schedule} schedule ends with the run, {left} epochs after `{point.path}`, and a "
            f"fork takes {'' if anneal else '2·'}{epochs}: fork earlier or take fewer"
        )


def _check_states(states: Sequence[ForkState]) -> None:
    """Refuse states whose branches are no repeats of one another."""
    if not states:
        raise InputError("a fork has no checkpoint: give one or more by --ckpt RUN@E")
    first, seeds = states[0].point, set[int]()
    for state in states:
        point = state.point
        for name in ("recipe", "method", "epoch"):
            if getattr(point, name) != getattr(first, name):
                raise InputError(
                    f"`{point.path}` has another {name} than `{first.path}`: fork states of one arm and epoch together"
                )
        if point.seed in seeds:
            raise InputError(
                f"`{point.path}` is of seed {point.seed} again: seeds are the units, give each once"
            )
        seeds.add(point.seed)


def _join(forks: Sequence[StateFork]) -> ForkResult:
    """One result of the branches of all checkpoints."""
    first = forks[0]
    point, task, _ = first.state
    points = [fork.state.point for fork in forks]
    seeds = ", ".join(str(p.seed) for p in points)
    branches = [branch for fork in forks for branch in fork.branches]
    probes: dict[str, Any] = {
        name: np.concatenate([fork.probes[name] for fork in forks]) for name in first.probes
    }
    curves: dict[str, Any] = {name: np.concatenate([fork.curves[name] for fork in forks]) for name in CURVES}
    outcomes = [outcome for fork in forks for outcome in fork.outcomes]
    ended = list(dict.fromkeys(fork.reproduction.outcome for fork in forks))
    own = [f"seed {p.seed}: " if len(forks) > 1 else "" for p in points]
    checkpoints = [{"sha256": p.sha256, "method": p.method, "seed": p.seed, "epoch": p.epoch} for p in points]
    return ForkResult(
        run=f"{point.method}, seed{'s' * (len(forks) > 1)} {seeds}, epoch {point.epoch}",
        start_epoch=point.epoch,
        amplified_epochs=branches[0].amplified,
        factor=np.array([math.nan if b.factor is None else b.factor for b in branches]),
        repeat=np.array([b.repeat for b in branches]),
        state=np.repeat(np.arange(len(forks)), [len(fork.branches) for fork in forks]),
        anneal=branches[0].anneal,
        status=tuple(outcome.status for outcome in outcomes),
        base_lr=first.base_lr,
        **curves,
        **probes,
        start_sharpness=float(np.mean([fork.start_sharpness for fork in forks])),
        probe=first.described,
        images=first.images,
        score_key=task.score.key if task.score else "acc",
        **describe_task(about_task(task)),
        dataset=point.recipe.dataset,
        reproduction=ended[0] if len(ended) == 1 else "differs" if "differs" in ended else "not comparable",
        reproduction_note="; ".join(
            dict.fromkeys(head + fork.reproduction.note for head, fork in zip(own, forks, strict=True))
        ),
        notes=tuple(head + note for head, fork in zip(own, forks, strict=True) for note in fork.notes),
        provenance={
            "ralr_viz": __version__,
            "checkpoint": checkpoints[0] if len(checkpoints) == 1 else checkpoints,
            "recipe": point.recipe.to_dict(),
            "data": task.facts.get("content_hash"),
            "environment": first.environment,
        },
    )
