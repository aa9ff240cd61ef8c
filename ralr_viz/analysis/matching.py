"""Which epochs of several runs to compare, so that what differs between them is not how far they are trained."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from ralr_viz.errors import InputError
from ralr_viz.results.run import RunRecord


def match_training_loss(
    runs: Sequence[RunRecord], kept: Sequence[Collection[int]]
) -> tuple[list[int], float]:
    """The kept epoch of each run whose training loss is nearest to the highest of their last ones.

    Curvature of the cross-entropy falls with the loss itself, so a method that fits better looks flatter.

    Args:
        runs: With ``train_loss_eval``, the loss in eval mode and without augmentation.
        kept: Of each run, the epochs whose state is there.

    Returns:
        An epoch of each run, the later one on ties, and the largest ratio between two of their losses, ≥ 1.

    Raises:
        InputError: A run has not recorded that loss at an epoch that it kept.
    """
    losses = [_losses(run, epochs) for run, epochs in zip(runs, kept, strict=True)]
    target = max(of_run[max(of_run)] for of_run in losses)
    chosen = [min(of_run, key=lambda e: (abs(np.log(of_run[e] / target)), -e)) for of_run in losses]
    found = [of_run[epoch] for of_run, epoch in zip(losses, chosen, strict=True)]
    return chosen, max(found) / min(found)


def amplified_epoch(run: RunRecord, kept: Collection[int]) -> int | None:
    """The epoch of the largest factor of which the states before and after it are kept; the first on ties.

    Returns:
        None where no amplified epoch has both.
    """
    factors = dict(zip(run.epoch.tolist(), run.values("factor").tolist(), strict=True))
    there = [e for e, factor in factors.items() if factor > 1 and {e - 1, e} <= set(kept)]
    return max(there, key=lambda e: (factors[e], -e)) if there else None


def _losses(run: RunRecord, kept: Collection[int]) -> dict[int, float]:
    values = dict(zip(run.epoch.tolist(), run.values("train_loss_eval").tolist(), strict=True))
    known = {epoch: values[epoch] for epoch in kept if np.isfinite(values.get(epoch, np.nan))}
    if not known or min(known.values()) <= 0:
        raise InputError(
            f"`{run.label}` has no `train_loss_eval` at an epoch that it kept: train with ralr-viz, or log it by RunWriter"
        )
    return known
