"""The user's own pictures, as the networks that are compared take them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from ralr_viz.comparison.samples import Samples, open_dataset
from ralr_viz.comparison.view import choose_view_of_files
from ralr_viz.data import read_image_files
from ralr_viz.errors import InputError
from ralr_viz.results.names import tell_apart
from ralr_viz.train.checkpoint import Checkpoint

Scale = tuple[Any, Any]
"""Mean and std; None where not known."""


def read_files(
    files: Sequence[Path],
    sources: Sequence[Checkpoint | nn.Module],
    *,
    root: Path | None,
    size: int | None,
    scale: Scale,
    resize: int | None = None,
    mode: str | None = None,
) -> tuple[Samples, list[Scale]]:
    """Pictures in files, as the networks look at what they were trained on, and how each network normalises them.

    Args:
        files: In any format that Pillow reads.
        sources: Checkpoints, which say their size and normalisation, or whose data set does; or modules.
        root: Folder of the ingested data sets.
        size: Side in pixels, for a module.
        scale: Mean and std, likewise.
        resize, mode: Of photographs, see `View`; left out, what the networks were trained with.

    Raises:
        InputError: A file that cannot be used, networks of different image sizes or classes, or one whose size or
            normalisation is not known.
    """
    counts = {source.num_classes for source in sources if isinstance(source, Checkpoint)}
    if len(counts) > 1:
        raise InputError(
            f"the checkpoints have {', '.join(map(str, sorted(counts)))} classes, so no class is in all of "
            "them: draw them one by one"
        )
    needs = [
        _of_checkpoint(source, root) if isinstance(source, Checkpoint) else (_of_module(size), scale, ())
        for source in sources
    ]
    sizes = {side for side, _, _ in needs}
    if len(sizes) > 1:
        raise InputError(
            f"the checkpoints take images of {', '.join(map(str, sorted(sizes)))} pixels a side: draw them one by one"
        )
    side, _, class_names = needs[0]
    checkpoints = [source for source in sources if isinstance(source, Checkpoint)]
    view = choose_view_of_files(checkpoints, side, root, resize=resize, mode=mode)
    seen = f"resized to {side}×{side}" if view is None else view.describe()
    samples = Samples(
        images=read_image_files(files, side if view is None else view),
        labels=np.full(len(files), -1),
        boxes=None,
        indices=np.arange(len(files)),
        class_names=class_names,
        choice=f"{len(files)} picture{'s' * (len(files) > 1)} given by --images, {seen}",
        names=tell_apart([file.name for file in files], files),
        view=view,
    )
    return samples, [scale for _, scale, _ in needs]


def _of_module(size: int | None) -> int:
    if size is None:
        raise InputError("a module does not say the size of its images: pass `image_size`")
    return size


def _of_checkpoint(checkpoint: Checkpoint, root: Path | None) -> tuple[int, Scale, tuple[str, ...]]:
    """Image size, normalisation and class names: of the checkpoint, else of the data set it names."""
    size, mean, std, names = checkpoint.image_size, checkpoint.mean, checkpoint.std, checkpoint.class_names
    if checkpoint.dataset is not None and (size is None or mean is None or std is None):
        store = open_dataset([checkpoint], root)
        if size is None and not store.has_photographs:
            size = store.image_size
        mean, std = mean or store.mean, std or store.std
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
