"""Class activation maps of several networks on the same images, and the numbers behind their picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from ralr_viz.results.box_metrics import (
    box_area,
    centre_energy_in_box,
    centre_rank_accuracy,
    energy_in_box,
    rank_accuracy,
)
from ralr_viz.results.bundle import Result
from ralr_viz.results.fields import Array, Axis
from ralr_viz.results.interpolation import bilinear_weights, interpolate_maps

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
        methods: m names of METHOD_NAMES.
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
        difference: The figure has rows of signed differences from the first model, too.
        checks: Where it was asked for, how near each model's maps are to those of the `grad-cam` package, in words.
    """

    kind: ClassVar[str] = "cam"
    schema: ClassVar[int] = 1

    images: Annotated[np.ndarray, Array("integer", ("images", "height", "width", 3))]
    indices: Annotated[np.ndarray, Array("integer", ("images",), fewest=1)]
    labels: Annotated[np.ndarray, Array("integer", ("images",))]
    boxes: Annotated[np.ndarray | None, Array("integer", ("images", 4), unit="pixels")]
    class_names: tuple[str, ...]
    models: Annotated[tuple[str, ...], Axis(("models",), fewest=1)]
    methods: Annotated[tuple[str, ...], Axis(("models",))]
    layers: Annotated[tuple[str, ...], Axis(("models",))]
    map_sizes: Annotated[tuple[tuple[int, int], ...], Axis(("models",))]
    maps: Annotated[np.ndarray, Array("float", ("positions",))]
    targets: Annotated[np.ndarray, Array("integer", ("models", "images"))]
    target_probabilities: Annotated[np.ndarray, Array("float", ("models", "images"))]
    predictions: Annotated[np.ndarray, Array("integer", ("models", "images"))]
    prediction_probabilities: Annotated[np.ndarray, Array("float", ("models", "images"))]
    selection: str
    dataset: str | None = None
    split: str | None = None
    image_names: Annotated[tuple[str, ...], Axis(("images",), optional=True)] = ()
    notes: tuple[str, ...] = ()
    difference: bool = False
    checks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        expected = len(self.images) * sum(h * w for h, w in self.map_sizes)
        if len(self.maps) != expected:
            raise ValueError(
                f"`maps` has {len(self.maps)} positions, expects {expected}, those of `map_sizes`"
            )

    @property
    def image_size(self) -> tuple[int, int]:
        """(H, W) in pixels."""
        return self.images.shape[1], self.images.shape[2]

    def class_name(self, index: int) -> str:
        """Name of a class, or its number where it has none."""
        return self.class_names[index] if 0 <= index < len(self.class_names) else str(index)

    def raw_maps(self, model: int) -> np.ndarray:
        """Signed maps (n, h, w) of one model at the network's resolution, in the units of `Cam.raw`."""
        counts = [len(self.images) * h * w for h, w in self.map_sizes]
        start = sum(counts[:model])
        return self.maps[start : start + counts[model]].reshape(-1, *self.map_sizes[model])

    def display_maps(self, model: int) -> np.ndarray:
        """Maps (n, H, W) in [0, 1] as they are drawn; see `normalise_cam`."""
        return normalise_cam(self.raw_maps(model), self.image_size)

    def difference_maps(self, model: int) -> np.ndarray:
        """Signed difference (n, H, W) of a model's `unit_mass_maps` from the first model's; each sums to 0."""
        unit = [unit_mass_maps(self.raw_maps(m), self.image_size) for m in (0, model)]
        return unit[1] - unit[0]

    def moved_mass(self, model: int) -> np.ndarray:
        """Share (n,) in [0, 1] of its mass that the first model's map must move to become the model's.

        Half the sum of the absolute `difference_maps`: their total variation distance.
        """
        return np.abs(self.difference_maps(model)).sum((1, 2)) / 2

    def energy_in_box(self, model: int) -> np.ndarray:
        """Share (n,) of a model's positive activation inside the box; NaN where there is no proper box."""
        return energy_in_box(self.raw_maps(model), self._boxes, self.image_size)

    def rank_accuracy(self, model: int) -> np.ndarray:
        """Share (n,) of a map's highest pixels, as many as the box has, inside the box; NaN likewise."""
        return rank_accuracy(self.raw_maps(model), self._boxes, self.image_size)

    def box_area(self) -> np.ndarray:
        """Share (n,) of the image that the box covers: both numbers of a map that knows nothing."""
        return box_area(self._boxes, self.image_size)

    def centre_energy_in_box(self) -> np.ndarray:
        """Energy (n,) of a centred Gaussian with σ = H/4, which knows that objects are in the middle."""
        return centre_energy_in_box(self._boxes, self.image_size)

    def centre_rank_accuracy(self) -> np.ndarray:
        """Rank accuracy (n,) of that Gaussian."""
        return centre_rank_accuracy(self._boxes, self.image_size)

    def describe(self) -> list[str]:
        """What was checked, and the mean of the box numbers of each model, where there are boxes."""
        return [*self.checks, *self._sum_up_boxes()]

    def remarks(self) -> list[str]:
        """Of each model the method and the layer, then its notes."""
        lines = []
        for name, method, layer in zip(self.models, self.methods, self.layers, strict=True):
            lines.append(f"{name}: {method} at `{layer}`")
            lines += [note for note in self.notes if note.startswith(f"{name}: ")]
        return lines

    def _sum_up_boxes(self) -> list[str]:
        boxed = self.box_area() >= 0  # NaN is not
        if not boxed.any():
            return []
        uniform, energy, rank = (
            f"{values[boxed].mean():.3f}"
            for values in (self.box_area(), self.centre_energy_in_box(), self.centre_rank_accuracy())
        )
        return [
            f"{name}: energy in box {self.energy_in_box(i)[boxed].mean():.3f}, rank accuracy "
            f"{self.rank_accuracy(i)[boxed].mean():.3f} (uniform map {uniform}, {uniform}; centre Gaussian {energy}, "
            f"{rank}); mean of the {boxed.sum()} drawn images with a box, not an evaluation"
            for i, name in enumerate(self.models)
        ]

    @property
    def _boxes(self) -> np.ndarray:
        return np.full((len(self.images), 4), -1) if self.boxes is None else self.boxes


