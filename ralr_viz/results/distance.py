"""How far two networks are apart, in weights and in predictions, of several pairs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from ralr_viz.results.bundle import Result
from ralr_viz.results.fields import Array, Axis, Within
from ralr_viz.results.measure import Measure, format_number, list_measures
from ralr_viz.results.uncertainty import bootstrap_counts

DRAWS = 1000
"""Bootstrap resamples of the images."""
_AT_ONCE = 100


@dataclass(frozen=True, eq=False)
class DistanceResult(Result):
    r"""Distances of the two networks of m pairs, in their parameters and in their predictions of the same n images.

    - ``relative``: :math:`\lVert w_2 - w_1\rVert` over the mean of :math:`\lVert w_1\rVert` and
      :math:`\lVert w_2\rVert`, of all parameters. BatchNorm's running statistics are none. Where BatchNorm follows, the
      scale of a layer changes no prediction: ``angle`` of a layer does not see it.
    - ``divergence``: mean of the Jensen–Shannon divergence
      :math:`\tfrac12 \mathrm{KL}(p\,\|\,m) + \tfrac12 \mathrm{KL}(q\,\|\,m)`, :math:`m = \tfrac12(p + q)`, of the predicted
      distributions: symmetric, from 0 to ln 2 nats.
    - ``error_agreement``: share of the images that both get right or both get wrong; ``expected_agreement``: that share
      if errors of the same number were independent, :math:`a_1 a_2 + (1 - a_1)(1 - a_2)` of accuracies :math:`a`;
      ``kappa``: (agreement − expected) / (1 − expected), 1 for the same errors, 0 for independent ones; of 50 images its
      interval covers 97 to 98 %.

    Attributes:
        models: m unique names of the pairs.
        states: m × (first, second) what the two networks are.
        null: m, whether a pair shows what differs without the change that is studied, such as two seeds.
        layers: L weights of two axes or more, in their order in the network.
        norms: (m, 2) float64 ‖w₁‖ and ‖w₂‖ of all parameters.
        distances: (m,) float64 ‖w₂ − w₁‖.
        angles: (m,) float64 degrees between w₁ and w₂.
        layer_norms: (m, 2, L) float64, of each layer's weight; likewise the next two.
        layer_distances, layer_angles: (m, L) float64.
        indices: (n,) int64 positions of the images in the split.
        labels: (n,) int64.
        predicted: (m, 2, n) int64.
        divergence: (m, n) float64 nats of each image.
        dataset, split: Where they come from; None for others.
        device, precision: Of the forward passes.
        seed: Of the bootstrap over images.

    References:
        Lin, Divergence measures based on the Shannon entropy, 1991. Geirhos et al., Beyond accuracy: quantifying
        trial-by-trial behaviour of CNNs and humans by measuring error consistency, NeurIPS 2020, section 2.
    """

    kind: ClassVar[str] = "distance"
    schema: ClassVar[int] = 1

    models: Annotated[tuple[str, ...], Axis(("models",), unique=True)]
    states: Annotated[tuple[tuple[str, str], ...], Axis(("models",))]
    null: Annotated[tuple[bool, ...], Axis(("models",))]
    layers: Annotated[tuple[str, ...], Axis(("layers",))]
    norms: Annotated[np.ndarray, Array("float", ("models", 2))]
    distances: Annotated[np.ndarray, Array("float", ("models",))]
    angles: Annotated[np.ndarray, Array("float", ("models",), unit="degrees")]
    layer_norms: Annotated[np.ndarray, Array("float", ("models", 2, "layers"))]
    layer_distances: Annotated[np.ndarray, Array("float", ("models", "layers"))]
    layer_angles: Annotated[np.ndarray, Array("float", ("models", "layers"), unit="degrees")]
    indices: Annotated[np.ndarray, Array("integer", ("images",))]
    labels: Annotated[np.ndarray, Array("integer", ("images",), fewest=1)]
    predicted: Annotated[np.ndarray, Array("integer", ("models", 2, "images"))]
    divergence: Annotated[np.ndarray, Array("float", ("models", "images"), unit="nats")]
    dataset: str | None = None
    split: str | None = None
    device: str = ""
    precision: str = ""
    seed: Annotated[int, Within(0)] = 0

    @property
    def num_images(self) -> int:
        """n."""
        return len(self.labels)

    @property
    def correct(self) -> np.ndarray:
        """Whether each network's prediction is right, bool (m, 2, n)."""
        return self.predicted == self.labels

    @property
    def relative(self) -> np.ndarray:
        """Distance over the mean norm, per cent, (m,); NaN where both have no length."""
        return _over_mean(self.distances, self.norms)

    @property
    def layer_relative(self) -> np.ndarray:
        """The same of each layer, (m, L)."""
        return _over_mean(self.layer_distances, self.layer_norms)

    def describe(self) -> list[str]:
        """Its measures of every pair, and of which no prediction differs."""
        highest = format_number(100 * (1 - 0.05 ** (1 / self.num_images)), 2)
        same = (self.predicted[:, 0] == self.predicted[:, 1]).all(axis=1)
        return [
            *list_measures(self.models, self.measures()),
            *(
                f"{name}: no prediction of {self.num_images:,} differs, so that less than {highest} % do (one-sided 95 %)"
                for name, alike in zip(self.models, same, strict=True)
                if alike
            ),
        ]

    @property
    def notes(self) -> tuple[str, ...]:
        """What is not there to compare with."""
        if any(self.null):
            return ()
        return ("no --null pair: how far two seeds of one method are apart is not shown",)

    def measures(self) -> tuple[Measure, ...]:
        """Distances of the weights, then those of the predictions, whose draws resample images; the most telling first."""
        shares = self._shares(np.ones((1, self.num_images)))[..., 0]
        counts = bootstrap_counts(self.num_images, DRAWS, self.seed, size=_AT_ONCE)
        draws = np.concatenate([self._shares(rows) for rows in counts], axis=2)
        rows = (
            ("disagreement", "predictions that differ", "%"),
            ("divergence", "Jensen–Shannon divergence", "nats"),
            ("error_agreement", "errors that agree", "%"),
            ("expected_agreement", "errors that would agree if independent", "%"),
            ("kappa", "error consistency κ", ""),
        )
        return (
            Measure("relative_distance", "distance over the mean norm", "%", self.relative),
            Measure("angle", "angle between the weights", "degrees", self.angles),
            *(
                Measure(
                    *row,
                    shares[:, k],
                    draws[:, k],
                    "images",
                    self.num_images,
                    share=100.0 if row[0] in ("disagreement", "error_agreement") else 0.0,
                )
                for k, row in enumerate(rows)
            ),
            Measure("distance", "distance of the weights", "", self.distances),
        )

    def _shares(self, weights: np.ndarray) -> np.ndarray:
        """The five numbers (m, 5, R) of the predictions, of images that count ``weights`` (R, n)."""
        first, second = (self.correct[:, k].astype(np.float64) for k in (0, 1))
        differ = (self.predicted[:, 0] != self.predicted[:, 1]).astype(np.float64)
        alike = (first == second).astype(np.float64)
        each = np.stack([differ, self.divergence, alike, first, second])
        disagreement, divergence, agreement, a, b = each @ weights.T / self.num_images
        expected = a * b + (1 - a) * (1 - b)
        room = 1 - expected
        # of networks without errors there is none to agree on; rounding leaves a rest of room
        kappa = np.divide(agreement - expected, room, out=np.full_like(room, np.nan), where=room > 1e-12)
        return np.stack([100 * disagreement, divergence, 100 * agreement, 100 * expected, kappa], axis=1)


def jensen_shannon(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Of two tables (n, classes) of log probabilities, float64: (n,) nats; exactly 0 of equal rows."""
    # ln p − ln m = ln 2 − ln(1 + q/p)
    difference = second - first
    terms = [
        np.exp(log_p) * (math.log(2) - np.logaddexp(0, d))
        for log_p, d in ((first, difference), (second, -difference))
    ]
    return np.maximum(0.5 * (terms[0] + terms[1]).sum(axis=1), 0)


def _over_mean(distances: np.ndarray, norms: np.ndarray) -> np.ndarray:
    mean = norms.mean(axis=1)
    return 100 * np.divide(distances, mean, out=np.full(mean.shape, np.nan), where=mean > 0)
