"""Scenes of scikit-learn's handwritten digits for detection: offline, and built at first use.

The digits of a scene are of different sizes, inks and places, on a shaded ground with lines across it. Scenes of the
test split hold test digits alone.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from PIL import Image

from ralr_viz.data.digits import choose_test
from ralr_viz.data.ingest import Intake
from ralr_viz.data.ragged import join_boxes

SIZE = 96
TRAIN, TEST = 800, 200
_SIDES = (14, 44)
_MOST = 5
_ATTEMPTS = 20
_SEED = 0x5343454E


def read_digit_scenes() -> Intake:
    """800 training and 200 test scenes of 96×96 pixels, each of one to five digits that hardly overlap."""
    from sklearn.datasets import load_digits  # heavy

    scans, labels = load_digits(return_X_y=True)
    scans = scans.astype(np.uint8).reshape(-1, 8, 8)
    held = choose_test(scans, labels)
    rng = np.random.Generator(np.random.PCG64(_SEED))
    is_test = np.arange(TRAIN + TEST) >= TRAIN
    made = [_draw_scene(rng, scans, np.flatnonzero(held == test)) for test in is_test]
    return Intake(
        class_ids=tuple("0123456789"),
        class_names=tuple("0123456789"),
        is_test=is_test,
        labels=np.zeros(len(made), dtype=np.int64),
        boxes=join_boxes([corners for _, corners, _ in made], [labels[digits] for _, _, digits in made]),
        images=_chunk([image for image, _, _ in made]),
        source={
            "file": "sklearn.datasets.load_digits",
            "layout": "scenes of 8×8 scans",
            "test": "held digits",
        },
    )


def _chunk(images: list[np.ndarray]) -> Iterator[list[np.ndarray]]:
    yield images


def _draw_scene(
    rng: np.random.Generator, scans: np.ndarray, choice: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """An image, the corners ``(k, 4)`` of its digits' ink and which scans they are."""
    ground = rng.uniform(90, 200, 3) + rng.normal(0, 6, (SIZE, SIZE, 3))
    ground += (np.arange(SIZE) / SIZE * rng.uniform(-40, 40))[:, None, None]
    for row in rng.integers(0, SIZE, 3):
        ground[row] += rng.uniform(-50, 50)
    corners, digits = list[tuple[int, int, int, int]](), list[int]()
    for _ in range(int(rng.integers(1, _MOST + 1))):
        for _ in range(_ATTEMPTS):
            digit, side = int(rng.choice(choice)), int(rng.integers(*_SIDES))
            left, top = (int(at) for at in rng.integers(0, SIZE - side + 1, 2))
            ink = _enlarge(scans[digit], side)
            x0, y0, x1, y1 = _ink_box(ink)
            box = left + x0, top + y0, left + x1, top + y1
            if all(_apart(box, other) for other in corners):
                break
        else:
            continue
        colour = np.where(ground.mean() > 145, rng.uniform(0, 60, 3), rng.uniform(200, 255, 3))
        part = ground[top : top + side, left : left + side]
        part += (colour - part) * ink[..., None]
        corners.append(box)
        digits.append(digit)
    image = np.clip(np.rint(ground), 0, 255).astype(np.uint8)
    return image, np.array(corners, dtype=np.float64).reshape(-1, 4), np.array(digits, dtype=np.int64)


def _enlarge(scan: np.ndarray, side: int) -> np.ndarray:
    """Ink in [0, 1]."""
    grey = Image.fromarray(np.rint(scan * (255 / 16)).astype(np.uint8))
    return np.asarray(grey.resize((side, side), Image.Resampling.BICUBIC), dtype=np.float64) / 255


def _ink_box(ink: np.ndarray) -> tuple[int, int, int, int]:
    rows, columns = (np.flatnonzero((ink > 0.4).any(axis)) for axis in (1, 0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _apart(first: tuple[int, int, int, int], second: tuple[int, int, int, int]) -> bool:
    """Whether at most a tenth of the smaller box is shared."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    smaller = min((box[2] - box[0]) * (box[3] - box[1]) for box in (first, second))
    return max(width, 0) * max(height, 0) <= 0.1 * smaller
