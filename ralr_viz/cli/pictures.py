"""The pictures that ``cam`` explains: some of a split, chosen by a rule, or the user's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ralr_viz.analysis.selection import OUTCOME_RULES, RULES, select_by_outcome, select_images
from ralr_viz.cli.inputs import select_common
from ralr_viz.cli.predictions import cached_predictions
from ralr_viz.comparison.samples import open_dataset
from ralr_viz.data import read_image_files
from ralr_viz.errors import InputError, UnknownNameError
from ralr_viz.results.cam import distinct_parts
from ralr_viz.results.names import tell_apart
from ralr_viz.train.checkpoint import Checkpoint
from ralr_viz.train.runtime import Runtime

Scale = tuple[tuple[float, float, float], tuple[float, float, float]]


@dataclass(frozen=True, eq=False)
class Pictures:
    """The chosen images and how each checkpoint normalises them.

    Attributes:
        images: (n, H, W, 3) uint8.
        indices: (n,) place in the split, or in the list of files.
        labels: (n,) int64, −1 where not known.
        boxes: (n, 4) int16 as in `ralr_viz.data.Split`, or None.
        class_names: In label order; empty where not known.
        selection: How they were chosen, for the figure.
        scales: Mean and std of each checkpoint.
        dataset, split: Where they come from; None for files.
        names: Of the files.
    """

    images: np.ndarray
    indices: np.ndarray
    labels: np.ndarray
    boxes: np.ndarray | None
    class_names: tuple[str, ...]
    selection: str
    scales: list[Scale]
    dataset: str | None = None
    split: str | None = None
    names: tuple[str, ...] = ()


def check_rule(rule: str, checkpoints: int, *, from_files: bool) -> None:
    """Refuse early a ``--rows`` that does not go with the other options.

    Raises:
        UnknownNameError: No such rule.
        InputError: It compares checkpoints and there is one, or the images are given one by one.
    """
    if rule not in RULES and rule not in OUTCOME_RULES:
        raise UnknownNameError("--rows", rule, [*RULES, *OUTCOME_RULES])
    if from_files and rule != "random":
        raise InputError(f"`--rows {rule}` chooses images of a split: leave it out, or leave out --images")
    if rule in OUTCOME_RULES and checkpoints < 2:
        raise InputError(f"`--rows {rule}` compares the first two checkpoints, got 1: pass --ckpt twice")


def choose_pictures(
    checkpoints: Sequence[Checkpoint],
    data: Path | None,
    split: str,
    limit: int | None,
    count: int,
    seed: int,
    *,
    rule: str,
    names: Sequence[str],
    runtime: Runtime,
    batch: int,
    progress: Callable[[int, int, str], None],
    quiet: bool,
) -> Pictures:
    """``count`` images of the split that all checkpoints share.

    The rules ``gain`` and ``loss`` look at the predictions of the first two checkpoints on the whole split
    (or on ``limit`` images of it); for these are ``runtime``, ``batch`` and ``progress``.

    Raises:
        InputError: The checkpoints have different data or splits.
    """
    parts = select_common(checkpoints, data, split, limit, quiet=quiet)
    part = parts[0]
    shown = f"{part.dataset} {split}"
    if rule in OUTCOME_RULES:
        first, second = (
            cached_predictions(c, p, runtime, name=name, batch=batch, progress=progress).true_probability
            for c, p, name in zip(checkpoints[:2], parts, names, strict=False)
        )
        pair = distinct_parts(names[0], names[1])
        picked, words = select_by_outcome(first, second, count, rule=rule, names=pair, split=shown)
    else:
        picked, words = select_images(len(part.labels), count, seed, part.labels, rule=rule, split=shown)
    return Pictures(
        images=np.array(part.images[picked]),
        indices=part.indices[picked],
        labels=part.labels[picked],
        boxes=None if part.boxes is None else part.boxes[picked],
        class_names=part.class_names,
        selection=words,
        scales=[(p.mean, p.std) for p in parts],
        dataset=part.dataset,
        split=split,
    )


def read_pictures(checkpoints: Sequence[Checkpoint], data: Path | None, files: Sequence[Path]) -> Pictures:
    """The user's own files, scaled to what the checkpoints were trained on.

    Raises:
        InputError: A file that cannot be used, checkpoints of different image sizes or classes, or one that
            does not say what it needs.
    """
    counts = {c.num_classes for c in checkpoints}
    if len(counts) > 1:
        raise InputError(
            f"the checkpoints have {', '.join(map(str, sorted(counts)))} classes, so no class is in all of "
            "them: draw them one by one"
        )
    needs = [_describe_inputs(checkpoint, data) for checkpoint in checkpoints]
    sizes = {size for size, _, _ in needs}
    if len(sizes) > 1:
        raise InputError(
            f"the checkpoints take images of {', '.join(map(str, sorted(sizes)))} pixels a side: draw them one by one"
        )
    size, _, class_names = needs[0]
    return Pictures(
        images=read_image_files(files, size),
        indices=np.arange(len(files)),
        labels=np.full(len(files), -1),
        boxes=None,
        class_names=class_names,
        selection=f"{len(files)} pictures given by --images, resized to {size}×{size}",
        scales=[scale for _, scale, _ in needs],
        names=tell_apart([file.name for file in files], files),
    )


def _describe_inputs(checkpoint: Checkpoint, data: Path | None) -> tuple[int, Scale, tuple[str, ...]]:
    """Image size, normalisation and class names: of the checkpoint, else of the data set it names."""
    size, mean, std, names = checkpoint.image_size, checkpoint.mean, checkpoint.std, checkpoint.class_names
    if checkpoint.dataset is not None and (size is None or mean is None or std is None):
        store = open_dataset([checkpoint], data)
        size, mean, std = size or store.image_size, mean or store.mean, std or store.std
        names = names or store.class_names
    if size is None:
        raise InputError(
            f"`{checkpoint.path}` does not say the size of its images: pass --size, or --dataset for what it "
            "was trained on"
        )
    if mean is None or std is None:
        raise InputError(
            f"`{checkpoint.path}` does not say its normalisation: pass --mean and --std, or --dataset for "
            "what it was trained on"
        )
    return size, (mean, std), names
