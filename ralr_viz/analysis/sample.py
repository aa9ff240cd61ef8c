"""Which images a report shows: all classes, and rather those that the networks disagree on."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence

import numpy as np

from ralr_viz.results.predictions import PredictionsResult


def sample_images(
    predictions: Sequence[PredictionsResult], count: int, *, seed: int = 0
) -> tuple[np.ndarray, str]:
    """Positions of the sampled images among those predicted, and the rule in words.

    Images that one of two networks gets right and the other wrong go first, up to half of the sample; the
    others are drawn at random, each class in proportion, but two of each class at least where there is room.

    Args:
        predictions: Of one network or two, on the same images.
        count: How many at the most.
        seed: Of the random draws.

    Returns:
        Growing positions, int64 (min(count, n),), and a clause such as ``2,000 of 10,000 images: …``.
    """
    first, n = predictions[0], len(predictions[0].labels)
    if n <= count:
        return np.arange(n), f"all {n:,} images"
    order = np.random.default_rng(seed).permutation(n)
    disputed = np.zeros(n, dtype=bool)
    if len(predictions) == 2:
        right = [p.predicted == first.labels for p in predictions]
        disputed = right[0] != right[1]
    found = order[disputed[order]][: count // 2]
    rest = order[~np.isin(order, found)]
    # the share of its class that is drawn by the time an image is: equal shares make a stratified sample
    _, inverse, counts = np.unique(first.labels[rest], return_inverse=True, return_counts=True)
    rank = np.zeros(len(rest))
    for label in range(len(counts)):
        rank[inverse == label] = np.arange(counts[label])
    share = (rank + 0.5) / counts[inverse]
    stratified = rest[np.argsort(share, kind="stable")[: count - len(found)]]
    chosen = np.concatenate([found, stratified])
    chosen = _with_two_of_each(first.labels, chosen, rest[~np.isin(rest, stratified)], disputed)
    rule = f"{count:,} of {n:,} images, drawn at random in proportion to the classes"
    if len(predictions) == 2:
        taken, total = int(disputed[chosen].sum()), int(disputed.sum())
        which = "all" if taken == total else f"{taken:,} of the"
        rule = (
            f"{count:,} of {n:,} images: {which} {total:,} that one side gets right and the other wrong, and others "
            "drawn at random in proportion to the classes"
        )
    return np.sort(chosen), rule


def _with_two_of_each(
    labels: np.ndarray, chosen: np.ndarray, spare: np.ndarray, disputed: np.ndarray
) -> np.ndarray:
    """The chosen images, of which those of common classes give way to rare ones: numbers need two of a class."""
    kept, counts = chosen.tolist(), Counter(labels[chosen].tolist())
    for label in np.unique(labels).tolist():
        for image in spare[labels[spare] == label][: max(0, 2 - counts[label])].tolist():
            # the last drawn of the commonest class, rather one that both networks see alike
            leaving = max(
                reversed(kept), key=lambda i: (counts[labels[i]] > 2, not disputed[i], counts[labels[i]])
            )
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
