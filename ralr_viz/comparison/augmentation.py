"""One fixed draw of training's augmentation, for what is measured at BatchNorm's statistics of training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ralr_viz.comparison.network import Network
from ralr_viz.comparison.samples import Samples
from ralr_viz.data import Dataset
from ralr_viz.data.augment import augment_once
from ralr_viz.data.dataset import PhotographSplit
from ralr_viz.errors import InputError
from ralr_viz.recipe import recipe_from_dict
from ralr_viz.tasks.classification.photographs import augment_photographs
from ralr_viz.tasks.classification.recipe import ClassificationRecipe

_MIXED = ("cutmix", "cutout", "mixup")
_OF_PHOTOGRAPHS = ("input_size", "crop_scale", "flip")


def augment_samples(samples: Samples, networks: Sequence[Network], seed: int) -> Samples:
    """Samples in one fixed draw of the augmentation that the networks were trained with.

    Raises:
        InputError: The networks were trained with different augmentation.
    """
    if samples.store is not None and isinstance(samples.store.train, PhotographSplit):
        return _augment_photographs(samples, samples.store, networks, seed)
    settings = [_augmentation(network) for network in networks]
    for network, setting in zip(networks, settings, strict=True):
        if setting != settings[0]:
            raise InputError(
                f"`{network.shown}` was trained with another augmentation than `{networks[0].shown}`: "
                "pass --no-augment"
            )
    padding, flip = settings[0]
    if not (padding or flip):
        return samples
    done = [f"cropped after padding by {padding}"] * bool(padding) + ["mirrored"] * flip
    words = f"{' and '.join(done)} at random as in training, once"
    left_out = {name for network in networks for name in _MIXED if network.recipe.get(name)}
    if left_out:
        words += f" (without its {', '.join(sorted(left_out))})"
    images = augment_once(np.asarray(samples.images), padding=padding, flip=flip, seed=seed)
    return replace(samples, images=images, augmentation=words)


def _augment_photographs(samples: Samples, store: Dataset, networks: Sequence[Network], seed: int) -> Samples:
    """Cut at random from the photographs themselves, of which the samples are a fixed view."""
    recipes = [_photograph_recipe(network) for network in networks]
    first = recipes[0]
    for network, recipe in zip(networks, recipes, strict=True):
        if any(getattr(recipe, name) != getattr(first, name) for name in _OF_PHOTOGRAPHS):
            raise InputError(
                f"`{network.shown}` was trained with another augmentation than `{networks[0].shown}`: "
                "pass --no-augment"
            )
    part = store.test if samples.split == "test" else store.train
    assert isinstance(part, PhotographSplit)
    images = augment_photographs(first, part, samples.indices, seed)
    low, high = first.crop_scale
    words = (
        f"cut at random to {low:g} to {high:g} of the area{' and mirrored' * first.flip} as in training, once"
    )
    return replace(samples, images=images, augmentation=words)


def _photograph_recipe(network: Network) -> ClassificationRecipe:
    try:
        recipe = recipe_from_dict(network.recipe, network.shown)
    except InputError:
        recipe = None
    if not isinstance(recipe, ClassificationRecipe) or not recipe.input_size:
        raise InputError(f"the recipe in `{network.shown}` does not say its augmentation: pass --no-augment")
    return recipe


def _augmentation(network: Network) -> tuple[int, bool]:
    try:
        return max(int(network.recipe.get("crop_padding", 0)), 0), bool(network.recipe.get("flip", False))
    except (TypeError, ValueError, OverflowError):
        raise InputError(
            f"the recipe in `{network.shown}` does not say its augmentation: pass --no-augment"
        ) from None
