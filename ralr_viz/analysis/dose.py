"""Does a diagnostic predict the score across trainings that differ in a dose, such as a constant learning rate?"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

SHUFFLES = 9999


class Agreement(NamedTuple):
    """Kendall's τ within strata, weighted by their pairs, and its two-sided permutation p; NaN where nothing can be ordered."""

    tau: float
    p: float


def rank_agreement(
    x: np.ndarray, y: np.ndarray, strata: np.ndarray, *, shuffles: int = SHUFFLES, seed: int = 0
) -> Agreement:
    r"""Do x and y order the trainings of a stratum alike?

    Of each stratum :math:`\tau_b`, weighted by its number of pairs; p is the share of so many shuffles of y within strata,
    with the found order among them, whose τ is as far from 0.

    Args:
        x, y: (n,) float64; where either is NaN, the training is left out.
        strata: (n,) what trainings are compared within, such as their seeds.
        shuffles: At least 1.
        seed: Of the shuffles.

    References:
        Jiang et al., Fantastic generalization measures and where to find them, ICLR 2020 (strata).
    """
    known = np.isfinite(x) & np.isfinite(y)
    rng = np.random.default_rng(seed)
    found, weights = np.zeros(shuffles + 1), 0.0
    for stratum in np.unique(strata[known]):
        at = known & (strata == stratum)
        a, b = _signs(x[at]), _signs(y[at])
        size = float(np.sqrt((a**2).sum() * (b**2).sum()))
        if size == 0:  # one training, or all alike
            continue
        n = int(at.sum())
        order = np.concatenate(
            [np.arange(n)[None], rng.permuted(np.tile(np.arange(n), (shuffles, 1)), axis=1)]
        )
        pairs = n * (n - 1) / 2
        found += pairs * np.einsum("ij,rij->r", a, b[order[:, :, None], order[:, None, :]]) / size
        weights += pairs
    if weights == 0:
        return Agreement(float("nan"), float("nan"))
    found /= weights
    as_far = np.abs(found[1:]) >= abs(found[0]) - 1e-12
    return Agreement(float(found[0]), float((1 + as_far.sum()) / (1 + shuffles)))


def predict_scores(
    x: np.ndarray, score: np.ndarray, seeds: np.ndarray, fitted: np.ndarray
) -> tuple[np.ndarray, float]:
    """Score of each training by the line score = a(seed) + b x, least squares over the fitted ones.

    Args:
        x, score: (n,) float64, NaN where not measured.
        seeds: (n,) training seed of each.
        fitted: (n,) bool: those with a dose.

    Returns:
        (n,) NaN where x or the seed's level is not known, everywhere where x does not vary within seeds, and b.
    """
    known = fitted & np.isfinite(x) & np.isfinite(score)
    level = {
        seed: (x[at].mean(), score[at].mean())
        for seed in np.unique(seeds[known])
        if (at := known & (seeds == seed)).any()
    }
    mean_x, mean_y = (np.array([level.get(s, (np.nan, np.nan))[i] for s in seeds]) for i in range(2))
    from_mean = np.where(known, x - mean_x, 0.0)
    spread = float((from_mean**2).sum())
    if spread == 0:
        return np.full(len(x), np.nan), float("nan")
    slope = float((from_mean * np.where(known, score - mean_y, 0.0)).sum()) / spread
    return mean_y + slope * (x - mean_x), slope


def _signs(values: np.ndarray) -> np.ndarray:
    return np.sign(values[:, None] - values[None, :])
