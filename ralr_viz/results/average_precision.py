"""Average precision of detections as the VOC devkit has it, and the difference of two networks' over images.

Boxes are half-open, (x1, y1, x2, y2) with x2 − x1 the width, in any unit that an image's boxes share: fractions of it,
say. The devkit's are inclusive pixels from 1, with «+ 1» in each width; [x1 − 1, x2) is the same area.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from ralr_viz.errors import InputError
from ralr_viz.results.uncertainty import bootstrap_counts, error_interval

Points = Literal["11", "all"]
_CELLS = 2**22
"""Detections times resamples that are looked at at a time."""


@dataclass(frozen=True, eq=False)
class TrueBoxes:
    """The objects that there are, of n images.

    Attributes:
        image: (m,) int64, 0 … n − 1, each object's.
        label: (m,) int64 class, from 0.
        box: (m, 4) float64.
        difficult: (m,) bool: neither found nor missed counts.
    """

    image: np.ndarray
    label: np.ndarray
    box: np.ndarray
    difficult: np.ndarray


@dataclass(frozen=True, eq=False)
class FoundBoxes:
    """What a network has found in the same images.

    Attributes:
        image, label, box: (d,), (d,) and (d, 4), as in `TrueBoxes`.
        score: (d,) float64; of equal ones the earlier detection counts as surer.
    """

    image: np.ndarray
    label: np.ndarray
    box: np.ndarray
    score: np.ndarray


class Matches(NamedTuple):
    """What became of each detection.

    Attributes:
        state: (d,) int8: 1 where it is true, −1 where it is false, 0 where its object is difficult.
        object: (d,) int64: the object of its class that it overlaps most, −1 where none by the threshold. Of several
            detections of one object the surest is true.
        overlap: (d,) float64: how much it overlaps the object of its class that it overlaps most; 0 without one.
    """

    state: np.ndarray
    object: np.ndarray
    overlap: np.ndarray


def match_boxes(
    truth: TrueBoxes, found: FoundBoxes, *, threshold: float = 0.5, strictly: bool = False
) -> Matches:
    """Tell true detections from false ones.

    A detection stands for the object of its class in its image that it overlaps most, taken or not; a small box inside
    a difficult object is false where it overlaps it too little. COCO's rules differ in both.

    Args:
        truth: The objects.
        found: The detections.
        threshold: Of the intersection over union.
        strictly: Only above the threshold, as sgrvinod's evaluation has it; the devkit's is at or above.

    Raises:
        InputError: A score is not finite.
    """
    if not np.isfinite(found.score).all():
        raise InputError(
            "a detection's score is not finite: the checkpoint has diverged, choose an earlier one"
        )
    best, overlap = _best_objects(truth, found)
    matched = (overlap > threshold if strictly else overlap >= threshold) & (best >= 0)
    best = np.where(matched, best, -1)
    order = np.argsort(-found.score, kind="stable")
    _, first = np.unique(best[order], return_index=True)
    state = np.full(len(best), -1, np.int8)
    state[order[first]] = 1
    state[best < 0] = -1
    state[matched & np.append(truth.difficult, False)[best]] = 0
    return Matches(state, best, overlap)


@dataclass(frozen=True, eq=False)
class Detected:
    """The detections of one network on n images, ranked, with what is true of them.

    Attributes:
        images: Of each class the image (k,) int64 of each detection that counts, the surest first.
        true: Of each class whether it is true, (k,) bool.
        objects: (classes, n) int64: objects of each image that count.
    """

    images: tuple[np.ndarray, ...]
    true: tuple[np.ndarray, ...]
    objects: np.ndarray

    def average_precision(self, points: Points = "11", counts: np.ndarray | None = None) -> np.ndarray:
        """Of each class, in [0, 1]; NaN of a class without objects.

        Args:
            points: ``11``: the mean over recalls 0, .1, … 1 (VOC 2007); ``all``: the area (from VOC 2010). Both of the
                largest precision at that recall or more.
            counts: (R, n) int64: how often each image counts, as in a resample.

        Returns:
            (classes,) float64, or (R, classes).
        """
        weights = np.ones((1, self.objects.shape[1]), np.int64) if counts is None else counts
        there = weights @ self.objects.T
        each = [
            _average(weights[:, image], true, total, points)
            for image, true, total in zip(self.images, self.true, there.T, strict=True)
        ]
        values = np.stack(each, axis=1)
        return values[0] if counts is None else values

    def curve(self, label: int) -> tuple[np.ndarray, np.ndarray]:
        """Recall and precision (k,) after each detection of a class, the surest first; NaN recall without objects."""
        hits = np.cumsum(self.true[label])
        total = self.objects[label].sum()
        recall = hits / total if total else np.full(len(hits), np.nan)
        return recall, hits / np.arange(1, len(hits) + 1)


def rank_detections(
    truth: TrueBoxes, found: FoundBoxes, matches: Matches, *, classes: int, images: int
) -> Detected:
    """Put the detections of each class in the order of their scores.

    Args:
        truth, found: As for `match_boxes`.
        matches: What it returned.
        classes: How many there are.
        images: n, those without objects or detections too.

    Raises:
        InputError: A label or an image is outside these.
    """
    for what, values, most in (
        ("label", truth.label, classes),
        ("label", found.label, classes),
        ("image", truth.image, images),
        ("image", found.image, images),
    ):
        if len(values) and not 0 <= values.min() <= values.max() < most:
            wrong = values[(values < 0) | (values >= most)][0]
            raise InputError(f"`{what}` is {wrong}: there are {most}, from 0")
    order = np.argsort(-found.score, kind="stable")
    order = order[matches.state[order] != 0]
    of_class = [order[found.label[order] == label] for label in range(classes)]
    counted = ~truth.difficult
    places = truth.label[counted] * images + truth.image[counted]
    return Detected(
        tuple(found.image[at] for at in of_class),
        tuple(matches.state[at] == 1 for at in of_class),
        np.bincount(places, minlength=classes * images).reshape(classes, images),
    )


def mean_precision(each: np.ndarray) -> np.ndarray:
    """mAP: the mean over the classes, the last axis, that have objects; NaN where none has."""
    known = ~np.isnan(each)
    total = np.where(known, each, 0).sum(-1)
    count = known.sum(-1)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)


class PrecisionDifference(NamedTuple):
    """How much more precise a second network is, (classes + 1,) float64 each; the last is the mAP's.

    Attributes:
        value: Second minus first.
        low, high: Ends of the 95 % interval over images, which the networks share; NaN where it is not known.
    """

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray


def compare_precision(
    first: Detected, second: Detected, *, points: Points = "11", resamples: int = 1000, seed: int = 0
) -> PrecisionDifference:
    """The difference of average precision between two networks, by a paired bootstrap over images.

    Args:
        first, second: Of the same images and objects.
        points: As for `Detected.average_precision`.
        resamples: Of the images.
        seed: Of the resamples.

    Raises:
        InputError: They are not of the same objects.
    """
    if not np.array_equal(first.objects, second.objects):
        raise InputError(
            "the two networks have been tested on different images or objects: test both on the same"
        )
    both = (first, second)
    value = np.subtract(*(_with_mean(one.average_precision(points)) for one in reversed(both)))
    images = first.objects.shape[1]
    most = max((len(image) for one in both for image in one.images), default=0)
    draws = np.concatenate(
        [
            np.subtract(*(_with_mean(one.average_precision(points, counts)) for one in reversed(both)))
            for counts in _resample(images, resamples, seed, most)
        ]
    )
    low, high = np.full_like(value, np.nan), np.full_like(value, np.nan)
    for i, column in enumerate(draws.T):
        column = column[~np.isnan(column)]  # a resample may have no object of a rare class
        if images > 1 and len(column) > 1 and not np.isnan(value[i]):
            low[i], high[i] = error_interval(value[i], column, images)
    return PrecisionDifference(value, low, high)


def _resample(images: int, resamples: int, seed: int, detections: int) -> Iterator[np.ndarray]:
    return bootstrap_counts(images, resamples, seed, size=max(1, _CELLS // max(detections, images)))


def _with_mean(each: np.ndarray) -> np.ndarray:
    return np.concatenate([each, mean_precision(each)[..., None]], axis=-1)


def _average(weights: np.ndarray, true: np.ndarray, objects: np.ndarray, points: Points) -> np.ndarray:
    """Average precision (R,) of a class.

    An image that counts several times is as many images one after the other, whose true detections only raise the
    precision: the last of them is what counts, so that a weight does for all.

    Args:
        weights: (R, k) how often each detection counts, the surest first.
        true: (k,) bool.
        objects: (R,) how many there are.
        points: As above.
    """
    seen, hits = weights.cumsum(1)[:, true], weights[:, true].cumsum(1)
    precision = np.divide(hits, seen, out=np.zeros(seen.shape), where=seen > 0)
    largest = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    known = objects > 0
    total = np.maximum(objects, 1)
    if points == "all":
        value = (largest * weights[:, true]).sum(1) / total
    else:
        # in integers: 3 of 10 is below the .3 of floats
        reached = np.stack([(10 * hits < k * objects[:, None]).sum(1) for k in range(11)], axis=1)
        padded = np.pad(largest, ((0, 0), (0, 1)))
        value = np.take_along_axis(padded, reached, axis=1).mean(1)
    return np.where(known, value, np.nan)


def _best_objects(truth: TrueBoxes, found: FoundBoxes) -> tuple[np.ndarray, np.ndarray]:
    """Of each detection, the object (d,) of its class and image that it overlaps most, −1 without, and how much."""
    best, most = np.full(len(found.image), -1, np.int64), np.zeros(len(found.image))
    objects, of_object = _by_image(truth.image)
    detections, of_detection = _by_image(found.image)
    for image, at in of_detection.items():
        if image not in of_object:
            continue
        d, m = detections[at], objects[of_object[image]]
        overlap = overlap_of_pairs(found.box[d], truth.box[m])
        overlap[found.label[d][:, None] != truth.label[m]] = -1
        place = overlap.argmax(1)  # of equal ones the first, as in the devkit
        value = overlap[np.arange(len(d)), place]
        best[d], most[d] = np.where(value >= 0, m[place], -1), np.maximum(value, 0)
    return best, most


def _by_image(image: np.ndarray) -> tuple[np.ndarray, dict[int, slice]]:
    """Places sorted by image, and which of them are of each image."""
    order = np.argsort(image, kind="stable")
    values, starts = np.unique(image[order], return_index=True)
    ends = np.append(starts, len(image))[1:]
    return order, {int(v): slice(a, b) for v, a, b in zip(values, starts, ends, strict=True)}


def overlap_of_pairs(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Intersection over union (d, m), 0 where both are empty."""
    a, b = first[:, None], second[None]
    shared = np.clip(np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]), 0, None).prod(
        -1
    )
    union = (a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1) - shared
    return np.divide(shared, union, out=np.zeros(shared.shape), where=union > 0)
