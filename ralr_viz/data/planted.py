"""Objects planted on clutter, with exact masks: where a map should point is known to the pixel. Built at first use.

Every image is a heap of leaves: ellipses of random places, sizes and colours, one over the other. One leaf bears a sign
that names the class, all others scribbles. Leaves are alike in everything else, and the outline of the object's leaf does
not depend on the class: a pixel outside of its mask says nothing about the class, so that a map that lies elsewhere is
wrong and not only unlike a box.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from ralr_viz.data.ingest import Intake
from ralr_viz.data.known import PLANTED_SIGNS
from ralr_viz.results.mask_metrics import mask_boxes

SIZE = 64
TRAIN, TEST = 3000, 1000
SEED = 0x504C414E
"""First word of the seed of every image; the second is its number, test images after the train images."""
_UNDER, _OVER = 28, 9
"""Leaves of clutter below the object, and above all but it."""
_SCRIBBLES = 600
_RADII = (9.5, 16.0)
"""Mean radius in pixels: the object takes some 7 to 20 % of the image."""
_STRETCH = 1.2
_GROUND, _INK = (110.0, 255.0), (0.0, 90.0)
"""Of each colour: ink is dark on bright leaves, so that a sign is learned in minutes."""
_FINE = 2
"""Samples a pixel and axis of what is drawn on a leaf; the outlines of leaves are not smoothed, so that masks are exact."""
_CHUNK = 500

Ink = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Whether there is ink at the points (u, v) of the unit disc, which are broadcast."""


