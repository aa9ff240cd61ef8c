"""Intervals over images: means and shares of them, and what is a ratio of such means."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import numpy as np

from ralr_viz.results.distance import DistanceResult
from ralr_viz.results.learning import LearningResult
from ralr_viz.results.measure import Measure
from ralr_viz.results.movement import MovementResult
from ralr_viz.results.uncertainty import (
    bootstrap_interval,
    paired_proportions_interval,
    wilson_interval,
)
from tests.coverage.case import REPLICATES, Case, Row, cover_measures, expected_values, holds

FEW_CHANGES = "at three changes expected about 99 %"
FEW_COUNT = "one image or two count it covers 91 to 98 %"


def few_changes_text() -> str:
    """What Bonett and Price's interval says of few changes."""
    return " ".join((paired_proportions_interval.__doc__ or "").split())


def few_count_text() -> str:
    """What Wilson's interval says of small shares."""
    return " ".join((wilson_interval.__doc__ or "").split())


ACCURACY, LOSS = "accuracy (share of images)", "loss (mean over images)"


def _simulate_verdict(n: int, right: float) -> dict[str, np.ndarray]:
    """Two sides that agree on most images; losses are exponential, skewed as those of a network are."""
    from ralr_viz.analysis.verdict import compute_verdict
    from ralr_viz.results.predictions import PredictionsResult

    rng = np.random.default_rng(1)
    labels, empty = np.zeros(n, np.int64), np.zeros((n, 0, 0), np.float32)
    scale = 0.7 * (1 - right)
    other = 1 - 0.8 * (1 - right)  # of the second side, a fifth fewer errors
    held: dict[str, list[np.ndarray]] = {}
    # of two classes the loss is ln(1 + e^−logit): above ln 2 where the answer is wrong
    level = np.log(2)
    truth = [
        float(_losses(np.random.default_rng(9), 4_000_000, p, scale, level).mean()) for p in (right, other)
    ]
    for replicate in range(REPLICATES):
        common = rng.random(n)
        sides = [_losses(rng, n, p, scale, level, common) for p in (right, other)]
        predictions = [
            PredictionsResult(
                model=f"net{i}", indices=np.arange(n), labels=labels,
                logits=np.stack([-np.log(np.expm1(loss)), np.zeros(n)], axis=1).astype(np.float32),
                features=np.zeros((n, 1), np.float32), feature_layer="fc", true_maps=empty, predicted_maps=empty,
                map_layer="",
            )
            for i, loss in enumerate(sides)
        ]  # fmt: skip
        verdict = compute_verdict(["a", "b"], predictions, [(), ()], resamples=400, seed=replicate)
        accuracy, loss = verdict.images
        for name, score, truths in (
            (ACCURACY, accuracy, (100 * right, 100 * other)),
            (LOSS, loss, truth),
        ):
            held.setdefault(name, []).append(holds(*score.values[0, 1:], truths[0]))
            held.setdefault(f"{name}, difference", []).append(
                holds(*score.difference[1:], truths[1] - truths[0])
            )
    return {name: np.array(parts) for name, parts in held.items()}


def _losses(
    rng: np.random.Generator,
    n: int,
    right: float,
    scale: float,
    level: float,
    common: np.ndarray | None = None,
) -> np.ndarray:
    """Of n images, below ``level`` with the chance ``right``; the same images are hard for all that share ``common``."""
    hard = rng.random(n) if common is None else np.where(rng.random(n) < 0.7, common, rng.random(n))
    small = level * rng.beta(0.3, 2, n)
    return np.maximum(np.where(hard < right, small, level + scale + rng.exponential(1.0, n)), 1e-6)


def _verdict(n: int, right: float, *rows: Row) -> Case:
    names = (ACCURACY, f"{ACCURACY}, difference", LOSS, f"{LOSS}, difference")
    given = {row.interval: row for row in rows}
    return Case(
        f"verdict-{n}-{100 * right:g}",
        "`report`, `calibration`",
        f"{100 * right:g} % right, skewed losses",
        f"{n:,} images",
        tuple(given.get(name, Row(name)) for name in names),
        partial(_simulate_verdict, n, right),
    )


