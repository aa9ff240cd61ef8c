"""How well a map points at a bounding box, and what maps that have seen no image would reach."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from scipy import ndimage

from ralr_viz.results.interpolation import bilinear_weights, interpolate_maps

_PIXELS = 2**20
"""Pixels ranked at a time, so that a whole split needs no more memory than these."""


def clip_boxes(boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The part (n, 4) int64 of each box that lies in the image; four −1 where nothing of it does.

    Args:
        boxes: (n, 4) integer ``x0 y0 x1 y1``, inclusive pixel indices; they may reach beyond the image.
        size: (H, W) in pixels.
    """
    x0, y0, x1, y1 = boxes.astype(np.int64).T
    clipped = np.stack(
        [np.maximum(x0, 0), np.maximum(y0, 0), np.minimum(x1, size[1] - 1), np.minimum(y1, size[0] - 1)],
        axis=1,
    )
    inside = (clipped[:, 2:] >= clipped[:, :2]).all(axis=1, keepdims=True)
    return np.where(inside, clipped, -1)


def box_area(boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Share (n,) float64 of the image inside each box; energy and rank accuracy of a uniform map.

    Args:
        boxes: (n, 4) integer ``x0 y0 x1 y1``, inclusive pixel indices; what lies beyond the image does not count.
        size: (H, W) in pixels.

    Returns:
        NaN where nothing of the box lies in the image, as where there is none.
    """
    x0, y0, x1, y1 = clip_boxes(boxes, size).T
    return np.where(x0 >= 0, (x1 - x0 + 1) * (y1 - y0 + 1) / (size[0] * size[1]), np.nan)


def energy_in_box(raw: np.ndarray, boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Share of the positive activation that lies inside the box.

    With P the ReLU of the map, interpolated bilinearly to the pixels: Σ_box P / Σ P. Interpolation is
    separable, so it is u_yᵀ·ReLU(raw)·u_x with u the sums of the interpolation's rows, exact without P.

    Args:
        raw: (n, h, w) signed maps.
        boxes: (n, 4) ``x0 y0 x1 y1``, inclusive pixel indices.
        size: (H, W) in pixels.

    Returns:
        (n,) float64 in [0, 1]. A map without positive value counts as uniform, so its share is the box's
        area. NaN where `box_area` is.

    References:
        Wang et al., Score-CAM, CVPR workshops 2020, section 4.3 (energy-based pointing game).
    """
    positive = np.maximum(raw, 0).astype(np.float64)
    rows, columns = (
        bilinear_weights(a, b).astype(np.float64) for a, b in zip(raw.shape[1:], size, strict=True)
    )
    in_rows, in_columns = _inside(boxes, size)
    inside = np.einsum("nh,nhw,nw->n", in_rows @ rows, positive, in_columns @ columns)
    total = np.einsum("h,nhw,w->n", rows.sum(0), positive, columns.sum(0))
    area = box_area(boxes, size)
    share = np.divide(inside, total, out=area.copy(), where=total > 0)
    return np.where(np.isnan(area), np.nan, share)


def rank_accuracy(raw: np.ndarray, boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Share of the |B| highest pixels of the map that lie inside the box B of |B| pixels.

    The signed map is interpolated bilinearly to the pixels; no threshold and no scale enters, and as many
    pixels are taken as the box has, so the share is precision and recall at once. Of pixels with the
    |B|-th highest value as many count as are left over, at the expected value of a draw among them.

    Args:
        raw: (n, h, w) signed maps.
        boxes: (n, 4) ``x0 y0 x1 y1``, inclusive pixel indices.
        size: (H, W) in pixels.

    Returns:
        (n,) float64 in [0, 1]; of a constant map the box's area. NaN where `box_area` is.

    References:
        Arras et al., CLEVR-XAI, Information Fusion 81, 2022 (relevance rank accuracy).
    """
    return _rank_in_chunks(lambda chunk: interpolate_maps(raw[chunk], size), boxes, size)


def centre_energy_in_box(boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """`energy_in_box` (n,) of a Gaussian at the image's centre with σ = H/4 (W/4 along the width)."""
    in_rows, in_columns = _inside(boxes, size)
    inside = np.ones(len(boxes))
    for within, n in ((in_rows, size[0]), (in_columns, size[1])):
        weight = np.exp(-8 * _centred(n) ** 2)  # (y/σ)²/2 with σ = n/4
        inside *= within @ weight / weight.sum()
    return np.where(np.isnan(box_area(boxes, size)), np.nan, inside)


def centre_rank_accuracy(boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """`rank_accuracy` (n,) of that Gaussian, which ranks pixels by their distance from the centre."""
    nearness = centre_nearness(size)
    return _rank_in_chunks(lambda chunk: np.broadcast_to(nearness, (len(boxes[chunk]), *size)), boxes, size)


def centre_nearness(size: tuple[int, int]) -> np.ndarray:
    """Minus the squared distance (H, W) int64 of each pixel from the centre in units of the sides, times 4·(H·W)².

    Whole numbers, so that ties are exact.
    """
    y, x = (np.arange(n, dtype=np.int64) * 2 - (n - 1) for n in size)
    return -((y[:, None] * size[1]) ** 2 + (x * size[0]) ** 2)


def pointing_accuracy(raw: np.ndarray, boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Whether the map's highest pixel lies inside the box, (n,) float64; of k equally high ones their share.

    The signed map is interpolated bilinearly to the pixels. Of a constant map it is the box's area.

    Args:
        raw: (n, h, w) signed maps.
        boxes: (n, 4) ``x0 y0 x1 y1``, inclusive pixel indices.
        size: (H, W) in pixels.

    Returns:
        NaN where `box_area` is.

    References:
        Zhang et al., Top-down neural attention by excitation backprop, IJCV 2018 (pointing game).
    """
    in_rows, in_columns = _inside(boxes, size)
    hits = np.empty(len(raw))
    for part in image_chunks(len(raw), size):
        maps = interpolate_maps(raw[part], size)
        highest = maps == maps.max((1, 2), keepdims=True)
        inside = np.einsum("nh,nhw,nw->n", in_rows[part], highest.astype(np.float64), in_columns[part])
        hits[part] = inside / highest.sum((1, 2))
    return np.where(np.isnan(box_area(boxes, size)), np.nan, hits)


def centre_pointing_accuracy(boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """`pointing_accuracy` (n,) of the image's centre: the middle pixel, or the two or four around it."""
    in_rows, in_columns = _inside(boxes, size)
    shares = [
        within[:, (n - 1) // 2 : n // 2 + 1].mean(axis=1)
        for within, n in ((in_rows, size[0]), (in_columns, size[1]))
    ]
    return np.where(np.isnan(box_area(boxes, size)), np.nan, shares[0] * shares[1])


def map_box(pixels: np.ndarray, threshold: float) -> tuple[int, int, int, int]:
    """Bounding box ``x0 y0 x1 y1`` (inclusive) of the largest connected part above a threshold.

    The map is scaled to [0, 1] by its own minimum and maximum; pixels at or above the threshold that share a
    side are connected. Of parts of equal size the first in reading order counts; of a constant map the box is
    the whole image.

    Args:
        pixels: (H, W) signed map.
        threshold: In [0, 1].

    References:
        Zhou et al., Learning deep features for discriminative localization, CVPR 2016, section 3.2.
    """
    low, high = pixels.min(), pixels.max()
    if high == low:
        return 0, 0, pixels.shape[1] - 1, pixels.shape[0] - 1
    parts, _ = ndimage.label((pixels - low) / (high - low) >= threshold)
    largest = int(np.bincount(parts.ravel())[1:].argmax())
    rows, columns = ndimage.find_objects(parts)[largest]
    return columns.start, rows.start, columns.stop - 1, rows.stop - 1


def map_box_overlap(
    raw: np.ndarray, boxes: np.ndarray, size: tuple[int, int], thresholds: np.ndarray
) -> np.ndarray:
    """`box_overlap` (n, thresholds) of the boxes of interpolated maps (n, h, w) at each threshold."""
    found = np.empty((len(raw), len(thresholds), 4), dtype=np.int64)
    for i, cam in enumerate(raw):
        pixels = interpolate_maps(cam, size)
        for j, threshold in enumerate(thresholds):
            found[i, j] = map_box(pixels, float(threshold))
    return box_overlap(found, clip_boxes(boxes, size)[:, None])


def centre_box_overlap(boxes: np.ndarray, size: tuple[int, int], shares: np.ndarray) -> np.ndarray:
    """`box_overlap` (n, shares) of centred boxes whose sides are these shares of the image's."""
    sides = np.maximum(np.rint(np.outer(shares, (size[1], size[0]))), 1)  # width, height
    start = np.floor((np.array([size[1], size[0]]) - sides) / 2)
    centred = np.concatenate([start, start + sides - 1], axis=1).astype(np.int64)
    return box_overlap(centred[None], clip_boxes(boxes, size)[:, None])


def box_overlap(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union (...) of boxes (..., 4) ``x0 y0 x1 y1`` whose ends belong to them."""
    a, b = a.astype(np.int64), b.astype(np.int64)
    start, stop = np.maximum(a[..., :2], b[..., :2]), np.minimum(a[..., 2:], b[..., 2:]) + 1
    common = np.maximum(stop - start, 0).prod(axis=-1)
    areas = [(box[..., 2:] - box[..., :2] + 1).prod(axis=-1) for box in (a, b)]
    return common / (areas[0] + areas[1] - common)


def image_chunks(n: int, size: tuple[int, int]) -> Iterator[slice]:
    """Of n images, those that are looked at together."""
    step = max(1, _PIXELS // (size[0] * size[1]))
    return (slice(start, start + step) for start in range(0, n, step))


def _rank_in_chunks(
    maps: Callable[[slice], np.ndarray], boxes: np.ndarray, size: tuple[int, int]
) -> np.ndarray:
    def inside(chunk: slice) -> np.ndarray:
        in_rows, in_columns = _inside(clip_boxes(boxes[chunk], size), size)
        return in_rows[:, :, None] & in_columns[:, None, :]

    shares = (share_of_highest(maps(chunk), inside(chunk)) for chunk in image_chunks(len(boxes), size))
    return np.concatenate([np.zeros(0), *shares])


def share_of_highest(maps: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """`rank_accuracy` (n,) of maps (n, H, W) at the pixels, for regions (n, H, W) bool; NaN of an empty one."""
    n = len(maps)
    inside, values = inside.reshape(n, -1), maps.reshape(n, -1)
    area = inside.sum(axis=1)
    count = np.maximum(area, 1)
    last = np.take_along_axis(np.sort(values, axis=1), values.shape[1] - count[:, None], axis=1)
    above, tied = values > last, values == last
    left = count - above.sum(1)
    hits = (above & inside).sum(1) + left * (tied & inside).sum(1) / tied.sum(1)
    return np.where(area > 0, hits / count, np.nan)


def _inside(boxes: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Whether each row (n, H) and each column (n, W) is inside the box."""
    y, x = np.arange(size[0]), np.arange(size[1])
    in_rows = (y >= boxes[:, 1, None]) & (y <= boxes[:, 3, None])
    in_columns = (x >= boxes[:, 0, None]) & (x <= boxes[:, 2, None])
    return in_rows, in_columns


def _centred(n: int) -> np.ndarray:
    """Positions of n pixels from the middle, in units of the whole side."""
    return (np.arange(n) - (n - 1) / 2) / n
