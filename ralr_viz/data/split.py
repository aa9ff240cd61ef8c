"""Stratified, seeded selections of images."""

from __future__ import annotations

import numpy as np

from ralr_viz.errors import InputError


def split_train(
    labels: np.ndarray, *, validation: float, subset: int = 0, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Training and validation indices, stratified by label.

    Both are a function of the labels in canonical order and the seed alone, so every copy of a data set
    gives the same split.

    Args:
        labels: (n,) integer labels.
        validation: Share in [0, 0.5] of each class that is held out.
        subset: Number of images to keep before holding out, spread evenly over the classes; 0 keeps all.
        seed: Of the selection.

    Returns:
        Sorted index arrays (n_train,), (n_validation,).

    Raises:
        InputError: ``subset`` is larger than the data, or a class would be left without training images.
    """
    if subset > len(labels):
        raise InputError(f"`subset` = {subset} is more than the {len(labels)} training images: lower it")
    rng = np.random.default_rng([seed, 0x53504C54])  # a stream of its own ("SPLT")
    classes = np.unique(labels)
    train, held = [], []
    for position, label in enumerate(classes):
        members = rng.permutation(np.flatnonzero(labels == label))
        if subset:
            # the first `subset % classes` classes get one image more
            members = members[: subset // len(classes) + (position < subset % len(classes))]
        count = round(validation * len(members))
        if len(members) - count < 1:
            raise InputError(
                f"`validation` = {validation}: class {label} has no training image left; lower it"
            )
        held.append(members[:count])
        train.append(members[count:])
    return np.sort(np.concatenate(train)), np.sort(np.concatenate(held))


def unused_train(num_images: int, train: np.ndarray, held: np.ndarray) -> np.ndarray:
    """Sorted indices of the training images that neither part of `split_train` has.

    Args:
        num_images: Of the whole training set.
        train, held: What `split_train` returned.
    """
    return np.setdiff1d(np.arange(num_images), np.concatenate([train, held]), assume_unique=True)
