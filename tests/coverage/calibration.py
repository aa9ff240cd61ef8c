"""Intervals of the calibration: scores, its error, the bins' shares and the classes' paired differences."""

from __future__ import annotations

from functools import partial

import numpy as np
from scipy.special import softmax

from ralr_viz.analysis.calibration import (
    bin_means,
    compute_calibration,
    ece_floor,
    expected_calibration_error,
)
from ralr_viz.results.calibration import METRICS, CalibrationResult
from ralr_viz.results.predictions import PredictionsResult
from ralr_viz.results.uncertainty import (
    bootstrap_interval,
    paired_proportions_interval,
    wilson_interval,
)
from tests.coverage.case import REPLICATES, Case, Row, holds
from tests.coverage.images import FEW_CHANGES, few_changes_text

_CLASSES = 5


def _draw(
    rng: np.random.Generator, n: int, heats: tuple[float, ...]
) -> tuple[list[PredictionsResult], np.ndarray]:
    """Networks whose logits share two thirds of their variance, of labels drawn from the first one's; heat: too sure."""
    base = 2 * rng.standard_normal((n, _CLASSES))
    p = softmax(base, axis=1)
    labels = (rng.random((n, 1)) > p.cumsum(axis=1)).sum(axis=1).clip(max=_CLASSES - 1)
    empty = np.zeros((n, 0, 0), np.float32)
    found = []
    for i, heat in enumerate(heats):
        logits = heat * (base if i == 0 else base + rng.standard_normal(base.shape))
        found.append(
            PredictionsResult(
                model=f"net{i}", indices=np.arange(n), labels=labels, logits=logits.astype(np.float32),
                features=np.zeros((n, 1), np.float32), feature_layer="fc", true_maps=empty, predicted_maps=empty,
                map_layer="",
            )
        )  # fmt: skip
    return found, p


def _simulate(n: int, resamples: int, watched: int, heat: float) -> dict[str, np.ndarray]:
    """Of two networks; the truth of what is a mean is that of many images, of an ECE the mean over samples of n."""
    heats = (heat, 1.5)
    ends: dict[str, list[tuple[float, float]]] = {}
    values: dict[str, list[float]] = {}
    for replicate in range(REPLICATES):
        rng = np.random.default_rng([1, replicate])
        two, _ = _draw(rng, n, heats)
        seen = _draw(rng, watched, heats)[0] if watched else None
        found = compute_calibration(two, seen, resamples=resamples, seed=replicate)
        for measure in found.measures():
            if measure.name == "temperature":
                continue
            for name, (value, *both) in (
                (measure.name, measure.interval(0)),
                (f"{measure.name} difference", measure.difference(0, 1)),
            ):
                ends.setdefault(name, []).append(tuple(both))
                values.setdefault(name, []).append(value)
    truth = {name: float(np.mean(v)) for name, v in values.items()}
    many = compute_calibration(_draw(np.random.default_rng(2), 1_000_000, heats)[0], resamples=2)
    for q, name in enumerate(METRICS):
        if name != "ece":
            truth[name] = float(many.values[0, q])
            truth[f"{name} difference"] = float(many.values[1, q] - many.values[0, q])
    return {name: holds(*np.array(both).T, truth[name]) for name, both in ends.items()}


def _said() -> str:
    return " ".join((CalibrationResult.__doc__ or "").split())


def _losses_text() -> str:
    return " ".join((bootstrap_interval.__doc__ or "").split())


def _calibration(n: int, resamples: int, *, watched: int = 0, heat: float = 1.3, **other: Row) -> Case:
    names = [*METRICS, *(["ece_scaled"] if watched else [])]
    named = [row for name in names for row in (name, f"{name} difference")]
    rows = tuple(other.get(name.replace(" ", "_"), Row(name)) for name in named)
    return Case(
        f"calibration-{n}{f'-{heat:g}' if heat != 1.3 else ''}{'-scaled' if watched else ''}",
        "`calibration`",
        f"five classes, logits too large by {heat:g} and 1.5; of an ECE the truth is its mean over samples of n",
        f"{n:,} images",
        rows,
        partial(_simulate, n, resamples, watched, heat),
    )


