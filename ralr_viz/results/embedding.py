"""Maps of the penultimate features of several networks, and how well their classes separate."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from ralr_viz.nouns.embedding import ALIGN, METHOD
from ralr_viz.results.bundle import Result
from ralr_viz.results.fields import MOST_DRAWS, Array, Axis, OneOf, Within
from ralr_viz.results.measure import describe_refusal

METRICS = ("compactness", "separability", "scatter_ratio", "silhouette", "knn_accuracy", "map_recall")
"""The numbers of `EmbeddingResult.metrics`, in their order."""

INTERVALS = (
    "intervals: 95 % bootstrap over the images, within each class for what class means give, of kNN accuracy Wilson's, the same for "
    "all networks; they cover these checkpoints and this sample of images, not the spread between training seeds; silhouettes are "
    "resampled to first order, kNN accuracy, map recall and neighbours kept by each image's own value; of 60 to 200 images in four "
    "classes the first three of these cover 90 to 93 %, neighbours kept 81 to 84 %, differences up to 98 %"
)


@dataclass(frozen=True, eq=False)
class EmbeddingResult(Result):
    """Two-dimensional maps of the features of m networks on the same n images (paper Figure 4).

    The map is of the penultimate features as they are. All numbers but the map's own faithfulness are of the
    features, scaled to length 1; none is of the map's coordinates, whose distances mean little:

    - ``compactness``: mean cosine similarity of two different images of one class, averaged over the images;
      −1 to 1, 1 where each class is a point.
    - ``separability``: Euclidean distance of a class's mean to the nearest other class mean, averaged over
      the classes; 0 to 2. The distance's square is free of the bias of noisy means.
    - ``scatter_ratio``: tr S_W / tr S_B, the scatter within classes over the scatter of the class means, both
      free of the same bias; 0 where each class is a point, inf where the means do not differ.
    - ``silhouette``: mean silhouette by cosine distance; −1 to 1.
    - ``knn_accuracy``: per cent of the images whose class is the commonest among their ``k`` nearest others
      (the lowest label on ties).
    - ``map_recall``: share of an image's ``k`` nearest others by its features (as they are, Euclidean) that
      are also among its ``k`` nearest in the map; 0 to 1. It is about the picture, not about the network.

    Attributes:
        models: m names.
        indices: (n,) int64 positions in the split, in its canonical order.
        labels: (n,) int64 ground truth.
        predicted: (m, n) int64 most probable class.
        coordinates: (m, n, 2) float32, unit and orientation arbitrary but, with alignment, common.
        silhouette: (m, n) float32.
        knn_label: (m, n) int64 commonest class of the nearest others.
        kept: (m, n) float32, who moved: Jaccard overlap |A ∩ B| / |A ∪ B| of an image's ``k`` nearest others
            in the first network (A) and in this one (B), by cosine; 1 for the first network.
        recall: (m, n) float32 map recall.
        metrics: (m, 6, 3) float64 in the order of `METRICS`: value, low and high end of its interval.
        differences: (m, 6, 3) float64: minus the first network's, with paired intervals; 0 for the first.
        mean_kept: (m, 3) float64 mean of ``kept`` with its interval.
        trustworthiness: (m,) float64 of the map, 0 to 1, on ``trust_images`` evenly spread images.
        displacement: (m,) float64, how far the maps differ: median distance of an image's places in the first
            map and in this one, over the first map's RMS radius.
        noise_floor: The same for the first network, embedded again in the same way from another seed; NaN
            where the maps are not aligned.
        method: ``tsne`` or ``umap``.
        align: ``none``, ``init`` or ``aligned-umap``.
        perplexity: Of t-SNE, else None.
        neighbours: Of UMAP, else None.
        k: Nearest others of the numbers.
        seed: Of maps and intervals.
        resamples: Of the bootstrap.
        trust_images: See ``trustworthiness``.
        feature_widths: m numbers of features.
        class_names: In label order; may be empty.
        dataset, split: Where the images come from; None for others.
        notes: What a reader should know, one sentence each.
        samples_name: What the points are, if not images.
    """

    kind: ClassVar[str] = "embedding"
    schema: ClassVar[int] = 1

    models: Annotated[tuple[str, ...], Axis(("models",), fewest=1)]
    indices: Annotated[np.ndarray, Array("integer", ("images",))]
    labels: Annotated[np.ndarray, Array("integer", ("images",), fewest=1)]
    predicted: Annotated[np.ndarray, Array("integer", ("models", "images"))]
    coordinates: Annotated[np.ndarray, Array("float", ("models", "images", 2), finite=True)]
    silhouette: Annotated[np.ndarray, Array("float", ("models", "images"))]
    knn_label: Annotated[np.ndarray, Array("integer", ("models", "images"))]
    kept: Annotated[np.ndarray, Array("float", ("models", "images"))]
    recall: Annotated[np.ndarray, Array("float", ("models", "images"))]
    metrics: Annotated[np.ndarray, Array("float", ("models", len(METRICS), 3))]
    differences: Annotated[np.ndarray, Array("float", ("models", len(METRICS), 3))]
    mean_kept: Annotated[np.ndarray, Array("float", ("models", 3))]
    trustworthiness: Annotated[np.ndarray, Array("float", ("models",))]
    displacement: Annotated[np.ndarray, Array("float", ("models",))]
    noise_floor: float
    method: Annotated[str, OneOf(METHOD.among)]
    align: Annotated[str, OneOf(ALIGN.among)]
    perplexity: float | None
    neighbours: int | None
    k: Annotated[int, Within(1)]
    seed: Annotated[int, Within(0)]
    resamples: Annotated[int, Within(1, MOST_DRAWS)]
    trust_images: Annotated[int, Within(1)]
    feature_widths: Annotated[tuple[int, ...], Axis(("models",))]
    class_names: tuple[str, ...] = ()
    dataset: str | None = None
    split: str | None = None
    notes: tuple[str, ...] = ()
    samples_name: str = "images"

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.perplexity if self.method == "tsne" else self.neighbours) is None:
            raise ValueError("`perplexity` must be given where `method` is 'tsne', else `neighbours`")

    @property
    def classes(self) -> np.ndarray:
        """Labels that occur, growing, int64 (num_classes,)."""
        return np.unique(self.labels)

    def class_name(self, label: int) -> str:
        """Name of a class, or its number where it has none."""
        return self.class_names[label] if 0 <= label < len(self.class_names) else str(label)

    def metric(self, name: str) -> np.ndarray:
        """Value, low and high end of one of `METRICS`, (m, 3)."""
        return self.metrics[:, METRICS.index(name)]

    def difference(self, name: str) -> np.ndarray:
        """One of `METRICS` minus the first network's, with its paired interval, (m, 3)."""
        return self.differences[:, METRICS.index(name)]

    @property
    def chance_kept(self) -> float:
        """Jaccard overlap of two random sets of ``k`` of the n − 1 other images, from their mean intersection."""
        common = self.k**2 / (len(self.labels) - 1)
        return common / (2 * self.k - common)

    def describe(self) -> list[str]:
        """The numbers of each network, of each one minus the first, and what their intervals cover."""
        lines = [
            f"{name}: {self._list_numbers(i, difference=False)}, trustworthiness {self.trustworthiness[i]:.3f} "
            f"({self.trust_images:,} {self.samples_name})"
            for i, name in enumerate(self.models)
        ]
        first, others = self.models[0], list(enumerate(self.models))[1:]
        for i, name in others:
            kept = interval_text("neighbours_kept", self.mean_kept[i])
            lines += [
                f"{name} minus {first}: {self._list_numbers(i, difference=True)}",
                f"{name}, {self.k} nearest neighbours kept from {first}: {kept} (Jaccard; chance {self.chance_kept:.3f})",
            ]
        if others:
            moved = ", ".join(f"{name} {self.displacement[i]:.3f}" for i, name in others)
            lines.append(f"median displacement in the map, in RMS radii: {moved}; {self._describe_floor()}")
        return [
            *lines,
            INTERVALS.replace("images", self.samples_name),
            *filter(None, [describe_refusal(len(self.labels))]),
        ]

    def _list_numbers(self, model: int, *, difference: bool) -> str:
        parts = []
        for name in METRICS:
            numbers = (self.difference(name) if difference else self.metric(name))[model]
            label = {"knn_accuracy": "kNN accuracy (%)", "map_recall": f"map recall@{self.k}"}.get(name, name)
            parts.append(f"{label.replace('_', ' ')} {interval_text(name, numbers, signed=difference)}")
        return ", ".join(parts)

    def _describe_floor(self) -> str:
        first = self.models[0]
        if math.isnan(self.noise_floor):
            return "the maps are independent, so places in them cannot be compared"
        floor = f"noise floor {self.noise_floor:.3f} ({first} made again)"
        if self.align == "init":
            return f"{floor}; starting from {first}'s map favours its arrangement"
        return f"{floor}; a common layout pulls an image's places together"


def interval_text(name: str, numbers: np.ndarray, *, signed: bool = False) -> str:
    """Value and interval of one of `METRICS` or of ``neighbours_kept`` as text: ``0.834 [0.831, 0.838]``.

    The value alone where its interval is not known or does not hold it; ``not defined`` where it is infinite.
    """
    if not np.isfinite(numbers[0]):
        return "not defined"
    digits = 1 if name == "knn_accuracy" else 3
    value, low, high = (f"{number:{'+' if signed else ''}.{digits}f}".replace("-", "−") for number in numbers)
    return f"{value} [{low}, {high}]" if holds_value(numbers) else value


def holds_value(numbers: np.ndarray) -> bool:
    """Whether value, low and high end have an interval that may be shown."""
    value, low, high = numbers
    return bool(np.isfinite(numbers).all() and low <= value <= high)
