"""How noisy the gradient of one image is against the gradient of all: the gradient noise scale of several networks."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from ralr_viz.results.fields import MOST_DRAWS, Array, Axis, Within
from ralr_viz.results.jackknife import each_of_sums
from ralr_viz.results.measure import Measure, format_interval, format_number, list_measures
from ralr_viz.results.of_loss import LossResult
from ralr_viz.results.uncertainty import bootstrap_places, student_interval

NOISY = 10
"""A noise scale of so many batches or more makes a step almost all noise: its share of the expected squared length
of a batch's gradient is then above nine tenths."""


class NoiseScaleMeasure(Measure):
    """The noise scale B of each network, by way of its reciprocal, which has a denominator that is not near 0.

    ``draws`` are of B; of a network whose |G|² cannot be told from 0 value and draws are NaN. Where |G|² can hardly be
    told, the few printed differences and ratios are a selection and cover 80 to 99 %.
    """

    def __init__(self, signal: Measure, square: Measure, unit: str, each: np.ndarray) -> None:
        """From 1/B = |G|² / tr Σ and |G|², each with its draws, and the jackknife's pseudo-values (m, K) of B."""
        told = np.array(
            [square.interval(i)[1] > 0 < signal.interval(i)[1] for i in range(len(signal.values))]
        )
        draws = np.where(signal.draws > 0, signal.draws, np.nan)
        draws[~(told & np.isfinite(draws).all(axis=1))] = (
            np.nan
        )  # a part of the draws would be of another law
        values = np.where(told, _reciprocal(signal.values), np.nan)
        known = told & np.isfinite(each).all(axis=1)
        super().__init__(
            "noise_scale", "noise scale", unit, values, 1 / draws, signal.resampled, signal.count,
            np.where(known[:, None], each, np.nan),
        )  # fmt: skip
        object.__setattr__(self, "_signal", signal)

    def interval(self, i: int) -> tuple[float, float, float]:
        """Value and the ends of the 95 % interval: those of 1/B, turned over.

        Where |G|² cannot be told from 0 the value is NaN and the upper end infinite; what is left is that B is
        not below the lower end, which is infinite too where even the upper end of |G|² is below 0.
        """
        _, low, high = self._signal.interval(i)  # type: ignore[attr-defined]
        if math.isnan(low):
            return float(self.values[i]), math.nan, math.nan
        least = 1 / high if high > 0 else math.inf
        return float(self.values[i]), least, math.inf if math.isnan(self.values[i]) else 1 / low


