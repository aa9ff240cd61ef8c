"""The images that go with a checkpoint: what ``eval``, ``cam`` and the analyses have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ralr_viz.cli.lines import print_note
from ralr_viz.errors import InputError, UnknownNameError
from ralr_viz.results.names import tell_apart

if TYPE_CHECKING:
    from ralr_viz.data import Dataset
    from ralr_viz.train.checkpoint import Checkpoint

SPLITS = ("test", "train", "val")


@dataclass(frozen=True, eq=False)
class SplitImages:
    """Images of one split with what a network needs to see them.

    Attributes:
        images: (n, H, W, 3) uint8.
        labels: (n,) int64.
        boxes: (n, 4) int16 as in `ralr_viz.data.Split`, or None.
        indices: (n,) place in the data set's split, in canonical order.
        mean, std: Normalisation of the checkpoint, else of the data set.
        class_names: In label order.
        dataset, split: Their names.
        content_hash: Of the data set.
    """

    images: np.ndarray
    labels: np.ndarray
    boxes: np.ndarray | None
    indices: np.ndarray
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    class_names: tuple[str, ...]
    dataset: str
    split: str
    content_hash: str


def open_dataset(checkpoints: Sequence[Checkpoint], data: Path | None) -> Dataset:
    """The data set of the checkpoints, which must all have its classes.

    Raises:
        InputError: It is not known or not there, or has another number of classes.
    """
    from ralr_viz.data import data_root, load_dataset

    name = checkpoints[0].dataset
    if name is None:
        raise InputError(
            f"`{checkpoints[0].path}` does not say its data set: pass --dataset, e.g. --dataset cifar10"
        )
    store = load_dataset(name, data_root(data))
    for checkpoint in checkpoints:
        if store.num_classes != checkpoint.num_classes:
            raise InputError(
                f"`{checkpoint.path}` has {checkpoint.num_classes} classes, `{store.name}` has "
                f"{store.num_classes}: pass another --dataset"
            )
    return store


def load_checkpoints(
    specs: Sequence[str],
    *,
    arch: str | None,
    num_classes: int | None,
    mean: str | None,
    std: str | None,
    dataset: str | None,
    size: int | None = None,
) -> list[Checkpoint]:
    """The checkpoints of ``--ckpt``; the other options hold for all of them.

    Raises:
        CheckpointError: One that cannot be used.
        InputError: ``--mean`` or ``--std`` is not three numbers.
    """
    from ralr_viz.cli.options import parse_three
    from ralr_viz.train.checkpoint import load_checkpoint

    given: dict[str, Any] = {
        "arch": arch,
        "num_classes": num_classes,
        "image_size": size,
        "mean": parse_three(mean, "--mean"),
        "std": parse_three(std, "--std"),
        "dataset": dataset,
    }
    return [load_checkpoint(spec, **given) for spec in specs]


def name_checkpoints(checkpoints: Sequence[Checkpoint]) -> list[str]:
    """``baseline`` and ``RALR`` where that tells them apart, else seed and epoch too, else what differs."""
    from ralr_viz.results.names import method_name

    names = [method_name(c.method) if c.method else c.label for c in checkpoints]
    if len(set(names)) == len(names):
        return names
    return label_checkpoints(checkpoints, [c.label for c in checkpoints])


def label_checkpoints(checkpoints: Sequence[Checkpoint], names: Sequence[str]) -> list[str]:
    """Names of checkpoints; equal ones get the settings, else the part of the path, in which they differ."""
    return list(
        tell_apart(
            names,
            [c.path for c in checkpoints],
            settings=[c.recipe or {} for c in checkpoints],
            methods=[c.method for c in checkpoints],
        )
    )


def select_common(
    checkpoints: Sequence[Checkpoint], data: Path | None, split: str, limit: int | None, *, quiet: bool
) -> list[SplitImages]:
    """The same images of ``--split`` and ``--limit``, as each of the checkpoints sees them.

    Raises:
        InputError: The checkpoints have different data or splits.
    """
    names = {c.dataset for c in checkpoints}
    if len(names) > 1:
        shown = ", ".join(sorted(map(str, names)))
        raise InputError(f"the checkpoints were trained on different data ({shown}): pass --dataset")
    store = open_dataset(checkpoints, data)
    parts: list[SplitImages] = []
    for checkpoint in checkpoints:  # what is said of the first holds for all
        parts.append(select_split(checkpoint, store, split, limit, quiet=quiet or bool(parts)))
        if not np.array_equal(parts[-1].indices, parts[0].indices):
            raise InputError(f"the checkpoints have different `{split}` images: pass --split test")
    return parts


def check_common_scale(checkpoints: Sequence[Checkpoint], parts: Sequence[SplitImages]) -> None:
    """Refuse networks that see the images normalised differently.

    Raises:
        InputError: One has another mean or std than the first.
    """
    for checkpoint, part in zip(checkpoints, parts, strict=True):
        if (part.mean, part.std) != (parts[0].mean, parts[0].std):
            raise InputError(
                f"`{checkpoint.path}` was trained with another mean or std than `{checkpoints[0].path}`: "
                "compare networks of one normalisation"
            )


def select_split(
    checkpoint: Checkpoint, store: Dataset, split: str, limit: int | None, *, quiet: bool = False
) -> SplitImages:
    """The images of ``--split`` and ``--limit``; canonical order is by hash, so evenly spread is random.

    Raises:
        InputError: Unknown split, ``val`` for a checkpoint that held nothing out, or training images that
            are not those of the training.
    """
    if split not in SPLITS:
        raise UnknownNameError("split", split, SPLITS)
    part = store.test if split == "test" else store.train
    indices = np.arange(len(part.labels)) if split == "test" else _training_indices(checkpoint, store, split)
    if limit is not None and limit < len(indices):
        indices = indices[len(indices) * np.arange(limit) // limit]
    if (checkpoint.mean is None or checkpoint.std is None) and not quiet:
        print_note(
            f"normalising with the mean and std of `{store.name}`: pass --mean and --std if others were trained with"
        )
    whole = len(indices) == len(part.labels)
    return SplitImages(
        images=part.images if whole else part.images[indices],
        labels=np.asarray(part.labels[indices]),
        boxes=None if part.boxes is None else np.asarray(part.boxes[indices]),
        indices=indices,
        mean=checkpoint.mean or store.mean,
        std=checkpoint.std or store.std,
        class_names=store.class_names,
        dataset=store.name,
        split=split,
        content_hash=store.content_hash,
    )


def _training_indices(checkpoint: Checkpoint, store: Dataset, split: str) -> np.ndarray:
    """The images that the checkpoint was trained on, or those held out from it."""
    from ralr_viz.data.split import split_train

    if checkpoint.content_hash not in (None, store.content_hash):
        raise InputError(
            f"`{checkpoint.path}` was trained on other images than `{store.name}` holds now, so its `{split}` "
            "images are not known: use --split test"
        )
    recipe = checkpoint.recipe or {}
    try:
        train, held = split_train(
            store.train.labels,
            validation=float(recipe.get("validation", 0.0)),
            subset=int(recipe.get("subset", 0)),
            seed=int(recipe.get("split_seed", 0)),
        )
    except InputError:
        raise
    except (TypeError, ValueError, OverflowError):
        raise InputError(
            f"the recipe in `{checkpoint.path}` does not say which images were held out: use --split test"
        ) from None
    if split == "val" and not len(held):
        raise InputError(f"`{checkpoint.path}` held no images out: use --split test or train")
    return train if split == "train" else held
