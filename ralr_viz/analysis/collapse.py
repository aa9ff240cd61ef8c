"""Neural collapse (NC1–NC4) and class separation of penultimate features, on training and test images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sklearn import config_context
from sklearn.metrics import silhouette_samples
from sklearn.preprocessing import normalize
from torch import nn

from ralr_viz.analysis.comparison import check_same_images_and_classes, describe_networks, describe_runtime
from ralr_viz.analysis.neural_collapse import (
    class_means,
    davies_bouldin,
    equinorm_and_equiangle,
    nearest_mean,
    self_duality,
    spread_over_classes,
    whitening,
)
from ralr_viz.analysis.separation import (
    group_by_class,
    nearest_neighbours,
    silhouette_influence,
    vote,
)
from ralr_viz.errors import InputError
from ralr_viz.results.collapse import METRICS, SPLITS, CollapseResult
from ralr_viz.results.predictions import PredictionsResult
from ralr_viz.results.uncertainty import bootstrap_weights

_SUBSET = 5000
"""Images of the silhouette and the nearest neighbours, whose cost grows with the square of their number."""
_MEMORY = 128  # MiB that scikit-learn's chunks of distances take
_RESAMPLES_AT_ONCE = 64
_BY_MEANS = ("nc1", "nc2_norms", "nc2_angles", "nc3", "davies_bouldin")  # of noisier means in a resample


def compute_collapse(
    test: Sequence[PredictionsResult],
    train: Sequence[PredictionsResult],
    *,
    classifiers: Sequence[np.ndarray | None] | None = None,
    k: int = 20,
    resamples: int = 1000,
    seed: int = 0,
    progress: Callable[[int, int], object] | None = None,
    provenance: dict[str, Any] | None = None,
) -> CollapseResult:
    """NC1–NC4, silhouette, Davies–Bouldin index and kNN accuracy; `CollapseResult` defines each.

    The bootstrap draws images with replacement, the same for all networks. NC1, NC2 and NC3 are computed anew
    from draws within each class, and Davies–Bouldin to first order in the shift of the means. The others, the
    silhouette by its influence function, and NC4 (the training means stay) and kNN accuracy by the images' own
    values, are averaged anew over draws from all images. The draws of what
    rests on class means are divided by ``draw_ratio``: a resample's means carry their noise twice.

    Silhouette and kNN accuracy are of at most 5,000 images, evenly spread within each class.

    Args:
        test: Predictions of each network on held-out images.
        train: Of the same networks in the same order on training images of the same classes; NC4 takes their
            means for both splits.
        classifiers: Weight (classes, width) of the linear layer that gives each network's logits, or None;
            for NC3.
        k: Nearest others that vote; fewer where there are fewer images.
        resamples: Of the bootstrap, 1 or more.
        seed: Of the bootstrap.
        progress: Called as ``progress(done, total)``.
        provenance: Kept with the result, with the networks' own.

    Raises:
        InputError: No networks, others in ``train`` than in ``test``, other images in one than in another,
            no labels, a class of one image, one class only, other classes in the two splits, a classifier of
            another shape, or an option out of its range.
    """
    weights = list(classifiers) if classifiers is not None else [None] * len(test)
    _check(test, train, weights, k, resamples)
    total, done = len(SPLITS) * len(test) * 2, 0

    def step() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total)

    trained_means = [class_means(p.features, p.labels) for p in train]
    shape = (len(test), len(SPLITS), len(METRICS))
    values, ratio = np.empty(shape), np.ones(shape)
    draws = np.empty((*shape, resamples))
    subsets = []
    for s, predictions in enumerate((test, train)):
        order, bounds = group_by_class(predictions[0].labels)
        subset = spread_over_classes(bounds, _SUBSET)
        subsets.append(len(subset))
        for m, p in enumerate(predictions):
            split = _Split(p, order, bounds, subset, trained_means[m], weights[m], k)
            step()
            values[m, s], draws[m, s], ratio[m, s] = split.bootstrap(resamples, seed + s)
            step()
    device, precision = describe_runtime([*test, *train])
    return CollapseResult(
        models=tuple(p.model for p in test),
        values=values,
        draws=draws,
        draw_ratio=ratio,
        images=(len(test[0].labels), len(train[0].labels)),
        subset=(subsets[0], subsets[1]),
        classes=np.unique(test[0].labels),
        feature_widths=tuple(p.features.shape[1] for p in test),
        k=min(k, min(subsets) - 1),
        seed=seed,
        dataset=test[0].dataset,
        device=device,
        precision=precision,
        notes=tuple(_notes(test, weights, ratio)),
        provenance=describe_networks(test, provenance),
    )


def read_classifier(model: nn.Module, predictions: PredictionsResult) -> np.ndarray | None:
    """Weight (classes, width) float32 of the linear layer that gives a network's logits from its features.

    Args:
        model: The network of the predictions.
        predictions: Which name that layer.

    Returns:
        None where no linear layer gives the logits.
    """
    layer = dict(model.named_modules()).get(predictions.feature_layer)
    shape = (predictions.logits.shape[1], predictions.features.shape[1])
    if not isinstance(layer, nn.Linear) or tuple(layer.weight.shape) != shape:
        return None
    return layer.weight.detach().float().cpu().numpy().copy()


class _Split:
    """One network's features on one split, in the order of their class, ready to be resampled."""

    def __init__(
        self,
        predictions: PredictionsResult,
        order: np.ndarray,
        bounds: list[tuple[int, int]],
        subset: np.ndarray,
        trained_means: np.ndarray,
        weight: np.ndarray | None,
        k: int,
    ) -> None:
        features = predictions.features[order].astype(np.float64)
        labels = predictions.labels[order]
        self.classes = np.unique(labels)
        self.bounds, self.subset = bounds, subset
        self.counts = np.array([last - first for first, last in bounds], dtype=np.float64)
        self.codes = np.repeat(np.arange(len(bounds)), self.counts.astype(int))
        self.means = np.stack([features[first:last].mean(axis=0) for first, last in bounds])
        self.centred = features - self.means[self.codes]
        self.weight = None if weight is None else weight[self.classes].astype(np.float64)
        decided = predictions.logits[order].argmax(axis=1)
        self.mismatch = 100.0 * (self.classes[nearest_mean(features, trained_means)] != decided)
        unit = normalize(features[subset])
        with config_context(working_memory=_MEMORY):
            self.silhouette = silhouette_samples(unit, labels[subset], metric="cosine")
        self.influence = silhouette_influence(unit, labels[subset], self.silhouette)
        self.knn = 100.0 * (vote(labels[subset][nearest_neighbours(unit, k)]) == labels[subset])
        self.radius = np.linalg.norm(self.centred, axis=1)
        directions = np.divide(
            self.centred, self.radius[:, None], where=self.radius[:, None] > 0, out=np.zeros_like(features)
        )
        self.direction = self._class_sums(np.ones(len(labels)), directions)

    def bootstrap(self, resamples: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Values (quantities,), draws (quantities, R) around them, and the mean of the draws over the value."""
        ones = np.ones(len(self.centred))
        values = self._numbers(ones, ones)
        everywhere = [(0, len(self.centred))]
        parts = [
            bootstrap_weights(bounds, resamples, _RESAMPLES_AT_ONCE, seed)
            for bounds in (self.bounds, everywhere)
        ]
        drawn = [self._numbers(*row) for rows in zip(*parts, strict=True) for row in zip(*rows, strict=True)]
        draws = np.stack(drawn, axis=1)
        ratio = np.ones(len(METRICS))
        for i, name in enumerate(METRICS):
            mean = draws[i].mean()
            if name in _BY_MEANS and values[i] > 0 and mean > 0:
                ratio[i] = mean / values[i]
        return values, draws / ratio[:, None], ratio

    def _numbers(self, weights: np.ndarray, over_all: np.ndarray) -> np.ndarray:
        """All `METRICS`: by class means of images that count ``weights`` (n,) times, averages of ``over_all`` (n,)."""
        shift = self._class_sums(weights, self.centred)
        means = self.means + shift
        centred = means - means.mean(axis=0)
        part = over_all[self.subset]
        return np.array(
            [
                self._nc1(weights, shift, centred),
                *equinorm_and_equiangle(centred),
                np.nan if self.weight is None else self_duality(self.weight, centred),
                over_all @ self.mismatch / over_all.sum(),
                part @ self.influence / part.sum(),
                self._davies_bouldin(weights, shift, means),
                part @ self.knn / part.sum(),
            ]
        )

    def _nc1(self, weights: np.ndarray, shift: np.ndarray, centred: np.ndarray) -> float:
        # tr(Σ_W Σ_B⁺) is the variance within classes after Σ_B is made the identity on its range
        whiten = whitening(centred)
        squares = np.square(self.centred @ whiten).sum(axis=1)
        within = self._class_sums(weights, squares) - np.square(shift @ whiten).sum(axis=1)
        return float(np.maximum(within, 0).mean() / len(self.counts))

    def _davies_bouldin(self, weights: np.ndarray, shift: np.ndarray, means: np.ndarray) -> float:
        radius = self._class_sums(weights, self.radius) - (self.direction * shift).sum(axis=1)
        return davies_bouldin(np.maximum(radius, 0), means)

    def _class_sums(self, weights: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Mean within each class, (C, ...)."""
        parts = (weights[first:last] @ values[first:last] for first, last in self.bounds)
        return np.stack(list(parts)) / (self.counts if values.ndim == 1 else self.counts[:, None])


def _check(
    test: Sequence[PredictionsResult],
    train: Sequence[PredictionsResult],
    weights: Sequence[np.ndarray | None],
    k: int,
    resamples: int,
) -> None:
    for name, value in {"k": k, "resamples": resamples}.items():
        if value < 1:
            raise InputError(f"`{name}` = {value} must be 1 or more")
    check_same_images_and_classes(test)
    check_same_images_and_classes(train)
    if [p.model for p in test] != [p.model for p in train] or len(weights) != len(test):
        raise InputError(
            f"`test` has {len(test)} networks, `train` {len(train)} and `classifiers` {len(weights)}: give the same "
            "networks in the same order"
        )
    classes = np.unique(test[0].labels)
    if not np.array_equal(classes, np.unique(train[0].labels)):
        raise InputError(
            f"the {len(classes)} classes of the test images are not the {len(np.unique(train[0].labels))} of the "
            "training images: take more images of each split"
        )
    for p, other, weight in zip(test, train, weights, strict=True):
        shape = (p.logits.shape[1], p.features.shape[1])
        if weight is not None and weight.shape != shape:
            raise InputError(f"the classifier of `{p.model}` is {weight.shape}, its features need {shape}")
        if other.features.shape[1] != shape[1]:
            raise InputError(
                f"`{p.model}` has {shape[1]} features on test and {other.features.shape[1]} on training images: "
                "compute both of one network"
            )
        if not np.ptp(p.features, axis=0).any() or not np.ptp(other.features, axis=0).any():
            raise InputError(f"the features of `{p.model}` do not vary: there is nothing to separate")


def _notes(
    predictions: Sequence[PredictionsResult], weights: Sequence[np.ndarray | None], ratio: np.ndarray
) -> list[str]:
    notes = [f"{p.model}: {note}" for p in predictions for note in p.notes]
    notes += [
        f"{p.model}: no linear layer gives the logits, so there is no NC3"
        for p, weight in zip(predictions, weights, strict=True)
        if weight is None
    ]
    if len(np.unique(predictions[0].labels)) == 2:
        notes.append(
            "NC2 is not defined for two classes: their centred means are always opposite and equally long"
        )
    nc1 = ratio[:, 0, list(METRICS).index("nc1")]
    low, high = f"{nc1.min():.3f}", f"{nc1.max():.3f}"
    notes.append(
        f"NC1 of a resample of the test images was {low if low == high else f'{low} to {high}'} times the sample's on "
        "average, as its class means are noisier; the intervals are around the sample's, whose own means are noisy "
        "too: of fewer images NC1 is lower"
    )
    return notes
