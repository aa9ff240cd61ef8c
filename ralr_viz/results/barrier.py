"""The loss on the straight line between two networks, of several pairs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from ralr_viz.results.fields import Array, Axis, OneOf, Within
from ralr_viz.results.measure import Measure, list_measures
from ralr_viz.results.of_loss import LossResult
from ralr_viz.results.uncertainty import bootstrap_counts, bootstrap_interval

DRAWS = 1000
"""Bootstrap resamples of the images."""
STATISTICS = ("recomputed", "interpolated")
"""What BatchNorm's running statistics are at a point of the line."""


@dataclass(frozen=True, eq=False)
class BarrierResult(LossResult):
    r"""Loss of the networks (1 − α)w₁ + αw₂ of m pairs on the same n images.

    The gap is :math:`L(\alpha) - (1-\alpha)L(0) - \alpha L(1)`, the barrier its maximum over the points of the
    grid; both ends are on it, so it is at least 0.

    Attributes:
        models: m unique names of the pairs.
        states: m × (first, second) what the two ends are.
        alphas: (A,) float64 in [0, 1], growing, with both ends and the middle.
        losses: (m, A, n) float32 cross-entropy of each image in nats; of a task without images, what each batch adds to
            the mean loss, times n.
        correct: (m, A, n) bool whether its class is predicted; None where there are no classes.
        distances: (m,) float64 ‖w₂ − w₁‖ of all weights.
        statistics: ``recomputed`` on these images at every point, the ends too; ``interpolated`` like the
            weights; or empty, where the networks have none.
        indices: (n,) int64 positions of the images in the split.
        dataset, split: Where they come from; None for others.
        augmentation: Of the images, in words; empty for none.
        device, precision: Of the forward passes.
        seed: Of the bootstrap over images.

    References:
        Garipov et al. 2018; Frankle et al., Linear mode connectivity and the lottery ticket hypothesis, 2020.
    """

    kind: ClassVar[str] = "barrier"
    schema: ClassVar[int] = 1

    models: Annotated[tuple[str, ...], Axis(("models",), unique=True)]
    states: Annotated[tuple[tuple[str, str], ...], Axis(("models",))]
    alphas: Annotated[np.ndarray, Array("float", ("points",))]
    losses: Annotated[np.ndarray, Array("float", ("models", "points", "images"), unit="nats")]
    correct: Annotated[np.ndarray | None, Array("boolean", ("models", "points", "images"))]
    distances: Annotated[np.ndarray, Array("float", ("models",))]
    statistics: Annotated[str, OneOf(("recomputed", "interpolated", ""))]
    indices: Annotated[np.ndarray, Array("integer", ("images",))]
    dataset: str | None = None
    split: str | None = None
    augmentation: str = ""
    device: str = ""
    precision: str = ""
    seed: Annotated[int, Within(0)] = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not {0.0, 0.5, 1.0} <= set(self.alphas.tolist()) or (np.diff(self.alphas) <= 0).any():
            raise ValueError("`alphas` must grow and hold 0, 1/2 and 1")

    @property
    def num_images(self) -> int:
        """n."""
        return len(self.indices)

    @property
    def loss(self) -> np.ndarray:
        """Mean loss in nats, float64 (m, A)."""
        return self.losses.mean(axis=2, dtype=np.float64)

    @property
    def accuracy(self) -> np.ndarray:
        """In per cent, float64 (m, A); NaN where there are no classes."""
        if self.correct is None:
            return np.full(self.losses.shape[:2], np.nan)
        return 100 * self.correct.mean(axis=2)

    @property
    def gap(self) -> np.ndarray:
        """Loss above the straight line between the ends, in nats, float64 (m, A); 0 at both ends."""
        return line_gap(self.alphas, self.loss)

    def loss_draws(self) -> np.ndarray:
        """Mean loss on resampled images, float64 (m, A, DRAWS); draw r has the same images for all."""
        return self.losses.astype(np.float64) @ self._weights().T

    def gap_interval(self) -> tuple[np.ndarray, np.ndarray]:
        """Ends of the pointwise 95 % interval of the gap, each (m, A), those of `measures`."""
        draws = line_gap(self.alphas, self.loss_draws().swapaxes(1, 2))
        return bootstrap_interval(draws.swapaxes(1, 2), self.num_images)

    def selection_bias(self) -> np.ndarray:
        """By how much the maximum over α lies above the height at a fixed α through sampling alone, (m,) nats.

        The bootstrap's estimate: mean of the draws' barriers minus the barrier.
        """
        draws = line_gap(self.alphas, self.loss_draws().swapaxes(1, 2)).max(axis=2)
        return draws.mean(axis=1) - self.gap.max(axis=1)

    def describe(self) -> list[str]:
        """Its measures of every pair."""
        return list_measures(self.models, self.measures())

    def measures(self) -> tuple[Measure, ...]:
        """Barrier, rise at the middle, height over the higher end and what else a table shows.

        A maximum over noisy points lies too high, in each draw more so than in the value: draws of maxima are
        lowered by twice the bootstrap's estimate of that bias, but not below 0, which a maximum with both
        ends in it cannot fall below. The rise at the middle has no maximum and needs no correction. Where nothing
        rises or both ends are equally high, intervals of the loss above the higher end and of the accuracy below the
        line cover about 90 %, those of differences of maxima 92 to 99 %.
        """
        draws = self.loss_draws().swapaxes(1, 2)
        middle = int(np.flatnonzero(self.alphas == 0.5)[0])
        ends = [0, -1]

        def over_ends(loss: np.ndarray) -> np.ndarray:
            return loss.max(axis=-1) - loss[..., ends].max(axis=-1)

        def barrier(loss: np.ndarray) -> np.ndarray:
            return line_gap(self.alphas, loss).max(axis=-1)

        def drop(accuracy: np.ndarray) -> np.ndarray:
            return (-line_gap(self.alphas, accuracy)).max(axis=-1) + 0.0  # no negative zero

        def measure(name: str, label: str, unit: str, value: np.ndarray, drawn: np.ndarray) -> Measure:
            return Measure(name, label, unit, value, drawn, self.samples_name, self.num_images)

        maxima = [
            ("barrier", "barrier", self.loss_unit, barrier(self.loss), barrier(draws)),
            (
                "rise_over_ends",
                "loss above the higher end",
                self.loss_unit,
                over_ends(self.loss),
                over_ends(draws),
            ),
        ]
        if self.correct is not None:
            drawn = 100 * (self.correct.astype(np.float64) @ self._weights().T).swapaxes(1, 2)
            label = "accuracy below the line"
            maxima.append(("accuracy_barrier", label, "points", drop(self.accuracy), drop(drawn)))
        corrected = [measure(n, label, u, v, _lower(v, d)) for n, label, u, v, d in maxima]
        gaps, gap_draws = self.gap[:, middle], line_gap(self.alphas, draws)[..., middle]
        return (
            corrected[0],
            measure("middle_rise", "rise at the middle", self.loss_unit, gaps, gap_draws),
            *corrected[1:],
            measure("first_loss", "loss of the first end", self.loss_unit, self.loss[:, 0], draws[..., 0]),
            measure(
                "second_loss", "loss of the second end", self.loss_unit, self.loss[:, -1], draws[..., -1]
            ),
            Measure("distance", "distance of the ends", "", self.distances),
        )

    def _weights(self) -> np.ndarray:
        """Share of each image in each draw, float64 (DRAWS, n)."""
        n = self.num_images
        return np.concatenate(list(bootstrap_counts(n, DRAWS, self.seed, size=1))) / n


def line_gap(alphas: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Values (..., A) minus the straight line between their ends; exactly 0 at both."""
    line = (1 - alphas) * values[..., :1] + alphas * values[..., -1:]
    return values - line


def _lower(value: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Draws (m, R) of a maximum whose bias is taken from the value and from the draws."""
    bias = draws.mean(axis=1) - value
    return np.maximum(draws - 2 * bias[:, None], 0)
