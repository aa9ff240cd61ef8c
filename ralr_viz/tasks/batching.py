"""An epoch of samples that count alike, cut into batches of one number."""

from __future__ import annotations

import math

import numpy as np

from ralr_viz.errors import InputError
from ralr_viz.recipe import Recipe


def count_steps(recipe: Recipe, samples: int) -> int:
    """Steps of an epoch over so many training samples."""
    return samples // recipe.batch if recipe.drop_last else math.ceil(samples / recipe.batch)


def check_batches(recipe: Recipe, samples: int, ranks: int) -> None:
    """Refuse an epoch without a batch, or a batch with too few samples for each rank to have one.

    Raises:
        InputError: So it is.
    """
    if recipe.drop_last and samples < recipe.batch:
        raise InputError(f"`batch` = {recipe.batch} is more than the {samples} training images: lower it")
    rest = 0 if recipe.drop_last else samples % recipe.batch
    smallest = rest or min(recipe.batch, samples)
    if smallest < ranks:
        raise InputError(
            f"`batch` = {recipe.batch} leaves {smallest} of the {samples} training images to a batch, too few for "
            f"{ranks} processes: start fewer, or train another run by --set batch or --set drop_last=true"
        )


def spread(places: np.ndarray, limit: int | None) -> np.ndarray:
    """At most ``limit`` of them, evenly spread."""
    if limit is None or limit >= len(places):
        return places
    return places[len(places) * np.arange(limit) // limit]
