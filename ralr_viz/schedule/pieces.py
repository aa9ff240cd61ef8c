"""The control of RALR that keeps its Σ LR: one constant for each piece of the base schedule, without torch."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Sequence

import numpy as np

from ralr_viz.errors import InputError
from ralr_viz.schedule.factors import check_count

# Relative: LRs of a plateau that a scheduler computes anew each step, and of groups that keep their ratio.
_EQUAL = 1e-9


def matched_factors(
    base_lr: Sequence[float] | np.ndarray,
    factors: Sequence[float] | np.ndarray,
    *,
    amplify_from: int = 0,
    decays: Collection[int] | None = None,
) -> np.ndarray:
    r"""Replaces the factors of each piece by the constant that leaves Σ LR of the piece as they make it.

    .. math:: c = \frac{\sum_t \eta_t f_t}{\sum_t \eta_t}

    over the steps t of a piece: between two decays of the base schedule, and after ``amplify_from``, before
    which the factor is 1. Where the base LR is constant within a piece, c is the mean factor.

    Args:
        base_lr: Scheduled LR η of each step, finite, >= 0, shape (n,).
        factors: f of each step, finite, > 0, shape (n,).
        amplify_from: Steps at the beginning that nothing amplifies, in [0, n].
        decays: Steps in [1, n) with which a new piece begins; None finds them by `find_decays`.

    Returns:
        float64 of shape (n,).

    Raises:
        InputError: A value outside these rules.

    Example:
        >>> matched_factors([0.1, 0.1, 0.01, 0.01], [3.0, 1.0, 1.0, 2.0]).tolist()
        [2.0, 2.0, 1.5, 1.5]
    """
    base, drawn = np.asarray(base_lr, dtype=np.float64), np.asarray(factors, dtype=np.float64)
    n = base.size
    if base.ndim != 1 or not np.isfinite(base).all() or (base < 0).any():
        raise InputError("`base_lr` must hold a finite LR >= 0 for each step: check the schedule")
    if drawn.shape != base.shape or not np.isfinite(drawn).all() or (drawn <= 0).any():
        raise InputError(f"`factors` must be {n} finite numbers > 0, one for each LR: check their shape")
    start = check_count("amplify_from", amplify_from)
    if start > n:
        raise InputError(f"`amplify_from` is {start}: it must be at most the {n} steps; lower it")
    found = find_decays(base) if decays is None else _check_decays(decays, n)
    matched = np.ones(n)
    edges = [start, *(t for t in found if t > start), n]
    for first, stop in itertools.pairwise(edges):
        piece = slice(first, stop)
        matched[piece] = _weighted_mean(drawn[piece], base[piece])
    return matched


def find_decays(base_lr: Sequence[float] | np.ndarray) -> tuple[int, ...]:
    """Steps with which the base LR falls from one plateau to a lower one.

    A plateau is two steps or more of equal LR, or what the first or the last step may be a part of. A schedule
    that moves each step, such as a cosine, has none: it is one piece; so are a warm-up and the plateau after it.

    Args:
        base_lr: LR of each step, shape (n,).

    Returns:
        Growing indices in [1, n).

    Example:
        >>> find_decays([0.05, 0.1, 0.1, 0.01, 0.01, 0.001])
        (3, 5)
    """
    base = np.asarray(base_lr, dtype=np.float64)
    same = np.isclose(base[1:], base[:-1], rtol=_EQUAL, atol=0)
    flat = np.concatenate([[True], same, [True]])  # flat[t]: step t has the LR of the step before it
    falls = [t for t in range(1, len(base)) if base[t] < base[t - 1] and not same[t - 1]]
    return tuple(t for t in falls if flat[t - 1] and flat[t + 1])


def _check_decays(decays: Collection[int], n: int) -> list[int]:
    found = sorted({check_count("decays", t, minimum=1) for t in decays})
    if found and found[-1] >= n:
        raise InputError(f"`decays` has {found[-1]}: it must be below the {n} steps; leave it out")
    return found


def _weighted_mean(values: np.ndarray, weights: np.ndarray) -> float:
    total = math.fsum(weights)
    if not total:  # a piece at LR 0, where any factor will do
        return float(values.mean()) if values.size else 1.0
    return math.fsum(weights * values) / total
