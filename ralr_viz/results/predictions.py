"""What one network says of the images of a split: the numbers that the analyses share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from scipy.special import log_softmax, softmax

from ralr_viz.results.bundle import Result
from ralr_viz.results.fields import Array


@dataclass(frozen=True, eq=False)
class PredictionsResult(Result):
    """Logits, penultimate features and low-resolution class activation maps of one network on n images.

    Attributes:
        model: Name of the network for figures.
        indices: (n,) int64 positions in the split, in its canonical order.
        labels: (n,) int64 ground truth, −1 where unknown.
        logits: (n, classes) float32, before the softmax.
        features: (n, width) float32, what the last linear layer reads.
        feature_layer: That layer, or the module whose map's mean the features are where there is none.
        true_maps: (n, h, w) float32 signed maps of the true class (of the predicted one where no label is
            known), in units of its logit; h = w = 0 where the network has no closed form.
        predicted_maps: The same for the predicted class.
        map_layer: Module that the maps are taken from; empty where there are none.
        class_names: In label order; may be empty.
        dataset, split: Where the images come from; None for others.
        notes: What a reader should know, one sentence each.
    """

    kind: ClassVar[str] = "predictions"
    schema: ClassVar[int] = 1

    model: str
    indices: Annotated[np.ndarray, Array("integer", ("images",))]
    labels: Annotated[np.ndarray, Array("integer", ("images",))]
    logits: Annotated[np.ndarray, Array("float", ("images", "classes"))]
    features: Annotated[np.ndarray, Array("float", ("images", "width"))]
    feature_layer: str
    true_maps: Annotated[np.ndarray, Array("float", ("images", "map_height", "map_width"))]
    predicted_maps: Annotated[np.ndarray, Array("float", ("images", "map_height", "map_width"))]
    map_layer: str
    class_names: tuple[str, ...] = ()
    dataset: str | None = None
    split: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def has_maps(self) -> bool:
        """Whether the network has maps in closed form."""
        return self.true_maps.size > 0

    @property
    def predicted(self) -> np.ndarray:
        """Most probable class, int64 (n,)."""
        return self.logits.argmax(axis=1)

    @property
    def probabilities(self) -> np.ndarray:
        """Softmax of the logits, float64 (n, classes)."""
        return softmax(self.logits.astype(np.float64), axis=1)

    @property
    def true_probability(self) -> np.ndarray:
        """Probability of the true class, float64 (n,); NaN where it is unknown."""
        return np.exp(-self.loss)

    @property
    def loss(self) -> np.ndarray:
        """Cross-entropy of each image in nats, float64 (n,); NaN where the true class is unknown."""
        scores = log_softmax(self.logits.astype(np.float64), axis=1)
        chosen = np.take_along_axis(scores, np.maximum(self.labels, 0)[:, None], axis=1)[:, 0]
        return np.where(self.labels >= 0, -chosen, np.nan)

    @property
    def accuracy(self) -> float:
        """Top-1 accuracy in per cent over the images with a label; NaN where there is none."""
        known = self.labels >= 0
        return float(100 * (self.predicted == self.labels)[known].mean()) if known.any() else np.nan
