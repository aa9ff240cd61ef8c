"""Where the classes' names stand in an embedding's figure, and what its caption says."""

from __future__ import annotations

import numpy as np

from ralr_viz.plots.fit_text import fit_text, measure_text
from ralr_viz.results.embedding import EmbeddingResult, interval_text

MOST_NAMED = 10
"""Classes that have a colour and a name: more colours are not told apart."""
NAME = 6.5
"""Points."""
METHOD_NAMES = {"tsne": "t-SNE", "umap": "UMAP"}
METRIC_NAMES = {
    "compactness": "compactness ↑",
    "separability": "separability ↑",
    "scatter_ratio": "scatter ratio ↓",
    "silhouette": "silhouette ↑",
    "knn_accuracy": "kNN accuracy (%) ↑",
    "map_recall": "map recall",
}
_LINE = NAME * 1.25 / 72  # inches
_LONGEST_NAME = 0.9  # inches
# where a name may stand, in its own widths and heights from the middle of its class
_OFFSETS = (
    (0, 0),
    (0, 1),
    (0, -1),
    (0.6, 0),
    (-0.6, 0),
    (0.6, 1),
    (-0.6, 1),
    (0.6, -1),
    (-0.6, -1),
    (0, 2),
    (0, -2),
)


def named_classes(result: EmbeddingResult) -> list[int]:
    """Labels of the classes that are named: all, or of many the tightest by the mean silhouette of all networks."""
    classes = result.classes.tolist()
    if len(classes) <= MOST_NAMED:
        return classes
    silhouette = np.nan_to_num(result.silhouette.mean(axis=0), nan=-1.0)
    tightness = [float(silhouette[result.labels == label].mean()) for label in classes]
    chosen = np.argsort(-np.array(tightness), kind="stable")[:MOST_NAMED]
    return [classes[k] for k in sorted(chosen.tolist())]


def find_limits(points: np.ndarray, size: tuple[float, float]) -> np.ndarray:
    """Limits (2, 2) around points (n, 2) of the shape of a frame, width and height, that these fill."""
    low, high = points.min(axis=0), points.max(axis=0)
    scale = 1.08 * max((high - low) / np.array(size)) or 1.0
    half = scale * np.array(size) / 2
    centre = (low + high) / 2
    return np.stack([centre - half, centre + half], axis=1)


def place_names(
    result: EmbeddingResult, model: int, named: list[int], limits: np.ndarray, size: tuple[float, float]
) -> dict[int, tuple[float, float]]:
    """Where each name stands, near the median of its class; one that has no room without touching another is left out.

    Args:
        result: Of any networks.
        model: Whose map.
        named: Labels, of which larger classes come first.
        limits: Of the axes, (2, 2).
        size: Of the axes, inches.
    """
    scale = (limits[:, 1] - limits[:, 0]) / np.array(size)
    placed: dict[int, tuple[float, float]] = {}
    boxes: list[np.ndarray] = []
    for label in sorted(named, key=lambda c: -int((result.labels == c).sum())):
        middle = np.median(result.coordinates[model, result.labels == label], axis=0)
        extent = np.array([1.1 * measure_text(short_class(result, label), NAME) + 0.04, _LINE]) * scale
        for offset in _OFFSETS:
            at = middle + np.array(offset) * extent
            at = np.clip(at, limits[:, 0] + extent / 2, limits[:, 1] - extent / 2)
            box = np.stack([at - extent / 2, at + extent / 2])
            if all((box[0] >= other[1]).any() or (box[1] <= other[0]).any() for other in boxes):
                boxes.append(box)
                placed[label] = (float(at[0]), float(at[1]))
                break
    return placed


def embedding_note(result: EmbeddingResult) -> str:
    """What the maps and the numbers are of, and what may not be concluded from them."""
    names = [panel_letter(i) for i in range(len(result.models))]
    engine = (
        f"openTSNE, perplexity {result.perplexity:g}"
        if result.method == "tsne"
        else f"{'AlignedUMAP' if result.align == 'aligned-umap' else 'umap-learn'}, {result.neighbours} neighbours"
    )
    where = " ".join(part for part in (result.dataset, result.split) if part)
    sentences = [
        f"{METHOD_NAMES[result.method]} of the penultimate features ({engine}), {len(result.labels):,} "
        f"{where + ' ' if where else ''}{result.samples_name}, seed {result.seed}.",
        _alignment(result, names),
    ]
    classes, named = result.classes, named_classes(result)
    if len(classes) > len(named):
        sentences.append(
            f"Colours and names: the {len(named)} tightest of {len(classes)} classes by the mean silhouette of their features; the "
            "others are grey."
        )
    sentences.append(
        f"Dots: of the features at unit length, not of the map; 95 % intervals over the {result.samples_name}, not over "
        "training seeds."
    )
    if len(names) > 1:
        sentences.append("Full: the paired interval of the difference from (a) excludes 0, and (a) itself.")
    sentences.append(f"{'; '.join(_describe_rest(result, i) for i in range(len(names)))} (k = {result.k}).")
    sentences.append("Sizes of clusters and gaps between them mean little in such a map.")
    return " ".join(s for s in sentences if s)


def _alignment(result: EmbeddingResult, names: list[str]) -> str:
    if len(names) == 1:
        return ""
    moved = ", ".join(f"({n}) {d:.2f}" for n, d in zip(names[1:], result.displacement[1:], strict=True))
    others = "(b)" if len(names) == 2 else f"(b)–({names[-1]})"
    if result.align == "none":
        return "Maps are independent: places and distances in them cannot be compared."
    how = (
        f"{others} start{'s' if len(names) == 2 else ''} from (a)'s map, which favours (a)'s arrangement"
        if result.align == "init"
        else "Maps are laid out together, which pulls an image's places together"
    )
    return (
        f"{how}: median displacement {moved} of the RMS radius, {result.noise_floor:.2f} for (a) made again."
    )


def _describe_rest(result: EmbeddingResult, model: int) -> str:
    """The numbers that are not drawn."""
    rest = {"scatter_ratio": "scatter ratio", "knn_accuracy": "kNN accuracy (%)", "map_recall": "map recall"}
    said = ", ".join(
        f"{label} {interval_text(name, result.metric(name)[model])}" for name, label in rest.items()
    )
    return f"({panel_letter(model)}) {said}"


def panel_letter(index: int) -> str:
    """``a``, ``b``, …, and numbers after ``z``."""
    return "abcdefghijklmnopqrstuvwxyz"[index] if index < 26 else str(index + 1)


def short_class(result: EmbeddingResult, label: int) -> str:
    """Its name on the map: the first of several synonyms, which WordNet separates by commas, cut to size."""
    return fit_text(result.class_name(label).split(",")[0].replace("_", " ").strip(), NAME, _LONGEST_NAME)
