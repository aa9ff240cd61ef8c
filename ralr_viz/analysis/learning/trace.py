"""One training's examples, followed through its epochs."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ralr_viz.results.learning import LATE


class Trace(NamedTuple):
    """What one training made of n examples over E epochs; see `LearningResult`."""

    accuracy: np.ndarray
    forgotten: np.ndarray
    learned: np.ndarray
    events: np.ndarray
    first: np.ndarray
    confidence: np.ndarray
    variability: np.ndarray
    ease: np.ndarray
    late: np.ndarray


def trace(epoch: np.ndarray, right: np.ndarray, losses: np.ndarray) -> Trace:
    """Follow each example through the epochs; of those in which it was not seen it is what it was.

    Args:
        epoch: (E,) growing.
        right: (E, n) bool.
        losses: (E, n) nats, NaN where not seen.
    """
    num_epochs, n = right.shape
    seen = ~np.isnan(losses)
    before = np.zeros(n, dtype=bool)
    events, first = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
    forgotten, learned = np.zeros(num_epochs), np.zeros(num_epochs)
    for i in range(num_epochs):
        now = np.where(seen[i], right[i], before)
        lost, gained = before & ~now, ~before & now
        events += lost
        first[gained & (first == 0)] = epoch[i]
        forgotten[i], learned[i] = lost.mean(), gained.mean()
        before = now
    events[first == 0] = -1
    probability = np.exp(-losses)
    count = seen.sum(0)
    mean = _divide(np.where(seen, probability, 0).sum(0), count)
    spread = np.sqrt(_divide(np.where(seen, np.square(probability - mean), 0).sum(0), count))
    after = epoch > LATE * epoch[-1]
    return Trace(
        _divide((right & seen).sum(1), seen.sum(1)),
        forgotten,
        learned,
        events,
        first,
        mean,
        spread,
        _divide((right & seen).sum(0), count),
        _divide((right & seen)[after].sum(0), seen[after].sum(0)),
    )


def _divide(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """0 where the whole is: an example that was never seen was never right."""
    return np.divide(part, whole, out=np.zeros(np.shape(whole)), where=whole > 0)
