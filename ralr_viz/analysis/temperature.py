"""The temperature that makes a network's probabilities fit the images that training only watched."""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from ralr_viz.results.predictions import PredictionsResult

_MOST = 5.0
"""|ln T| that is looked at: a network that is right everywhere would have its logits multiplied without end."""


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """T > 0 with the least mean −log softmax(logits / T) at the labels, by SciPy's bounded minimiser in ln T.

    Args:
        logits: (n, classes).
        labels: (n,) integer, all known.

    References:
        Guo et al., On calibration of modern neural networks, ICML 2017.
    """
    logits, rows = logits.astype(np.float64), np.arange(len(labels))

    def loss(log_temperature: float) -> float:
        return float(-log_softmax(logits * math.exp(-log_temperature), axis=1)[rows, labels].mean())

    found = minimize_scalar(loss, bounds=(-_MOST, _MOST), method="bounded", options={"xatol": 1e-6})
    return math.exp(float(found.x))


def scale(predictions: PredictionsResult, temperature: float) -> np.ndarray:
    """Probabilities (n, classes) after the logits are divided by it; NaN of a NaN."""
    return np.exp(log_softmax(predictions.logits.astype(np.float64) / temperature, axis=1))
