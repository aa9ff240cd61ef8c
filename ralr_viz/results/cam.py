"""Class activation maps of several networks on the same images, and the numbers behind their picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ralr_viz.results.bundle import Result

_EPS = np.float32(1e-7)
"""What `grad-cam` adds to the maximum before it divides; it matters for maps of that size."""


@dataclass(frozen=True, eq=False)
class CamResult(Result):
    """Maps of one class an image, for m networks on n images (paper Figure 3).

    Attributes:
        images: (n, H, W, 3) uint8 RGB.
        indices: (n,) int64 positions in the split, in its canonical order.
        labels: (n,) int64 ground truth, −1 where unknown.
        boxes: (n, 4) int16 ``x0 y0 x1 y1``, inclusive pixel indices, −1 where an image has none; or None.
        class_names: Name of each class; may be empty.
        models: m names for the rows.
        methods: m × ``cam`` or ``grad-cam``.
        layers: m modules that the maps were taken from.
        map_sizes: m × (h, w) positions of a map.
        maps: All maps, flat and in the order of ``models``, (Σ n·h·w,) float32; read them with `raw_maps`.
        targets: (m, n) int64 class that each map explains.
        target_probabilities: (m, n) float32.
        predictions: (m, n) int64.
        prediction_probabilities: (m, n) float32.
        selection: The rule that chose the images, in words.
        dataset: Name, or None for pictures of the user's own.
        split: Name, or None likewise.
        image_names: n file names of pictures of the user's own, else empty.
        notes: What a reader should know, one sentence each.
    """

    kind: ClassVar[str] = "cam"
    schema: ClassVar[int] = 1

    images: np.ndarray
    indices: np.ndarray
    labels: np.ndarray
    boxes: np.ndarray | None
    class_names: tuple[str, ...]
    models: tuple[str, ...]
    methods: tuple[str, ...]
    layers: tuple[str, ...]
    map_sizes: tuple[tuple[int, int], ...]
    maps: np.ndarray
    targets: np.ndarray
    target_probabilities: np.ndarray
    predictions: np.ndarray
    prediction_probabilities: np.ndarray
    selection: str
    dataset: str | None = None
    split: str | None = None
    image_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        m, n = len(self.models), len(self.images)
        expected = {
            "indices": (n,),
            "labels": (n,),
            "boxes": (n, 4),
            "maps": (sum(n * h * w for h, w in self.map_sizes),),
            "targets": (m, n),
            "target_probabilities": (m, n),
            "predictions": (m, n),
            "prediction_probabilities": (m, n),
        }
        if self.images.ndim != 4 or self.images.shape[3] != 3 or n == 0 or m == 0:
            raise ValueError(
                f"`images` is {self.images.shape}, `models` has {m}: expects (n, H, W, 3) and one or more"
            )
        for name, shape in expected.items():
            array = getattr(self, name)
            if array is not None and array.shape != shape:
                raise ValueError(f"`{name}` is {array.shape}, expects {shape}")
        for name in ("methods", "layers", "map_sizes"):
            if len(getattr(self, name)) != m:
                raise ValueError(f"`{name}` has {len(getattr(self, name))} entries for {m} models")
        if len(self.image_names) not in (0, n):
            raise ValueError(f"`image_names` has {len(self.image_names)} entries for {n} images")

    @property
    def image_size(self) -> tuple[int, int]:
        """(H, W) in pixels."""
        return self.images.shape[1], self.images.shape[2]

    def class_name(self, index: int) -> str:
        """Name of a class, or its number where it has none."""
        return self.class_names[index] if 0 <= index < len(self.class_names) else str(index)

    def raw_maps(self, model: int) -> np.ndarray:
        """Signed maps (n, h, w) of one model at the network's resolution, in units of the target's logit."""
        counts = [len(self.images) * h * w for h, w in self.map_sizes]
        start = sum(counts[:model])
        return self.maps[start : start + counts[model]].reshape(-1, *self.map_sizes[model])

    def display_maps(self, model: int) -> np.ndarray:
        """Maps (n, H, W) in [0, 1] as they are drawn; see `normalise_cam`."""
        return normalise_cam(self.raw_maps(model), self.image_size)

    def energy_in_box(self, model: int) -> np.ndarray:
        """Share (n,) of a model's positive activation inside the box; NaN where there is no proper box."""
        return energy_in_box(self.raw_maps(model), self._boxes, self.image_size)

    def box_area(self) -> np.ndarray:
        """Share (n,) of the image that the box covers: the energy of a map that knows nothing."""
        return box_area(self._boxes, self.image_size)

    @property
    def _boxes(self) -> np.ndarray:
        return np.full((len(self.images), 4), -1) if self.boxes is None else self.boxes


