"""Calibration of several networks on the same images, and which images and classes changed hands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ralr_viz.analysis.comparison import (
    check_same_images_and_classes,
    describe_networks,
    describe_runtime,
    order_by_class,
)
from ralr_viz.analysis.predictions import predictions_of
from ralr_viz.analysis.temperature import fit_temperature, scale
from ralr_viz.comparison import Comparison, Progress
from ralr_viz.errors import InputError
from ralr_viz.nouns import calibration as options
from ralr_viz.nouns import check
from ralr_viz.nouns.option import RESAMPLES, SEED
from ralr_viz.results.calibration import METRICS, CalibrationResult
from ralr_viz.results.predictions import PredictionsResult
from ralr_viz.results.uncertainty import bootstrap_weights, paired_proportions_interval, wilson_interval

_RESAMPLES_AT_ONCE = 64
_ECE = list(METRICS).index("ece")
_FLOOR = 0x45434546
"""Second word of the seed ("ECEF") of the labels that the floor is drawn from."""


def compute_calibration(
    compared: Comparison | Sequence[PredictionsResult],
    watched: Comparison | Sequence[PredictionsResult] | None = None,
    *,
    bins: int = options.BINS.default,
    resamples: int = RESAMPLES.default,
    seed: int = SEED.default,
    progress: Progress | None = None,
) -> CalibrationResult:
    """NLL, Brier score, equal-mass ECE beside its floor, accuracy, and what changed hands.

    `CalibrationResult` defines each number. The bootstrap draws images with replacement, the same for all
    networks: not within classes, of which some have one image or two.

    Args:
        compared: One network or more on labelled images, or their predictions on the same images in the same order.
        watched: The same networks, in the same order, on the images that the temperature is fitted on; left out, as many
            of what was held out from training (``val``), where ``compared`` is of other images than those.
        bins: Of the ECE; fewer where there are fewer images.
        resamples: Of the bootstrap and of the floor, 2 or more.
        seed: Of both.
        progress: Called as ``progress(done, total, what)``.

    Raises:
        InputError: No networks, other images in one than in another, no labels, or an option out of its range.
    """
    check(options.SPEC.options, bins=bins, resamples=resamples, seed=seed)
    predictions = predictions_of(compared, progress)
    check_same_images_and_classes(predictions)
    fitted = _fit(compared, watched, predictions, progress)
    first = predictions[0]
    n, m = len(first.labels), len(predictions)
    bins = min(bins, n)
    order, bounds, classes = order_by_class(first.labels)
    correct = np.stack([(p.predicted == p.labels)[order] for p in predictions]).astype(np.float64)
    confidence = np.stack([p.probabilities.max(axis=1)[order] for p in predictions])
    scaled = np.stack(
        [scale(p, t).max(axis=1)[order] for p, t in zip(predictions, fitted.temperature, strict=True)]
    )
    each = np.stack([_scores(p)[:, order] for p in predictions])  # (m, 2, n)

    def errors(sure: np.ndarray, weights: np.ndarray) -> list[float]:
        return [
            100 * expected_calibration_error(p, hit, bins, weights)
            for p, hit in zip(sure, correct, strict=True)
        ]

    def numbers(weights: np.ndarray) -> np.ndarray:
        means = np.concatenate([each, 100 * correct[:, None]], axis=1) @ weights / n
        means = np.insert(means, _ECE, errors(confidence, weights), axis=1)
        last = errors(scaled, weights) if fitted.images else [np.nan] * m
        return np.column_stack([means, last])

    values = numbers(np.ones(n))
    draws = np.empty((m, len(METRICS) + 1, resamples))
    starts = [start for start, _ in bounds]
    counts = np.diff([*starts, n])
    done = 0
    for rows in bootstrap_weights([(0, n)], resamples, _RESAMPLES_AT_ONCE, seed):
        for row in rows:
            draws[:, :, done] = numbers(row)
            done += 1
        if progress is not None:
            progress(done, resamples, "bootstrap")
    ratio = np.array([_ratio(d[_ECE].mean(), v[_ECE]) for d, v in zip(draws, values, strict=True)])
    # each bin of a resample is noisier, so its errors are larger: the draws keep their spread, around the value
    for q in (_ECE, len(METRICS)):
        draws[:, q] = np.maximum(
            draws[:, q] - draws[:, q].mean(axis=1, keepdims=True) + values[:, q, None], 0
        )

    class_accuracy = 100 * np.add.reduceat(correct, starts, axis=1) / counts
    bin_confidence, bin_accuracy = np.array(
        [bin_means(p, hit, bins) for p, hit in zip(confidence, correct, strict=True)]
    ).transpose(1, 0, 2)
    low, high = wilson_interval(bin_accuracy, n / bins)
    device, precision = describe_runtime(predictions)
    return CalibrationResult(
        models=tuple(p.model for p in predictions),
        indices=first.indices,
        labels=first.labels,
        predicted=np.stack([p.predicted for p in predictions]),
        values=values[:, :-1],
        draws=draws[:, :-1],
        temperature=fitted.temperature,
        scaled_ece=values[:, -1],
        scaled_draws=draws[:, -1],
        scaled_floor=np.array(
            [ece_floor(p, bins, resamples, seed) if fitted.images else (np.nan, np.nan) for p in scaled]
        ),
        watched=fitted.images,
        ece_ratio=ratio,
        ece_floor=np.array([ece_floor(p, bins, resamples, seed) for p in confidence]),
        bin_confidence=bin_confidence,
        bin_accuracy=bin_accuracy,
        bin_low=low,
        bin_high=high,
        classes=classes,
        class_accuracy=class_accuracy,
        class_difference=np.stack([_class_differences(c, correct[0], starts, counts) for c in correct]),
        class_names=first.class_names,
        seed=seed,
        dataset=first.dataset,
        split=first.split,
        device=device,
        precision=precision,
        notes=(*_notes(predictions, int(counts.min())), *fitted.notes),
        provenance=describe_networks(predictions),
    )


class _Fitted(NamedTuple):
    """Temperatures (m,), NaN where there is nothing to fit; of how many images, and why not."""

    temperature: np.ndarray
    images: int = 0
    notes: tuple[str, ...] = ()


def _fit(
    compared: Comparison | Sequence[PredictionsResult],
    watched: Comparison | Sequence[PredictionsResult] | None,
    predictions: Sequence[PredictionsResult],
    progress: Progress | None,
) -> _Fitted:
    nothing = _Fitted(np.full(len(predictions), np.nan))
    if watched is None and isinstance(compared, Comparison) and compared.samples.split != "val":
        try:
            watched = compared.on("val")
        except InputError as error:
            return nothing._replace(
                notes=(f"no temperature is fitted, as no watched images are known: {error}",)
            )
    if watched is None:
        return nothing
    found = predictions_of(watched, progress)
    if [p.model for p in found] != [p.model for p in predictions]:
        raise InputError(
            f"`watched` has {len(found)} networks for {len(predictions)}: give the same in the same order"
        )
    check_same_images_and_classes(found)
    return _Fitted(np.array([fit_temperature(p.logits, p.labels) for p in found]), len(found[0].labels))


def expected_calibration_error(
    confidence: np.ndarray, correct: np.ndarray, bins: int, weights: np.ndarray | None = None
) -> float:
    """Equal-mass ECE in [0, 1].

    Args:
        confidence: (n,) probability of the predicted class.
        correct: (n,) 1 where it is right, else 0.
        bins: Each of 1/bins of the mass; an image on a border counts in both bins by its shares.
        weights: (n,) how often each image counts; once when left out.
    """
    sums = _bin_sums(confidence, correct, bins, weights)
    return float(np.abs(sums[0] - sums[1]).sum())


def bin_means(confidence: np.ndarray, correct: np.ndarray, bins: int) -> np.ndarray:
    """Mean confidence and accuracy (2, bins) of the bins of `expected_calibration_error`."""
    return _bin_sums(confidence, correct, bins, None) * bins


def ece_floor(confidence: np.ndarray, bins: int, draws: int, seed: int) -> tuple[float, float]:
    """Mean and 97.5th percentile of the ECE, per cent, if each confidence were the probability of being right."""
    rng = np.random.default_rng([seed, _FLOOR])
    ranked = np.sort(confidence)
    found = [expected_calibration_error(ranked, rng.random(len(ranked)) < ranked, bins) for _ in range(draws)]
    return 100 * float(np.mean(found)), 100 * float(np.percentile(found, 97.5))


def _bin_sums(
    confidence: np.ndarray, correct: np.ndarray, bins: int, weights: np.ndarray | None
) -> np.ndarray:
    """Sums of confidence and correctness (2, bins) in each bin, over all mass."""
    order = np.argsort(confidence, kind="stable")
    mass = np.ones(len(order)) if weights is None else weights[order]
    until = np.concatenate([[0.0], np.cumsum(mass)])
    borders = until[-1] * np.arange(bins + 1) / bins
    # a bin's sum is a difference of the running sum, which is linear in the mass within each image
    values = np.stack([confidence[order], correct[order].astype(np.float64)]) * mass
    running = np.concatenate([np.zeros((2, 1)), np.cumsum(values, axis=1)], axis=1)
    return np.stack([np.diff(np.interp(borders, until, r)) for r in running]) / until[-1]


def _scores(predictions: PredictionsResult) -> np.ndarray:
    """NLL and Brier score of each image, (2, n)."""
    p = predictions.probabilities
    at_label = np.take_along_axis(p, predictions.labels[:, None], axis=1)[:, 0]
    # Σ_k (p_k − y_k)² = Σ_k p_k² − 2 p_y + 1
    return np.stack([predictions.loss, np.square(p).sum(axis=1) - 2 * at_label + 1])


def _class_differences(
    correct: np.ndarray, first: np.ndarray, starts: Sequence[int], counts: np.ndarray
) -> np.ndarray:
    """Accuracy minus the first network's in points, with its interval, (C, 3), of images in the order of their class."""
    gained, lost = (np.add.reduceat(np.maximum(d, 0), starts) for d in (correct - first, first - correct))
    return 100 * np.array(
        [
            ((up - down) / k, *paired_proportions_interval(int(up), int(down), int(k)))
            for up, down, k in zip(gained, lost, counts, strict=True)
        ]
    )


def _ratio(mean: float, value: float) -> float:
    return mean / value if value > 0 and mean > 0 else 1.0


def _notes(predictions: Sequence[PredictionsResult], smallest: int) -> Iterator[str]:
    for p in predictions:
        yield from (f"{p.model}: {note}" for note in p.notes)
    if predictions[0].split == "train":
        yield "training images: networks are surer of them than of others, so calibration is of held-out images"
    if smallest < 20:
        yield f"a class has {smallest} images: its interval is rough"
