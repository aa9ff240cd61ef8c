"""Which epochs of several runs to compare, so that what differs between them is not how far they are trained."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from ralr_viz.errors import InputError
from ralr_viz.results.of_loss import MOST_UNEQUAL
from ralr_viz.results.run import RunRecord

_TOLERANCE = 1e-6
"""Relative: a scheduled rate that was multiplied out."""


def match_training_loss(
    runs: Sequence[RunRecord], kept: Sequence[Collection[int]]
) -> tuple[list[int], float]:
    """The kept epoch of each run at which all have nearly the same training loss, at the same scheduled learning rate.

    Flatness and tightness follow the training loss itself: a network that fits worse looks flatter and less tight.
    Of the last scheduled rate at which there are such states those with the nearest losses are taken; rates before
    only where there are none, since what is asked about is the end.

    Args:
        runs: With ``train_loss_eval``, the loss in eval mode and without augmentation, and ``base_lr``, the scheduled rate.
        kept: Of each run, the epochs whose state is there.

    Returns:
        An epoch of each run, later ones on ties, and the largest ratio between two of their losses, from 1 to
        `MOST_UNEQUAL`.

    Raises:
        InputError: A run has not recorded these at an epoch that it kept, or no states have losses within a tenth at one
            scheduled rate.
    """
    known = [_losses(run, epochs) for run, epochs in zip(runs, kept, strict=True)]
    rates = sorted({rate for of_run in known for rate, _ in of_run.values()}, key=lambda r: -_last(known, r))
    nearest = np.inf
    for rate in rates:
        there = [{e: loss for e, (r, loss) in of_run.items() if _same(r, rate)} for of_run in known]
        if not all(there):
            continue
        chosen, ratio = _nearest(there)
        nearest = min(nearest, ratio)
        if ratio <= MOST_UNEQUAL:
            return chosen, ratio
    names = " and ".join(f"`{run.label}`" for run in runs)
    found = (
        f"differ by a factor of {nearest:.2f} at least"
        if np.isfinite(nearest)
        else "are of other scheduled rates"
    )
    raise InputError(
        f"the training losses of the kept states of {names} {found}, and must be within a tenth at one scheduled rate: keep "
        "more states (--set keep_every=1)"
    )


def check_equal_loss(ratio: float, labels: Sequence[str]) -> None:
    """Refuse training losses of which the largest is more than `MOST_UNEQUAL` times the smallest.

    Raises:
        InputError: They are.
    """
    if not ratio <= MOST_UNEQUAL:
        raise InputError(
            f"the training losses of the annealed ends of {' and '.join(f'`{label}`' for label in labels)} differ by a factor of "
            f"{ratio:.2f}, and must be within a tenth: compare kept states (without --only annealing)"
        )


def _nearest(losses: Sequence[dict[int, float]]) -> tuple[list[int], float]:
    """An epoch of each run so that the largest loss over the smallest is least: each loss in turn is the smallest."""
    best: tuple[float, list[int]] = (np.inf, [])
    for lowest in {loss for of_run in losses for loss in of_run.values()}:
        above = [{e: loss for e, loss in of_run.items() if loss >= lowest} for of_run in losses]
        if not all(above):
            continue
        chosen = [min(of_run, key=lambda e: (of_run[e], -e)) for of_run in above]
        ratio = max(of_run[e] for of_run, e in zip(above, chosen, strict=True)) / lowest
        best = min(best, (ratio, chosen), key=lambda one: (one[0], [-e for e in one[1]]))
    return best[1], float(best[0])


def _last(known: Sequence[dict[int, tuple[float, float]]], rate: float) -> int:
    """The last kept epoch of any run at a scheduled rate."""
    return max(e for of_run in known for e, (r, _) in of_run.items() if _same(r, rate))


def _same(a: float, b: float) -> bool:
    return abs(a - b) <= _TOLERANCE * abs(b)


def amplified_epoch(run: RunRecord, kept: Collection[int]) -> int | None:
    """The epoch of the largest factor of which the states before and after it are kept; the first on ties.

    Returns:
        None where no amplified epoch has both.
    """
    factors = dict(zip(run.epoch.tolist(), run.values("factor").tolist(), strict=True))
    there = [e for e, factor in factors.items() if factor > 1 and {e - 1, e} <= set(kept)]
    return max(there, key=lambda e: (factors[e], -e)) if there else None


def _losses(run: RunRecord, kept: Collection[int]) -> dict[int, tuple[float, float]]:
    """Kept epoch → scheduled rate and training loss."""
    losses, rates = (
        dict(zip(run.epoch.tolist(), run.values(name).tolist(), strict=True))
        for name in ("train_loss_eval", "base_lr")
    )
    known = {
        e: (rates[e], losses[e])
        for e in kept
        if np.isfinite([losses.get(e, np.nan), rates.get(e, np.nan)]).all()
    }
    if not known or min(loss for _, loss in known.values()) <= 0:
        raise InputError(
            f"`{run.label}` has no `train_loss_eval` and `base_lr` at an epoch that it kept: train with ralr-viz, or log them "
            "by RunWriter"
        )
    return known
