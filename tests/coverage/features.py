"""Intervals of what is measured of features and activations: separation, collapse, similarity, movement of units."""

from __future__ import annotations

from functools import lru_cache, partial

import numpy as np

from ralr_viz.analysis.collapse.split_features import SplitFeatures
from ralr_viz.analysis.separation import compute_separation, group_by_class
from ralr_viz.results.activations import MEASURES, ActivationsResult, wasserstein_distance
from ralr_viz.results.collapse import METRICS, CollapseResult
from ralr_viz.results.embedding import INTERVALS
from ralr_viz.results.predictions import PredictionsResult
from ralr_viz.results.similarity import SimilarityResult
from tests.coverage.case import REPLICATES, Case, Row, cover_measures, holds

_CLASSES, _WIDTH = 4, 8


def _features(rng: np.random.Generator, each: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Of two networks on the same images of four classes, rectified; the second's classes are as far apart."""
    labels = np.repeat(np.arange(_CLASSES), each)
    centre = 1.5 * np.eye(_CLASSES, _WIDTH)[labels] + 0.5
    common = rng.standard_normal((len(labels), _WIDTH))
    own = rng.standard_normal((2, len(labels), _WIDTH))
    return [np.maximum(centre + 0.5 * (0.8 * common + 0.6 * noise), 0) for noise in own], labels


_SEPARATION = ("compactness", "separability", "scatter_ratio", "silhouette", "knn_accuracy", "map_recall")


def _simulate_separation(each: int) -> dict[str, np.ndarray]:
    """The truth is the mean over samples: that of many images where the number does not depend on theirs."""
    metrics, differences, kept = [], [], []
    for replicate in range(REPLICATES):
        rng = np.random.default_rng([1, replicate])
        features, labels = _features(rng, each)
        also = rng.beta(4, 3, (2, len(labels)))
        found = compute_separation(features, labels, also=[also], k=5, resamples=60, seed=replicate)
        metrics.append(found.metrics[0])
        differences.append(found.differences[1])
        kept.append(found.mean_kept[1])
    held = {}
    for suffix, tables in (("", metrics), (" difference", differences)):
        table = np.array(tables)  # (replicates, quantities, 3)
        for q, name in enumerate(_SEPARATION):
            held[name + suffix] = holds(table[:, q, 1], table[:, q, 2], table[:, q, 0].mean())
    table = np.array(kept)
    return held | {"neighbours_kept": holds(table[:, 1], table[:, 2], table[:, 0].mean())}


def _separation(each: int, *rows: Row) -> Case:
    names = [*_SEPARATION, *(f"{name} difference" for name in _SEPARATION), "neighbours_kept"]
    given = {row.interval: row for row in rows}
    return Case(
        f"embedding-{each * _CLASSES}",
        "`embed`, `report`",
        "four classes of rectified normal features; the truth is the mean over samples of as many images",
        f"{each * _CLASSES:,} images",
        tuple(given.get(name, Row(name)) for name in names),
        partial(_simulate_separation, each),
    )


def _simulate_collapse(each: int) -> dict[str, np.ndarray]:
    weight = (1.5 * np.eye(_CLASSES, _WIDTH)).astype(np.float32)
    means = 1.5 * np.eye(_CLASSES, _WIDTH) + 0.5
    ends: dict[str, list[tuple[float, ...]]] = {}
    for replicate in range(REPLICATES):
        features, labels = _features(np.random.default_rng([2, replicate]), each)
        order, bounds = group_by_class(labels)
        n, values, draws = len(labels), [], []
        for one in features:
            empty = np.zeros((n, 0, 0), np.float32)
            p = PredictionsResult(
                model="net", indices=np.arange(n), labels=labels, logits=(one @ weight.T).astype(np.float32),
                features=one.astype(np.float32), feature_layer="fc", true_maps=empty, predicted_maps=empty, map_layer="",
            )  # fmt: skip
            value, drawn, _ = SplitFeatures(p, order, bounds, np.arange(n), means, weight, 5).bootstrap(
                40, replicate
            )
            values.append([value, value])
            draws.append([drawn, drawn])
        result = CollapseResult(
            models=("a", "b"), values=np.array(values), draws=np.array(draws), draw_ratio=np.ones((2, 2, len(METRICS))),
            images=(n, n), subset=(n, n), classes=np.arange(_CLASSES), feature_widths=(_WIDTH,) * 2, k=5, seed=0,
        )  # fmt: skip
        for name in METRICS:
            pair = result.measure(name, "test")
            ends.setdefault(name, []).append(pair.interval(0))
            ends.setdefault(f"{name} difference", []).append(pair.difference(0, 1))
    tables = {name: np.array(found) for name, found in ends.items()}
    return {name: holds(t[:, 1], t[:, 2], t[:, 0].mean()) for name, t in tables.items()}


def _collapse(each: int, *rows: Row) -> Case:
    names = [*METRICS, *(f"{name} difference" for name in METRICS)]
    given = {row.interval: row for row in rows}
    return Case(
        f"collapse-{each * _CLASSES}",
        "`collapse`",
        "four classes of rectified normal features; the truth is the mean over samples of as many images",
        f"{each * _CLASSES:,} images",
        tuple(given.get(name, Row(name)) for name in names),
        partial(_simulate_collapse, each),
    )


@lru_cache(maxsize=1)
def _minibatches(count: int = 6000, size: int = 100) -> tuple[np.ndarray, ...]:
    """HSIC of many minibatches, of two pairs of networks with two layers: cross (N, 2, 2, 2), selves (N, 2, 2)."""
    import torch

    from ralr_viz.analysis.similarity import hsic, kernel

    rng = np.random.default_rng(3)
    mix = rng.standard_normal((3, 2, 12, 12)) / np.sqrt(12)
    cross, first, second = [], [], []
    for _ in range(count):
        label = rng.integers(10, size=size)
        x = 1.5 * np.eye(10, 12)[label] + rng.standard_normal((size, 12))
        kernels = []
        for network in mix:
            one = np.maximum(x @ (0.7 * mix[0, 0] + 0.5 * network[0]), 0)
            two = np.maximum(one @ network[1], 0)
            kernels.append(torch.stack([kernel(torch.from_numpy(h)) for h in (one, two)]))
        own = [hsic(k, k).diagonal().numpy() for k in kernels]
        cross.append([hsic(kernels[0], other).numpy() for other in kernels[1:]])
        first.append([own[0], own[0]])
        second.append(own[1:])
    return np.array(cross), np.array(first), np.array(second)


def _make_similarity(batches: int, rng: np.random.Generator, m: int, seed: int) -> SimilarityResult:
    """Two pairs of networks on the same minibatches, which are drawn from the many."""
    chosen, pair = np.repeat(rng.integers(6000, size=(m // 2, batches)), 2, axis=0), np.arange(m)[:, None] % 2
    cross, first, second = (part[chosen, pair] for part in _minibatches())
    return SimilarityResult(
        models=tuple(map(str, range(m))), states=(("a", "b"),) * m, null=(False,) * m, layers=("one", "two"),
        cross=cross, first_self=first, second_self=second, minibatch=100, indices=np.arange(100 * batches), seed=seed,
    )  # fmt: skip


def _simulate_similarity(batches: int) -> dict[str, np.ndarray]:
    cross, first, second = (part.sum(axis=0) for part in _minibatches())
    truth = np.diagonal(cross, axis1=1, axis2=2) / np.sqrt(first * second)  # of the pairs and layers
    names = {"cka": truth.mean(axis=1), "cka_last": truth[:, 1], "cka_first": truth[:, 0]}
    found = cover_measures(
        lambda rng, m, seed: _make_similarity(batches, rng, m, seed).measures(),
        {name: float(of_pairs[0]) for name, of_pairs in names.items()},
        differences={name: float(of_pairs[1] - of_pairs[0]) for name, of_pairs in names.items()},
    )
    held = []
    for block in range(10):
        low, high = _make_similarity(
            batches, np.random.default_rng([6, block]), 400, block
        ).diagonal_interval()
        held.append(holds(low[::2, 1], high[::2, 1], truth[0, 1]))
    return found | {"CKA of a layer, drawn band": np.concatenate(held)}


def _similarity(batches: int, *rows: Row) -> Case:
    names = ["cka", "cka_last", "cka_first"]
    names += [*(f"{name} difference" for name in names), "CKA of a layer, drawn band"]
    given = {row.interval: row for row in rows}
    return Case(
        f"similarity-{batches}",
        "`similarity`",
        "two networks that share a part of their first layer",
        f"{batches} minibatches of 100 images",
        tuple(given.get(name, Row(name)) for name in names),
        partial(_simulate_similarity, batches),
    )


_STEP = 0.125
_FIVE = "of five images those of the last two hold the truth in about 92 %"


def _activations_text() -> str:
    return " ".join((ActivationsResult.measure.__doc__ or "").split())


def _activations(rng: np.random.Generator, n: int, rows: int = 2, units: int = 32) -> ActivationsResult:
    """Rectified units of an earlier and a later state of two networks, in 20 groups of images or fewer."""
    groups = min(20, n)
    group = np.arange(n) % groups
    image = rng.standard_normal((1, n, units)) + 0.7 * rng.standard_normal((1, n, 1))
    before = np.maximum(image + 0.3 * rng.standard_normal((rows, n, units)), 0)
    after = np.maximum(0.9 * image + 0.4 + 0.5 * rng.standard_normal((rows, n, units)), 0)
    both = np.stack([before, after], axis=1)  # (rows, 2, n, units)
    bins = 96
    place = np.minimum((both / _STEP).astype(np.int64), bins - 1)
    flat = ((np.arange(2 * rows).reshape(rows, 2, 1, 1) * groups + group[:, None]) * bins + place)[both > 0]
    counts = np.bincount(flat, minlength=2 * rows * groups * bins).reshape(rows, 2, groups, bins)
    sizes = np.bincount(group)
    zeros = sizes * units - counts.sum(axis=-1)
    whole, none = counts.sum(axis=2), zeros.sum(axis=2)
    without = wasserstein_distance(
        np.swapaxes(whole[:, :, None] - counts, 1, 2),
        np.swapaxes(none[:, :, None] - zeros, 1, 2),
        start=0,
        width=_STEP,
    )
    a, b = before, after
    terms = np.stack([a, b, a**2, b**2, (a - b) ** 2], axis=1).sum(axis=-1)  # (rows, 5, n)
    sums = np.stack([terms[..., group == g].sum(axis=-1) for g in range(groups)], axis=-1)
    names = tuple(f"row {i}" for i in range(rows))
    return ActivationsResult(
        rows=names, checkpoints=(("epoch 1", "epoch 2"),) * rows, layers=(("layer",),) * rows,
        shapes=(((units, 1, 1),),) * rows, bin_widths=np.array([_STEP]), bin_starts=np.zeros(1, np.int64),
        bin_numbers=(bins,), counts=whole.ravel(), zeros=none[:, :, None], group_images=sizes,
        shifts=np.zeros((rows, 1)), sums=sums[:, None], distances_without=without[:, None],
        floors=np.zeros((rows, 2, 1)), dead_channels=np.zeros((rows, 2, 1), np.int64), selection="drawn",
    )  # fmt: skip


def _simulate_activations(n: int) -> dict[str, np.ndarray]:
    many = _activations(np.random.default_rng(9), 20_000)
    held: dict[str, list[np.ndarray]] = {}
    for replicate in range(REPLICATES):
        result = _activations(np.random.default_rng([4, replicate]), n)
        for name in MEASURES:
            truth = float(many.measure(name).value[:, 0].mean())
            _, low, high = result.measure(name)
            held.setdefault(name, []).append(holds(low[0, 0], high[0, 0], truth))
            _, low, high = result.difference(name)
            held.setdefault(f"{name} difference", []).append(holds(low[1, 0], high[1, 0], 0.0))
    return {name: np.array(parts) for name, parts in held.items()}


def _activation_case(n: int, *rows: Row) -> Case:
    names = [*MEASURES, *(f"{name} difference" for name in MEASURES)]
    given = {row.interval: row for row in rows}
    return Case(
        f"activations-{n}",
        "`activations`, `why`",
        "rectified units that move and shift between two states",
        f"{n:,} images in {min(20, n)} groups",
        tuple(given.get(name, Row(name)) for name in names),
        partial(_simulate_activations, n),
    )


_IMAGES = "of 60 to 200 images in four classes the first three of these cover 90 to 93 %, neighbours kept 81 to 84 %, differences up to 98 %"
_FEW_SEPARATED = (
    *(
        Row(name, 0.89, 0.97, _IMAGES, lambda: INTERVALS)
        for name in ("silhouette", "knn_accuracy", "map_recall")
    ),
    Row("neighbours_kept", 0.79, 0.86, _IMAGES, lambda: INTERVALS),
    Row("separability", 0.93, 0.98, _IMAGES, lambda: INTERVALS),
    *(
        Row(f"{name} difference", 0.93, 0.99, _IMAGES, lambda: INTERVALS)
        for name in ("scatter_ratio", "knn_accuracy")
    ),
)
_COLLAPSED = "Of 60 images in four classes the intervals cover 85 to 98 % (NC1 91 %, NC2 85 %), those of NC4, hardly ever above 0 there, all."
_FEW_COLLAPSED = tuple(
    Row(name, 0.83, 1.0, _COLLAPSED, lambda: " ".join((CollapseResult.__doc__ or "").split()))
    for metric in METRICS
    for name in (metric, f"{metric} difference")
)

CASES = (
    _separation(15, *_FEW_SEPARATED),
    _separation(50, *_FEW_SEPARATED),
    _collapse(15, *_FEW_COLLAPSED),
    *(_similarity(batches) for batches in (2, 5, 20)),
    _activation_case(
        5, *(Row(name, 0.9, 0.95, _FIVE, _activations_text) for name in ("correlation", "relative_change"))
    ),
    _activation_case(50),
)
