"""How well a map points at an object whose pixels are known: `box_metrics` for masks, which need not be rectangles."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ralr_viz.results.box_metrics import centre_nearness, image_chunks, share_of_highest
from ralr_viz.results.interpolation import interpolate_maps

_Number = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Maps (n, H, W) at the pixels and masks (n, H, W) to a number of each."""


def mask_boxes(masks: np.ndarray) -> np.ndarray:
    """Boxes (n, 4) int16 ``x0 y0 x1 y1``, inclusive pixel indices, around masks (n, H, W); four −1 of an empty one."""
    boxes = np.full((len(masks), 4), -1, dtype=np.int16)
    for box, mask in zip(boxes, masks, strict=True):
        rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
        if len(rows):
            box[:] = columns[0], rows[0], columns[-1], rows[-1]
    return boxes


def mask_area(masks: np.ndarray) -> np.ndarray:
    """Share (n,) float64 of the image inside each mask (n, H, W); NaN of an empty one."""
    area = masks.mean(axis=(1, 2))
    return np.where(area > 0, area, np.nan)


def energy_in_mask(raw: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Share (n,) of the positive activation of maps (n, h, w) inside masks (n, H, W), as `energy_in_box`."""
    return _at_pixels(np.maximum(raw, 0), masks, _energy)


def rank_in_mask(raw: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Share (n,) of the |M| highest pixels of maps (n, h, w) that lie inside the mask M, as `rank_accuracy`."""
    return _at_pixels(raw, masks, share_of_highest)


def pointing_in_mask(raw: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Whether the highest pixel of maps (n, h, w) lies inside the mask, as `pointing_accuracy`."""
    return _at_pixels(raw, masks, _pointing)


def centre_in_mask(masks: np.ndarray) -> dict[str, np.ndarray]:
    """``rank``, ``energy`` and ``pointing`` (n,) of the Gaussian at the image's centre of `centre_energy_in_box`."""
    size = (masks.shape[1], masks.shape[2])
    nearness = centre_nearness(size)
    # the nearness is minus the squared distance in units of the sides, times 4·(H·W)²; σ is a quarter of a side
    gaussian = np.exp(8 * nearness / (2.0 * size[0] * size[1]) ** 2)
    return {
        name: _at_pixels(np.broadcast_to(blind, masks.shape), masks, number)
        for name, blind, number in (
            ("rank", nearness, share_of_highest),
            ("energy", gaussian, _energy),
            ("pointing", nearness, _pointing),
        )
    }


def _at_pixels(raw: np.ndarray, masks: np.ndarray, number: _Number) -> np.ndarray:
    size = (masks.shape[1], masks.shape[2])
    found = [
        number(interpolate_maps(raw[part], size), np.asarray(masks[part]))
        for part in image_chunks(len(raw), size)
    ]
    return np.concatenate([np.zeros(0), *found])


def _energy(maps: np.ndarray, masks: np.ndarray) -> np.ndarray:
    area, total = mask_area(masks), maps.sum(axis=(1, 2))
    inside = np.where(masks, maps, 0).sum(axis=(1, 2))
    share = np.divide(inside, total, out=area.copy(), where=total > 0)
    return np.where(np.isnan(area), np.nan, share)


def _pointing(maps: np.ndarray, masks: np.ndarray) -> np.ndarray:
    highest = maps == maps.max(axis=(1, 2), keepdims=True)
    hits = (highest & masks).sum(axis=(1, 2)) / highest.sum(axis=(1, 2))
    return np.where(masks.any(axis=(1, 2)), hits, np.nan)
