"""The sampled images as the page's scripts read them: sprites, maps and what each network says of them."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from typing import Any

import matplotlib as mpl
import numpy as np
from PIL import Image

from ralr_viz.plots.cam import COLORMAP, DIFFERENCE_COLORMAP, HEAT
from ralr_viz.plots.cam_layout import short_name
from ralr_viz.report.inputs import ReportInputs, side_colors
from ralr_viz.results.box_metrics import clip_boxes, energy_in_box
from ralr_viz.results.cam import unit_mass_maps
from ralr_viz.results.predictions import PredictionsResult

LONGEST_SIDE = 64
"""Pixels of the longer side of an image on the page; larger ones are reduced."""
LARGEST_MAP, LARGEST_OF_MANY = 16, 8
"""Positions of the longer side of a map on the page; larger ones are averaged. The second of over `MANY`."""
MANY = 5000
"""Images from which the maps are smaller: 10,000 must stay a file that can be mailed."""
SHEET = 4096
"""Pixels of the side of a sheet of sprites, which all browsers decode."""

_BLOCK = 16  # WebP codes blocks of 16 pixels: an image that begins in one of its own keeps its colours
_QUALITY = {
    "small": 90,
    "large": 75,
}  # of images of up to 32 pixels, whose pixels are seen one by one, and others
_CHUNK = 250  # images whose maps are held at the pixels' resolution at once
_INSIDE_SCALE = 99.0  # per cent of the pixels whose differences the colours tell apart


def pack_samples(inputs: ReportInputs) -> dict[str, Any] | None:
    """What the page's scripts read of the sampled images; None where there are none.

    Arrays are little-endian bytes in base64. A map is its ReLU over its largest value in 255 steps; from
    that, the scripts draw what `normalise_cam` and `unit_mass_maps` give, up to the steps.

    Args:
        inputs: With images, their indices, and predictions of all sides on them.

    Returns:
        ``n`` images, of which the first ``mapped`` are the random sample in the maps; ``indices`` int32 and ``labels`` int16 (n,); ``sheets``, see `pack_sprites`; ``imageSize``
        (H, W) of the images before they were reduced; ``boxes`` int16 (n, 4), −1 where an image has none, or
        None; ``moved`` float32 (n,) share of a map's mass that differs between the sides, or None;
        ``differenceLimit`` end of the differences' colours, in units of an even map's density; ``kept``
        float32 (n,) as in `EmbeddingResult`, NaN of images outside the maps, or None; ``colors``, ``heat``; and a dict a side in ``sides``:
        ``name``, ``color``, ``predicted`` int16, ``probability`` and ``trueProbability`` float32 (n,),
        ``maps`` uint8 (n, h, w) with ``mapSize``, ``inBox`` float32 (n,); None for what there is not.

    Raises:
        ValueError: The predictions are of other images.
    """
    indices = inputs.indices
    if inputs.images is None or indices is None or any(side.predictions is None for side in inputs.sides):
        return None
    rows = [_Rows(side.predictions, indices) for side in inputs.sides if side.predictions is not None]
    size = inputs.images.shape[1:3]
    cell = fit_size(size)
    longest = largest_map(len(indices))
    grids = [encode_maps(row.maps, longest) if row.maps.size else None for row in rows]
    kept = None
    if inputs.embedding is not None and len(inputs.sides) > 1:
        kept = np.full(len(indices), np.nan)  # of the images in the maps
        kept[: len(inputs.random_indices)] = inputs.embedding.kept[1]
    both = len(rows) > 1 and all(grid is not None for grid in grids[:2])
    return {
        "n": len(indices),
        "mapped": len(inputs.random_indices),
        "indices": pack_array(indices, "<i4"),
        "labels": pack_array(rows[0].labels, "<i2"),
        "sheets": pack_sprites(inputs.images, cell),
        "cell": cell,
        "imageSize": size,
        "boxes": None if inputs.boxes is None else pack_array(clip_boxes(inputs.boxes, size), "<i2"),
        "moved": pack_array(_moved_mass(rows[0].maps, rows[1].maps, size), "<f4") if both else None,
        "differenceLimit": _difference_limit(grids[0], grids[1], cell) if both else None,  # type: ignore[arg-type]
        "kept": None if kept is None else pack_array(kept, "<f4"),
        "classNames": [short_name(name) for name in inputs.class_names],
        "colors": {"cam": _lookup_table(COLORMAP), "difference": _lookup_table(DIFFERENCE_COLORMAP)},
        "heat": HEAT,
        "sides": [
            {
                "name": side.name,
                "color": color,
                "predicted": pack_array(row.predicted, "<i2"),
                "probability": pack_array(row.probability, "<f4"),
                "trueProbability": pack_array(row.true_probability, "<f4"),
                "maps": None if grid is None else pack_array(grid, "u1"),
                "mapSize": None if grid is None else grid.shape[1:],
                "inBox": _in_box(row.maps, inputs.boxes, size),
            }
            for side, color, row, grid in zip(
                inputs.sides, side_colors(inputs.sides), rows, grids, strict=True
            )
        ],
    }


def find_rows(predictions: PredictionsResult, indices: np.ndarray) -> np.ndarray:
    """Positions among the predicted images of those with these indices, int64 (n,).

    Raises:
        ValueError: Some were not predicted.
    """
    order = np.argsort(predictions.indices, kind="stable")
    found = np.searchsorted(predictions.indices, indices, sorter=order)
    at = order[np.minimum(found, len(order) - 1)]
    if not np.array_equal(predictions.indices[at], indices):
        raise ValueError("the predictions lack some of the sampled images")
    return at


def pack_array(values: np.ndarray, dtype: str) -> str:
    """Bytes of an array in base64, in the type that a script's typed array reads."""
    return base64.b64encode(np.ascontiguousarray(values, dtype=dtype).tobytes()).decode("ascii")


