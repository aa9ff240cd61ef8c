"""What is done to the images on which a loss is looked at, and how it is said."""

from types import SimpleNamespace

import numpy as np

from ralr_viz.analysis.objective import augment_once
from ralr_viz.cli.training_loss import augment_images


def trained_with(**recipe):
    return SimpleNamespace(path="runs/x", recipe={"crop_padding": 2, "flip": True, **recipe})


def test_augment_images_crops_and_mirrors_but_never_mixes_and_says_so():
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)
    plain, words = augment_images([trained_with(mixup=0.0)], images, augment=True, seed=1)
    assert words == "cropped after padding by 2 and mirrored at random as in training, once"
    mixed, words = augment_images(
        [trained_with(), trained_with(mixup=1.0, cutout=8)], images, augment=True, seed=1
    )
    assert words.endswith("as in training, once (without its cutout, mixup)")
    assert np.array_equal(plain, mixed)
    assert np.array_equal(plain, augment_once(images, padding=2, flip=True, seed=1))
