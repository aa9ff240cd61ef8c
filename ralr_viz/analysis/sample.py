"""Which images a report shows: a random sample, and beside it those that two networks disagree on."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence

import numpy as np

from ralr_viz.results.predictions import PredictionsResult


def sample_images(predictions: PredictionsResult, count: int, *, seed: int = 0) -> tuple[np.ndarray, str]:
    """Positions of a random sample of the predicted images, whatever the networks say of them.

    Each class is drawn in proportion, but two of each at least where there is room.

    Args:
        predictions: On all images; only the labels count.
        count: How many at the most.
        seed: Of the random draws.

    Returns:
        Growing positions, int64 (min(count, n),), and a clause such as ``2,000 of 10,000 images, drawn …``.
    """
    labels, n = predictions.labels, len(predictions.labels)
    if n <= count:
        return np.arange(n), f"all {n:,} images"
    order = np.random.default_rng(seed).permutation(n)
    # the share of its class that is drawn by the time an image is: equal shares make a stratified sample
    _, inverse, counts = np.unique(labels[order], return_inverse=True, return_counts=True)
    rank = np.zeros(n)
    for label in range(len(counts)):
        rank[inverse == label] = np.arange(counts[label])
    ranked = order[np.argsort((rank + 0.5) / counts[inverse], kind="stable")]
    chosen = _with_two_of_each(labels, ranked[:count], ranked[count:])
    return np.sort(chosen), f"{count:,} of {n:,} images, drawn at random in proportion to the classes"


def sample_disputed(
    predictions: Sequence[PredictionsResult], taken: np.ndarray, count: int, *, seed: int = 0
) -> np.ndarray:
    """Positions of further images that one of two networks gets right and the other wrong.

    Args:
        predictions: Of one network, which disputes nothing, or two, on the same images.
        taken: Positions that are there already.
        count: How many at the most.
        seed: Of the random draws, where there are more.

    Returns:
        Growing positions, int64.
    """
    right = [p.predicted == predictions[0].labels for p in predictions]
    disputed = right[0] != right[-1]
    disputed[taken] = False
    order = np.random.default_rng(seed).permutation(len(disputed))
    return np.sort(order[disputed[order]][:count])


def _with_two_of_each(labels: np.ndarray, chosen: np.ndarray, spare: np.ndarray) -> np.ndarray:
    """The chosen images, of which those of common classes give way to rare ones: numbers need two of a class."""
    kept, counts = chosen.tolist(), Counter(labels[chosen].tolist())
    for label in np.unique(labels).tolist():
        for image in spare[labels[spare] == label][: max(0, 2 - counts[label])].tolist():
            # the last drawn of the commonest class
            leaving = max(reversed(kept), key=lambda i: (counts[labels[i]] > 2, counts[labels[i]]))
            if counts[labels[leaving]] <= 2:
                return np.array(kept, dtype=np.int64)
            kept.remove(leaving)
            kept.append(image)
            counts[labels[leaving]] -= 1
            counts[label] += 1
    return np.array(kept, dtype=np.int64)


def take_images(predictions: PredictionsResult, rows: np.ndarray) -> PredictionsResult:
    """The same predictions of some of their images.

    Args:
        rows: (k,) positions among the predicted images.
    """
    names = ("indices", "labels", "logits", "features", "true_maps", "predicted_maps")
    return dataclasses.replace(predictions, **{name: getattr(predictions, name)[rows] for name in names})
