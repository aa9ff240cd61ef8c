"""The images that go with a checkpoint: what ``eval``, ``cam`` and the analyses have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ralr_viz.cli.lines import print_note
from ralr_viz.errors import InputError

if TYPE_CHECKING:
    from ralr_viz.data import Dataset
    from ralr_viz.train.checkpoint import Checkpoint


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


def select_common(
    checkpoints: Sequence[Checkpoint], data: Path | None, split: str, limit: int | None, *, quiet: bool
) -> list[SplitImages]:
    """The same images of ``--split`` and ``--limit``, as each of the checkpoints sees them.

    Raises:
        InputError: The checkpoints have different data or splits.
    """
    from ralr_viz.comparison.samples import open_dataset

    store = open_dataset(checkpoints, data)
    parts: list[SplitImages] = []
    for checkpoint in checkpoints:  # what is said of the first holds for all
        parts.append(select_split(checkpoint, store, split, limit, quiet=quiet or bool(parts)))
        if not np.array_equal(parts[-1].indices, parts[0].indices):
            raise InputError(f"the checkpoints have different `{split}` images: pass --split test")
    return parts


def select_split(
    checkpoint: Checkpoint, store: Dataset, split: str, limit: int | None, *, quiet: bool = False
) -> SplitImages:
    """The images of ``--split`` and ``--limit``, as one checkpoint sees them; errors of `select_samples`."""
    from ralr_viz.comparison.samples import select_samples

    samples = select_samples(store, split, limit, [checkpoint])
    if (checkpoint.mean is None or checkpoint.std is None) and not quiet:
        print_note(
            f"normalising with the mean and std of `{store.name}`: pass --mean and --std if others were trained with"
        )
    return SplitImages(
        images=samples.images,
        labels=samples.labels,
        boxes=samples.boxes,
        indices=samples.indices,
        mean=checkpoint.mean or store.mean,
        std=checkpoint.std or store.std,
        class_names=samples.class_names,
        dataset=store.name,
        split=split,
        content_hash=store.content_hash,
    )
