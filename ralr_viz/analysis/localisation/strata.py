"""Rank accuracy among images of which a network is about equally sure."""

from __future__ import annotations

import numpy as np

from ralr_viz.results.localisation import SURE, SURE_EDGES


def target_strata(target: np.ndarray) -> np.ndarray:
    """Whether each image is in each stratum of `SURE`, by the probability (m, n) of its class; bool (m, K, n)."""
    return np.digitize(target, SURE_EDGES)[:, None] == np.arange(len(SURE))[:, None]


def stratum_means(rank: np.ndarray, strata: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted means (m, K, b) of rank accuracy (m, n) in each network's own strata (m, K, n); NaN of an empty one."""
    total = (strata * rank[:, None]) @ weights.T
    count = strata.astype(np.float64) @ weights.T
    return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
