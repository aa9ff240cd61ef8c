"""Bilinear interpolation of low-resolution maps to the pixels of their images."""

from __future__ import annotations

import numpy as np


def bilinear_weights(n_in: int, n_out: int) -> np.ndarray:
    """Matrix (n_out, n_in) float32 of one axis of bilinear interpolation.

    Samples sit at the centres of their cells and the border is repeated: torch's ``align_corners=False``,
    OpenCV's ``INTER_LINEAR``. Each row sums to 1.
    """
    lower, upper, share = _neighbours(n_in, n_out)
    weights = np.zeros((n_out, n_in))
    np.add.at(weights, (np.arange(n_out), lower), 1 - share)
    np.add.at(weights, (np.arange(n_out), upper), share)
    return weights.astype(np.float32)


def interpolate_maps(maps: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Maps (..., h, w) at the pixels (..., H, W), float64; the same interpolation as `bilinear_weights`.

    No matrix product, whose rounding depends on a row's place: pixels that are equal by definition, as those
    between equal values and those beyond the border, come out equal to the bit, so that ties can be counted.
    """
    maps = maps.astype(np.float64)
    for axis, n_out in zip((-2, -1), size, strict=True):
        lower, upper, share = _neighbours(maps.shape[axis], n_out)
        share = share[:, None] if axis == -2 else share
        start = maps.take(lower, axis)
        maps = start + share * (maps.take(upper, axis) - start)
    return maps


def _neighbours(n_in: int, n_out: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The two samples between which each of n_out positions lies, and the share of the second."""
    position = np.clip((np.arange(n_out) + 0.5) * n_in / n_out - 0.5, 0, n_in - 1)
    lower = np.floor(position).astype(int)
    return lower, np.minimum(lower + 1, n_in - 1), position - lower