def normalise_cam(raw: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Maps as they are drawn, equal to what `grad-cam` returns.

    ReLU, division by h·w (which the package's maps were multiplied by), min-max to [0, 1), bilinear interpolation to the pixels,
    min-max again. A map without positive value stays zero. The scale is each image's own: colours compare
    positions within one map, not maps with each other.

    Args:
        raw: (n, h, w) signed maps, h·w times the package's; see `Cam.raw`.
        size: (H, W) in pixels.

    Returns:
        (n, H, W) float32 in [0, 1].
    """
    _, h, w = raw.shape
    maps = np.maximum(raw, 0).astype(np.float32) / np.float32(h * w)
    rows, columns = bilinear_weights(h, size[0]), bilinear_weights(w, size[1])
    return _rescale(rows @ _rescale(maps) @ columns.T)


def unit_mass_maps(raw: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Where the positive activation is: maps at the pixels that sum to 1 each.

    Args:
        raw: (n, h, w) signed maps.
        size: (H, W) in pixels.

    Returns:
        (n, H, W) float64 ≥ 0: the ReLU of each map, interpolated bilinearly, over its sum. A map without
        positive value counts as uniform.
    """
    maps = interpolate_maps(np.maximum(raw, 0), size)
    total = maps.sum((1, 2), keepdims=True)
    return np.divide(maps, total, out=np.full_like(maps, 1 / (size[0] * size[1])), where=total > 0)


def distinct_parts(a: str, b: str) -> tuple[str, str]:
    """What tells two names apart: ``epoch 13`` and ``epoch 20`` of the same run, seed and method.

    Names are parts between commas; parts that both have are left out, unless nothing would be left.
    """
    first, second = a.split(", "), b.split(", ")
    left = [part for part in first if part not in second], [part for part in second if part not in first]
    return (", ".join(left[0]), ", ".join(left[1])) if all(left) else (a, b)


def _rescale(maps: np.ndarray) -> np.ndarray:
    maps = maps - maps.min((1, 2), keepdims=True)
    return maps / (_EPS + maps.max((1, 2), keepdims=True))
