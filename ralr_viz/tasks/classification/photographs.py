"""Photographs of unequal shape: cut and resized by threads for training, and seen as squares for everything else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ralr_viz.data import Dataset, View, fixed_view
from ralr_viz.data.augment import normalise_batch
from ralr_viz.data.crops import CropFeeder, CropPlan, plan_crops
from ralr_viz.data.dataset import PhotographSplit, Split
from ralr_viz.errors import InputError
from ralr_viz.runtime.device import Runtime
from ralr_viz.runtime.ranks import Ranks
from ralr_viz.tasks.batching import count_steps
from ralr_viz.tasks.classification.recipe import ClassificationRecipe

_OF_SQUARES = ("crop_padding", "cutout", "mixup", "cutmix")


def view_of(recipe: ClassificationRecipe, dataset: Dataset) -> View | None:
    """How a recipe looks at photographs; None where the data set is of squares.

    Raises:
        InputError: The recipe does not say a size, or asks for what is not done to photographs.
    """
    if not dataset.has_photographs:
        if recipe.input_size not in (0, dataset.image_size):
            raise InputError(
                f"`input_size` = {recipe.input_size}: `{dataset.name}` has squares of {dataset.image_size} pixels; leave it out, "
                "or import its photographs without --size"
            )
        return None
    if not recipe.input_size:
        raise InputError(
            f"`{dataset.name}` has photographs of unequal shape: set `input_size`, e.g. --set input_size=224"
        )
    for name in _OF_SQUARES:
        if getattr(recipe, name):
            raise InputError(
                f"`{name}` = {getattr(recipe, name)} is not done to photographs, which are cut at random by `crop_scale`: set it to 0"
            )
    return View(recipe.input_size, recipe.resize or None, recipe.view)  # type: ignore[arg-type]  # a rule of the recipe


def see(dataset: Dataset, split: str, view: View | None) -> Split:
    """A part of the data set as squares."""
    if view is None:
        part: Split = getattr(dataset, split)
        return part
    return fixed_view(dataset, split, view.size, view.resize, view.mode)


def plan_of(
    recipe: ClassificationRecipe,
    photographs: PhotographSplit,
    seed: int,
    epoch: int,
    places: np.ndarray,
    *,
    shuffled: bool = True,
) -> CropPlan:
    """Order, crops and flips of an epoch; see `plan_crops`."""
    low, high = recipe.crop_scale
    return plan_crops(
        seed,
        epoch,
        places,
        photographs.photographs.shapes,
        scale=(low, high),
        flip=recipe.flip,
        shuffled=shuffled,
    )


def augment_photographs(
    recipe: ClassificationRecipe, photographs: PhotographSplit, places: np.ndarray, seed: int = 0
) -> np.ndarray:
    """Images (n, size, size, 3) uint8 at those places, in one draw of training's augmentation."""
    plan = plan_of(recipe, photographs, seed, 0, places, shuffled=False)
    feeder = CropFeeder(photographs.photographs, photographs.labels, recipe.input_size)
    parts = [(first, min(first + recipe.batch, len(plan))) for first in range(0, len(plan), recipe.batch)]
    return np.concatenate([images.numpy() for images, _ in feeder.feed(plan, parts)])


@dataclass(frozen=True, eq=False)
class PhotographPlan:
    """An epoch of photographs.

    Attributes:
        draws: Order, crops and flips.
        batch: Photographs a step.
        steps: Of the epoch.
    """

    draws: CropPlan
    batch: int
    steps: int

    def shown(self, steps: int) -> int:
        """Photographs; the last batch may be smaller."""
        return min(steps * self.batch, len(self.draws))

    def bounds(self, step: int) -> tuple[int, int]:
        """First and last place of a step's batch."""
        return step * self.batch, self.shown(step + 1)


class PhotographFeed:
    """Makes the batches of an epoch ahead of the training, on the host."""

    def __init__(
        self,
        recipe: ClassificationRecipe,
        photographs: PhotographSplit,
        trained: np.ndarray,
        scale: tuple[Tensor, Tensor],
        runtime: Runtime,
    ) -> None:
        self.recipe, self.photographs, self.trained, self.runtime = recipe, photographs, trained, runtime
        self.mean, self.std = scale
        self.steps = count_steps(recipe, len(trained))
        self._feeder = CropFeeder(
            photographs.photographs,
            photographs.labels,
            recipe.input_size,
            threads=recipe.threads or None,
            pinned=runtime.device.type == "cuda",
        )
        self._row_of = np.zeros(len(photographs.labels), dtype=np.int64)
        self._row_of[trained] = np.arange(len(trained))
        self._stream: Iterator[tuple[Tensor, Tensor]] = iter(())
        self._next: tuple[PhotographPlan | None, int] = (None, 0)

    def plan(self, seed: int, epoch: int) -> PhotographPlan:
        """See `plan_crops`."""
        draws = plan_of(self.recipe, self.photographs, seed, epoch, self.trained)
        return PhotographPlan(draws, self.recipe.batch, self.steps)

    def load(
        self, plan: PhotographPlan, step: int, ranks: Ranks
    ) -> list[tuple[Tensor, Tensor, Tensor | None]]:
        """Normalised images and labels; the steps behind it are made ahead."""
        if self._next != (plan, step):
            parts = [ranks.shard(*plan.bounds(later)) for later in range(step, plan.steps)]
            self._stream = self._feeder.feed(plan.draws, parts)
        ranks.shard(*plan.bounds(step))  # whose share of the step is asked for last
        images, labels = next(self._stream)
        self._next = plan, step + 1
        device = self.runtime.device
        x = normalise_batch(images.to(device, non_blocking=True), self.mean, self.std)
        x = x.contiguous(memory_format=self.runtime.memory_format)
        return [(x, labels.to(device, non_blocking=True), None)]

    def rows(self, plan: PhotographPlan, step: int, ranks: Ranks) -> Tensor:
        """Of the photographs of `load`, among those that are trained on."""
        first, last = ranks.shard(*plan.bounds(step))
        return torch.from_numpy(self._row_of[plan.draws.order[first:last]]).to(self.runtime.device)
