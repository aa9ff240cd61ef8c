"""SSD's augmentation of an image and its boxes as one window: expand, crop, mirror and warp at once.

A window is a rectangle of the image, which it may leave, and whether it is mirrored; what is shown is that rectangle,
resized, with the mean colour where there is no image. It is drawn from (seed, epoch, sample) alone, so that it is the
same in any batch, thread or rank and after a stop in mid-epoch.

References:
    Liu et al., SSD, section 2.2. sgrvinod/a-PyTorch-Tutorial-to-Object-Detection, `transform`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ralr_viz.data.counter import draw_uniforms

OVERLAPS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, None)
"""Smallest intersection over union with an object that a crop must have; None for no crop."""
_SIDES = (0.3, 1.0)
_MOST_ASPECT = 2.0
_TRIES, _ROUNDS = 50, 20
_SMALLEST = 1.0
"""Pixels of what is shown, of a box's shorter side: the network says logarithms of sides."""


class Window(NamedTuple):
    """What is shown of an image.

    Attributes:
        left, top, right, bottom: In pixels of the image, half-open, which it may leave.
        mirrored: After that.
    """

    left: int
    top: int
    right: int
    bottom: int
    mirrored: bool

    @property
    def corners(self) -> np.ndarray:
        """(4,) float64."""
        return np.array(self[:4], dtype=np.float64)


def whole_window(height: int, width: int) -> Window:
    """All of an image as it is."""
    return Window(0, 0, width, height, False)


def draw_window(
    seed: int,
    epoch: int,
    sample: int,
    shape: tuple[int, int],
    boxes: np.ndarray,
    *,
    expand: float = 4.0,
    flip: bool = True,
) -> Window:
    """Draw what is shown of a sample in an epoch.

    Args:
        seed: Training seed.
        epoch: 0-based index of the epoch.
        sample: Place in the split.
        shape: Height and width of the image in pixels.
        boxes: (k, 4) corners in pixels; without any there is no crop.
        expand: With probability ½ the image lies on a canvas of up to so many times its sides; 1 for never.
        flip: Whether half of the images are mirrored.
    """
    numbers = _draw(seed, epoch, sample, 0, 2)
    canvas = _expand(shape, numbers[0], expand)
    left, top, right, bottom = _crop(canvas, boxes, seed, epoch, sample)
    return Window(left, top, right, bottom, flip and bool(numbers[1, 0] < 0.5))


def place_boxes(window: Window, boxes: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Boxes as they are in a window.

    Kept is what has its centre in the window and, cut at its edge, at least a pixel a side of what is shown.

    Args:
        window: Of the image.
        boxes: (k, 4) corners in pixels of the image.
        size: Side in pixels of what is shown.

    Returns:
        Corners (m, 4) float32 in fractions of the window, and (k,) bool, which are kept.
    """
    frame = window.corners
    given = boxes.astype(np.float64).reshape(-1, 4)
    centre = (given[:, :2] + given[:, 2:]) / 2
    inside = ((centre > frame[:2]) & (centre < frame[2:])).all(1)
    extent = np.tile(frame[2:] - frame[:2], 2)
    placed = (np.clip(given, np.tile(frame[:2], 2), np.tile(frame[2:], 2)) - np.tile(frame[:2], 2)) / extent
    kept = inside & ((placed[:, 2:] - placed[:, :2]) * size >= _SMALLEST).all(1)
    if window.mirrored:
        placed = np.stack([1 - placed[:, 2], placed[:, 1], 1 - placed[:, 0], placed[:, 3]], axis=1)
    return placed[kept].astype(np.float32), kept


def _draw(seed: int, epoch: int, sample: int, first: int, count: int, use: str = "window") -> np.ndarray:
    """(count, 4) numbers in [0, 1), the sample's blocks from ``first``."""
    return draw_uniforms(seed, epoch, use, np.full(count, sample), np.arange(first, first + count))


def _expand(shape: tuple[int, int], numbers: np.ndarray, most: float) -> tuple[int, int, int, int]:
    """The canvas that the image lies on."""
    height, width = shape
    if most <= 1 or numbers[0] < 0.5:
        return 0, 0, width, height
    scale = 1 + (most - 1) * float(numbers[1])
    wide, high = int(scale * width), int(scale * height)
    left, top = int(numbers[2] * (wide - width + 1)), int(numbers[3] * (high - height + 1))
    return -left, -top, wide - left, high - top


def _crop(
    canvas: tuple[int, int, int, int], boxes: np.ndarray, seed: int, epoch: int, sample: int
) -> tuple[int, int, int, int]:
    """A part of the canvas that shows enough of an object; after so many rounds in vain all of it."""
    if not len(boxes):
        return canvas
    x0, y0, x1, y1 = canvas
    wide, high = x1 - x0, y1 - y0
    for round_ in range(_ROUNDS):
        numbers = _draw(seed, epoch, sample, 2 + round_ * (1 + _TRIES), 1 + _TRIES)
        least = OVERLAPS[int(numbers[0, 0] * len(OVERLAPS))]
        if least is None:
            return canvas
        sides = _SIDES[0] + (_SIDES[1] - _SIDES[0]) * numbers[1:, :2]
        width, height = np.floor(sides[:, 0] * wide), np.floor(sides[:, 1] * high)
        left = x0 + np.floor(numbers[1:, 2] * (wide - width + 1))
        top = y0 + np.floor(numbers[1:, 3] * (high - height + 1))
        crops = np.stack([left, top, left + width, top + height], axis=1)
        shaped = (np.minimum(width, height) >= 1) & (
            np.maximum(width, height) < _MOST_ASPECT * np.minimum(width, height)
        )
        good = np.flatnonzero(shaped & _shows(crops, boxes.astype(np.float64), least))
        if len(good):
            return tuple(int(at) for at in crops[good[0]])  # type: ignore[return-value]
    return canvas


def _shows(crops: np.ndarray, boxes: np.ndarray, least: float) -> np.ndarray:
    """Whether each crop (t, 4) overlaps an object by ``least`` and has the centre of one in it."""
    a, b = crops[:, None], boxes[None]
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    shared = np.clip(sides, 0, None).prod(-1)
    union = (a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1) - shared
    centre = (b[..., :2] + b[..., 2:]) / 2
    within = ((centre > a[..., :2]) & (centre < a[..., 2:])).all(-1)
    shows: np.ndarray = ((shared / np.maximum(union, 1e-9)).max(1) >= least) & within.any(1)
    return shows
