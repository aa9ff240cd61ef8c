"""Neural collapse of several networks: how tight classes are for their distance, on training and test images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from ralr_viz.results.bundle import Result
from ralr_viz.results.fields import Array, Axis, Within
from ralr_viz.results.measure import Measure, list_measures
from ralr_viz.results.of_loss import MOST_UNEQUAL

METRICS = {
    "nc1": "NC1, spread within over between classes",
    "nc2_norms": "NC2, coefficient of variation of the means' lengths",
    "nc2_angles": "NC2, mean |cos + 1/(C − 1)| of the means",
    "nc3": "NC3, distance of classifier and means",
    "nc4": "NC4, nearest class mean is not the decision",
    "silhouette": "silhouette",
    "davies_bouldin": "Davies–Bouldin index",
    "knn_accuracy": "kNN accuracy",
}
"""Quantities along the third axis of ``values``, and what a table calls them."""

UNITS = {"nc4": "%", "knn_accuracy": "%"}
"""Of those that are no pure numbers."""

_OF_SUBSET = ("silhouette", "knn_accuracy")

SPLITS = ("test", "train")
"""Along the second axis of ``values``; the claim is about the first."""


@dataclass(frozen=True, eq=False)
class CollapseResult(Result):
    r"""NC1–NC4 and three measures of class separation of the penultimate features of m networks.

    With :math:`\mu_c` the mean feature of class c, :math:`\bar\mu` the mean of the C class means and every
    class counting the same, :math:`\Sigma_W = \frac1C\sum_c \mathrm{Cov}_c` and
    :math:`\Sigma_B = \frac1C\sum_c (\mu_c-\bar\mu)(\mu_c-\bar\mu)^\top`:

    - ``nc1``: :math:`\mathrm{tr}(\Sigma_W\Sigma_B^+)/C`. 0 where every class is a point.
    - ``nc2_norms``, ``nc2_angles``: coefficient of variation of :math:`\|\mu_c-\bar\mu\|`; mean of
      :math:`|\cos(\mu_c-\bar\mu, \mu_d-\bar\mu) + 1/(C-1)|` over pairs. 0 for a simplex ETF; NaN for two classes,
      which always are one.
    - ``nc3``: :math:`\|W^\top/\|W\|_F - M/\|M\|_F\|_F^2` of the classifier's weight W and the centred class
      means M, from 0 (aligned) to 4. NaN where no linear layer gives the logits.
    - ``nc4``: per cent of the images whose nearest class mean *of the training images* is not the network's
      decision.
    - ``silhouette``: mean, by cosine distance. ``davies_bouldin``: by Euclidean distance, low where classes are
      apart. ``knn_accuracy``: per cent of the images whose k nearest others, by cosine, vote for their class.

    Of 60 images in four classes the intervals cover 85 to 98 % (NC1 91 %, NC2 85 %), those of NC4, hardly ever above 0 there, all.

    Means and covariances of a split are those of its own images, except in ``nc4``. Lower is tighter and
    further apart for all but ``silhouette`` and ``knn_accuracy``.

    Attributes:
        models: m names.
        values: (m, splits, quantities) float64 in the order of `SPLITS` and `METRICS`.
        draws: (m, splits, quantities, R) float64 of the bootstrap over images, for what class means give within
            classes; draw r is of the same images for all networks. See ``draw_ratio``.
        draw_ratio: (m, splits, quantities) float64: mean of the draws over the value before the draws were
            divided by it. A resample's class means are noisier than the sample's, which changes NC1–NC3 and
            Davies–Bouldin systematically; the draws keep their spread and are put around the value.
        images: Images of each split.
        subset: Images of each split that ``silhouette`` and ``knn_accuracy`` are of.
        classes: (C,) int64 labels that occur.
        feature_widths: m numbers of features.
        k: Nearest others that vote.
        seed: Of the bootstrap and the subset.
        dataset: Where the images come from; None for others.
        device, precision: Of the forward pass.
        notes: What a reader should know, one sentence each.
        train_loss: (m,) float64 mean cross-entropy of the training images in nats, which NC1 mostly follows; None in
            results from before it was kept.

    References:
        Papyan, Han and Donoho, Prevalence of neural collapse during the terminal phase of deep learning
        training, PNAS 2020. Hui, Belkin and Nakkiran, Limitations of neural collapse for understanding
        generalization in deep learning, 2022. Davies and Bouldin, A cluster separation measure, TPAMI 1979.
    """

    kind: ClassVar[str] = "collapse"
    schema: ClassVar[int] = 1

    models: Annotated[tuple[str, ...], Axis(("models",), fewest=1, unique=True)]
    values: Annotated[np.ndarray, Array("float", ("models", len(SPLITS), len(METRICS)))]
    draws: Annotated[np.ndarray, Array("float", ("models", len(SPLITS), len(METRICS), "resamples"))]
    draw_ratio: Annotated[np.ndarray, Array("float", ("models", len(SPLITS), len(METRICS)))]
    images: tuple[int, int]
    subset: tuple[int, int]
    classes: Annotated[np.ndarray, Array("integer", ("classes",))]
    feature_widths: Annotated[tuple[int, ...], Axis(("models",))]
    k: Annotated[int, Within(1)]
    seed: Annotated[int, Within(0)]
    dataset: str | None = None
    device: str = ""
    precision: str = ""
    notes: tuple[str, ...] = ()
    train_loss: Annotated[np.ndarray | None, Array("float", ("models",), unit="nats")] = None

    @property
    def loss_ratio(self) -> float:
        """Largest training loss over the smallest, ≥ 1; NaN where they are not known."""
        if self.train_loss is None or not self.train_loss.min() > 0:
            return np.nan
        return float(self.train_loss.max() / self.train_loss.min())

    def measures(self) -> tuple[Measure, ...]:
        """NC1 of the test images first, which the claim "tighter and further apart" is about, then the others."""
        found = tuple(self.measure(name, split) for split in SPLITS for name in METRICS)
        if self.train_loss is None:
            return found
        return (*found, Measure("collapse_train_loss", "training loss", "nats", self.train_loss))

    def measure(self, name: str, split: str) -> Measure:
        """One of `METRICS` on one of `SPLITS`."""
        at = (slice(None), SPLITS.index(split), list(METRICS).index(name))
        return Measure(
            name=f"{name}_{split}",
            label=f"{METRICS[name]}, {split}",
            unit=UNITS.get(name, ""),
            values=self.values[at],
            draws=self.draws[at],
            resampled="images",
            count=(self.subset if name in _OF_SUBSET else self.images)[SPLITS.index(split)],
            share=100.0 if name in UNITS else 0.0,
        )

    def describe(self) -> list[str]:
        """The measures, and that NC1 is not compared at equal training loss where it is not."""
        unequal = describe_unequal(self)
        return [*list_measures(self.models, self.measures()), *([unequal] if unequal else [])]


def describe_unequal(result: CollapseResult) -> str:
    """What a difference of NC1 is where the training losses differ by more than a tenth; empty where they do not."""
    if result.train_loss is None or not result.loss_ratio > MOST_UNEQUAL:
        return ""
    losses = ", ".join(f"{n} {v:.3g}" for n, v in zip(result.models, result.train_loss, strict=True))
    return (
        f"Training losses ({losses} nats) differ by more than a tenth: NC1 falls with the training loss, so that a "
        "difference says how far a network is trained, not that classes are tighter at equal loss; compare kept states "
        "of equal loss."
    )
