"""One fixed draw of training's augmentation, for what is measured at BatchNorm's statistics of training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ralr_viz.comparison.network import Network
from ralr_viz.comparison.samples import Samples
from ralr_viz.data.augment import augment_once
from ralr_viz.errors import InputError

_MIXED = ("cutmix", "cutout", "mixup")


def augment_samples(samples: Samples, networks: Sequence[Network], seed: int) -> Samples:
    """Samples in one fixed draw of the augmentation that the networks were trained with.

    Raises:
        InputError: The networks were trained with different augmentation.
    """
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


def _augmentation(network: Network) -> tuple[int, bool]:
    try:
        return max(int(network.recipe.get("crop_padding", 0)), 0), bool(network.recipe.get("flip", False))
    except (TypeError, ValueError, OverflowError):
        raise InputError(
            f"the recipe in `{network.shown}` does not say its augmentation: pass --no-augment"
        ) from None
