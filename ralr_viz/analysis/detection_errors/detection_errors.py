"""Precision of several detectors on the same images, and what kinds of errors cost it."""

from __future__ import annotations

import numpy as np

from ralr_viz.analysis.detection_errors.breakdown import break_down, cost_errors
from ralr_viz.analysis.objects import open_objects
from ralr_viz.comparison import Comparison, Progress
from ralr_viz.comparison.precision import in_its_precision
from ralr_viz.nouns import check
from ralr_viz.nouns import detection_errors as options
from ralr_viz.nouns.option import RESAMPLES, SEED
from ralr_viz.results.average_precision import Detected, FoundBoxes, compare_precision, match_boxes
from ralr_viz.results.detection_errors import RECALLS, DetectionErrorsResult
from ralr_viz.results.measure import FEWEST_IMAGES


@in_its_precision
def compute_detection_errors(
    comparison: Comparison,
    *,
    resamples: int = RESAMPLES.default,
    seed: int = SEED.default,
    progress: Progress | None = None,
) -> DetectionErrorsResult:
    """Precision over recall of each class, differences paired over images, and the errors by their kind.

    Precision is the VOC devkit's, see `match_boxes`; the breakdown is TIDE's, whose detections are matched as COCO does,
    see `break_down`, of eleven points.

    Args:
        comparison: One detector or more, on images of a split; differences are from the first.
        resamples, seed: Of the bootstrap over images, which the networks share. The interval covers these checkpoints,
            not how precision varies from training to training.
        progress: Called as ``progress(done, total, what)``.

    Raises:
        InputError: The networks are no detectors.
    """
    check(options.SPEC.options, resamples=resamples, seed=seed)
    objects = open_objects(comparison)
    truth, n, classes = objects.truth, len(objects.places), objects.task.dataset.num_classes
    counts, costs, shown, marks, thresholds, ranked = [], [], [], [], [], list[Detected]()
    for i in range(len(comparison)):
        found, detected = (measured := objects.measure(i)).found, measured.detected
        ignored = match_boxes(truth, found).state == 0
        errors = break_down(truth, found, ignored=ignored)
        least = objects.judge(i).score
        kept = found.score >= least
        few = FoundBoxes(found.image[kept], found.label[kept], found.box[kept], found.score[kept])
        counts.append(errors.counts)
        costs.append(cost_errors(truth, found, errors, classes=classes, images=n))
        shown.append(break_down(truth, few, ignored=ignored[kept]).counts)
        marks.append([_operate(detected, found, ~ignored, label, least) for label in range(classes)])
        thresholds.append(least)
        ranked.append(detected)
        if progress is not None:
            progress(i + 1, len(comparison), "detections")
    return DetectionErrorsResult(
        models=comparison.names,
        class_names=tuple(objects.task.dataset.class_names),
        images=n,
        objects=ranked[0].objects.sum(1),
        precision=np.stack([one.average_precision("11") for one in ranked]),
        area=np.stack([one.average_precision("all") for one in ranked]),
        curves=np.stack([[_envelope(*one.curve(label)) for label in range(classes)] for one in ranked]),
        difference=np.stack([_differ(ranked[0], one, resamples, seed) for one in ranked]),
        counts=np.stack(counts),
        costs=np.stack(costs),
        shown_counts=np.stack(shown),
        thresholds=tuple(thresholds),
        judged=objects.judged,
        operating=np.array(marks),
        resamples=resamples,
        dataset=objects.task.dataset.name,
        split=objects.split,
        provenance=comparison.facts() | {"device": comparison.runtime.device.type, "precision": "fp32"},
    )


def _envelope(recall: np.ndarray, precision: np.ndarray) -> np.ndarray:
    """The largest precision (101,) at each recall or more."""
    if not len(recall) or np.isnan(recall).any():
        return np.zeros(RECALLS)
    largest = np.maximum.accumulate(precision[::-1])[::-1]
    # a recall of 3 / 10 reaches .3, whatever floats say
    at = np.searchsorted(recall, np.arange(RECALLS) / (RECALLS - 1) - 1e-12)
    return np.append(largest, 0.0)[at]


def _operate(
    detected: Detected, found: FoundBoxes, counted: np.ndarray, label: int, least: float
) -> tuple[float, float]:
    """Recall and precision of a class from a score on."""
    reached = int((counted & (found.label == label) & (found.score >= least)).sum())
    recall, precision = detected.curve(label)
    if not reached or np.isnan(recall).any():
        return float("nan"), float("nan")
    return float(recall[reached - 1]), float(precision[reached - 1])


def _differ(first: Detected, other: Detected, resamples: int, seed: int) -> np.ndarray:
    """Value and ends (c + 1, 3); of few images without ends, which would be too near."""
    if other is first:
        return np.full((len(first.objects) + 1, 3), np.nan)
    found = np.stack(compare_precision(first, other, resamples=resamples, seed=seed), axis=1)
    if first.objects.shape[1] < FEWEST_IMAGES:
        found[:, 1:] = np.nan
    return found
