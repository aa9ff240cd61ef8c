"""Intervals of what needs boxes: average precision, localisation of maps and the checks of these maps."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import numpy as np

from ralr_viz.analysis.localisation.scores import _means
from ralr_viz.analysis.localisation.strata import stratum_means, target_strata
from ralr_viz.results.average_precision import Detected, compare_precision
from ralr_viz.results.localisation import FAITHFULNESS, METRICS, STRATA, SURE, LocalisationResult
from ralr_viz.results.measure import Measure
from ralr_viz.results.uncertainty import bootstrap_weights
from tests.coverage.case import REPLICATES, Case, Row, cover_measures, expected_values, holds

_LABELS = 2


def _detect(rng: np.random.Generator, n: int) -> tuple[Detected, Detected]:
    """Two networks on n images with an object or a few of two classes; found with a score that tells true from false."""
    objects = np.stack([rng.poisson(1.2, n), rng.poisson(0.6, n)])
    hard = rng.standard_normal((_LABELS, n))
    found = []
    for _ in range(2):
        images, true = [], []
        for label in range(_LABELS):
            image = np.repeat(np.arange(n), objects[label])
            level = 0.8 - 0.7 * hard[label][image] + 0.7 * rng.standard_normal(len(image))
            seen = level > 0
            noise = np.repeat(np.arange(n), rng.poisson(0.8, n))
            scores = np.append(
                level[seen] + 0.5 * rng.standard_normal(seen.sum()), rng.normal(0.2, 0.8, len(noise))
            )
            order = np.argsort(-scores, kind="stable")
            images.append(np.append(image[seen], noise)[order])
            true.append(np.append(np.ones(seen.sum(), bool), np.zeros(len(noise), bool))[order])
        found.append(Detected(tuple(images), tuple(true), objects))
    return found[0], found[1]


def _simulate_precision(n: int) -> dict[str, np.ndarray]:
    """Both networks are of one law, so that all differences are 0."""
    held: dict[str, list[np.ndarray]] = {}
    for replicate in range(REPLICATES):
        found = compare_precision(
            *_detect(np.random.default_rng([1, replicate]), n), resamples=200, seed=replicate
        )
        for name, at in (("difference of a class's AP", 0), ("difference of mAP", -1)):
            held.setdefault(name, []).append(holds(found.low[at], found.high[at], 0.0))
    return {name: np.array(parts) for name, parts in held.items()}


def _precision(n: int) -> Case:
    rows = (Row("difference of a class's AP"), Row("difference of mAP"))
    law = "two detectors of one law, which find the same objects hard"
    return Case(
        f"precision-{n}", "`detection-errors`", law, f"{n:,} images", rows, partial(_simulate_precision, n)
    )


def _make_localisation(n: int, rng: np.random.Generator, m: int, seed: int) -> Iterable[Measure]:
    """Maps that find an image's object by its size; the networks of a pair find the same ones hard."""
    area = rng.beta(1.5, 3, n)
    easy = np.repeat(rng.standard_normal((m // 2, n)), 2, axis=0)
    level = 0.7 * easy + 0.7 * rng.standard_normal((m, n)) + area - 0.3
    rank = 1 / (1 + np.exp(-2 * level))
    sure = 1 / (1 + np.exp(-(2.5 + 2 * easy + rng.standard_normal((m, n)))))
    correct, tuned = sure > 0.4, np.arange(n) % 2 == 0
    overlap = np.where(tuned, np.nan, np.clip(0.5 + 0.3 * level, 0, 1))
    reached = np.where(tuned, np.nan, (overlap[..., None] >= np.array([0.3, 0.5, 0.7])).mean(axis=-1))
    pointing = (rng.random((m, n)) < rank).astype(float)
    named = {
        "rank": rank, "energy": rank**2, "box": reached, "pointing": pointing,
        "top1": np.where(tuned, np.nan, correct & (overlap >= 0.5)),
    }  # fmt: skip
    each = np.stack([named[name] for name in METRICS], axis=1)
    strata = np.stack([area < 0.25, np.ones(n, bool), easy[0] > -0.5])
    in_sure = target_strata(sure)
    weights = np.concatenate(list(bootstrap_weights([(0, n)], 300, 300, seed)))
    once, counts = np.ones((1, n)), (strata[:, None] & ~np.isnan(each[0])).sum(axis=2)
    gains = 0.1 * easy[:, None, None] + 0.2 * rng.standard_exponential((m, len(FAITHFULNESS), 2, n)) - 0.1
    zero = np.zeros((m, n))
    return LocalisationResult(
        models=tuple(map(str, range(m))), indices=np.arange(n), labels=np.zeros(n, np.int64),
        boxes=np.zeros((n, 4), np.int16), area=area, correct=correct, rank=rank, energy=zero, pointing=zero, overlap=zero,
        values=_means(each, strata, once)[..., 0], baselines=np.zeros((2, len(STRATA), len(METRICS))), counts=counts,
        draws=_means(each, strata, weights), thresholds=np.zeros(m), centre_side=0.5, zero_maps=np.zeros(m, np.int64),
        dropped=0, image_size=(8, 8), map_sizes=((2, 2),) * m, sanity=np.zeros((m, 0, 3)), sanity_stages=((),) * m,
        sanity_images=0, faithfulness=gains.mean(axis=-1), faithfulness_draws=gains @ weights.T / n,
        faithfulness_images=n, target=sure, sure_values=stratum_means(rank, in_sure, once)[..., 0],
        sure_counts=in_sure.sum(axis=2), sure_draws=stratum_means(rank, in_sure, weights), seed=seed,
    ).measures()  # fmt: skip


_LOCALISATION = (
    *(f"{name}_{stratum}" for stratum in ("small", "all") for name in METRICS),
    *(f"rank_{name}" for name in SURE),
    "rank_equally_sure",
    "deletion_over_random",
)


def _simulate_localisation(n: int) -> dict[str, np.ndarray]:
    names = [name for name in _LOCALISATION if name != "rank_equally_sure"]
    truth = expected_values(partial(_make_localisation, 3000), names)
    # its own proportions, which follow the sample, make the number that it is
    return cover_measures(
        partial(_make_localisation, n), truth, differences=dict.fromkeys([*names, "rank_equally_sure"], 0.0)
    )


def _localisation(n: int, *rows: Row) -> Case:
    names = [name for name in _LOCALISATION if name != "rank_equally_sure"]
    names += [f"{name} difference" for name in (*names, "rank_equally_sure")]
    given = {row.interval: row for row in rows}
    return Case(
        f"localisation-{n}",
        "`localisation`",
        "maps that find large and easy objects, which two networks share",
        f"{n:,} images",
        tuple(given.get(name, Row(name)) for name in names),
        partial(_simulate_localisation, n),
    )


def _simulate_sanity(n: int) -> dict[str, np.ndarray]:
    """Rank correlations are bounded and skewed; each replicate is a stage of one cascade."""
    from ralr_viz.analysis.localisation.sanity import Cascade

    spearman = np.tanh(np.random.default_rng(3).normal(0.3, 0.6, (REPLICATES, n)))
    truth = np.tanh(np.random.default_rng(4).normal(0.3, 0.6, 4_000_000)).mean()
    _, low, high = Cascade(("stage",) * REPLICATES, spearman).summarise().T
    return {"rank correlation with random weights": holds(low, high, truth)}


def _sanity(n: int) -> Case:
    row = Row("rank correlation with random weights")
    law = "correlations of images, bounded and skewed"
    return Case(f"sanity-{n}", "`localisation`", law, f"{n:,} images", (row,), partial(_simulate_sanity, n))


CASES = (
    *(_precision(n) for n in (50, 150)),
    _localisation(700),
    *(_sanity(n) for n in (20, 200)),
)
