"""How alike the representations of two networks are, layer by layer, of several pairs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from ralr_viz.results.bundle import Result
from ralr_viz.results.fields import Array, Axis, Within
from ralr_viz.results.jackknife import each_of_sums
from ralr_viz.results.measure import Measure, list_measures
from ralr_viz.results.uncertainty import multinomial_counts, student_interval

DRAWS = 1000
"""Bootstrap resamples of the minibatches."""


@dataclass(frozen=True, eq=False)
class SimilarityResult(Result):
    r"""Unbiased linear HSIC of every two layers of m pairs of networks, on B minibatches of the same images.

    The similarity of layer i of the first and j of the second network is the minibatch CKA

    .. math:: \sum_b H_b(K_i, L_j) \Big/ \sqrt{\sum_b H_b(K_i, K_i) \sum_b H_b(L_j, L_j)},

    1 for representations that differ by a rotation and a scale only, 0 on average for unrelated ones (an
    estimate may lie a little below 0).

    Attributes:
        models: m unique names of the pairs.
        states: m × (first, second) what the two networks are.
        null: m, whether a pair shows what differs without the change that is studied, such as two seeds.
        layers: L modules, in order of execution.
        cross: (m, B, L, L) float64 unbiased HSIC of first network's layers (rows) and second's (columns).
        first_self, second_self: (m, B, L) float64 unbiased HSIC of each layer with itself.
        minibatch: Images of each.
        indices: (n,) int64 positions of the images in the split, n = B·minibatch.
        dataset, split: Where they come from; None for others.
        samples_name: What they are, if not images.
        device, precision: Of the forward passes.
        seed: Of the bootstrap over minibatches.

    References:
        Nguyen, Raghu, Kornblith: Do wide and deep networks learn the same things?, ICLR 2021, equation 2.
    """

    kind: ClassVar[str] = "similarity"
    schema: ClassVar[int] = 1

    models: Annotated[tuple[str, ...], Axis(("models",), unique=True)]
    states: Annotated[tuple[tuple[str, str], ...], Axis(("models",))]
    null: Annotated[tuple[bool, ...], Axis(("models",))]
    layers: Annotated[tuple[str, ...], Axis(("layers",))]
    cross: Annotated[np.ndarray, Array("float", ("models", "minibatches", "layers", "layers"))]
    first_self: Annotated[np.ndarray, Array("float", ("models", "minibatches", "layers"))]
    second_self: Annotated[np.ndarray, Array("float", ("models", "minibatches", "layers"))]
    minibatch: Annotated[int, Within(1)]
    indices: Annotated[np.ndarray, Array("integer", ("images",))]
    dataset: str | None = None
    split: str | None = None
    device: str = ""
    precision: str = ""
    seed: Annotated[int, Within(0)] = 0
    samples_name: str = "images"

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.indices) != self.cross.shape[1] * self.minibatch:
            raise ValueError(
                f"`indices` has {len(self.indices)} images for {self.cross.shape[1]} of `minibatch` {self.minibatch}"
            )

    @property
    def num_images(self) -> int:
        """n."""
        return len(self.indices)

    @property
    def num_batches(self) -> int:
        """B."""
        return self.cross.shape[1]

    @property
    def cka(self) -> np.ndarray:
        """Similarity of every two layers, (m, L, L); NaN where a layer does not vary."""
        return _cka(self.cross.sum(axis=1), self.first_self.sum(axis=1), self.second_self.sum(axis=1))

    @property
    def diagonal(self) -> np.ndarray:
        """Similarity of each layer with the same layer of the other network, (m, L)."""
        return np.diagonal(self.cka, axis1=1, axis2=2).copy()

    def diagonal_draws(self) -> np.ndarray:
        """`diagonal` on resampled minibatches, (m, DRAWS, L); the same minibatches for all pairs."""
        weights = multinomial_counts(self.num_batches, DRAWS, self.seed).astype(np.float64)
        same = np.diagonal(self.cross, axis1=2, axis2=3)
        sums = [
            np.einsum("rb,mbl->mrl", weights, values) for values in (same, self.first_self, self.second_self)
        ]
        return _ratio(*sums)

    def diagonal_each(self) -> np.ndarray:
        """Jackknife's pseudo-values of `diagonal`, (m, B, L), one for each minibatch."""
        same = np.diagonal(self.cross, axis1=2, axis2=3)
        parts = (np.moveaxis(values, 1, -1) for values in (same, self.first_self, self.second_self))
        return np.moveaxis(each_of_sums(_ratio, *parts), -1, 1)

    def diagonal_interval(self, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
        """Ends of the pointwise t interval of `diagonal`, each (m, L), of the jackknife over minibatches; NaN for one."""
        if self.num_batches < 2:
            nothing = np.full(self.diagonal.shape, np.nan)
            return nothing, nothing
        return student_interval(np.moveaxis(self.diagonal_each(), 1, -1), level)

    @property
    def notes(self) -> tuple[str, ...]:
        """What is not there to compare with."""
        if any(self.null):
            return ()
        return ("no --null pair: how alike two seeds of one method are is not shown",)

    def describe(self) -> list[str]:
        """Its measures of every pair."""
        return list_measures(self.models, self.measures())

    def measures(self) -> tuple[Measure, ...]:
        """Mean similarity of same layers, then that of the last and of the first layer."""
        several = self.num_batches > 1
        tables = (self.diagonal[:, None], self.diagonal_draws(), self.diagonal_each())
        values, draws, each = (table if several else table[:, : i == 0] for i, table in enumerate(tables))
        rows = [
            ("cka", "CKA, mean of layers", [table.mean(axis=2) for table in (values, draws, each)]),
            ("cka_last", f"CKA, {self.layers[-1]}", [table[..., -1] for table in (values, draws, each)]),
            ("cka_first", f"CKA, {self.layers[0]}", [table[..., 0] for table in (values, draws, each)]),
        ]
        return tuple(
            Measure(name, label, "", value[:, 0], drawn, "minibatches", self.num_batches, pseudo)
            for name, label, (value, drawn, pseudo) in rows
        )


def _cka(cross: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """CKA (..., L, L) of sums of HSIC (..., L, L), (..., L) and (..., L)."""
    return _ratio(cross, first[..., :, None], second[..., None, :])


def _ratio(cross: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    # the product of roots, not the root of the product, which may overflow or vanish
    scale = np.broadcast_to(np.sqrt(np.maximum(first, 0)) * np.sqrt(np.maximum(second, 0)), cross.shape)
    return np.divide(cross, scale, out=np.full(cross.shape, np.nan), where=scale > 0)
