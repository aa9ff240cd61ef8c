"""Full check of the stores: every pixel is read and everything that is recorded is computed again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ralr_viz.data.canonical import (
    CHUNK,
    ChannelStatistics,
    ContentHash,
    add_shapes,
    canonical_order,
    compute_digests,
)
from ralr_viz.data.dataset import NO_BOX, Dataset, PhotographSplit, Split
from ralr_viz.data.known import KNOWN, KnownDataset
from ralr_viz.data.ragged import Boxes
from ralr_viz.data.registry import load_dataset
from ralr_viz.data.spool import Progress
from ralr_viz.data.store import SPLITS, read_store, stored_names
from ralr_viz.errors import DataError
from ralr_viz.results.mask_metrics import mask_boxes

_ROUNDING = 5.1e-5
_LOSSY = 5e-3
"""Lossy copies of CIFAR move mean and std by up to .002; another dataset moves them by more than this."""


@dataclass(frozen=True)
class Check:
    """One finding; ``ok`` is False where the store must not be relied on."""

    dataset: str
    check: str
    ok: bool
    detail: str


def doctor(root: Path, name: str | None = None, progress: Progress | None = None) -> list[Check]:
    """Check one store, or all that are in the data root.

    Args:
        root: The data root.
        name: A dataset; None for all.
        progress: Called as ``progress(done, total, what)`` in images.

    Raises:
        UnknownNameError, DataError: ``name`` is not in the root.
    """
    if name is not None and name not in stored_names(root):
        load_dataset(name, root)  # raises with the remedy; builds digits
    names = stored_names(root) if name is None else [name]
    return [check for stored in names for check in _check_dataset(stored, root, progress)]


def _check_dataset(name: str, root: Path, progress: Progress | None) -> Iterator[Check]:
    try:
        dataset = read_store(root / name, keep_degenerate=True)
    except DataError as error:
        yield Check(name, "store", False, str(error))
        return
    splits = {"train": dataset.train, "test": dataset.test}
    yield Check(name, "store", True, _describe_dataset(dataset))
    digests, statistics = _read_pixels(dataset, splits, progress)
    yield _check_content(dataset, splits, digests)
    yield _check_statistics(dataset, statistics)
    for split, data in splits.items():
        yield _check_labels(dataset, split, data)
        if isinstance(data, PhotographSplit):
            if data.regions is not None:
                yield _check_regions(dataset, split, data.regions, data.photographs.shapes)
        elif data.boxes is not None:
            yield _check_boxes(dataset, split, data.boxes)
        if data.masks is not None:
            yield _check_masks(dataset, split, data)
    shared = len(set(digests["train"]) & set(digests["test"]))
    yield Check(name, "overlap", True, f"{shared} different images are in both train and test")
    if known := KNOWN.get(name):
        yield from _check_known(dataset, known)


def _read_pixels(
    dataset: Dataset, splits: dict[str, Split], progress: Progress | None
) -> tuple[dict[str, list[bytes]], ChannelStatistics]:
    """Digest of every image, and the statistics of the train images."""
    digests: dict[str, list[bytes]] = {split: [] for split in SPLITS}
    statistics = ChannelStatistics()
    total, done = sum(len(data) for data in splits.values()), 0
    for split, data in splits.items():
        for chunk in _chunks(data):
            digests[split] += compute_digests(chunk)
            if split == "train":
                statistics.add(chunk)
            done += len(chunk)
            if progress:
                progress(done, total, f"checking {dataset.name}")
        if isinstance(data, PhotographSplit):
            digests[split] = add_shapes(digests[split], data.photographs.shapes)
    return digests, statistics


def _chunks(data: Split) -> Iterator[np.ndarray]:
    """All images; photographs one by one."""
    if isinstance(data, PhotographSplit):
        yield from (image[None] for image in data.photographs)
    else:
        yield from (data.images[start : start + CHUNK] for start in range(0, len(data), CHUNK))


def _check_content(dataset: Dataset, splits: dict[str, Split], digests: dict[str, list[bytes]]) -> Check:
    content = ContentHash()
    for split, data in splits.items():
        boxes = data.regions if isinstance(data, PhotographSplit) else data.boxes
        order = canonical_order(digests[split], data.labels, boxes)
        if not np.array_equal(order, np.arange(len(data))):
            return Check(
                dataset.name, "content", False, f"`{split}` is not in canonical order: import it again"
            )
        content.add_split(split, digests[split], data.labels, boxes, data.masks)
    found = content.hexdigest(dataset.class_ids)
    if found != dataset.content_hash:
        return Check(dataset.name, "content", False, f"hash {found[:12]}… instead of "
                     f"{dataset.content_hash[:12]}…: import it again with --force")  # fmt: skip
    return Check(dataset.name, "content", True, f"SHA-256 {found}")


def _check_statistics(dataset: Dataset, statistics: ChannelStatistics) -> Check:
    mean, std = statistics.mean_std()
    ok = (mean, std) == (dataset.mean, dataset.std)
    return Check(dataset.name, "mean and std", ok, f"mean {_digits(mean)}, std {_digits(std)}"
                 + ("" if ok else f"; recorded {_digits(dataset.mean)}, {_digits(dataset.std)}"))  # fmt: skip


def _check_labels(dataset: Dataset, split: str, data: Split) -> Check:
    labels, what = data.labels, "images"
    if isinstance(data, PhotographSplit) and data.regions is not None and not labels.any():
        labels, what = data.regions.labels, "boxes"  # images of objects have no class of their own
    counts = np.bincount(labels, minlength=dataset.num_classes)
    span = f"{counts.min():,}" if counts.min() == counts.max() else f"{counts.min():,} to {counts.max():,}"
    empty = [dataset.class_ids[i] for i in np.flatnonzero(counts == 0)]
    detail = f"{span} {what} a class" + (f"; none of `{empty[0]}`" if empty else "")
    return Check(dataset.name, f"labels of {split}", split == "test" or not empty, detail)


def _check_boxes(dataset: Dataset, split: str, boxes: np.ndarray) -> Check:
    """Boxes must lie in the image; degenerate ones are as the dataset gives them and only counted."""
    present = boxes[(boxes != NO_BOX).any(axis=1)]
    x0, y0, x1, y1 = present.T
    outside = int(((present < 0) | (present >= dataset.image_size)).any(axis=1).sum())
    degenerate = int(((x1 <= x0) | (y1 <= y0)).sum())
    detail = f"{len(present):,} of {len(boxes):,} images have one; {degenerate} of zero width or height"
    return Check(dataset.name, f"boxes of {split}", outside == 0, detail + f"; {outside} outside the image")


def _check_masks(dataset: Dataset, split: str, data: Split) -> Check:
    """A mask must touch all sides of its image's box, where there are boxes, and not be empty."""
    assert data.masks is not None
    boxes = mask_boxes(data.masks)
    wrong = boxes[:, 0] == NO_BOX if data.boxes is None else (boxes != data.boxes).any(axis=1)
    detail = f"{data.masks.mean():.1%} of the pixels; {int(wrong.sum())} empty or of another box"
    return Check(dataset.name, f"masks of {split}", not wrong.any(), detail)


