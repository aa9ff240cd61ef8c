"""The settings of a training that detects objects. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from ralr_viz.recipe.recipe import Recipe
from ralr_viz.recipe.rules import OF_ITS_TYPE, RULES, Rule, one_of, require, within

MODELS = ("ssd300", "ssd-small")
LOCATION_LOSSES = ("l1", "smooth_l1")
_SSD300 = 300


@dataclass(frozen=True, kw_only=True)
class DetectionRecipe(Recipe):
    """A recipe of SSD.

    Attributes:
        input_size: Side in pixels that images are warped to.
        bias_lr: Rate of the biases, as a multiple of ``lr``.
        loc_loss: ``l1``, the mean over a box's four offsets as in the reference, or ``smooth_l1``, their sum.
        expand: Most sides of the canvas that an image may lie on, in its own; 1 for none.
        photometric: Change brightness, contrast, saturation and hue.
        flip: Mirror horizontally with probability 0.5.
        weights: Weights of VGG-16 that ``ssd300`` starts from: a file, or the name of torchvision's; empty for none.
    """

    input_size: int = 300
    bias_lr: float = 1.0
    loc_loss: str = "l1"
    expand: float = 4.0
    photometric: bool = True
    flip: bool = True
    weights: str = ""

    uses_store = True
    rules: ClassVar[Mapping[str, Rule]] = {
        **RULES,
        "model": one_of(MODELS),
        "input_size": within(32, 1024),
        "bias_lr": (lambda value: 0 < value <= 1000, "in (0, 1000]"),
        "loc_loss": one_of(LOCATION_LOSSES),
        "expand": within(1, 16),
        "photometric": OF_ITS_TYPE,
        "flip": OF_ITS_TYPE,
        "weights": (lambda value: len(value) <= 500, "a file or a name"),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        whole = self.model == "ssd300"
        require(self, not whole or self.input_size == _SSD300, "input_size", f"{_SSD300} with model=ssd300")
        require(self, whole or not self.weights, "weights", "empty with another model than ssd300")