def _make_learning(n: int, rng: np.random.Generator, m: int, seed: int) -> Iterable[Measure]:
    """Counts that grow with an image's difficulty, which two runs share."""
    hard = np.repeat(rng.gamma(1.0, 1.0, (m // 2, n)), 2, axis=0)
    events = np.where(rng.random((m, n)) < 0.1 * np.minimum(hard, 3), -1, rng.poisson(hard))
    zero, shares = np.zeros((m, n)), np.zeros((m, 2))
    return LearningResult(
        models=tuple(map(str, range(m))), methods=("ralr",) * m, seeds=(0,) * m, epoch=np.arange(1, 3), factor=shares,
        accuracy=shares, forgotten=shares, learned=shares, places=np.arange(n), events=events,
        first=1 + rng.poisson(2 * hard), confidence=zero, variability=0.5 * rng.beta(1 + hard, 4), ease=zero, late=zero,
        agreement=np.eye(m), disagreement=np.zeros((m, m)), chosen=np.zeros(1, np.int64),
        timeline=np.zeros((m, 2, 1), bool), examples="val", seed=seed,
    ).measures()  # fmt: skip


_LEARNING = ("forgetting_events", "never_forgotten", "never_learned", "first_epoch", "variability")


def _simulate_learning(n: int) -> dict[str, np.ndarray]:
    make = partial(_make_learning, n)
    truth = expected_values(partial(_make_learning, 4000), _LEARNING)
    return cover_measures(make, truth, differences=dict.fromkeys(_LEARNING, 0.0))


def _learning(n: int, *other: Row) -> Case:
    given = {row.interval: row for row in other}
    names = [*_LEARNING, *(f"{name} difference" for name in _LEARNING)]
    law = "forgetting that grows with an image's difficulty"
    rows = tuple(given.get(name, Row(name)) for name in names)
    return Case(f"learning-{n}", "`learning`", law, f"{n:,} images", rows, partial(_simulate_learning, n))


def _make_movement(n: int, rng: np.random.Generator, m: int, seed: int) -> Iterable[Measure]:
    """Of an image either little changes, or its class; two runs share which images those are."""
    loose = np.repeat(rng.beta(0.4, 3, (m // 2, n)), 2, axis=0)
    change = np.clip(rng.beta(0.5, 4, (m, n)) + 0.5 * (rng.random((m, n)) < loose), 0, 1)
    one, none, flat = np.ones((m, 2)), np.zeros((m, 0)), np.ones(m)
    return MovementResult(
        models=tuple(map(str, range(m))), methods=("ralr",) * m, epoch=np.arange(1, 3), step_length=one, distance=one,
        weight_norm=one, lr=one, angle=one, late_after=np.ones(m, np.int64), last_epoch=np.full(m, 2), late_net=flat,
        late_norm=flat, layers=(), layer_net=none, layer_norm=none, filter_angle=none,
        filter_layer=np.zeros(0, np.int64), changed=(change > 0.5).astype(np.int8), seed=seed,
        function_change=change.astype(np.float32),
    ).measures()  # fmt: skip


_MOVEMENT = ("function_change", "churn", "churn_per_lr")


def _simulate_movement(n: int) -> dict[str, np.ndarray]:
    truth = expected_values(partial(_make_movement, 4000), _MOVEMENT)
    return cover_measures(partial(_make_movement, n), truth, differences=dict.fromkeys(_MOVEMENT, 0.0))


def _movement(n: int) -> Case:
    names = [*_MOVEMENT, *(f"{name} difference" for name in _MOVEMENT)]
    law = "few images change class, which two runs share"
    rows = tuple(Row(name) for name in names)
    return Case(f"movement-{n}", "`movement`", law, f"{n:,} images", rows, partial(_simulate_movement, n))


def _make_distance(n: int, rng: np.random.Generator, m: int, seed: int) -> Iterable[Measure]:
    """Two networks that are right on 80 % and share three quarters of the errors' causes; pairs share images."""
    hard = np.repeat(rng.random((m // 2, 1, n)), 2, axis=0)
    own = np.where(rng.random((m, 2, n)) < 0.75, hard, rng.random((m, 2, n)))
    wrong = own < 0.2
    predicted = np.where(wrong, 1 + rng.integers(3, size=wrong.shape), 0)
    none, zero = np.zeros((m, 0)), np.zeros(m)
    return DistanceResult(
        models=tuple(map(str, range(m))), states=(("a", "b"),) * m, null=(False,) * m, layers=(), norms=np.ones((m, 2)),
        distances=zero, angles=zero, layer_norms=np.zeros((m, 2, 0)), layer_distances=none, layer_angles=none,
        indices=np.arange(n), labels=np.zeros(n, np.int64), predicted=predicted,
        divergence=0.05 * rng.gamma(0.5, 1, (m, n)) + 0.3 * wrong.any(axis=1) * rng.random((m, n)), seed=seed,
    ).measures()  # fmt: skip


_DISTANCE = ("disagreement", "divergence", "error_agreement", "expected_agreement", "kappa")


def _simulate_distance(n: int) -> dict[str, np.ndarray]:
    truth = expected_values(partial(_make_distance, 4000), _DISTANCE)
    return cover_measures(partial(_make_distance, n), truth, differences=dict.fromkeys(_DISTANCE, 0.0))


def _distance_text() -> str:
    return " ".join((DistanceResult.__doc__ or "").split())


def _distance(n: int, *rows: Row) -> Case:
    given = {row.interval: row for row in rows}
    names = [*_DISTANCE, *(f"{name} difference" for name in _DISTANCE)]
    law = "80 % right, three quarters of the errors shared"
    shown = tuple(given.get(name, Row(name)) for name in names)
    return Case(f"distance-{n}", "`distance`", law, f"{n:,} images", shown, partial(_simulate_distance, n))


def _large_text() -> str:
    return " ".join((bootstrap_interval.__doc__ or "").split())


_FEW = (
    Row(ACCURACY, 0.9, 0.985, FEW_COUNT, few_count_text),
    Row(f"{ACCURACY}, difference", 0.95, 1.0, FEW_CHANGES, few_changes_text),
    Row(LOSS, 0.84, 0.94, "as losses where one image of 50 is wrong, it covers 87 %", _large_text),
)

CASES = (
    _verdict(50, 0.8, Row(LOSS, 0.88, 0.95, "of skewed losses of 50 images 90 to 92 %", _large_text)),
    _verdict(300, 0.93),
    _verdict(50, 0.98, *_FEW),
    _verdict(300, 0.995, *_FEW),
    _learning(
        50,
        Row("never_learned difference", 0.95, 0.99, "covers more where few images change", few_changes_text),
    ),
    _learning(300),
    *(_movement(n) for n in (50, 300)),
    _distance(50, Row("kappa", 0.95, 0.985, "of 50 images its interval covers 97 to 98 %", _distance_text)),
    _distance(300),
)
