"""Networks and the training images on which their loss is looked at: ``barrier``, ``sharpness``, ``spectrum``, ``landscape``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ralr_viz.errors import InputError

if TYPE_CHECKING:
    from torch import nn

    from ralr_viz.cli.inputs import SplitImages
    from ralr_viz.train.checkpoint import Checkpoint

_MIXED = ("cutmix", "cutout", "mixup")


@dataclass(frozen=True, eq=False)
class TrainingLoss:
    """Checkpoints and common images.

    Attributes:
        checkpoints, names: In the order given.
        part: Labels and normalisation, common to all.
        images: (n, H, W, 3) uint8, augmented where it was asked.
        augmentation: In words; empty for none.
    """

    checkpoints: list[Checkpoint]
    names: list[str]
    part: SplitImages
    images: np.ndarray
    augmentation: str

    def models(self) -> list[nn.Module]:
        """The networks on the CPU."""
        return [checkpoint.build() for checkpoint in self.checkpoints]

    def describe(self) -> dict[str, Any]:
        """Provenance of the networks."""
        return {
            "checkpoints": [
                {"name": name, "sha256": c.sha256, "epoch": c.epoch}
                for name, c in zip(self.names, self.checkpoints, strict=True)
            ],
            "recipe": dict(self.checkpoints[0].recipe or {}),
            "content_hash": self.part.content_hash,
        }


def load_training_loss(
    specs: Sequence[str],
    data: Path | None,
    split: str,
    limit: int | None,
    *,
    augment: bool,
    seed: int,
    quiet: bool,
    **known: Any,
) -> TrainingLoss:
    """The checkpoints of ``--ckpt`` and the images of ``--split`` and ``--limit`` that they share.

    Args:
        specs: Of ``--ckpt``.
        data, split, limit, quiet: As `select_common` takes them.
        augment: Give the images one fixed draw of the augmentation that the first checkpoint's recipe names.
        seed: Of that draw.
        **known: As `load_checkpoints` takes it.

    Raises:
        InputError: The checkpoints have different images, normalisation or augmentation.
        CheckpointError: One that cannot be used.
    """
    from ralr_viz.cli.inputs import check_common_scale, load_checkpoints, name_checkpoints, select_common

    checkpoints = load_checkpoints(specs, **known)
    parts = select_common(checkpoints, data, split, limit, quiet=quiet)
    check_common_scale(checkpoints, parts)
    images, words = augment_images(checkpoints, parts[0].images, augment=augment, seed=seed)
    return TrainingLoss(checkpoints, name_checkpoints(checkpoints), parts[0], images, words)


def augment_images(
    checkpoints: Sequence[Checkpoint], images: np.ndarray, *, augment: bool, seed: int
) -> tuple[np.ndarray, str]:
    """Images (n, H, W, 3) in one fixed draw of the augmentation that the networks were trained with.

    BatchNorm's statistics are of augmented images; measured on others, they are others.

    Returns:
        The images, and what was done to them in words; empty for nothing.

    Raises:
        InputError: The networks were trained with different augmentation.
    """
    from ralr_viz.analysis.objective import augment_once

    if not augment:
        return np.asarray(images), ""
    settings = [_augmentation(checkpoint) for checkpoint in checkpoints]
    for checkpoint, setting in zip(checkpoints, settings, strict=True):
        if setting != settings[0]:
            raise InputError(
                f"`{checkpoint.path}` was trained with another augmentation than `{checkpoints[0].path}`: "
                "pass --no-augment"
            )
    padding, flip = settings[0]
    if not (padding or flip):
        return np.asarray(images), ""
    done = [f"cropped after padding by {padding}"] * bool(padding) + ["mirrored"] * flip
    words = f"{' and '.join(done)} at random as in training, once"
    left_out = {name for c in checkpoints for name in _MIXED if (c.recipe or {}).get(name)}
    if left_out:
        words += f" (without its {', '.join(sorted(left_out))})"
    return augment_once(np.asarray(images), padding=padding, flip=flip, seed=seed), words


def _augmentation(checkpoint: Checkpoint) -> tuple[int, bool]:
    recipe = checkpoint.recipe or {}
    try:
        return max(int(recipe.get("crop_padding", 0)), 0), bool(recipe.get("flip", False))
    except (TypeError, ValueError, OverflowError):
        raise InputError(
            f"the recipe in `{checkpoint.path}` does not say its augmentation: pass --no-augment"
        ) from None