@dataclass(frozen=True, eq=False)
class NoiseScaleResult(LossResult):
    r"""Squared lengths of mean gradients of small batches and of large ones, of m networks in K disjoint draws.

    With g a batch's mean gradient, :math:`E|g_B|^2 = |G|^2 + \operatorname{tr}\Sigma / B`, where Σ is the
    covariance of one image's gradient. Two batch sizes give both; the noise scale is their ratio,
    :math:`B_\text{simple} = \operatorname{tr}\Sigma / |G|^2`: at a batch of that size noise and signal have equal
    shares of the squared length. It is that of means over the draws, never a mean of their ratios.

    Attributes:
        models: m names.
        small_squares: (m, K) float64, |g|² of a batch of ``small`` images, mean over those of a draw.
        big_squares: (m, K) float64, |g|² of the ``big`` images of a draw, whose small batches these are.
        loss: (m,) float64, mean over all draws' images.
        small, big: Images of a batch; ``big`` is two or more times ``small``.
        recipe_batch: m sizes of the batch that each network was trained with; None where not known.
        num_images: n from which the draws were taken, at least K × ``big``.
        seed: Of the draws, the same images for all networks, and of the bootstrap.
        resamples: Of the bootstrap over the draws.
        dataset, split: Names, or None.
        augmentation: What was done to the images, in words; empty for nothing.
        device, precision: Of the passes.
    """

    kind: ClassVar[str] = "noise_scale"
    schema: ClassVar[int] = 1

    models: Annotated[tuple[str, ...], Axis(("models",), fewest=1, unique=True)]
    small_squares: Annotated[
        np.ndarray, Array("float", ("models", "draws"), unit="nats²", fewest=1, finite=True), Within(0)
    ]
    big_squares: Annotated[
        np.ndarray, Array("float", ("models", "draws"), unit="nats²", finite=True), Within(0)
    ]
    loss: Annotated[np.ndarray, Array("float", ("models",), unit="nats")]
    small: Annotated[int, Within(1)]
    big: Annotated[int, Within(2)]
    recipe_batch: Annotated[tuple[int | None, ...], Axis(("models",)), Within(1)]
    num_images: Annotated[int, Within(2)]
    seed: Annotated[int, Within(0)]
    resamples: Annotated[int, Within(1, MOST_DRAWS)]
    dataset: str | None = None
    split: str | None = None
    augmentation: str = ""
    device: str = "cpu"
    precision: str = "fp32"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.big <= self.small:
            raise ValueError(f"`big` is {self.big}, must be above the {self.small} of `small`")

    @property
    def draws(self) -> int:
        """K."""
        return self.big_squares.shape[1]

    @property
    def squares(self) -> np.ndarray:
        """(B|g_B|² − b|g_b|²) / (B − b) of each draw, (m, K): unbiased for |G|², so it may be negative."""
        return (self.big * self.big_squares - self.small * self.small_squares) / (self.big - self.small)

    @property
    def traces(self) -> np.ndarray:
        """(|g_b|² − |g_B|²) / (1/b − 1/B) of each draw, (m, K): unbiased for tr Σ."""
        return (self.small_squares - self.big_squares) / (1 / self.small - 1 / self.big)

    def measures(self) -> tuple[Measure, ...]:
        """The noise scale, what it is the ratio of, its reciprocal, whose difference is always defined, and the loss."""
        square, trace, signal = self._parts()
        return (
            NoiseScaleMeasure(signal, square, self.samples_name, self._jackknife(_reciprocal_ratio)),
            square,
            trace,
            signal,
            Measure("noise_scale_loss", "loss", self.loss_unit, self.loss),
        )

    def ratio(self, i: int, j: int) -> tuple[float, float, float]:
        """Noise scale of network j over that of i, and the ends of its paired 95 % interval.

        All NaN where one of them has no upper end; the ends alone where it has none without one of the draws.
        """
        scale = self.measures()[0]
        value = scale.values[j] / scale.values[i]
        logs = self._jackknife(_log_ratio)
        each = logs[j] - logs[i]
        if not (np.isfinite(each).all() and np.isfinite(value)):
            return float(value), math.nan, math.nan
        low, high = np.exp(student_interval(each))
        return float(value), float(low), float(high)

    def of_these_images(self, i: int) -> tuple[float, float, float]:
        """Noise scale of network i, and its ends, where the n images are all there are: 1 / (1/B + 1/n), below n."""
        value, low, high = (
            1 / (1 / end + 1 / self.num_images) if end > 0 else math.nan
            for end in self.measures()[0].interval(i)
        )
        return value, low, high

    def describe(self) -> list[str]:
        """The measures, noise scales with the recipe's batch beside, ratios, and what the numbers are of."""
        lines = list_measures(self.models, self.measures())
        lines += [self._describe_model(i) for i in range(len(self.models))]
        for j in range(1, len(self.models)):
            value, low, high = self.ratio(0, j)
            if np.isfinite(value):
                shown = format_interval(value, low, high)
                lines.append(f"{self.models[j]} over {self.models[0]}: {shown} times the noise scale")
        lines.append(
            f"{self.draws} disjoint draws of {self.big:,} of {self.num_images:,} {self.samples_name}, each of "
            f"{self.big // self.small} batches of {self.small}, the same for all networks; the intervals: 95 % t over draws, "
            "of ratios by the jackknife; of these checkpoints, not of training seeds"
        )
        lines.append(
            f"{self.loss_name} without weight decay, BatchNorm at its running statistics, in which one {self.sample_name}'s gradient "
            f"does not depend on its batch; {self.samples_name} {self.augmentation or 'unaugmented'}"
        )
        return lines

    def _describe_model(self, i: int) -> str:
        value, low, high = self.measures()[0].interval(i)
        if math.isinf(low):
            words = "no noise scale: |G|² is estimated to be below 0, as of images that training has fitted"
        elif math.isinf(high):
            words = (
                f"noise scale at least {format_number(low)} {self.samples_name}, without an upper end: |G|² cannot be told from "
                f"0, take more {self.samples_name} or larger draws than {self.big:,}"
            )
        elif math.isnan(value):
            words = "noise scale not defined"
        else:
            finite = format_number(self.of_these_images(i)[0])
            words = (
                f"noise scale {format_interval(value, low, high)} {self.samples_name} ({finite} where these "
                f"{self.num_images:,} {self.samples_name} are all there are)"
            )
        batch = self.recipe_batch[i]
        if batch is not None:
            words += f"; trained with batches of {batch}{self._compare_batch(low, high, batch)}"
        return f"{self.models[i]}: {words}"

    @staticmethod
    def _compare_batch(low: float, high: float, batch: int) -> str:
        """What the interval says of a step with the recipe's batch; empty where it says neither."""
        if math.isinf(low):
            return ""
        if low > NOISY * batch:
            return ": a step is almost all noise"
        if low > batch:
            return ": a step has more noise than signal"
        return ": a step has more signal than noise" if high < batch else ""

    def _parts(self) -> tuple[Measure, Measure, Measure]:
        """|G|², tr Σ and their ratio 1/B, means over the draws that are divided afterwards."""
        (picks,) = bootstrap_places(self.draws, self.resamples, (self.seed, self.draws))
        square, trace = self.squares.mean(axis=1), self.traces.mean(axis=1)
        square_draws, trace_draws = (values[:, picks].mean(axis=2) for values in (self.squares, self.traces))
        with np.errstate(divide="ignore", invalid="ignore"):
            signal, signal_draws = square / trace, square_draws / trace_draws

        def measure(
            name: str, label: str, unit: str, values: np.ndarray, draws: np.ndarray, each: np.ndarray
        ) -> Measure:
            return Measure(name, label, unit, values, draws, "draws", self.draws, each)

        unit, per = self.squared_unit, f"per {self.sample_name}"
        each = self._jackknife(_signal_ratio)
        return (
            measure("gradient_square", "squared gradient |G|²", unit, square, square_draws, self.squares),
            measure("gradient_trace", "gradient noise tr Σ", unit, trace, trace_draws, self.traces),
            measure("gradient_signal", "|G|² / tr Σ", per, signal, signal_draws, each),
        )

    def _jackknife(self, ratio: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
        """Pseudo-values (m, K) of what is made of the sums of |G|² and of tr Σ over the draws."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return each_of_sums(ratio, self.squares, self.traces)


def _signal_ratio(square: np.ndarray, trace: np.ndarray) -> np.ndarray:
    ratio: np.ndarray = square / trace
    return ratio


def _reciprocal_ratio(square: np.ndarray, trace: np.ndarray) -> np.ndarray:
    return np.where(square > 0, trace / square, np.nan)


def _log_ratio(square: np.ndarray, trace: np.ndarray) -> np.ndarray:
    """ln B; NaN where it is none."""
    return np.log(np.where(square > 0, trace / square, np.nan))


def _reciprocal(values: np.ndarray) -> np.ndarray:
    """1 over positive values; infinite for others, of which it is no size."""
    return np.divide(1, values, out=np.full(np.shape(values), np.inf), where=values > 0)
