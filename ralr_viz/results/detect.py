"""Detections of several networks in the same images, and the numbers behind their picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from ralr_viz.results.box_metrics import box_area, energy_in_box
from ralr_viz.results.bundle import Result
from ralr_viz.results.fields import Array, Axis, OneOf, PlaceOn, Within


@dataclass(frozen=True, eq=False)
class DetectResult(Result):
    """What m networks find in n images, beside the objects that there are.

    Boxes are half-open corners (x1, y1, x2, y2) in fractions of their image, which those of detections may leave.

    Attributes:
        pixels: All pictures, flat, one after the other, uint8 RGB; read them with `picture`.
        shapes: (n, 2) int64 heights and widths.
        indices: (n,) int64 places in the store of the split.
        models: m names for the rows.
        class_names: Name of each class.
        thresholds: m smallest scores of what is shown.
        f1: m highest F1 at these, of all classes together; NaN where the score was given.
        judged: The split that they were found on.
        truth_image, truth_label, truth_box, truth_difficult: Of each object: its image, class, (k, 4) box and whether it
            is difficult, so that neither finding nor missing it counts.
        found_model, found_image, found_label, found_box, found_score: Of each detection that counts.
        found_true: Whether it is true.
        found_object: Which object it finds; −1 of a false one.
        selection: The rule that chose the images, in words.
        dataset, split: Names.
        size: Side in pixels of what the networks see.
        total: Images that these were chosen from.
        changes: (m, 2) int64 objects of all these that a network finds and the first does not, and the reverse.
        mapped: (m, n) int64 detection that each map is of, −1 for none; or None without maps.
        layers: m modules that the maps were taken from.
        map_sizes: m × (h, w) positions of a map.
        maps: All maps, flat and in the order of ``models``; read them with `raw_maps`.
    """

    kind: ClassVar[str] = "detect"
    schema: ClassVar[int] = 1

    pixels: Annotated[np.ndarray, Array("integer", ("bytes",))]
    shapes: Annotated[np.ndarray, Array("integer", ("images", 2)), Within(1)]
    indices: Annotated[np.ndarray, Array("integer", ("images",), fewest=1)]
    models: Annotated[tuple[str, ...], Axis(("models",), fewest=1, unique=True)]
    class_names: Annotated[tuple[str, ...], Axis(("classes",), fewest=1)]
    thresholds: Annotated[tuple[float, ...], Axis(("models",)), Within(0, 1)]
    f1: Annotated[tuple[float, ...], Axis(("models",))]
    judged: Annotated[str, OneOf(("train", "val"))]
    truth_image: Annotated[np.ndarray, Array("integer", ("objects",)), PlaceOn("images")]
    truth_label: Annotated[np.ndarray, Array("integer", ("objects",)), PlaceOn("classes")]
    truth_box: Annotated[np.ndarray, Array("float", ("objects", 4), finite=True)]
    truth_difficult: Annotated[np.ndarray, Array("boolean", ("objects",))]
    found_model: Annotated[np.ndarray, Array("integer", ("detections",)), PlaceOn("models")]
    found_image: Annotated[np.ndarray, Array("integer", ("detections",)), PlaceOn("images")]
    found_label: Annotated[np.ndarray, Array("integer", ("detections",)), PlaceOn("classes")]
    found_box: Annotated[np.ndarray, Array("float", ("detections", 4), finite=True)]
    found_score: Annotated[np.ndarray, Array("float", ("detections",), finite=True)]
    found_true: Annotated[np.ndarray, Array("boolean", ("detections",))]
    found_object: Annotated[np.ndarray, Array("integer", ("detections",)), PlaceOn("objects", -1)]
    selection: str
    dataset: str
    split: str
    size: int
    total: int
    changes: Annotated[np.ndarray, Array("integer", ("models", 2))]
    mapped: Annotated[
        np.ndarray | None, Array("integer", ("models", "images")), PlaceOn("detections", -1)
    ] = None
    layers: Annotated[tuple[str, ...], Axis(("models",), optional=True)] = ()
    map_sizes: Annotated[tuple[tuple[int, int], ...], Axis(("models",), optional=True)] = ()
    maps: Annotated[np.ndarray | None, Array("float", ("positions",), finite=True)] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        expected = 3 * int(self.shapes.prod(1).sum())
        if len(self.pixels) != expected:
            raise ValueError(f"`pixels` has {len(self.pixels)} bytes, expects {expected}, those of `shapes`")
        if self.maps is not None:
            expected = len(self.indices) * sum(h * w for h, w in self.map_sizes)
            if len(self.maps) != expected or self.mapped is None:
                raise ValueError(
                    f"`maps` has {len(self.maps)} positions, expects {expected}, those of `map_sizes`"
                )

    def picture(self, image: int) -> np.ndarray:
        """(H, W, 3) uint8."""
        ends = 3 * np.cumsum(self.shapes.prod(1))
        height, width = self.shapes[image]
        end = int(ends[image])
        return self.pixels[end - 3 * int(height * width) : end].reshape(height, width, 3)

    def detection(self, row: int) -> tuple[np.ndarray, int, float]:
        """Box, class and score of a detection."""
        return self.found_box[row], int(self.found_label[row]), float(self.found_score[row])

    def found(self, model: int, image: int | None = None) -> np.ndarray:
        """Rows of a network's detections, of one image or all."""
        mine = self.found_model == model
        return np.flatnonzero(mine if image is None else mine & (self.found_image == image))

    def missed(self, model: int, image: int | None = None) -> np.ndarray:
        """Objects that a network has not found and should have."""
        hit = np.zeros(len(self.truth_image), bool)
        rows = self.found(model)
        hit[self.found_object[rows[self.found_true[rows]]]] = True
        lost = ~hit & ~self.truth_difficult
        return np.flatnonzero(lost if image is None else lost & (self.truth_image == image))

    def choose_mapped(self) -> np.ndarray:
        """(m, n) int64 detection that a map is of, −1 for none.

        In each image of the object that all networks find and are together the surest of; else of each network's surest
        detection.
        """
        m, n = len(self.models), len(self.indices)
        finder = np.full((m, len(self.truth_image)), -1)
        rows = np.flatnonzero(self.found_true)
        finder[self.found_model[rows], self.found_object[rows]] = rows
        common: np.ndarray = np.all(finder >= 0, axis=0)
        score = (
            np.where(common, self.found_score[finder].mean(0), -1)
            if len(rows)
            else np.full(len(common), -1.0)
        )
        chosen = np.full((m, n), -1)
        for image in range(n):
            here = np.flatnonzero((self.truth_image == image) & common)
            if len(here):
                chosen[:, image] = finder[:, here[score[here].argmax()]]
                continue
            for model in range(m):
                own = self.found(model, image)
                chosen[model, image] = own[self.found_score[own].argmax()] if len(own) else -1
        return chosen

    def raw_maps(self, model: int) -> np.ndarray:
        """Signed maps (n, h, w) of a network, at its own resolution."""
        assert self.maps is not None
        counts = [len(self.indices) * h * w for h, w in self.map_sizes]
        start = sum(counts[:model])
        return self.maps[start : start + counts[model]].reshape(-1, *self.map_sizes[model])

    def energy_in_box(self, model: int) -> np.ndarray:
        """Share (n,) of a map's positive part inside the box of its detection; NaN without one."""
        return energy_in_box(self.raw_maps(model), self._mapped_boxes(model), (self.size, self.size))

    def box_area(self, model: int) -> np.ndarray:
        """Share (n,) of the image in that box: the energy of a map that knows nothing."""
        return box_area(self._mapped_boxes(model), (self.size, self.size))

    def describe(self) -> list[str]:
        """Of each network what is true, false and missed in these images, what has changed in all, and its maps' energy."""
        count = int((~self.truth_difficult).sum())
        lines = []
        for i, name in enumerate(self.models):
            true = self.found_true[self.found(i)]
            lines.append(
                f"{name}: {true.sum()} of {count} objects found, {(~true).sum()} false detections, of score "
                f"{self.thresholds[i]:.2f} or more; of the {len(self.indices)} drawn images, not an evaluation"
            )
            if i:
                more, fewer = self.changes[i]
                lines.append(
                    f"{name}: finds {more:,} objects that {self.models[0]} misses, and misses {fewer:,} that it finds, in all "
                    f"{self.total:,} images"
                )
            if self.maps is not None:
                energy, area = self.energy_in_box(i), self.box_area(i)
                known = np.isfinite(area)
                if known.any():
                    lines.append(
                        f"{name}: energy in box {energy[known].mean():.2f} (box area {area[known].mean():.2f}), "
                        f"mean of {known.sum()} maps"
                    )
        return lines

    def remarks(self) -> list[str]:
        """Where the scores come from, and the maps."""
        lines = [
            f"{name}: score ≥ {least:.3f}, the highest F1 ({best:.3f}, all classes together) on {self.judged} images"
            for name, least, best in zip(self.models, self.thresholds, self.f1, strict=True)
            if np.isfinite(best)
        ]
        if lines and self.judged == "train":
            lines.append("No images were held out: of those that it was trained on a network is surer")
        return lines + [
            f"{name}: map at `{layer}`" for name, layer in zip(self.models, self.layers, strict=False)
        ]

    def _mapped_boxes(self, model: int) -> np.ndarray:
        """(n, 4) inclusive pixels of what the network sees; −1 without a map."""
        assert self.mapped is not None
        boxes = np.full((len(self.indices), 4), -1)
        for image, row in enumerate(self.mapped[model].tolist()):
            if row >= 0:
                corners = np.rint(self.found_box[row] * self.size).astype(np.int64)
                boxes[image] = [*corners[:2], *np.maximum(corners[2:] - 1, corners[:2])]
        return boxes
