"""One fixed draw of training's augmentation, for what is measured at BatchNorm's statistics of training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from ralr_viz.comparison.network import Network
from ralr_viz.comparison.samples import Samples
from ralr_viz.data.augment import crop_batch, pad_images, plan_epoch
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


def augment_once(images: np.ndarray, *, padding: int, flip: bool, seed: int = 0) -> np.ndarray:
    """One fixed draw of training's augmentation: (n, H, W, 3) uint8, each image cropped and mirrored at random.

    A network normalises by the statistics of what it was trained on. Statistics measured on images without
    the black borders of padded crops are others: of the published CIFAR-10 baseline they raise the training
    loss from 0.29 to 0.39 nats at the very same weights.

    Cutout, Mixup and CutMix are left out, also where a network was trained with them: the images and labels
    stay whole, so that the loss is the plain one.

    Args:
        images: (n, H, W, 3) uint8.
        padding: Of the random crop, in pixels.
        flip: Whether half of the images are mirrored.
        seed: Of the draw; equal for networks that are compared.
    """
    plan = plan_epoch(seed, 0, len(images), padding=padding, flip=flip)
    plan = replace(plan, order=torch.arange(len(images)))
    padded = pad_images(torch.from_numpy(np.array(images)), padding)
    return crop_batch(padded, plan, 0, len(images), padding).numpy()


def _augmentation(network: Network) -> tuple[int, bool]:
    try:
        return max(int(network.recipe.get("crop_padding", 0)), 0), bool(network.recipe.get("flip", False))
    except (TypeError, ValueError, OverflowError):
        raise InputError(
            f"the recipe in `{network.shown}` does not say its augmentation: pass --no-augment"
        ) from None