def _triangle(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return (v < 0.36) & (v > -0.66 + 1.7 * np.abs(u))


def _star(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    turn = np.abs((np.arctan2(u, -v) * 5 / (2 * np.pi) + 0.5) % 1 - 0.5)  # 0 at a point, ½ between two
    return np.hypot(u, v) < 0.76 - 0.94 * turn


def _crescent(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return (np.hypot(u, v) < 0.64) & (np.hypot(u - 0.34, v) > 0.52)


def _dots(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.hypot(np.abs(u) - 0.36, np.abs(v) - 0.36) < 0.24


SIGNS: dict[str, Ink] = {
    "bars": lambda u, v: (np.abs(np.abs(v) - 0.3) < 0.14) & (np.abs(u) < 0.62),
    "crescent": _crescent,
    "cross": lambda u, v: (np.minimum(np.abs(u), np.abs(v)) < 0.15) & (np.maximum(np.abs(u), np.abs(v)) < 0.68),
    "diamond": lambda u, v: np.abs(np.abs(u) + np.abs(v) - 0.56) < 0.18,
    "disc": lambda u, v: np.hypot(u, v) < 0.5,
    "dots": _dots,
    "ring": lambda u, v: np.abs(np.hypot(u, v) - 0.5) < 0.14,
    "star": _star,
    "triangle": _triangle,
    "zigzag": lambda u, v: (np.abs(v - 0.9 * (np.abs((u * 1.6) % 1 - 0.5) - 0.25)) < 0.2) & (np.abs(u) < 0.7),
}  # fmt: skip
"""What is drawn for each class."""


def read_planted() -> Intake:
    """3,000 training and 1,000 test images of 64×64 pixels and ten classes, with boxes and masks."""
    count = TRAIN + TEST
    labels = np.arange(count) % len(PLANTED_SIGNS)
    boxes, masks = np.empty((count, 4), dtype=np.int16), np.empty((count, SIZE, SIZE), dtype=bool)
    return Intake(
        class_ids=PLANTED_SIGNS,
        class_names=PLANTED_SIGNS,
        is_test=np.arange(count) >= TRAIN,
        labels=labels,
        boxes=boxes,
        masks=masks,
        images=_draw_chunks(labels, boxes, masks),
        source={"file": "ralr_viz.data.planted", "layout": "one sign among scribbled leaves", "seed": SEED},
    )


def draw_planted(number: int, label: int) -> tuple[np.ndarray, np.ndarray]:
    """One image and its mask.

    Args:
        number: Of the image, ≥ 0: the second word of its seed.
        label: Its class, a place in `PLANTED_SIGNS`.

    Returns:
        image: ``(64, 64, 3)`` uint8.
        mask: ``(64, 64)`` bool, the pixels of the object.
    """
    rng = np.random.Generator(np.random.PCG64([SEED, number]))
    image = np.broadcast_to(rng.uniform(*_GROUND, 3), (SIZE, SIZE, 3)).copy()
    mask = np.zeros((SIZE, SIZE), dtype=bool)
    scribbled = _scribbled_leaves()
    chosen = rng.integers(0, len(scribbled), _UNDER + _OVER)
    for k in chosen[:_UNDER]:
        _lay_leaf(image, scribbled[k], rng, mask)
    sign = SIGNS[PLANTED_SIGNS[label]]
    mask = _lay_leaf(image, _cut_leaf(rng, _turn(sign, rng.uniform(-0.25, 0.25))), rng, mask, whole=True)
    for k in chosen[_UNDER:]:  # on top too, beside the object, so that lying on top tells nothing
        _lay_leaf(image, scribbled[k], rng, mask)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8), mask


def _draw_chunks(labels: np.ndarray, boxes: np.ndarray, masks: np.ndarray) -> Iterator[np.ndarray]:
    """The images; boxes and masks are filled in as they are drawn."""
    for start in range(0, len(labels), _CHUNK):
        chunk = slice(start, start + _CHUNK)
        drawn = [draw_planted(start + i, int(label)) for i, label in enumerate(labels[chunk])]
        masks[chunk] = np.stack([mask for _, mask in drawn])
        boxes[chunk] = mask_boxes(masks[chunk])
        yield np.stack([image for image, _ in drawn])


class _Leaf(NamedTuple):
    """Which pixels ``(h, w)`` of a rectangle are a leaf's, and the share of each that is ink."""

    inside: np.ndarray
    ink: np.ndarray


@functools.cache
def _scribbled_leaves() -> tuple[_Leaf, ...]:
    """Those that clutter is laid of, in colours and at places of its own each time."""
    rng = np.random.Generator(np.random.PCG64(SEED))
    return tuple(_cut_leaf(rng, _scribble(rng)) for _ in range(_SCRIBBLES))


def _cut_leaf(rng: np.random.Generator, ink: Ink) -> _Leaf:
    """A leaf of random size with this ink."""
    radius, stretch = rng.uniform(*_RADII), _STRETCH ** rng.uniform(-1, 1)
    v, u = (_grid(side) for side in (radius / stretch, radius * stretch))
    middle_u, middle_v = (points.reshape(-1, _FINE).mean(1) for points in (u, v))
    inked = ink(u, v[:, None]).reshape(len(middle_v), _FINE, len(middle_u), _FINE)
    return _Leaf(middle_u**2 + middle_v[:, None] ** 2 < 1, inked.mean(axis=(1, 3)))


def _grid(radius: float) -> np.ndarray:
    """`_FINE` positions in each pixel from −radius to radius, in units of it."""
    count = 2 * int(np.ceil(radius))
    return ((np.arange(count * _FINE) + 0.5) / _FINE - count / 2) / radius


def _lay_leaf(
    image: np.ndarray, leaf: _Leaf, rng: np.random.Generator, spared: np.ndarray, whole: bool = False
) -> np.ndarray:
    """Lay a leaf over what is there, but for the pixels that are spared; returns its pixels.

    Its middle is anywhere in the image; of a ``whole`` one no pixel is outside.
    """
    sides = np.array(leaf.ink.shape)
    low, high = (np.zeros(2, dtype=np.int64), SIZE - sides) if whole else (-(sides // 2), SIZE - sides // 2)
    top, left = (int(at) for at in rng.integers(low, high + 1))
    on = slice(max(top, 0), min(top + sides[0], SIZE)), slice(max(left, 0), min(left + sides[1], SIZE))
    of = slice(on[0].start - top, on[0].stop - top), slice(on[1].start - left, on[1].stop - left)
    ground, colour = rng.uniform(*_GROUND, 3), rng.uniform(*_INK, 3)
    seen = leaf.inside[of] & ~spared[on]
    image[on][seen] = ground + leaf.ink[of][seen][:, None] * (colour - ground)
    covered = np.zeros(spared.shape, dtype=bool)
    covered[on] = seen
    return covered


def _turn(ink: Ink, turn: float) -> Ink:
    c, s = np.cos(turn), np.sin(turn)
    return lambda u, v: ink(c * u + s * v, c * v - s * u)


def _scribble(rng: np.random.Generator) -> Ink:
    """Strokes at random: as much ink as a sign has, in no order."""
    angle, offset = rng.uniform(0, np.pi, 3), rng.uniform(-0.7, 0.7, 3)
    middle, half = rng.uniform(-0.5, 0.5, 3), rng.uniform(0.25, 0.6, 3)
    c, s = np.cos(angle), np.sin(angle)

    def ink(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        along, across = (a[:, None, None] * u + b[:, None, None] * v for a, b in ((c, s), (-s, c)))
        beside = np.abs(across - offset[:, None, None]) < 0.13
        return (beside & (np.abs(along - middle[:, None, None]) < half[:, None, None])).any(axis=0)

    return ink
