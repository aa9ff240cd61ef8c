"""How fast the training loss rises around several networks: filter-normalised sharpness."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from ralr_viz.results.fields import MOST_DRAWS, Array, Axis, OneOf, Within
from ralr_viz.results.measure import Measure, list_measures
from ralr_viz.results.of_loss import LossResult
from ralr_viz.results.uncertainty import multinomial_counts, student_interval

BATCHNORM = ("batch", "frozen")
"""Statistics of each batch at the moved weights, or the running ones that the network came with."""


@dataclass(frozen=True, eq=False)
class SharpnessResult(LossResult):
    """Losses of m networks at K random directions, their opposites and R radii, and at the worst points of W small balls.

    At radius ρ every filter is moved by ρ times its own norm; biases and BatchNorm's parameters stay. So a
    rescaling of a filter before BatchNorm, which leaves the function as it is, leaves the rise as it is.

    Attributes:
        models: m names.
        radii: (R,) float64, growing.
        losses: (m, R, K, 2) float64, mean cross-entropy in nats at direction k, common to the networks, and −k.
        accuracies: (m, R, K, 2) float64, per cent.
        centre_loss, centre_accuracy: (m,) float64 at the networks' own weights, statistics as ``batchnorm``.
        given_loss: (m,) float64 likewise, with the running statistics that the networks came with.
        worst_radii: (W,) float64, growing.
        worst_losses: (m, W, S) float64, the highest loss that each of S starts of the ascent found.
        worst_accuracies: (m, W) float64, per cent, at the highest of them.
        worst_steps: Steps of each ascent.
        batchnorm: One of BATCHNORM; ``none`` for networks without running statistics.
        common: The networks' weights have the same shapes, so that they share the directions themselves.
        num_images: n, on which all losses are.
        batch: Images a forward pass; with ``batch`` statistics these belong to it.
        seed: Of directions and bootstrap.
        resamples: Draws of the bootstrap over the directions.
        dataset, split: Names, or None.
        augmentation: What was done to the images, in words; empty for nothing.
        normalised_losses: (m, K, 2) float64, as ``losses`` at the middle radius, of logits divided by their standard
            deviation over the classes (Andriushchenko et al. 2023), whose scale else is part of any rise; None where the
            loss is of no logits, and in results from before it was measured.
        normalised_centre: (m,) float64 likewise at the networks' own weights.
        device, precision: Of the forward passes.
    """

    kind: ClassVar[str] = "sharpness"
    schema: ClassVar[int] = 1

    models: Annotated[tuple[str, ...], Axis(("models",), fewest=1, unique=True)]
    radii: Annotated[np.ndarray, Array("float", ("radii",))]
    losses: Annotated[np.ndarray, Array("float", ("models", "radii", "directions", 2), unit="nats", fewest=1)]
    accuracies: Annotated[np.ndarray, Array("float", ("models", "radii", "directions", 2), unit="%")]
    centre_loss: Annotated[np.ndarray, Array("float", ("models",), unit="nats", finite=True)]
    centre_accuracy: Annotated[np.ndarray, Array("float", ("models",), unit="%")]
    given_loss: Annotated[np.ndarray, Array("float", ("models",), unit="nats")]
    worst_radii: Annotated[np.ndarray, Array("float", ("worst_radii",))]
    worst_losses: Annotated[np.ndarray, Array("float", ("models", "worst_radii", "starts"), unit="nats")]
    worst_accuracies: Annotated[np.ndarray, Array("float", ("models", "worst_radii"), unit="%")]
    worst_steps: int
    batchnorm: Annotated[str, OneOf((*BATCHNORM, "none"))]
    common: bool
    num_images: Annotated[int, Within(1)]
    batch: Annotated[int, Within(1)]
    seed: Annotated[int, Within(0)]
    resamples: Annotated[int, Within(1, MOST_DRAWS)]
    dataset: str | None = None
    split: str | None = None
    augmentation: str = ""
    device: str = "cpu"
    precision: str = "fp32"
    normalised_losses: Annotated[
        np.ndarray | None, Array("float", ("models", "directions", 2), unit="nats")
    ] = None
    normalised_centre: Annotated[np.ndarray | None, Array("float", ("models",), unit="nats")] = None

    @property
    def headline(self) -> int:
        """Index of the radius of the headline: the middle one, the lower of two."""
        return (len(self.radii) - 1) // 2

    @property
    def rises(self) -> np.ndarray:
        """½[L(w + ρd) + L(w − ρd)] − L(w), (m, R, K) in nats: the two signs rid it of the slope's share."""
        return self.losses.mean(axis=3) - self.centre_loss[:, None, None]

    @property
    def normalised_rises(self) -> np.ndarray | None:
        """``rises`` at the middle radius of the loss of normalised logits, (m, K) in nats; None where not measured."""
        if self.normalised_losses is None or self.normalised_centre is None:
            return None
        return self.normalised_losses.mean(axis=2) - self.normalised_centre[:, None]

    @property
    def signed_rises(self) -> np.ndarray:
        """Loss at direction k, and at −k, minus that at the centre, (m, R, K, 2) in nats."""
        return self.losses - self.centre_loss[:, None, None, None]

    @property
    def mean_rises(self) -> np.ndarray:
        """Mean of ``rises`` over the directions, (m, R) in nats."""
        return self.rises.mean(axis=2)

    @property
    def rise_intervals(self) -> tuple[np.ndarray, np.ndarray]:
        """Ends of the 95 % t intervals of ``mean_rises`` over the directions, each (m, R) in nats.

        Rises are skewed where few eigenvalues make most of the trace: at K = 8 they cover 93 to 95 % at the spreads of
        published results, and 88 % where one eigenvalue is most of the trace.
        """
        return student_interval(self.rises)

    @property
    def accuracy_drops(self) -> np.ndarray:
        """Accuracy at the centre minus the mean at d and −d, (m, R, K) in percentage points."""
        return self.centre_accuracy[:, None, None] - self.accuracies.mean(axis=3)

    @property
    def worst_rises(self) -> np.ndarray:
        """Highest loss found in each small ball minus that at the centre, (m, W) in nats: a lower bound."""
        return self.worst_losses.max(axis=2) - self.centre_loss[:, None]

    @property
    def start_rises(self) -> np.ndarray:
        """Loss that each start of the ascent found minus that at the centre, (m, W, S) in nats."""
        return self.worst_losses - self.centre_loss[:, None, None]

    @property
    def worst_start(self) -> np.ndarray:
        """Index of the start that found the highest loss, int64 (m, W); the first of equal ones."""
        return self.worst_losses.argmax(axis=2)

    def measures(self) -> tuple[Measure, ...]:
        """The average rise at the middle radius first, then all others; averages are over the directions."""
        weights = self._weights()

        def averaged(name: str, label: str, unit: str, values: np.ndarray) -> Measure:
            draws, count = values @ weights.T, values.shape[1]
            return Measure(name, label, unit, values.mean(axis=1), draws, "directions", count, values)

        order = [self.headline, *(i for i in range(len(self.radii)) if i != self.headline)]
        found = [
            averaged(
                "sharpness" if i == self.headline else f"sharpness_at_{_snake(self.radii[i])}",
                f"average sharpness, ρ = {self.radii[i]:g}",
                self.loss_unit,
                self.rises[:, i],
            )
            for i in order
        ]
        drop = self.accuracy_drops[:, self.headline]
        label = f"{self.score_name} drop, ρ = {self.radii[self.headline]:g}"
        unit = "points" if self.score_unit == "%" else self.score_unit
        if np.isfinite(drop).any():  # else there are no classes
            found.append(averaged("sharpness_accuracy_drop", label, unit, drop))
        for i, radius in enumerate(self.worst_radii):
            name = "worst_sharpness" if i == 0 else f"worst_sharpness_at_{_snake(radius)}"
            label = f"worst-case sharpness, ρ = {radius:g}"
            found.append(Measure(name, label, self.loss_unit, self.worst_rises[:, i]))
        if (rises := self.normalised_rises) is not None:
            label = f"average sharpness of normalised logits, ρ = {self.radii[self.headline]:g}"
            found.append(averaged("sharpness_normalised", label, self.loss_unit, rises))
        found.append(
            Measure("sharpness_centre_loss", "training loss at the centre", self.loss_unit, self.centre_loss)
        )
        return tuple(found)

    def describe(self) -> list[str]:
        """Losses of the networks as they came, the starts of the ascent, and what the intervals cover."""
        given = ", ".join(f"{n} {v:.4f}" for n, v in zip(self.models, self.given_loss, strict=True))
        lines = [f"{self.in_unit('loss with the running statistics')}: {given}"]
        for i, name in enumerate(self.models):
            for r, radius in enumerate(self.worst_radii):
                starts = ", ".join(f"{v - self.centre_loss[i]:.4f}" for v in self.worst_losses[i, r])
                lines.append(f"{self.in_unit(f'worst rise of {name} at ρ = {radius:g} by start')}: {starts}")
        return [
            *list_measures(self.models, self.measures()),
            *lines,
            f"intervals: 95 % t over {self.losses.shape[2]} directions on {self.num_images:,} {self.samples_name}; "
            "of these checkpoints, not of training seeds",
        ]

    def _weights(self) -> np.ndarray:
        """Share (resamples, K) of each direction in each draw, common to networks, radii and quantities."""
        count = self.losses.shape[2]
        return multinomial_counts(count, self.resamples, (self.seed, count)) / count


def _snake(radius: float) -> str:
    return f"{radius:g}".replace(".", "_").replace("-", "_")
