"""One network's features on one split, and its numbers on resampled images."""

from __future__ import annotations

import numpy as np
from sklearn import config_context
from sklearn.metrics import silhouette_samples
from sklearn.preprocessing import normalize

from ralr_viz.analysis.collapse.neural_collapse import (
    davies_bouldin,
    equinorm_and_equiangle,
    nearest_mean,
    self_duality,
    whitening,
)
from ralr_viz.analysis.separation import nearest_neighbours, silhouette_influence, vote
from ralr_viz.results.collapse import METRICS
from ralr_viz.results.predictions import PredictionsResult
from ralr_viz.results.uncertainty import bootstrap_weights

_MEMORY = 128  # MiB that scikit-learn's chunks of distances take
_RESAMPLES_AT_ONCE = 64
_BY_MEANS = ("nc1", "nc2_norms", "nc2_angles", "nc3", "davies_bouldin")  # of noisier means in a resample


class SplitFeatures:
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
