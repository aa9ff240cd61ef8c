"""Accuracy and loss of one network or two: over images, over classes and over training seeds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ralr_viz.analysis.comparison import check_same_images_and_classes
from ralr_viz.analysis.paired import compare_paired
from ralr_viz.errors import InputError
from ralr_viz.results.measure import describe_refusal
from ralr_viz.results.predictions import PredictionsResult
from ralr_viz.results.run import RunRecord
from ralr_viz.results.tasks import ACCURACY
from ralr_viz.results.uncertainty import (
    bootstrap_interval,
    bootstrap_places,
    error_interval,
    mcnemar_p,
    paired_proportions_interval,
    paired_shares_interval,
    wilson_interval,
)
from ralr_viz.results.verdict import ClassScores, Score, Verdict

_CHUNK = 5_000_000
"""Resampled images at a time, to bound the memory."""

_SPLITS = (("test", "test"), ("val", "validation"))
"""Prefix of the columns of a run's log, and the split's name."""


def compute_verdict(
    names: Sequence[str],
    predictions: Sequence[PredictionsResult],
    runs: Sequence[Sequence[RunRecord]],
    *,
    epochs: Sequence[int | str | None] | None = None,
    resamples: int = 2000,
    seed: int = 0,
) -> Verdict:
    """Scores of one side or two.

    Over images, intervals are by the bootstrap over images as those of `Measure`, the same draws for both
    sides; NaN of fewer than 50 images. They hold for these checkpoints, and say nothing of another training. Over seeds, they are t intervals, of the
    difference paired by seed; a seed whose run diverged, is not finished or stopped elsewhere on any side is
    left out of all of them, and named in ``left_out``.

    Args:
        names: Of the sides, one or two.
        predictions: Of a checkpoint of each side on the same labelled images; empty where there are none.
        runs: Training runs of each side; may be empty.
        epochs: Of each side, after which its runs are compared: a number, ``best`` for each run's own best
            one, or None for the last one, of finished runs.
        resamples: Of the bootstrap.
        seed: Of the bootstrap.

    Raises:
        InputError: Predictions of different images, or other numbers of sides than one or two.
    """
    if len(names) not in (1, 2) or len(runs) != len(names) or len(predictions) not in (0, len(names)):
        raise InputError(f"`names` has {len(names)} sides, expects one or two, and runs of each")
    fields = _over_images(predictions, resamples, seed) if predictions else {}
    return Verdict(names=tuple(names), **fields, **_over_seeds(names, runs, epochs or [None] * len(names)))


def _over_images(predictions: Sequence[PredictionsResult], resamples: int, seed: int) -> dict:
    check_same_images_and_classes(predictions)
    first = predictions[0]
    correct = np.stack([p.predicted == p.labels for p in predictions])
    losses = np.stack([p.loss for p in predictions])
    draws = _bootstrap_means(np.concatenate([100.0 * correct, losses]), resamples, seed)
    m = len(predictions)
    both = np.zeros((2, 2), dtype=np.int64)
    if m == 2:
        np.add.at(both, (correct[0].astype(int), correct[1].astype(int)), 1)
    return {
        "images": (
            _image_score(
                "accuracy",
                "%",
                100.0 * correct,
                draws[:m],
                mcnemar_p(int(both[0, 1]), int(both[1, 0])) if m == 2 else np.nan,
            ),
            _image_score("loss", "nats", losses, draws[m:], np.nan),
        ),
        "num_images": len(first.labels),
        "split": f"{first.split or 'given'} images",
        "agreement": both if m == 2 else None,
        "classes": compute_class_scores(predictions),
    }


def compute_class_scores(predictions: Sequence[PredictionsResult]) -> ClassScores:
    """Accuracy of each class, the paired difference, and what a class is mostly taken for.

    The interval of a difference is Bonett and Price's adjusted Wald interval of paired proportions, which
    does not collapse to a point where the sides agree on all of few images.

    Args:
        predictions: Of one side or two, on the same labelled images.

    References:
        Bonett and Price, Adjusted Wald Confidence Interval for a Difference of Binomial Proportions Based on
        Paired Data, J. Educ. Behav. Stat. 2012.
    """
    labels, counts = np.unique(predictions[0].labels, return_counts=True)
    m, k = len(predictions), len(labels)
    accuracy, difference = np.full((m, k), np.nan), np.full((k, 3), np.nan)
    wrong, wrong_counts = np.full((m, k), -1), np.zeros((m, k), dtype=np.int64)
    for i, label in enumerate(labels):
        of_class = predictions[0].labels == label
        said = [p.predicted[of_class] for p in predictions]
        for side, answers in enumerate(said):
            accuracy[side, i] = 100 * np.mean(answers == label)
            others = np.bincount(answers[answers != label])
            if others.size:
                wrong[side, i], wrong_counts[side, i] = others.argmax(), others.max()
        if m == 2:
            right = [answers == label for answers in said]
            gained, lost = int((right[1] & ~right[0]).sum()), int((right[0] & ~right[1]).sum())
            low, high = paired_proportions_interval(gained, lost, int(counts[i]))
            difference[i] = 100 * (gained - lost) / counts[i], 100 * low, 100 * high
    return ClassScores(labels, counts, accuracy, difference, wrong, wrong_counts)


def _image_score(name: str, unit: str, values: np.ndarray, draws: np.ndarray, p: float) -> Score:
    """Values (m, n) of the images and their resampled means (m, R) as a score."""
    means = values.mean(axis=1)
    n = values.shape[1]
    table = np.column_stack([means, *bootstrap_interval(draws, n)])
    difference = np.full(3, np.nan)
    if unit == "%":  # shares: resamples of none hardly vary
        table[:, 1:] = 100 * np.column_stack(wilson_interval(means / 100, n))
    if len(values) == 2:
        change, changes = means[1] - means[0], draws[1] - draws[0]
        if unit == "%":
            spread = changes.std(ddof=1)
            ends = [100 * end for end in paired_shares_interval(change / 100, spread / 100, n)]
        else:
            ends = [float(end) for end in error_interval(change, changes, n)]
        difference[:] = change, *ends
    if describe_refusal(n):
        table[:, 1:] = difference[1:] = np.nan
    return Score(name, unit, "images", table, difference, p)


def _bootstrap_means(values: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Means (q, R) of q quantities (q, n) over R resamples of the n images, common to all."""
    n = values.shape[1]
    places = bootstrap_places(n, resamples, seed, size=max(1, _CHUNK // n))
    return np.concatenate([[row[chosen].mean(axis=1) for row in values] for chosen in places], axis=1)


def _over_seeds(
    names: Sequence[str], runs: Sequence[Sequence[RunRecord]], epochs: Sequence[int | str | None]
) -> dict:
    found = [{run.seed: run for run in of_side if run.seed is not None} for of_side in runs]
    if not all(found):
        return {}
    left_out = _left_out(names, found, epochs)
    common = [seed for seed in sorted(set.intersection(*map(set, found))) if seed not in left_out]
    records = [[of_side[seed] for seed in common] for of_side in found]
    split = next((s for s in _SPLITS if common and _has(records, epochs, f"{s[0]}_acc")), None)
    told = {"left_out": tuple((seed, left_out[seed]) for seed in sorted(left_out))}
    if split is None:
        return told
    prefix, called = split
    values = [
        np.array(
            [[_at(run, e, f"{prefix}_{end}") for run in row] for row, e in zip(records, epochs, strict=True)]
        )
        for end in ("acc", "loss")
    ]
    about = records[0][0].about
    score = about.score or ACCURACY
    return told | {
        "seeds": (
            _seed_score(score.title, score.unit, values[0], score.better),
            _seed_score("loss", about.loss_unit, values[1], "lower"),
        ),
        "paired_seeds": tuple(common),
        "seed_split": f"{called} {'sentences' if about.samples == 'tokens' else about.samples}",
        "seed_epoch": _describe_epochs(epochs),
        "per_seed": np.stack(values),
    }


def _left_out(
    names: Sequence[str], found: Sequence[dict[int, RunRecord]], epochs: Sequence[int | str | None]
) -> dict[int, str]:
    """Seeds that are not compared, and why: a number of an unfinished run is not one of its method."""
    reasons: dict[int, list[str]] = {}
    for i, of_side in enumerate(found):
        for seed, run in of_side.items():
            lacking = [name for name, other in zip(names, found, strict=True) if seed not in other]
            said = [f"{name} has none" for name in lacking] or _why_not(names[i], run, epochs[i])
            reasons.setdefault(seed, []).extend(one for one in said if one not in reasons.get(seed, []))
    whole = [seed for seed, said in reasons.items() if not said]
    ends = [
        int(of_side[seed].epoch[-1])
        for of_side, epoch in zip(found, epochs, strict=True)
        for seed in whole
        if epoch is None
    ]
    usual = max(ends, key=lambda end: (ends.count(end), end), default=0)
    for seed in whole:
        reasons[seed] += [
            f"{name} ended at epoch {of_side[seed].epoch[-1]}, others at {usual}"
            for name, of_side, epoch in zip(names, found, epochs, strict=True)
            if epoch is None and of_side[seed].epoch[-1] != usual
        ]
    return {seed: "; ".join(said) for seed, said in reasons.items() if said}


def _why_not(name: str, run: RunRecord, epoch: int | str | None) -> list[str]:
    """Why a run has no number of this epoch, or of its end; nothing where it has."""
    if run.status == "diverged":
        return [f"{name} diverged after epoch {run.epoch[-1]}"]
    if epoch is None and not run.ended:
        return [f"{name} is {run.status}, at epoch {run.epoch[-1]}"]
    if _measured(run, epoch):
        return []
    return [f"{name} did not measure {'its ' * (epoch in (None, 'best'))}{_name_epoch(epoch)}"]


def _measured(run: RunRecord, epoch: int | str | None) -> bool:
    return any(np.isfinite(_at(run, epoch, f"{prefix}_acc")) for prefix, _ in _SPLITS)


def _describe_epochs(epochs: Sequence[int | str | None]) -> str:
    of: dict[int | str | None, str] = {None: "the ", "best": "each run's "}
    return " and ".join(dict.fromkeys(of.get(epoch, "") + _name_epoch(epoch) for epoch in epochs))


def _name_epoch(epoch: int | str | None) -> str:
    if isinstance(epoch, int):
        return f"epoch {epoch}"
    return f"{epoch or 'last'} epoch"


def _seed_score(name: str, unit: str, values: np.ndarray, better: str) -> Score:
    """Values (m, seeds) as a score; `compare_paired` of one side's own values is its t interval."""
    table = np.array([compare_paired(row)[:3] for row in values])
    if len(values) == 1:
        return Score(name, unit, "seeds", table, np.full(3, np.nan), np.nan, better)
    found = compare_paired(values[1] - values[0])
    return Score(name, unit, "seeds", table, np.array(found[:3]), found.p, better)


def _has(records: Sequence[Sequence[RunRecord]], epochs: Sequence[int | str | None], quantity: str) -> bool:
    return all(
        np.isfinite(_at(run, epoch, quantity))
        for row, epoch in zip(records, epochs, strict=True)
        for run in row
    )


def _at(run: RunRecord, epoch: int | str | None, quantity: str) -> float:
    """Its value after an epoch, its best or its last one; NaN where it was not measured."""
    if epoch == "best":
        epoch = ((run.result or {}).get("best") or {}).get("epoch", 0)
    at = np.flatnonzero(run.epoch == (run.epoch[-1] if epoch is None else epoch))
    return float(run.values(quantity)[at[0]]) if len(at) else np.nan
