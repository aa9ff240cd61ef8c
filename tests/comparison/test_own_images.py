"""Images of the caller's own in all that they may be held in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from ralr_viz.comparison.own_images import read_images
from ralr_viz.errors import InputError

N = 7
PIXELS = np.random.default_rng(0).integers(0, 256, (N, 4, 5, 3), dtype=np.uint8)
LABELS = np.arange(N) % 3
TENSOR = torch.from_numpy(PIXELS).permute(0, 3, 1, 2)
PAIRS = TensorDataset(TENSOR.float() / 255, torch.from_numpy(LABELS))


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Any:
        return ((Image.fromarray(one), int(label)) for one, label in zip(PIXELS, LABELS, strict=True))


@pytest.mark.parametrize(
    ("make", "labelled", "spread"),
    [
        (lambda: PIXELS, False, True),
        (lambda: TENSOR, False, True),
        (lambda: TENSOR.float() / 255, False, True),
        (lambda: [Image.fromarray(one) for one in PIXELS], False, True),
        (lambda: list(TENSOR), False, True),
        (lambda: PAIRS, True, True),
        (lambda: DataLoader(PAIRS, batch_size=3), True, False),
        (lambda: Stream(), True, False),
    ],
)
def test_read_images_takes_whatever_holds_them(make: Callable[[], Any], labelled: bool, spread: bool) -> None:
    images, labels = read_images(make())
    assert images.dtype == np.uint8 and np.array_equal(images, PIXELS)
    assert np.array_equal(labels, LABELS) if labelled else labels is None
    rows = [0, 1, 3, 5] if spread else [0, 1, 2, 3]
    some, labels = read_images(make(), None if labelled else LABELS, limit=4)
    assert np.array_equal(some, PIXELS[rows]) and np.array_equal(labels, LABELS[rows])


@pytest.mark.parametrize(
    ("images", "fragment"),
    [
        (2 * TENSOR.float() / 255 - 1, "in [0, 1], before Normalize"),
        ([Image.new("RGB", (3, 4)), Image.new("RGB", (4, 4))], "several sizes"),
        ([], "yields none"),
    ],
)
def test_read_images_refuses_what_are_no_pixels(images: Any, fragment: str) -> None:
    with pytest.raises(InputError, match=".*") as error:
        read_images(images)
    assert fragment in str(error.value)
