"""Predictions that may be compared image by image, and where they come from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ralr_viz.errors import InputError
from ralr_viz.results.predictions import PredictionsResult


def check_same_images_and_classes(predictions: Sequence[PredictionsResult]) -> None:
    """`check_same_images`, and of as many classes.

    Raises:
        InputError: As there, or another number of classes in one than in the first.
    """
    check_same_images(predictions)
    first = predictions[0]
    for other in predictions[1:]:
        if other.logits.shape != first.logits.shape:
            raise InputError(
                f"`{other.model}` has {other.logits.shape[1]} classes, `{first.model}` has "
                f"{first.logits.shape[1]}: compare networks of the same classes"
            )


def check_same_images(predictions: Sequence[PredictionsResult]) -> None:
    """Refuse predictions that are not of the same labelled images in the same order.

    Raises:
        InputError: None at all, images without label, or others in one than in the first.
    """
    if not predictions:
        raise InputError("`predictions` is empty: a comparison needs one network or more")
    first = predictions[0]
    if (first.labels < 0).any():
        raise InputError(
            f"`{first.model}` has predictions of images without label: give `compute_predictions` their labels"
        )
    for other in predictions[1:]:
        same = (
            (first.dataset, first.split) == (other.dataset, other.split)
            and np.array_equal(first.indices, other.indices)
            and np.array_equal(first.labels, other.labels)
        )
        if not same:
            raise InputError(
                f"`{first.model}` and `{other.model}` have predictions of other images or another order: "
                "compute both on the same images of one split"
            )


def describe_networks(
    predictions: Sequence[PredictionsResult], provenance: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Provenance of a comparison: each network's own, and what was given."""
    return {"networks": [{"name": p.model, **p.provenance} for p in predictions], **(provenance or {})}


def describe_runtime(predictions: Sequence[PredictionsResult]) -> tuple[str, str]:
    """Device and precision of the forward passes, joined where they differ; empty where not recorded."""
    device, precision = (
        "/".join(dict.fromkeys(str(p.provenance[name]) for p in predictions if name in p.provenance))
        for name in ("device", "precision")
    )
    return device, precision


def order_by_class(labels: np.ndarray) -> tuple[np.ndarray, list[tuple[int, int]], np.ndarray]:
    """Order of the images by class, start and end of each class in it, and the classes, growing."""
    classes, counts = np.unique(labels, return_counts=True)
    ends = np.cumsum(counts)
    bounds = [(int(end - count), int(end)) for end, count in zip(ends, counts, strict=True)]
    return np.argsort(labels, kind="stable"), bounds, classes