def _check_regions(dataset: Dataset, split: str, boxes: Boxes, shapes: np.ndarray) -> Check:
    x0, y0, x1, y1 = boxes.corners.T
    height, width = np.repeat(shapes, boxes.counts, axis=0).T
    proper = (x0 >= 0) & (y0 >= 0) & (x1 > x0) & (y1 > y0) & (x1 <= width) & (y1 <= height)
    detail = f"{len(proper):,} in {int((boxes.counts > 0).sum()):,} of {len(boxes):,} images"
    return Check(
        dataset.name,
        f"boxes of {split}",
        bool(proper.all()),
        f"{detail}; {int((~proper).sum())} empty or outside the image",
    )


def _check_known(dataset: Dataset, known: KnownDataset) -> Iterator[Check]:
    size = None if dataset.has_photographs else dataset.image_size
    found = _describe_sizes(len(dataset.train), len(dataset.test), dataset.num_classes, size)
    expected = _describe_sizes(known.n_train, known.n_test, known.num_classes, known.image_size)
    yield Check(dataset.name, "official sizes", found == expected, f"expected {expected}")
    if known.class_ids is not None:
        same = dataset.class_ids == known.class_ids
        yield Check(dataset.name, "official classes", same, "in order" if same else "not the official list")
    if known.mean is not None and known.std is not None:
        difference = float(np.abs(np.subtract((dataset.mean, dataset.std), (known.mean, known.std))).max())
        detail = f"official mean {_digits(known.mean)}, std {_digits(known.std)}; differs by {difference:.4f}"
        if difference > _ROUNDING:
            detail += ": not the official pixels" + (" (a lossy copy?)" if difference <= _LOSSY else "")
        yield Check(dataset.name, "official mean and std", difference <= _LOSSY, detail)


def _describe_dataset(dataset: Dataset) -> str:
    low, high = dataset.side_range
    size = None if dataset.has_photographs else dataset.image_size
    text = _describe_sizes(len(dataset.train), len(dataset.test), dataset.num_classes, size)
    return text if size else f"{text} of {low} to {high} pixels a side"


def _describe_sizes(n_train: int, n_test: int, num_classes: int, image_size: int | None) -> str:
    size = f"{image_size}×{image_size}" if image_size else "photographs"
    return f"{n_train:,} train, {n_test:,} test, {num_classes} classes, {size}"


def _digits(values: tuple[float, float, float]) -> str:
    return " ".join(f"{value:.4f}" for value in values)
