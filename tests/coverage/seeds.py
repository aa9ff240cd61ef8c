"""Intervals over training seeds: of means, paired and unpaired differences, and of what lies off a line."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ralr_viz.analysis.dose import predict_scores
from ralr_viz.analysis.paired import (
    HodgesLehmann,
    compare_paired,
    hodges_lehmann,
    paired_interval,
    seed_image_interval,
)
from ralr_viz.results import decision_caption
from ralr_viz.results.dose import DoseResult
from ralr_viz.results.fork import t_interval
from ralr_viz.results.over_time import OverTimeResult
from ralr_viz.study.statistics import SeedContrast, contrast, summarise
from tests.coverage.case import REPLICATES, Case, Row, holds

Ends = tuple[float, float]


def _repeat(
    draw: Callable[[np.random.Generator], np.ndarray],
    ends: Callable[[np.ndarray], Ends],
    truth: float,
    name: str,
) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    found = np.array([ends(draw(rng)) for _ in range(REPLICATES)])
    return {name: holds(found[:, 0], found[:, 1], truth)}


def _normal(n: int, rng: np.random.Generator) -> np.ndarray:
    return rng.normal(0.4, 0.6, n)


def _paired(n: int) -> Case:
    name = "mean of paired differences (t)"
    return Case(
        f"paired-{n}",
        "`why`, `study table`, `report`",
        "normal differences",
        f"{n} seeds",
        (Row(name),),
        partial(_repeat, partial(_normal, n), lambda d: compare_paired(d)[1:3], 0.4, name),
    )


def _narrow() -> Case:
    name = "90 % interval of equivalence"
    return Case(
        "narrow-16",
        "`study table decide`",
        "normal differences",
        "16 seeds",
        (
            Row(
                name, 0.88, 0.92, "90 % paired interval",
                lambda: Path(decision_caption.__file__ or "").read_text(),
            ),
        ),
        partial(_repeat, partial(_normal, 16), lambda d: paired_interval(d, 0.9), 0.4, name),
    )  # fmt: skip


def _centre(n: int) -> Case:
    name = "Hodges–Lehmann centre"
    return Case(
        f"hodges-lehmann-{n}",
        "`study table decide`",
        "symmetric differences with outliers (t of 3 degrees of freedom)",
        f"{n} seeds",
        (
            Row(
                name, 0.94, 0.985, "exact interval of at least the level", lambda: HodgesLehmann.__doc__ or ""
            ),
        ),
        partial(_repeat, lambda rng: rng.standard_t(3, n), lambda d: hodges_lehmann(d)[1:], 0.0, name),
    )


def _mean(n: int) -> Case:
    name = "mean of runs (t)"
    return Case(
        f"summary-{n}",
        "`study table`, `report`",
        "normal scores",
        f"{n} seeds",
        (Row(name),),
        partial(_repeat, partial(_normal, n), lambda x: summarise(x)[3:5], 0.4, name),
    )


def _simulate_contrast(n: int, m: int, ratio: float) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(2)
    welch, hedges = [], []
    for _ in range(REPLICATES):
        a, b = rng.normal(70, 1, n), rng.normal(71, ratio, m)
        found = contrast(dict(enumerate(a)), dict(enumerate(b, 100)))
        welch.append((found.low, found.high))
        hedges.append((found.g_low, found.g_high))
    ends = np.array([welch, hedges])
    held = {"difference of means (Welch)": holds(ends[0, :, 0], ends[0, :, 1], 1.0)}
    return held | {"standardised difference (g)": holds(ends[1, :, 0], ends[1, :, 1], 1.0)}


def _contrast(n: int, m: int, ratio: float, **ends: Any) -> Case:
    rows = [Row("difference of means (Welch)", **ends)]
    if ratio == 1:  # the law of g has equal variances
        rows.append(Row("standardised difference (g)"))
    return Case(
        f"contrast-{n}-{m}-{ratio:g}",
        "`study table`",
        f"normal scores, standard deviations 1 and {ratio:g}",
        f"{n} and {m} seeds",
        tuple(rows),
        partial(_simulate_contrast, n, m, ratio),
    )


def _contrast_text() -> str:
    return " ".join((SeedContrast.__doc__ or "").split())


def _fork(n: int) -> Case:
    name = "difference from factor 1 (t)"
    return Case(
        f"fork-{n}",
        "`fork`",
        "normal differences",
        f"{n} repeats or seeds",
        (Row(name),),
        partial(_repeat, partial(_normal, n), lambda d: t_interval(d)[1:], 0.4, name),
    )


def _simulate_over_time(axis: str) -> dict[str, np.ndarray]:
    """Three seeds' lines that differ by a level and a slope; each replicate is a measure of one result."""
    rng, epochs = np.random.default_rng(3), 12
    shape = (REPLICATES, 3)
    level, slope = rng.normal(1, 0.3, shape), rng.normal(0.2, 0.05, shape)
    # Σ LR differs between the seeds, as RALR's draws do, and the number is a line in it
    sum_lr = np.cumsum(rng.uniform(0.05, 0.2, (3, epochs)), axis=1)
    along = np.broadcast_to(np.arange(1.0, epochs + 1), (3, epochs)) if axis == "epoch" else sum_lr
    values = level[..., None] + slope[..., None] * along
    names = tuple(f"m{k}" for k in range(REPLICATES))
    result = OverTimeResult(
        noun="sharpness", measures=names, labels=names, units=("",) * REPLICATES, columns=("a", "b", "c"),
        groups=("ralr",) * 3, seeds=(0, 1, 2), epoch=np.arange(1, epochs + 1), values=values, sum_lr=sum_lr,
        train_loss=np.ones((3, epochs)), amplified=np.zeros((3, epochs), bool), axis=axis,
    )  # fmt: skip
    held = []
    for k in range(REPLICATES):
        x, _, low, high = result.mean(k, "ralr")
        held.append(holds(low[6], high[6], 1 + 0.2 * x[6]))
    return {"mean over seeds after an epoch (t)": np.array(held)}


