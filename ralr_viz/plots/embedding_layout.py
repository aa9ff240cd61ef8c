"""Where the parts of an embedding's figure stand, and what its text says."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ralr_viz.plots.fit_text import fit_text, measure_text
from ralr_viz.results.embedding import EmbeddingResult, holds_value, interval_text

MOST_CLASSES = 20
"""In a legend; of more, the colours only follow the order of the labels."""
METHOD_NAMES = {"tsne": "t-SNE", "umap": "UMAP"}
METRIC_NAMES = {
    "compactness": "compactness ↑",
    "separability": "separability ↑",
    "scatter_ratio": "scatter ratio ↓",
    "silhouette": "silhouette ↑",
    "knn_accuracy": "kNN accuracy (%) ↑",
    "map_recall": "map recall",
}

# points
TITLE, LABEL, SMALL = 8.0, 7.0, 6.5
LINE = 1.25  # height of a line of text over its size

# inches
MARGIN, GAP, _SPACE = 0.04, 0.14, 0.06
_SMALLEST, _LARGEST = 1.25, 2.75  # side of a panel
_FLATNESS = (0.6, 1.0)
_NARROWEST = 3.25
_KEY = 0.17  # a legend's mark
_LONGEST_NAME = 1.1
_LEGEND_LINE = 1.22 * LABEL / 72
_NUMBER_LINE = SMALL * LINE / 72


@dataclass(frozen=True)
class Plan:
    """Where everything stands; inches from the left and the top."""

    width: float
    side: float
    flatness: float
    columns: int
    rows: int
    title_lines: int
    text_lines: int
    two_lines: bool
    beside: bool
    legend_columns: int
    head: float

    @property
    def title_height(self) -> float:
        return (TITLE * LINE + (self.title_lines - 1) * SMALL * LINE + 3) / 72

    @property
    def panel_height(self) -> float:
        return self.side * self.flatness

    @property
    def row_height(self) -> float:
        return self.title_height + self.panel_height + self.text_lines * _NUMBER_LINE + 2 * _SPACE

    @property
    def height(self) -> float:
        return self.head + self.rows * self.row_height

    def panel(self, index: int) -> tuple[float, float, float, float]:
        row, column = divmod(index, self.columns)
        left = MARGIN + column * (self.side + GAP)
        top = self.head + row * self.row_height + self.title_height
        return self.fractions(left, top, self.side, self.panel_height)

    def fractions(
        self, left: float, top: float, width: float, height: float
    ) -> tuple[float, float, float, float]:
        return left / self.width, 1 - (top + height) / self.height, width / self.width, height / self.height


def plan_figure(result: EmbeddingResult, page: float) -> Plan:
    """Place everything on at most ``page`` inches of width."""
    count, labels, flatness = len(result.models), legend_labels(result), _flatness(result.coordinates)
    entry = max((measure_text(text, LABEL) for text in labels), default=0) + _KEY
    one_line = max(
        measure_text(label, SMALL) + measure_text(value, SMALL) + 0.1
        for i in range(count)
        for label, value in number_lines(result, i)
    )
    # beside the panels if these stay wide enough for their numbers, else above
    beside_side = _side(page - entry - GAP, count)
    beside = bool(labels) and beside_side >= one_line and len(labels) * _LEGEND_LINE <= beside_side * flatness
    room = page - (entry + GAP if beside else 0)
    columns = max(1, min(count, int((room - 2 * MARGIN + GAP) / (_SMALLEST + GAP))))
    columns = math.ceil(count / math.ceil(count / columns))
    side = _side(room, columns)
    content = 2 * MARGIN + columns * (side + GAP) - GAP + (entry + GAP if beside else 0)
    width = min(page, max(_NARROWEST, content))
    legend_columns = 1 if beside else max(1, min(len(labels), int((width - 2 * MARGIN) / (entry + 0.1))))
    legend_rows = 0 if beside else math.ceil(len(labels) / legend_columns)
    two_lines = one_line > side
    return Plan(
        width=width,
        side=side,
        flatness=flatness,
        columns=columns,
        rows=math.ceil(count / columns),
        title_lines=1 + any(", " in model for model in result.models),
        text_lines=max(len(number_lines(result, i)) for i in range(count)) * (2 if two_lines else 1),
        two_lines=two_lines,
        beside=beside,
        legend_columns=legend_columns,
        head=legend_rows * _LEGEND_LINE + (_SPACE if legend_rows else 0),
    )


def _side(room: float, columns: int) -> float:
    return min((room - 2 * MARGIN + GAP) / columns - GAP, _LARGEST)


def _flatness(coordinates: np.ndarray) -> float:
    """Height of a panel over its width: that of the maps, within reason."""
    width, height = np.ptp(coordinates, axis=(0, 1))
    return float(np.clip(height / width, *_FLATNESS)) if width else _FLATNESS[1]


def number_lines(result: EmbeddingResult, model: int) -> list[tuple[str, str]]:
    """Label and value of each line below a panel; a star where the value differs from the first panel's."""
    lines = []
    for name, label in METRIC_NAMES.items():
        difference = result.difference(name)[model]
        value = interval_text(name, result.metric(name)[model])
        if holds_value(difference) and (difference[1] > 0 or difference[2] < 0):
            value = value.replace(" ", "* ", 1) if " [" in value else f"{value}*"
        lines.append((f"{label}@{result.k}" if name == "map_recall" else label, value))
    if len(result.models) > 1:
        lines.append(
            ("neighbours kept", interval_text("neighbours_kept", result.mean_kept[model]) if model else "–")
        )
    return lines


def legend_labels(result: EmbeddingResult) -> list[str]:
    """Names of the classes, cut to size; none where a legend would be too long."""
    classes = result.classes
    if len(classes) > MOST_CLASSES:
        return []
    return [fit_text(_short(result.class_name(c)), LABEL, _LONGEST_NAME) for c in classes.tolist()]


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
    classes = result.classes.tolist()
    if len(classes) > MOST_CLASSES:
        first, last = (_short(result.class_name(c)) for c in (classes[0], classes[-1]))
        sentences.append(f"{len(classes)} classes, hue in the order of the labels from {first} to {last}.")
    sentences.append(
        f"Numbers but map recall: of the features at unit length, not of the map; k = {result.k}; 95 % intervals over the "
        f"{result.samples_name}, not over training seeds."
    )
    if len(names) > 1:
        sentences.append("*: the paired interval of the difference from (a) excludes 0.")
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


def panel_letter(index: int) -> str:
    """``a``, ``b``, …, and numbers after ``z``."""
    return "abcdefghijklmnopqrstuvwxyz"[index] if index < 26 else str(index + 1)


def _short(name: str) -> str:
    """The first of several synonyms: WordNet separates them by commas."""
    return name.split(",")[0].replace("_", " ").strip()
