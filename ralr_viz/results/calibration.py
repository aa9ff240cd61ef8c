"""How far several networks' probabilities can be trusted, and which images and classes changed hands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from ralr_viz.results.bundle import Result
from ralr_viz.results.fields import Array, Axis, Within
from ralr_viz.results.measure import Measure, list_measures
from ralr_viz.results.uncertainty import mcnemar_p

METRICS = {
    "nll": ("negative log-likelihood", "nats"),
    "brier": ("Brier score", ""),
    "ece": ("expected calibration error", "%"),
    "accuracy": ("top-1 accuracy", "%"),
}
"""Quantities along the second axis of ``values``: what a table calls them, and their unit."""


@dataclass(frozen=True, eq=False)
class CalibrationResult(Result):
    r"""Calibration of m networks and their errors on the same n images.

    - ``nll``: mean of :math:`-\log p_{y}`. ``brier``: mean of :math:`\sum_k (p_k - [k = y])^2`, from 0 to 2.
    - ``ece``: with images sorted by the probability of the predicted class (confidence) and cut into bins of
      equal mass, :math:`\sum_b \frac{n_b}{n} |\mathrm{accuracy}_b - \mathrm{confidence}_b|`. It is never 0
      for a finite sample: ``ece_floor`` is what it would be if the confidences were right. Intervals of the difference of two
      scaled ones cover 98 to 99 %.

    Attributes:
        models: m names; differences are from the first.
        indices: (n,) int64 positions in the split, in its canonical order.
        labels: (n,) int64.
        predicted: (m, n) int64.
        values: (m, quantities) float64 in the order of `METRICS`.
        draws: (m, quantities, R) float64 of the bootstrap over images, common to the networks. Those of
            ``ece``, which resampling makes larger, are moved to the value.
        ece_ratio: (m,) float64: mean of these draws, before they were moved, over the value.
        ece_floor: (m, 2) float64, per cent: mean and 97.5th percentile of the ECE when each prediction is
            right with the probability of its own confidence.
        bin_confidence, bin_accuracy: (m, bins) float64 means in bins of equal mass, in growing confidence.
        bin_low, bin_high: (m, bins) float64 ends of the 95 % Wilson interval of ``bin_accuracy``.
        classes: (C,) int64 labels that occur.
        class_accuracy: (m, C) float64, per cent.
        class_difference: (m, C, 3) float64, per cent: minus the first network's, with Bonett and Price's interval of
            paired proportions.
        class_names: In label order; may be empty.
        seed: Of bootstrap and floor.
        dataset, split: Where the images come from; None for others.
        device, precision: Of the forward pass.
        notes: What a reader should know, one sentence each.
        temperature: (m,) float64 that the logits are divided by so that the negative log-likelihood of the *watched*
            images, held out from training and no others than these, is least; NaN where there are none. None in results
            from before it was fitted, as the four that follow.
        scaled_ece: (m,) float64, per cent: ``ece`` of the same images after that. A difference of the raw ones may be one
            of the scale of the logits alone, which one number mends.
        scaled_draws: (m, R) float64 likewise, as the draws of ``ece``.
        scaled_floor: (m, 2) float64 likewise, as ``ece_floor``.
        watched: Images that the temperature was fitted on.

    References:
        Guo et al., On calibration of modern neural networks, ICML 2017. Nixon et al., Measuring calibration in
        deep learning, CVPR workshops 2019 (bins of equal mass). Brier, Verification of forecasts, 1950.
        McNemar, Psychometrika 1947.
    """

    kind: ClassVar[str] = "calibration"
    schema: ClassVar[int] = 1

    models: Annotated[tuple[str, ...], Axis(("models",), fewest=1, unique=True)]
    indices: Annotated[np.ndarray, Array("integer", ("images",))]
    labels: Annotated[np.ndarray, Array("integer", ("images",), fewest=1)]
    predicted: Annotated[np.ndarray, Array("integer", ("models", "images"))]
    values: Annotated[np.ndarray, Array("float", ("models", len(METRICS)))]
    draws: Annotated[np.ndarray, Array("float", ("models", len(METRICS), "resamples"))]
    ece_ratio: Annotated[np.ndarray, Array("float", ("models",))]
    ece_floor: Annotated[np.ndarray, Array("float", ("models", 2), unit="%")]
    bin_confidence: Annotated[np.ndarray, Array("float", ("models", "bins"))]
    bin_accuracy: Annotated[np.ndarray, Array("float", ("models", "bins"))]
    bin_low: Annotated[np.ndarray, Array("float", ("models", "bins"))]
    bin_high: Annotated[np.ndarray, Array("float", ("models", "bins"))]
    classes: Annotated[np.ndarray, Array("integer", ("classes",))]
    class_accuracy: Annotated[np.ndarray, Array("float", ("models", "classes"), unit="%")]
    class_difference: Annotated[np.ndarray, Array("float", ("models", "classes", 3), unit="%")]
    class_names: tuple[str, ...] = ()
    seed: Annotated[int, Within(0)] = 0
    dataset: str | None = None
    split: str | None = None
    device: str = ""
    precision: str = ""
    notes: tuple[str, ...] = ()
    temperature: Annotated[np.ndarray | None, Array("float", ("models",)), Within(0)] = None
    scaled_ece: Annotated[np.ndarray | None, Array("float", ("models",), unit="%")] = None
    scaled_draws: Annotated[np.ndarray | None, Array("float", ("models", "resamples"), unit="%")] = None
    scaled_floor: Annotated[np.ndarray | None, Array("float", ("models", 2), unit="%")] = None
    watched: Annotated[int, Within(0)] = 0

    def measures(self) -> tuple[Measure, ...]:
        """One measure for each of `METRICS`, then those after temperature scaling, where it was fitted."""
        found = tuple(
            Measure(
                name, label, unit, self.values[:, q], self.draws[:, q], "images", len(self.labels),
                share=100.0 if name == "accuracy" else 0.0,
            )
            for q, (name, (label, unit)) in enumerate(METRICS.items())
        )  # fmt: skip
        if (
            not self.watched
            or self.temperature is None
            or self.scaled_ece is None
            or self.scaled_draws is None
        ):
            return found
        label, n = f"{METRICS['ece'][0]} after temperature scaling", len(self.labels)
        return (
            *found,
            Measure("ece_scaled", label, "%", self.scaled_ece, self.scaled_draws, "images", n),
            Measure(
                "temperature", f"temperature fitted on {self.watched:,} watched images", "", self.temperature
            ),
        )

    @property
    def correct(self) -> np.ndarray:
        """Whether each network's prediction is right, bool (m, n)."""
        return self.predicted == self.labels

    def fixed(self, model: int) -> np.ndarray:
        """Positions in the split of the images that the first network gets wrong and this one right."""
        return self.indices[~self.correct[0] & self.correct[model]]

    def broken(self, model: int) -> np.ndarray:
        """Positions in the split of the images that the first network gets right and this one wrong."""
        return self.indices[self.correct[0] & ~self.correct[model]]

    def mcnemar_p(self, model: int) -> float:
        """Exact two-sided p that as many images are fixed as broken.

        It is about this pair of checkpoints on images like these; another training of either may differ by
        more. 1 where no image changed hands.
        """
        return mcnemar_p(len(self.fixed(model)), len(self.broken(model)))

    def class_name(self, label: int) -> str:
        """Name of a class, or its number where it has none."""
        return self.class_names[label] if 0 <= label < len(self.class_names) else str(label)

    def describe(self) -> list[str]:
        """The floor of the ECE, and the images that changed hands between the first network and each other one."""
        floors = "; ".join(
            f"{name} {mean:.4g}, below {high:.4g} in 97.5 %"
            for name, (mean, high) in zip(self.models, self.ece_floor, strict=True)
        )
        return [
            *list_measures(self.models, self.measures()),
            f"calibration error of right confidences (%): {floors}; intervals of a calibration error are around its mean over "
            f"samples of {len(self.labels):,} images, which has that much in it",
            *(
                f"{name} against {self.models[0]}: {len(self.fixed(i)):,} images fixed, {len(self.broken(i)):,} "
                f"broken of {len(self.labels):,}, exact McNemar p = {self.mcnemar_p(i):.3g} (of these checkpoints)"
                for i, name in enumerate(self.models)
                if i
            ),
        ]