def _simulate_bins(n: int, bins: int) -> dict[str, np.ndarray]:
    """Shares of right answers in bins of equal mass, given the confidences."""
    rng = np.random.default_rng(3)
    held = []
    for _ in range(REPLICATES // 2):
        confidence = np.sort(rng.beta(3, 1.2, n))
        right = np.clip(confidence - 0.08, 0, 1)
        hit = (rng.random(n) < right).astype(float)
        share, truth = bin_means(confidence, hit, bins)[1], bin_means(confidence, right, bins)[1]
        held.append(holds(*wilson_interval(share, n / bins), truth))
    return {"share of right answers in a bin (Wilson)": np.concatenate(held)}


def _bins(n: int, bins: int, row: Row | None = None) -> Case:
    return Case(
        f"bins-{n}",
        "`calibration`",
        f"{bins} bins of equal mass, given the confidences",
        f"{n:,} images",
        (row or Row("share of right answers in a bin (Wilson)"),),
        partial(_simulate_bins, n, bins),
    )


def _simulate_floor(n: int) -> dict[str, np.ndarray]:
    """ECE of networks whose confidence is the chance of being right, below the bound that is printed."""
    rng = np.random.default_rng(4)
    held = []
    for sample in range(REPLICATES // 50):
        confidence = rng.beta(3, 1.2, n)
        bound = ece_floor(confidence, 15, 400, sample)[1]
        for _ in range(50):
            hit = rng.random(n) < confidence
            held.append(float(100 * expected_calibration_error(confidence, hit, 15) <= bound))
    return {"upper bound of the ECE of right confidences (97.5 %)": np.array(held)}


def _floor(n: int) -> Case:
    name = "upper bound of the ECE of right confidences (97.5 %)"
    row = Row(name, 0.96, 0.99, "97.5th percentile", _said)
    return Case(
        f"floor-{n}",
        "`calibration`",
        "confidences that are right",
        f"{n:,} images",
        (row,),
        partial(_simulate_floor, n),
    )


def _simulate_classes(n: int, gained: float, lost: float) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(5)
    counts = rng.multinomial(n, [gained, lost, 1 - gained - lost], size=REPLICATES)
    ends = np.array([paired_proportions_interval(int(up), int(down), n) for up, down, _ in counts])
    return {"difference of a class's accuracies (Bonett and Price)": holds(*ends.T, gained - lost)}


def _classes(n: int, gained: float, lost: float, **ends: object) -> Case:
    row = Row("difference of a class's accuracies (Bonett and Price)", **ends)  # type: ignore[arg-type]
    return Case(
        f"classes-{n}-{100 * gained:g}-{100 * lost:g}",
        "`calibration`, `report`",
        f"{100 * gained:g} % gained, {100 * lost:g} % lost",
        f"{n:,} images of a class",
        (row,),
        partial(_simulate_classes, n, gained, lost),
    )


_SKEWED = "of skewed losses of 50 images 90 to 92 %, of 300 of them 92 to 95 %"

CASES = (
    _calibration(50, 60, **{name: Row(name, 0.88, 0.95, _SKEWED, _losses_text) for name in ("nll", "brier")}),
    _calibration(300, 60, heat=1.0, nll=Row("nll", 0.91, 0.96, _SKEWED, _losses_text)),
    _calibration(
        300,
        60,
        watched=300,
        heat=1.3,
        nll=Row("nll", 0.91, 0.96, _SKEWED, _losses_text),
        ece_scaled_difference=Row("ece_scaled difference", 0.96, 1.0, "scaled ones cover 98 to 99 %", _said),
    ),
    _bins(150, 15),
    _bins(1000, 15),
    _floor(200),
    _classes(20, 0.1, 0.05, low=0.97, high=1.0, says=FEW_CHANGES, text=few_changes_text),
    _classes(100, 0.1, 0.05),
    _classes(1000, 0.06, 0.04),
    _classes(100, 0.02, 0.01, low=0.97, high=1.0, says=FEW_CHANGES, text=few_changes_text),
)
