"""What kind of error each false detection is, and how much average precision each kind costs.

References:
    Bolya et al., TIDE: A general toolbox for identifying object detection errors, ECCV 2020.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ralr_viz.results.average_precision import (
    Detected,
    FoundBoxes,
    Matches,
    Points,
    TrueBoxes,
    mean_precision,
    overlap_of_pairs,
    rank_detections,
)
from ralr_viz.results.detection_errors import BACKGROUND, BOTH, CLASS, DUPLICATE, LOCATION, MISSED

FOREGROUND, BACKDROP = 0.5, 0.1
"""Overlaps by which a box is of an object, and below which it is of none."""
_TRUE, _IGNORED = -1, -2


@dataclass(frozen=True, eq=False)
class Breakdown:
    """What became of d detections of m objects.

    Attributes:
        kind: (d,) int64: place in `ERRORS`; −1 of a true detection, −2 of one that does not count.
        object: (d,) int64: which object it finds, or would have found with the right class or place; −1 for none.
        found: (m,) bool.
        missed: (m,) bool: neither found nor nearly so by any error of class or place.
    """

    kind: np.ndarray
    object: np.ndarray
    found: np.ndarray
    missed: np.ndarray

    @property
    def counts(self) -> np.ndarray:
        """(6,) int64, in the order of `ERRORS`."""
        counts = np.bincount(self.kind[self.kind >= 0], minlength=MISSED + 1)
        counts[MISSED] = self.missed.sum()
        return counts


def break_down(truth: TrueBoxes, found: FoundBoxes, *, ignored: np.ndarray | None = None) -> Breakdown:
    """Sort false detections by what is wrong with them.

    The surest detection takes the object of its class that it overlaps most among those that are left, as COCO has it
    and VOC has not. Of the others the first that holds: its place is wrong (it overlaps an object of its class by .1 to
    .5), its class (it overlaps one of another class by .5), it is a duplicate (of an object that is taken), it is
    background (it overlaps none by more than .1), else both class and place are wrong. In an image without objects all
    is background.

    Args:
        truth: The objects; those that are difficult are as if they were not there.
        found: The detections.
        ignored: (d,) bool: those that count in nothing, such as of difficult objects.
    """
    d = len(found.score)
    kind, target = np.full(d, BACKGROUND), np.full(d, -1)
    taken = np.zeros(len(truth.image), bool)
    if ignored is not None:
        kind[ignored] = _IGNORED
    order = np.argsort(-found.score, kind="stable")
    order = order[kind[order] != _IGNORED]
    by_image = order[np.argsort(found.image[order], kind="stable")]
    easy = np.flatnonzero(~truth.difficult)
    easy = easy[np.argsort(truth.image[easy], kind="stable")]
    images, starts = np.unique(found.image[by_image], return_index=True)
    for image, rows in zip(images, np.split(by_image, starts)[1:], strict=True):
        first, last = np.searchsorted(truth.image[easy], [image, image + 1])
        objects = easy[first:last]
        if len(objects):
            overlap = overlap_of_pairs(found.box[rows], truth.box[objects])
            same = found.label[rows][:, None] == truth.label[objects]
            of_image, at, mine = _in_image(overlap, same)
            kind[rows], target[rows] = of_image, np.where(at >= 0, objects[at], -1)
            taken[objects] = mine
    usable = np.zeros(len(taken), bool)
    usable[target[np.isin(kind, (CLASS, LOCATION))]] = True
    return Breakdown(kind, target, taken, ~taken & ~usable & ~truth.difficult)


def cost_errors(
    truth: TrueBoxes,
    found: FoundBoxes,
    errors: Breakdown,
    *,
    classes: int,
    images: int,
    points: Points = "11",
) -> np.ndarray:
    """How much mAP each kind of error costs: what it would be without them, less what it is.

    A wrong class or place is put right where nothing has found the object and no surer one of the kind is put right for
    it, else it is taken away, as are duplicates, background and what is wrong in both; what is missed is no object.

    Args:
        truth, found, errors: As for and of `break_down`.
        classes, images: How many there are.
        points: Of `Detected.average_precision`.

    Returns:
        (6,) float64 in [0, 1], in the order of `ERRORS`; 0 where an error's cost is below it by the points' steps.
    """

    def score(kept: np.ndarray, label: np.ndarray, true: np.ndarray, objects: np.ndarray) -> float:
        boxes = FoundBoxes(found.image[kept], label[kept], found.box[kept], found.score[kept])
        state = np.where(true[kept], 1, -1).astype(np.int8)
        matches = Matches(state, errors.object[kept], np.zeros(len(state)))
        there = TrueBoxes(
            truth.image[objects], truth.label[objects], truth.box[objects], truth.difficult[objects]
        )
        ranked: Detected = rank_detections(there, boxes, matches, classes=classes, images=images)
        return float(mean_precision(ranked.average_precision(points)))

    every, counted = np.ones(len(truth.image), bool), errors.kind != _IGNORED
    true = errors.kind == _TRUE
    before = score(counted, found.label, true, every)
    costs, free = np.zeros(MISSED + 1), np.append(~errors.found, False)[errors.object]
    for error in range(MISSED):
        wrong = errors.kind == error
        label, right = found.label.copy(), np.zeros(len(true), bool)
        if error in (CLASS, LOCATION):
            rows = np.flatnonzero(wrong & free)
            rows = rows[np.argsort(-found.score[rows], kind="stable")]
            _, first = np.unique(errors.object[rows], return_index=True)
            right[rows[first]] = True
            label[right] = truth.label[errors.object[right]]
        costs[error] = score(counted & (~wrong | right), label, true | right, every) - before
    costs[MISSED] = score(counted, found.label, true, ~errors.missed) - before
    return np.maximum(np.nan_to_num(costs), 0)


def _in_image(overlap: np.ndarray, same: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Kinds and objects of the detections of an image, the surest first, and which objects are found.

    Args:
        overlap: (d, m) of detections and objects.
        same: (d, m) bool, whether their class is one.
    """
    of_class, of_others = overlap * same, overlap * ~same
    left, taken = of_class.copy(), np.zeros(overlap.shape[1], bool)
    kind, target = np.full(len(overlap), BOTH), np.full(len(overlap), -1)
    for i in range(len(overlap)):
        best = int(left[i].argmax())
        if left[i, best] >= FOREGROUND:
            kind[i], target[i], taken[best] = _TRUE, best, True
            left[:, best] = 0
    near, other = of_class.max(1), of_others.max(1)
    again = (of_class * taken).max(1)
    false = kind != _TRUE
    conditions = (
        (BACKGROUND, overlap.max(1) <= BACKDROP),
        (DUPLICATE, again >= FOREGROUND),
        (CLASS, other >= FOREGROUND),
        (LOCATION, (near >= BACKDROP) & (near <= FOREGROUND)),
    )
    for error, holds in conditions:  # the last that holds stays
        kind[false & holds] = error
    for error, table in ((CLASS, of_others), (LOCATION, of_class)):
        rows = kind == error
        target[rows] = table[rows].argmax(1)
    return kind, target, taken