def fit_size(size: tuple[int, int]) -> tuple[int, int]:
    """(H, W) of an image on the page: its own, or reduced to `LONGEST_SIDE` in its own proportions."""
    scale = min(1.0, LONGEST_SIDE / max(size))
    return max(1, round(scale * size[0])), max(1, round(scale * size[1]))


def pack_sprites(images: np.ndarray, cell: tuple[int, int]) -> list[dict[str, Any]]:
    """Images as sheets of at most `SHEET` × `SHEET` pixels in WebP, row by row from the top left.

    Args:
        images: (n, H, W, 3) uint8.
        cell: (h, w) of an image in the sheet.

    Returns:
        For each sheet its ``uri``, the ``columns`` in a row, the ``count`` of images, and the ``stride``
        (rows, columns) in pixels from an image to the next.
    """
    stride = tuple(-(-side // _BLOCK) * _BLOCK for side in cell)
    across, down = SHEET // stride[1], SHEET // stride[0]
    columns = min(across, max(1, int(np.ceil(np.sqrt(len(images))))))
    sheets = []
    for start in range(0, len(images), columns * down):
        part = images[start : start + columns * down]
        sheet = np.zeros((-(-len(part) // columns) * stride[0], columns * stride[1], 3), np.uint8)
        for i, image in enumerate(part):
            top, left = i // columns * stride[0], i % columns * stride[1]
            # the border goes on up to the next image: an edge inside a block would bleed into this one
            margins = [(0, stride[0] - cell[0]), (0, stride[1] - cell[1]), (0, 0)]
            padded = np.pad(_reduce(image, cell), margins, mode="edge")
            sheet[top : top + stride[0], left : left + stride[1]] = padded
        buffer = io.BytesIO()
        Image.fromarray(sheet).save(
            buffer, "WEBP", quality=_QUALITY["small" if max(cell) <= 32 else "large"], method=4
        )
        uri = "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
        sheets.append({"uri": uri, "columns": columns, "count": len(part), "stride": stride})
    return sheets


def largest_map(count: int) -> int:
    """Positions of the longer side of the maps of so many images."""
    return LARGEST_MAP if count <= MANY else LARGEST_OF_MANY


def encode_maps(raw: np.ndarray, longest: int = LARGEST_MAP) -> np.ndarray:
    """Signed maps (n, h, w) as uint8: the ReLU over each map's largest value, in 255 steps.

    A map without positive value is 0. Maps of more than ``longest`` positions a side are averaged to it.
    """
    maps = np.maximum(raw, 0).astype(np.float32)
    h, w = maps.shape[1:]
    if max(h, w) > longest:
        scale = longest / max(h, w)
        smaller = max(1, round(scale * w)), max(1, round(scale * h))
        maps = np.stack([np.asarray(Image.fromarray(m).resize(smaller, Image.Resampling.BOX)) for m in maps])
    top = maps.max((1, 2), keepdims=True)
    return np.rint(255 * np.divide(maps, top, out=np.zeros_like(maps), where=top > 0)).astype(np.uint8)


class _Rows:
    """What a network says of the sampled images, in their order."""

    def __init__(self, predictions: PredictionsResult, indices: np.ndarray) -> None:
        at = find_rows(predictions, indices)
        probabilities = predictions.probabilities[at]
        self.labels = predictions.labels[at]
        self.predicted = predictions.predicted[at]
        self.probability = probabilities.max(axis=1)
        self.true_probability = predictions.true_probability[at]
        self.maps = predictions.true_maps[at]


def _reduce(image: np.ndarray, cell: tuple[int, int]) -> np.ndarray:
    if image.shape[:2] == cell:
        return image
    return np.asarray(Image.fromarray(image).resize(cell[::-1], Image.Resampling.LANCZOS))


def _chunks(count: int) -> Iterator[slice]:
    return (slice(start, start + _CHUNK) for start in range(0, count, _CHUNK))


def _moved_mass(a: np.ndarray, b: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Share (n,) of a map's mass that differs: see `CamResult.moved_mass`."""
    parts = [
        np.abs(unit_mass_maps(b[part], size) - unit_mass_maps(a[part], size)).sum((1, 2)) / 2
        for part in _chunks(len(a))
    ]
    return np.concatenate(parts)


def _in_box(maps: np.ndarray, boxes: np.ndarray | None, size: tuple[int, int]) -> str | None:
    if boxes is None or not maps.size:
        return None
    parts = [energy_in_box(maps[part], boxes[part], size) for part in _chunks(len(maps))]
    return pack_array(np.concatenate(parts), "<f4")


def _difference_limit(a: np.ndarray, b: np.ndarray, cell: tuple[int, int]) -> float:
    """End of the scale of all differences on the page, in units of an even map's density.

    One map of a few hot pixels would take the colour from all others, so a hundredth of the pixels may lie
    beyond. At most `_CHUNK` evenly spread images decide.
    """
    chosen = np.linspace(0, len(a) - 1, min(len(a), _CHUNK)).astype(int)
    difference = unit_mass_maps(b[chosen], cell) - unit_mass_maps(a[chosen], cell)
    sizes = np.abs(difference) * cell[0] * cell[1]
    return float(np.percentile(sizes, _INSIDE_SCALE)) or float(sizes.max()) or 1.0


def _lookup_table(name: str) -> str:
    """256 colours, three bytes each."""
    colors = mpl.colormaps[name](np.arange(256))[:, :3]
    return pack_array(np.rint(255 * colors), "u1")