def _over_time(axis: str, called: str) -> Case:
    return Case(
        f"over-time-{axis}",
        "`over-time`",
        f"lines of normal level and slope against {called}",
        "3 seeds",
        (Row("mean over seeds after an epoch (t)"),),
        partial(_simulate_over_time, axis),
    )


def _simulate_dose(seeds: int) -> dict[str, np.ndarray]:
    """Six doses of each seed on a line with a level for each, and an arm beside them that lies on it."""
    rng = np.random.default_rng(4)
    doses = np.array([0.5, 0.75, 1.0, 1.5, 2.0, 3.0])
    dose = np.append(np.tile(doses, seeds), np.full(seeds, np.nan))
    seed = np.append(np.repeat(np.arange(seeds), len(doses)), np.arange(seeds))
    runs = tuple(f"r{i}" for i in range(len(dose)))
    held = []
    for _ in range(REPLICATES):
        x = np.log(np.where(np.isnan(dose), 1.5, dose)) + rng.normal(0, 0.1, len(dose))
        score = rng.normal(70, 0.5, seeds)[seed] - 2 * x + rng.normal(0, 0.3, len(dose))
        predicted, slope = predict_scores(x, score, seed, np.isfinite(dose))
        result = DoseResult(
            noun="sharpness", measures=("m",), labels=("m",), units=("",), dose_name="factor", score_name="accuracy",
            score_unit="%", runs=runs, arms=tuple("ralr" if np.isnan(d) else f"{d:g}" for d in dose),
            seeds=tuple(seed.tolist()), dose=dose, values=x[None], score=score, dose_tau=np.zeros(1),
            dose_p=np.ones(1), tau=np.zeros((1, 2)), p=np.ones((1, 2)), predicted=predicted[None],
            slope=np.array([slope]), logarithmic=np.zeros(1, bool),
        )  # fmt: skip
        _, low, high = result.off_line(0, "ralr")
        held.append(holds(low, high, 0.0))
    return {"mean distance from the line (t)": np.array(held)}


def _dose(seeds: int) -> Case:
    return Case(
        f"dose-{seeds}",
        "`dose`",
        "six doses a seed on a line, one arm on it",
        f"{seeds} seeds",
        (Row("mean distance from the line (t)"),),
        partial(_simulate_dose, seeds),
    )


def _simulate_seeds_and_images(n: int) -> dict[str, np.ndarray]:
    """Seeds that differ by a standard deviation of 1, images by a tenth of it."""
    rng = np.random.default_rng(5)
    held = []
    for seed in range(REPLICATES):
        draws = rng.normal(0.4, 1, (n, 1)) + rng.normal(0, 0.1) + rng.normal(0, 0.1, 1000)
        held.append(holds(*seed_image_interval(draws, seed=seed), 0.4))
    return {"mean difference over seeds × images": np.array(held)}


def _seeds_and_images(n: int, low: float, high: float, says: str) -> Case:
    return Case(
        f"seeds-images-{n}",
        "`why` (saved table)",
        "normal, seeds ten times as different as images",
        f"{n} seeds",
        (
            Row(
                "mean difference over seeds × images", low, high, says,
                lambda: " ".join((seed_image_interval.__doc__ or "").split()),
            ),
        ),
        partial(_simulate_seeds_and_images, n),
    )  # fmt: skip


CASES = (
    *(_paired(n) for n in (3, 4, 16)),
    _narrow(),
    *(_centre(n) for n in (6, 16)),
    *(_mean(n) for n in (2, 4)),
    _contrast(4, 4, 1),
    _contrast(4, 4, 3),
    _contrast(2, 2, 1, low=0.97, high=0.99, says="of two runs a side it covers 98 %", text=_contrast_text),
    _contrast(3, 8, 2),
    *(_fork(n) for n in (2, 4)),
    _over_time("epoch", "the epoch"),
    _over_time("sum-lr", "Σ LR"),
    *(_dose(n) for n in (2, 4)),
    _seeds_and_images(4, 0.76, 0.84, "about 80 % where seeds differ much more than images"),
)
