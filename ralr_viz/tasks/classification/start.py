"""What a network starts from: random weights, or those of another training, all but its classifier."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ralr_viz.errors import CheckpointError
from ralr_viz.models import build_model
from ralr_viz.models.classifier import initialise_head
from ralr_viz.models.pretrained import Weights, read_backbone
from ralr_viz.own_code import is_allowed
from ralr_viz.tasks.classification.recipe import ClassificationRecipe

FOLDER = "weights"
"""In the data root: where files of weights are looked for that a recipe names without a folder."""


@dataclass(frozen=True, eq=False)
class Start:
    """How the networks of a recipe are made.

    Attributes:
        recipe: Names the network and its weights.
        num_classes: Of its classifier.
        backbone: What was read of the weights, by the network's names; None for random ones.
        weights: Where that comes from, and how its images are normalised.
    """

    recipe: ClassificationRecipe
    num_classes: int
    backbone: dict[str, Tensor] | None = None
    weights: Weights | None = None

    def build(self) -> nn.Module:
        """A network in training mode; random weights are from torch's global generator."""
        arch = self.recipe.model
        model = build_model(arch, self.num_classes, allow_import=is_allowed(arch))
        if self.backbone is not None:
            model.load_state_dict(model.state_dict() | self.backbone)
            initialise_head(model, arch, self.recipe.head_init)  # type: ignore[arg-type]  # a rule of the recipe
        return model


def open_start(recipe: ClassificationRecipe, num_classes: int, root: Path) -> Start:
    """Read the weights that a recipe names.

    Args:
        recipe: The recipe.
        num_classes: Of the data set.
        root: Folder of the ingested data sets.

    Raises:
        CheckpointError: There are none of that name, or they are of another network.
    """
    if not recipe.weights:
        return Start(recipe, num_classes)
    with torch.device("meta"):  # of which only names and shapes are needed
        empty = build_model(recipe.model, num_classes, allow_import=is_allowed(recipe.model))
    source = _locate(recipe.weights, root)
    try:
        backbone, weights = read_backbone(empty, recipe.model, source)
    except CheckpointError as error:
        if Path(source).is_file() or not _is_bare(recipe.weights):
            raise
        raise CheckpointError(
            f"`weights` = `{recipe.weights}` is neither here nor in `{root / FOLDER}`: {error}"
        ) from None
    return Start(recipe, num_classes, backbone, weights)


def _locate(named: str, root: Path) -> str:
    """The file, which may lie with the data; the name itself where there is none."""
    if _is_bare(named) and not Path(named).is_file() and (root / FOLDER / named).is_file():
        return str(root / FOLDER / named)
    return named


def _is_bare(named: str) -> bool:
    return Path(named).name == named
