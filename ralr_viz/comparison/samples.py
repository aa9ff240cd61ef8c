"""The images that networks are compared on: of a split of an ingested data set, or the caller's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ralr_viz.comparison.view import choose_view
from ralr_viz.data import Dataset, View, data_root, fixed_view, load_dataset
from ralr_viz.data.split import split_train
from ralr_viz.errors import InputError, UnknownNameError
from ralr_viz.train.checkpoint import Checkpoint

SPLITS = ("test", "train", "val")


@dataclass(frozen=True, eq=False)
class Samples:
    """n images and what is known of them.

    Attributes:
        images: (n, H, W, 3) uint8.
        labels: (n,) int64 classes, −1 where not known.
        boxes: (n, 4) int16 as in `ralr_viz.data.Split`, or None.
        indices: (n,) place in the data set's split, in canonical order; in the list of the caller's own.
        class_names: In label order; empty where not known.
        dataset, split: Their names; None for the caller's own.
        content_hash: Of the data set; None likewise.
        augmentation: What was done to the images, in words; empty for nothing.
        store: The data set itself; None likewise.
        limit: Most images of the split that were asked for; None for all.
        choice: The rule that chose them, in words; empty where none did.
        names: Of the files that they are of; else empty.
        view: How photographs were made squares; None of a data set of squares, and of the caller's own arrays.
        masks: (n, H, W) bool, the pixels of each image's object; or None.
    """

    images: np.ndarray
    labels: np.ndarray
    boxes: np.ndarray | None
    indices: np.ndarray
    class_names: tuple[str, ...] = ()
    dataset: str | None = None
    split: str | None = None
    content_hash: str | None = None
    augmentation: str = ""
    store: Dataset | None = None
    limit: int | None = None
    choice: str = ""
    names: tuple[str, ...] = ()
    view: View | None = None
    masks: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: np.ndarray, choice: str = "") -> Samples:
        """Some of them.

        Args:
            rows: (m,) places among the samples, in the order that they are to have.
            choice: The rule that chose them, in words.
        """
        boxes = None if self.boxes is None else self.boxes[rows]
        return replace(
            self,
            images=self.images[rows],
            labels=self.labels[rows],
            boxes=boxes,
            masks=None if self.masks is None else self.masks[rows],
            indices=self.indices[rows],
            names=tuple(self.names[i] for i in rows) if self.names else (),
            choice=choice,
        )

    @property
    def called(self) -> str:
        """What they are: ``cifar10 test images``."""
        return " ".join(filter(None, (self.dataset, self.split, "images")))

    @property
    def selection(self) -> str:
        """Which they are: ``all 10,000 cifar10 test images``, or so many, evenly spread."""
        if self.choice:
            return self.choice
        if self.dataset is None:
            return f"{len(self):,} {self.called}"
        seen = "" if self.view is None else f", {self.view.describe()}"
        if len(self) == self.limit:
            return f"{len(self):,} {self.called}, evenly spread{seen}"
        return f"all {len(self):,} {self.called}{seen}"

    def describe(self) -> dict[str, Any]:
        """What results of a loss say of it: ``dataset``, ``split``, ``augmentation``; the rest is their default."""
        return {"dataset": self.dataset, "split": self.split, "augmentation": self.augmentation}


def open_dataset(checkpoints: Sequence[Checkpoint], root: Path | None) -> Dataset:
    """The data set of the checkpoints, which must all have its classes.

    Raises:
        InputError: It is not known or not there, or has another number of classes.
    """
    names = {c.dataset for c in checkpoints}
    if len(names) > 1:
        shown = ", ".join(sorted(map(str, names)))
        raise InputError(f"the checkpoints were trained on different data ({shown}): pass --dataset")
    (name,) = names
    if name is None:
        raise InputError(
            f"`{checkpoints[0].path}` does not say its data set: pass --dataset, e.g. --dataset cifar10"
        )
    store = load_dataset(name, data_root(root))
    for checkpoint in checkpoints:
        if store.num_classes != checkpoint.num_classes:
            raise InputError(
                f"`{checkpoint.path}` has {checkpoint.num_classes} classes, `{store.name}` has "
                f"{store.num_classes}: pass another --dataset"
            )
    return store


def check_split(split: str) -> None:
    """Refuse what is no name of a split, with an `UnknownNameError`."""
    if split not in SPLITS:
        raise UnknownNameError("split", split, SPLITS)


def select_samples(
    store: Dataset,
    split: str,
    limit: int | None,
    checkpoints: Sequence[Checkpoint] = (),
    view: View | None = None,
) -> Samples:
    """Images of a split, evenly spread in canonical order, which is by hash, so that they are random.

    Args:
        store: The data set.
        split: ``test``, ``train`` or ``val``; the last two are what the checkpoints say they were trained on,
            and what was held out from them.
        limit: At most so many images; None for all.
        checkpoints: Whose training it is; they must agree on it.
        view: How photographs are looked at; None for what the checkpoints take.

    Raises:
        InputError: Unknown split, ``val`` for a checkpoint that held nothing out, or training images that are
            not those of the training or not common to all checkpoints; photographs of a size that is not known.
    """
    check_split(split)
    view = view or choose_view(store, checkpoints)
    part = store.test if split == "test" else store.train
    if view is not None:
        stored = "test" if split == "test" else "train"
        part = fixed_view(store, stored, view.size, view.resize, view.mode)
    indices = np.arange(len(part.labels))
    if split != "test":
        found = [_training_indices(checkpoint, store, split) for checkpoint in checkpoints]
        if not found and split == "val":
            raise InputError("`val` is what a checkpoint held out from its training: use `test` or `train`")
        indices = found[0] if found else indices
        if any(not np.array_equal(other, indices) for other in found):
            raise InputError(f"the checkpoints have different `{split}` images: pass --split test")
    if limit is not None and limit < len(indices):
        indices = indices[len(indices) * np.arange(limit) // limit]
    whole = len(indices) == len(part.labels)
    return Samples(
        images=part.images if whole else part.images[indices],
        labels=np.asarray(part.labels[indices]),
        boxes=None if part.boxes is None else np.asarray(part.boxes[indices]),
        indices=indices,
        class_names=store.class_names,
        dataset=store.name,
        split=split,
        content_hash=store.content_hash,
        store=store,
        limit=limit,
        view=view,
        masks=None if part.masks is None else part.masks if whole else part.masks[indices],
    )


def own_samples(
    images: np.ndarray,
    labels: np.ndarray | None = None,
    boxes: np.ndarray | None = None,
    class_names: Sequence[str] = (),
    masks: np.ndarray | None = None,
) -> Samples:
    """The caller's own images.

    Args:
        images: (n, H, W, 3) uint8, or n such pictures of one size.
        labels: (n,) integer classes; −1 or None where not known.
        boxes: (n, 4) integer ``x0 y0 x1 y1``, inclusive pixel indices, −1 where there is none.
        class_names: In label order.
        masks: (n, H, W) bool, the pixels of each image's object.

    Raises:
        InputError: Pictures of several sizes, labels, boxes or masks of another number, boxes that are not four integers,
            or masks that are not bool or not of the images' size.
    """
    try:
        images = np.asarray(images)
    except ValueError:
        raise InputError("`images` are of several sizes: resize them to what the networks take") from None
    n = len(images) if images.ndim else 0
    labels = np.full(n, -1) if labels is None else np.asarray(labels)
    for name, given in (("labels", labels), ("boxes", boxes), ("masks", masks)):
        if given is not None and len(given) != n:
            raise InputError(f"`{name}` has {len(given)} rows for {n} images: one for each")
    if boxes is not None:
        boxes = np.asarray(boxes)
        if boxes.shape != (n, 4) or not np.issubdtype(boxes.dtype, np.integer):
            raise InputError(
                f"`boxes` is {boxes.dtype} {boxes.shape}: four integers, x0 y0 x1 y1, for each of {n} images"
            )
    if masks is not None:
        masks = np.asarray(masks)
        if masks.shape != images.shape[:3] or masks.dtype != np.bool_:
            raise InputError(
                f"`masks` is {masks.dtype} {masks.shape}: a bool for each pixel of the images, {images.shape[:3]}"
            )
    return Samples(images, labels, boxes, np.arange(n), tuple(class_names), masks=masks)


def _training_indices(checkpoint: Checkpoint, store: Dataset, split: str) -> np.ndarray:
    """The images that the checkpoint was trained on, or those held out from it."""
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
