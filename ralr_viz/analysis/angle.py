"""The angle between two vectors."""

from __future__ import annotations

import numpy as np


def angle_between(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Degrees between vectors along the last axis; NaN where one has no length.

    By the arc tangent of half-angles, which keeps all digits near 0 and 180, where the arc cosine loses half.
    """
    lengths = [np.linalg.norm(v, axis=-1, keepdims=True) for v in (a, b)]
    with np.errstate(invalid="ignore", divide="ignore"):
        a, b = a / lengths[0], b / lengths[1]
    half = np.arctan2(np.linalg.norm(a - b, axis=-1), np.linalg.norm(a + b, axis=-1))
    return np.degrees(2 * half)
