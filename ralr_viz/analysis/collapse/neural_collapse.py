"""The formulas of neural collapse and class separation, from class means."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.spatial.distance import cdist

_RANK = 1e-10
"""Of the largest eigenvalue of Σ_B: below it there is no direction, only rounding."""


def class_means(features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Mean (C, width) float64 of the features (n, width) of each class that occurs, in growing order."""
    return np.stack([features[labels == c].astype(np.float64).mean(axis=0) for c in np.unique(labels)])


def whitening(centred: np.ndarray) -> np.ndarray:
    r"""A (width, rank) with :math:`AA^\top = \Sigma_B^+`, the pseudo-inverse of the spread between classes.

    Args:
        centred: (C, width) class means minus their mean.
    """
    _, singular, directions = np.linalg.svd(centred / np.sqrt(len(centred)), full_matrices=False)
    kept = singular**2 > _RANK * singular[0] ** 2 if singular[0] > 0 else np.zeros(len(singular), dtype=bool)
    return directions[kept].T / singular[kept]


def equinorm_and_equiangle(centred: np.ndarray) -> tuple[float, float]:
    """NC2 of centred class means (C, width): CoV (ddof 0) of lengths, and mean |cos + 1/(C − 1)| over pairs.

    A class whose mean is the mean of all has no direction; its cosines count as 0. NaN of two classes, whose
    centred means are opposite and equally long whatever the network: both would be rounding.
    """
    if len(centred) == 2:
        return np.nan, np.nan
    lengths = np.linalg.norm(centred, axis=1)
    count = len(centred)
    unit = np.divide(centred, lengths[:, None], out=np.zeros_like(centred), where=lengths[:, None] > 0)
    cosines = (unit @ unit.T)[np.triu_indices(count, 1)]
    mean = lengths.mean()
    return float(lengths.std() / mean) if mean > 0 else 0.0, float(np.abs(cosines + 1 / (count - 1)).mean())


def self_duality(weight: np.ndarray, centred: np.ndarray) -> float:
    """NC3: squared distance of the classifier (C, width) and the centred class means, each of unit norm."""
    sizes = np.linalg.norm(weight), np.linalg.norm(centred)
    if min(sizes) == 0:
        return np.nan
    return float(np.square(weight / sizes[0] - centred / sizes[1]).sum())


def davies_bouldin(radius: np.ndarray, means: np.ndarray) -> float:
    """Mean over classes of the largest (r_c + r_d) / ‖μ_c − μ_d‖; infinite where two means coincide.

    Args:
        radius: (C,) mean Euclidean distance of a class's images from their mean.
        means: (C, width).
    """
    distance = cdist(means, means)
    np.fill_diagonal(distance, np.inf)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = (radius[:, None] + radius) / distance
    return float(np.nan_to_num(ratio, nan=0.0, posinf=np.inf).max(axis=1).mean())


def nearest_mean(features: np.ndarray, means: np.ndarray) -> np.ndarray:
    """Index (n,) of the mean (C, width) that is nearest to each of the features (n, width)."""
    return cdist(features, means, "sqeuclidean").argmin(axis=1)


def spread_over_classes(bounds: Sequence[tuple[int, int]], count: int) -> np.ndarray:
    """At most about ``count`` positions, evenly spread within each class, two or more of each.

    Args:
        bounds: Start and end of each class among images in the order of their class.
        count: As many of each class as its share of ``count``, rounded down.
    """
    total = bounds[-1][1]
    if total <= count:
        return np.arange(total)
    parts = []
    for first, last in bounds:
        take = max(2, (last - first) * count // total)
        parts.append(first + (last - first) * np.arange(take) // take)
    return np.concatenate(parts)
