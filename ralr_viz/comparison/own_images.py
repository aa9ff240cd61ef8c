"""Images of the caller's own, in whatever they hold them: arrays, tensors, pictures, data sets, loaders."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from ralr_viz.errors import InputError

OwnImages = np.ndarray | torch.Tensor | Sequence[Any] | Dataset[Any] | DataLoader[Any]
"""(n, H, W, 3) uint8; (n, 3, H, W) or (n, H, W, 3) uint8, or float in [0, 1], before any normalisation; pictures of PIL, or
such arrays, one by one; or what yields images, or pairs of images and labels."""


def read_images(
    images: OwnImages, labels: Any = None, limit: int | None = None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Images as (n, H, W, 3) uint8, and their labels.

    Args:
        images: See `OwnImages`.
        labels: (n,) classes; those that a data set or loader yields where left out.
        limit: At most so many: the first of a loader or an iterable, else evenly spread.

    Raises:
        InputError: No images, images of several sizes, or values that are no pixels.
    """
    if isinstance(images, DataLoader):
        return _join(_first(images, limit), labels)
    if isinstance(images, np.ndarray | torch.Tensor):
        rows = _spread(len(images) if images.ndim else 0, limit)
        chosen = None if labels is None else np.asarray(labels)
        return _pixels(
            images if rows is None else images[rows]
        ), chosen if rows is None or chosen is None else chosen[rows]
    if isinstance(images, Dataset) and not hasattr(images, "__len__"):
        return _join(_first(([item] for item in images), limit), labels)  # type: ignore[attr-defined]
    rows = _spread(len(images), limit)  # type: ignore[arg-type]
    places = range(len(images)) if rows is None else rows.tolist()  # type: ignore[arg-type]
    chosen = labels if labels is None or rows is None else np.asarray(labels)[rows]
    return _join(([images[i]] for i in places), chosen)


def _spread(n: int, limit: int | None) -> np.ndarray | None:
    """Places of at most ``limit`` of n images; None for all."""
    return None if limit is None or limit >= n else n * np.arange(limit) // limit


def _first(batches: Iterable[Any], limit: int | None) -> Iterator[Any]:
    """Batches until there are enough images; of the last one the first."""
    left = np.inf if limit is None else limit
    for batch in batches:
        if left <= 0:
            return
        if isinstance(batch, tuple | list) and len(batch) == 1 and getattr(batch[0], "ndim", 0) == 4:
            batch = batch[0]  # of a loader without labels
        some, more = (
            (batch[0], batch[1:2]) if isinstance(batch, tuple | list) and len(batch) > 1 else (batch, ())
        )
        n = len(some)
        if n > left:
            some, more = some[: int(left)], [labels[: int(left)] for labels in more]
        left -= n
        yield [some, *more] if more else some


def _join(batches: Iterable[Any], labels: Any) -> tuple[np.ndarray, np.ndarray | None]:
    pictures, found = list[np.ndarray](), list[np.ndarray]()
    for batch in batches:
        if isinstance(batch, list) and len(batch) == 1:  # one item of a data set
            item = batch[0]
            pair = isinstance(item, tuple | list) and len(item) > 1
            pictures.append(_pixels(_alone(item[0] if pair else item)))
            if pair:
                found.append(np.atleast_1d(np.asarray(item[1])))
        elif isinstance(batch, tuple | list):
            pictures.append(_pixels(batch[0]))
            found.append(np.atleast_1d(np.asarray(batch[1])))
        else:
            pictures.append(_pixels(batch))
    if len({one.shape[1:] for one in pictures}) > 1:
        raise InputError("`images` are of several sizes: resize them to what the networks take")
    if not pictures:
        raise InputError("`images` yields none: give one or more")
    if labels is None and found:
        labels = np.concatenate(found)
    return np.concatenate(pictures), labels


def _alone(image: Any) -> np.ndarray | torch.Tensor:
    """One image as a batch."""
    if isinstance(image, Image.Image):
        return np.asarray(image.convert("RGB"))[None]
    return image[None] if isinstance(image, torch.Tensor) else np.asarray(image)[None]


def _pixels(images: Any) -> np.ndarray:
    """A batch as (n, H, W, 3) uint8."""
    values = images.detach().cpu().numpy() if isinstance(images, torch.Tensor) else np.asarray(images)
    if values.ndim == 4 and values.shape[1] == 3 != values.shape[-1]:
        values = values.transpose(0, 2, 3, 1)
    if np.issubdtype(values.dtype, np.floating):
        if values.size and not (values.min() >= 0 and values.max() <= 1):
            raise InputError(
                f"`images` has values from {values.min():.3g} to {values.max():.3g}: give them in [0, 1], before "
                "Normalize, and `mean` and `std` apart"
            )
        values = np.rint(255 * values).astype(np.uint8)
    return values
