"""How precise several detectors are on the same images, and which errors cost them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from ralr_viz.results.bundle import Result
from ralr_viz.results.fields import Array, Axis, OneOf, Within
from ralr_viz.results.measure import FEWEST_IMAGES, describe_refusal, format_interval

ERRORS = ("class", "location", "both", "duplicate", "background", "missed")
CLASS, LOCATION, BOTH, DUPLICATE, BACKGROUND, MISSED = range(6)
"""Places in `ERRORS`."""
RECALLS = 101
"""Points of a curve: recalls 0, .01, … 1."""


@dataclass(frozen=True, eq=False)
class DetectionErrorsResult(Result):
    """Average precision of m networks by c classes on n images, and their errors.

    Attributes:
        models: m names.
        class_names: c names.
        images: n.
        objects: (c,) int64 objects of each class that count.
        precision: (m, c) float64 average precision of eleven points (VOC 2007) in [0, 1]; NaN of a class without
            objects.
        area: (m, c) the same of all points (VOC 2010).
        curves: (m, c, 101) largest precision at recalls 0, .01, … 1 or more; 0 beyond the largest recall.
        difference: (m, c + 1, 3) precision minus the first network's and the ends of the paired 95 % interval over
            images; the last class is their mean, mAP. NaN of the first network, and ends that are not known.
        counts: (m, 6) int64 detections of each kind of error, in the order of `ERRORS`; of ``missed`` objects.
        costs: (m, 6) float64 mAP that each kind costs, in [0, 1].
        shown_counts: (m, 6) int64 the same of detections from the network's threshold on.
        thresholds: m scores of the highest F1, all classes together, on the split ``judged``.
        judged: The split that they were found on.
        operating: (m, c, 2) float64 recall and precision from the threshold on; NaN where there is none.
        resamples: Of the images.
        dataset, split: Names.
    """

    kind: ClassVar[str] = "detection_errors"
    schema: ClassVar[int] = 1

    models: Annotated[tuple[str, ...], Axis(("models",), fewest=1, unique=True)]
    class_names: Annotated[tuple[str, ...], Axis(("classes",), fewest=1)]
    images: int
    objects: Annotated[np.ndarray, Array("integer", ("classes",))]
    precision: Annotated[np.ndarray, Array("float", ("models", "classes")), Within(0, 1)]
    area: Annotated[np.ndarray, Array("float", ("models", "classes")), Within(0, 1)]
    curves: Annotated[np.ndarray, Array("float", ("models", "classes", RECALLS)), Within(0, 1)]
    difference: Annotated[np.ndarray, Array("float", ("models", "classes+1", 3))]
    counts: Annotated[np.ndarray, Array("integer", ("models", 6)), Within(0)]
    costs: Annotated[np.ndarray, Array("float", ("models", 6), finite=True), Within(0, 1)]
    shown_counts: Annotated[np.ndarray, Array("integer", ("models", 6)), Within(0)]
    thresholds: Annotated[tuple[float, ...], Axis(("models",)), Within(0, 1)]
    judged: Annotated[str, OneOf(("train", "val"))]
    operating: Annotated[np.ndarray, Array("float", ("models", "classes", 2)), Within(0, 1)]
    resamples: int
    dataset: str
    split: str

    @property
    def mean_precision(self) -> np.ndarray:
        """mAP (m,) over the classes that have objects, in [0, 1]."""
        known = self.objects > 0
        mean: np.ndarray = self.precision[:, known].mean(1)
        return mean

    @property
    def refusal(self) -> str:
        """Why there are no intervals, as a clause; empty where there are."""
        return describe_refusal(self.images) if self.images < FEWEST_IMAGES else ""

    def describe(self) -> list[str]:
        """mAP of each network, its paired differences, and what its errors cost."""
        lines = []
        for i, name in enumerate(self.models):
            each = ", ".join(
                f"{label} {100 * value:.1f}"
                for label, value in zip(self.class_names, self.precision[i], strict=True)
                if np.isfinite(value)
            )
            line = f"{name}: mAP@.5 (VOC07) {100 * self.mean_precision[i]:.2f} % ({each})"
            if i:
                line += f"; minus {self.models[0]} {format_interval(*100 * self.difference[i, -1], signed=True)} points"
            lines.append(line + (f" ({self.refusal})" if i and self.refusal else ""))
        for i, name in enumerate(self.models):
            costs = ", ".join(
                f"{error} {100 * cost:.1f} ({count:,})"
                for error, cost, count in zip(ERRORS, self.costs[i], self.counts[i], strict=True)
            )
            lines.append(f"{name}: points of mAP that errors cost (how many there are): {costs}")
        return lines

    def remarks(self) -> list[str]:
        """What was counted."""
        lines = [f"{self.images:,} {self.split} images, {int(self.objects.sum()):,} objects that count"]
        if self.judged == "train":
            lines.append(
                "marks on the curves: scores were judged on training images, of which a network is surer"
            )
        return lines
