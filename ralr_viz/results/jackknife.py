"""Intervals of what is no mean over images, by leaving out one group of them at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ralr_viz.results.uncertainty import t_quantile


class Estimate(NamedTuple):
    """A measured value and the two ends of its 95 % interval, arrays of one shape; the ends may be NaN."""

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray


def jackknife_interval(replicates: np.ndarray, sizes: np.ndarray) -> Estimate:
    """95 % t interval of the delete-one-group jackknife, for groups of nearly equal size.

    Args:
        replicates: (..., 1 + G): the value on all images, then without each group.
        sizes: (G,) images of each group.

    Returns:
        Arrays (...): the value, and value ± t·se with G − 1 degrees of freedom; NaN ends where G = 1.

    References:
        Busing, Meijer, van der Leeden: Delete-m jackknife for unequal m, Statistics and Computing 1999.
    """
    value, groups = replicates[..., 0], len(sizes)
    if groups < 2:
        return Estimate(value, *np.full((2, *value.shape), np.nan))
    ratio, away = pseudo_values(replicates, sizes)
    variance = (away**2 / (ratio - 1)).mean(axis=-1)
    half = t_quantile(groups - 1) * np.sqrt(variance)
    return Estimate(value, value - half, value + half)


def pseudo_values(replicates: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Images over those of each group (G,), and the jackknife's pseudo-values minus their mean (..., G)."""
    ratio = sizes.sum() / sizes
    pseudo = ratio * replicates[..., :1] - (ratio - 1) * replicates[..., 1:]
    return ratio, pseudo - (pseudo @ (1 / ratio))[..., None]


def each_of_sums(number: Callable[..., np.ndarray], *parts: np.ndarray) -> np.ndarray:
    """Pseudo-values (..., n) of a number of the sums over n units, whose mean is put to the number of all.

    Student's interval of them is the jackknife's of the number.

    Args:
        number: Of sums of the parts over their last axis, (...) of each.
        parts: (..., n).
    """
    whole = [part.sum(axis=-1, keepdims=True) for part in parts]
    replicates = number(
        *(np.concatenate([all_, all_ - part], axis=-1) for all_, part in zip(whole, parts, strict=True))
    )
    return replicates[..., :1] + pseudo_values(replicates, np.ones(parts[0].shape[-1]))[1]
