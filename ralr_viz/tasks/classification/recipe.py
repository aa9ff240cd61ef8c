"""The settings of a training that classifies images. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from ralr_viz.recipe.recipe import Recipe
from ralr_viz.recipe.rules import HIGHEST_FACTOR, OF_ITS_TYPE, RULES, Rule, one_of, positive, require, within

_LARGEST_ALPHA = 1000  # of a Beta distribution: λ is then within 0.05 of 1/2
_LARGEST_HOLE = 1024
_LONGEST_PATH = 1000


@dataclass(frozen=True, kw_only=True)
class ClassificationRecipe(Recipe):
    """A recipe with the augmentation of images, how photographs are looked at, and what the network starts from.

    Attributes:
        weights: What all but the classifier starts from: a file (a bare name is looked for in the working directory,
            then in ``weights`` of the data root), or torchvision's name of weights, such as ``IMAGENET1K_V1``; empty
            for random ones. Images are normalised as those weights expect.
        head_init: ``default`` or ``kaiming``, how the classifier's weights are drawn.
        head_lr: Learning rate of the classifier in units of ``lr``.
        input_size: Side in pixels of what photographs of unequal shape are cut to.
        crop_scale: Smallest and largest share of a photograph's area that is cut out in training, at an aspect ratio
            of 3:4 to 4:3, and resized.
        resize, view: How photographs are evaluated, see `ralr_viz.data.View`: what the shorter side is scaled to
            before the ``centre`` is cut out (0 for 8/7 of the side), or ``warp`` for all of the picture.
        label_smoothing: ε in [0, 1): the loss is against (1 − ε) of the label and ε/C of each of C classes.
        crop_padding: Zero padding of the random crop in pixels; 0 turns it off.
        flip: Mirror horizontally with probability 0.5.
        cutout: Side in pixels of a square of the mean colour in each image, cut at the border; 0 for none.
        mixup: α of the Beta(α, α) from which a batch's mixing weight comes; 0 turns Mixup off.
        cutmix, cutmix_alpha: Probability that a batch is cut, and α of the pasted share; 0 turns CutMix off.
            Where images are mixed, or labels smoothed, ``train_loss`` is that of the mixed labels, and
            ``train_acc`` counts each image's own label; losses in eval mode are the plain ones.
    """

    weights: str = ""
    head_init: str = "default"
    head_lr: float = 1.0
    input_size: int = 0
    crop_scale: tuple[int | float, ...] = (0.08, 1.0)
    resize: int = 0
    view: str = "centre"
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
        "weights": (
            lambda value: len(value) <= _LONGEST_PATH,
            f"a text of at most {_LONGEST_PATH} characters",
        ),
        "head_init": one_of(("default", "kaiming")),
        "head_lr": positive(HIGHEST_FACTOR),
        "input_size": (lambda value: value == 0 or 8 <= value <= 2048, "0, or 8 to 2048 pixels"),
        "crop_scale": OF_ITS_TYPE,
        "resize": (lambda value: value == 0 or 8 <= value <= 2048, "0, or 8 to 2048 pixels"),
        "view": one_of(("centre", "warp")),
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
        rising = len(self.crop_scale) == 2 and 0 < self.crop_scale[0] <= self.crop_scale[1] <= 1
        require(self, rising, "crop_scale", "two rising shares of the area in (0, 1], such as 0.08,1")
        warped = self.view == "warp" and self.resize
        require(self, not warped, "resize", "0 with view=warp, which scales both sides to `input_size`")
        larger = not self.resize or self.resize >= self.input_size
        require(self, larger, "resize", f"at least `input_size` = {self.input_size}")
        only = not (self.mixup and self.cutmix)
        require(self, only, "cutmix", f"0 beside `mixup` = {self.mixup!r}: only one may mix")

    def check_code(self) -> None:
        """As of every recipe; and the network must be one of ralr-viz's or torchvision's, where it is not the user's."""
        from ralr_viz.models import check_model  # imports torch, which planning does without

        super().check_code()
        check_model(self.model, allow_import=True)
