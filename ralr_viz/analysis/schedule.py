"""The LR of every epoch before anything is trained: a base schedule and the factors of several arms; imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ralr_viz.errors import InputError
from ralr_viz.results.schedule import ScheduleResult


def compute_schedule(
    base_lr: Sequence[float] | np.ndarray,
    factors: Sequence[tuple[str, int | None, Sequence[float] | np.ndarray]],
    *,
    recipe: str = "",
    provenance: Mapping[str, Any] | None = None,
) -> ScheduleResult:
    """Put a base schedule and the factors of several arms together.

    Args:
        base_lr: Scheduled LR of each epoch, finite, >= 0, with a sum > 0, shape (num_epochs,).
        factors: (method, seed, factor of each epoch), the factors finite, > 0, of shape (num_epochs,).
        recipe: Name of the recipe.
        provenance: Where the schedule comes from.

    Raises:
        InputError: A value outside these rules.

    Example:
        >>> compute_schedule([0.1, 0.01], [("ralr", 0, [1.0, 3.0])]).sum_lr_ratio.round(3).tolist()
        [1.182]
    """
    base = np.asarray(base_lr, dtype=np.float64)
    if base.ndim != 1 or not base.size or not np.isfinite(base).all() or base.min() < 0 or not base.sum() > 0:
        raise InputError(
            "`base_lr` must hold a finite LR >= 0 for each epoch, and one > 0: check the schedule"
        )
    if not factors:
        raise InputError("no method was given: name at least one, such as `ralr`")
    rows = []
    for method, seed, values in factors:
        row = np.asarray(values, dtype=np.float64)
        if row.shape != base.shape or not np.isfinite(row).all() or row.min() <= 0:
            raise InputError(f"factors of `{method}` (seed {seed}) must be {base.size} finite numbers > 0")
        rows.append(row)
    return ScheduleResult(
        recipe=recipe,
        method=tuple(method for method, _, _ in factors),
        seed=tuple(seed for _, seed, _ in factors),
        epoch=np.arange(1, base.size + 1),
        base_lr=base,
        factor=np.stack(rows),
        provenance=dict(provenance or {}),
    )
