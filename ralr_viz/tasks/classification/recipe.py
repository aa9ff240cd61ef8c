"""The settings of a training that classifies images. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from ralr_viz.recipe.recipe import Recipe
from ralr_viz.recipe.rules import OF_ITS_TYPE, RULES, Rule, require, within

_LARGEST_ALPHA = 1000  # of a Beta distribution: λ is then within 0.05 of 1/2
_LARGEST_HOLE = 1024


@dataclass(frozen=True, kw_only=True)
class ClassificationRecipe(Recipe):
    """A recipe with the augmentation of images.

    Attributes:
        label_smoothing: ε in [0, 1): the loss is against (1 − ε) of the label and ε/C of each of C classes.
        crop_padding: Zero padding of the random crop in pixels; 0 turns it off.
        flip: Mirror horizontally with probability 0.5.
        cutout: Side in pixels of a square of the mean colour in each image, cut at the border; 0 for none.
        mixup: α of the Beta(α, α) from which a batch's mixing weight comes; 0 turns Mixup off.
        cutmix, cutmix_alpha: Probability that a batch is cut, and α of the pasted share; 0 turns CutMix off.
            Where images are mixed, or labels smoothed, ``train_loss`` is that of the mixed labels, and
            ``train_acc`` counts each image's own label; losses in eval mode are the plain ones.
    """

    label_smoothing: float = 0.0
    crop_padding: int = 0
    flip: bool = False
    cutout: int = 0
    mixup: float = 0.0
    cutmix: float = 0.0
    cutmix_alpha: float = 1.0

    uses_store = True
    rules: ClassVar[Mapping[str, Rule]] = {
        **RULES,
        "label_smoothing": (lambda value: 0 <= value < 1, "in [0, 1)"),
        "crop_padding": within(0, 64),
        "flip": OF_ITS_TYPE,
        "cutout": within(0, _LARGEST_HOLE, f"in [0, {_LARGEST_HOLE}] pixels"),
        "mixup": within(0, _LARGEST_ALPHA),
        "cutmix": within(0, 1, "in [0, 1]: the probability that a batch is cut"),
        "cutmix_alpha": (lambda value: 0 < value <= _LARGEST_ALPHA, f"in (0, {_LARGEST_ALPHA}]"),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        only = not (self.mixup and self.cutmix)
        require(self, only, "cutmix", f"0 beside `mixup` = {self.mixup!r}: only one may mix")

    def check_code(self) -> None:
        """As of every recipe; and the network must be one of ralr-viz's or torchvision's, where it is not the user's."""
        from ralr_viz.models import check_model  # imports torch, which planning does without

        super().check_code()
        check_model(self.model, allow_import=True)