def normalise_cam(raw: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Maps as they are drawn, equal to what `grad-cam` returns.

    ReLU, division by h·w (the gradient of the mean), min-max to [0, 1), bilinear interpolation to the pixels,
    min-max again. A map without positive value stays zero. The scale is each image's own: colours compare
    positions within one map, not maps with each other.

    Args:
        raw: (n, h, w) signed maps, in units of the target's logit.
        size: (H, W) in pixels.

    Returns:
        (n, H, W) float32 in [0, 1].
    """
    _, h, w = raw.shape
    maps = np.maximum(raw, 0).astype(np.float32) / np.float32(h * w)
    rows, columns = bilinear_weights(h, size[0]), bilinear_weights(w, size[1])
    return _rescale(rows @ _rescale(maps) @ columns.T)


def bilinear_weights(n_in: int, n_out: int) -> np.ndarray:
    """Matrix (n_out, n_in) float32 of one axis of bilinear interpolation.

    Samples sit at the centres of their cells and the border is repeated: torch's ``align_corners=False``,
    OpenCV's ``INTER_LINEAR``. Each row sums to 1.
    """
    position = np.clip((np.arange(n_out) + 0.5) * n_in / n_out - 0.5, 0, n_in - 1)
    lower = np.floor(position).astype(int)
    upper = np.minimum(lower + 1, n_in - 1)
    weights = np.zeros((n_out, n_in))
    np.add.at(weights, (np.arange(n_out), lower), 1 - (position - lower))
    np.add.at(weights, (np.arange(n_out), upper), position - lower)
    return weights.astype(np.float32)


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
    y, x = np.arange(size[0]), np.arange(size[1])
    in_rows = (y >= boxes[:, 1, None]) & (y <= boxes[:, 3, None])
    in_columns = (x >= boxes[:, 0, None]) & (x <= boxes[:, 2, None])
    inside = np.einsum("nh,nhw,nw->n", in_rows @ rows, positive, in_columns @ columns)
    total = np.einsum("h,nhw,w->n", rows.sum(0), positive, columns.sum(0))
    area = box_area(boxes, size)
    share = np.divide(inside, total, out=area.copy(), where=total > 0)
    return np.where(np.isnan(area), np.nan, share)


def box_area(boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Share (n,) float64 of the image inside each box.

    NaN where there is none inside the image, and where its width or height is zero (x1 = x0 or y1 = y0): in
    Tiny-ImageNet these are objects that the crop removed.
    """
    x0, y0, x1, y1 = boxes.astype(np.int64).T
    proper = (x0 >= 0) & (y0 >= 0) & (x1 > x0) & (y1 > y0) & (x1 < size[1]) & (y1 < size[0])
    return np.where(proper, (x1 - x0 + 1) * (y1 - y0 + 1) / (size[0] * size[1]), np.nan)


def _rescale(maps: np.ndarray) -> np.ndarray:
    maps = maps - maps.min((1, 2), keepdims=True)
    return maps / (_EPS + maps.max((1, 2), keepdims=True))
