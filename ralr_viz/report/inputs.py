"""What a report is made of: results that are already computed, and why those that are not there are missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ralr_viz.results.names import method_name

if TYPE_CHECKING:
    from ralr_viz.results.activations import ActivationsResult
    from ralr_viz.results.bleu import BleuResult
    from ralr_viz.results.curves import CurvesResult
    from ralr_viz.results.detect import DetectResult
    from ralr_viz.results.embedding import EmbeddingResult
    from ralr_viz.results.learning import LearningResult
    from ralr_viz.results.predictions import PredictionsResult
    from ralr_viz.results.run import RunRecord
    from ralr_viz.results.verdict import Verdict
    from ralr_viz.results.why import WhyResult

SECTIONS = ("verdict", "curves", "embeddings", "classes", "gallery", "activations", "provenance")
"""Keys of the page's sections, in its order; also of `ReportInputs.missing`."""


@dataclass(frozen=True, eq=False)
class Side:
    """A, B or the control.

    Attributes:
        name: What the page calls it, such as ``baseline`` or ``RALR``; unique on the page.
        method: ``baseline``, ``ralr``, …; empty for other people's weights. Decides the colour.
        runs: Of all training seeds that were found; empty for other people's weights.
        predictions: Of one seed's checkpoint, on the whole split.
        checkpoint: ``label``, ``sha256``, ``epoch``, ``seed``, ``arch``, ``mean``, ``std`` and ``recipe``.
    """

    name: str
    method: str = ""
    runs: tuple[RunRecord, ...] = ()
    predictions: PredictionsResult | None = None
    checkpoint: Mapping[str, Any] = field(default_factory=dict)

    @property
    def recipe(self) -> Mapping[str, Any]:
        """Of its runs, else of its checkpoint; empty where it is not known."""
        return self.runs[0].recipe if self.runs else self.checkpoint.get("recipe") or {}


@dataclass(frozen=True, eq=False)
class ReportInputs:
    """Everything on the page, computed.

    Attributes:
        sides: A, then B and a control where there are such.
        verdict: Accuracy and loss of A and B with intervals, and those of each class.
        against_control: The same of the control and B.
        curves: Of all runs of all sides.
        embedding: Of the random sample, models in the order of ``sides``.
        indices: (n,) int64 positions of the images on the page in the split: ``embedding``'s, growing, then others that
            A and B dispute, growing.
        num_random: How many of them, from the first, are a random sample of the split; None for all.
        images: (n, H, W, 3) uint8 of the sampled images, in the order of ``indices``.
        boxes: (n, 4) int16 ``x0 y0 x1 y1`` of these, inclusive pixels, −1 where an image has none; or None.
        activations: Rows in the order of ``sides``.
        bleu: Of sides that translate, in their order.
        learning: Of all runs of both sides, in their order, where these have kept a record of each example.
        learned_images, learned_labels: (c, H, W, 3) uint8 and (c,) of its chosen examples; None where the data are not here.
        why: What ``ralr-viz why`` found.
        detections: Of detectors, in the place of predictions: what they find in images that a rule chose, by the titles
            of their groups.
        class_names: In label order; may be empty.
        sampling: How the random ones were sampled, in words.
        split_size: Images of the split, of which the predictions may be of fewer; None where not known.
        missing: Key of a section (`SECTIONS`, or ``why``) to why it is missing and the command that helps.
        absent: Keys of sections that the sides' task does not have.
        seed: Of the random draws.
        command: The command line, without absolute paths.
        notes: What a reader should know, a sentence each.
    """

    sides: tuple[Side, ...]
    verdict: Verdict | None = None
    against_control: Verdict | None = None
    curves: CurvesResult | None = None
    embedding: EmbeddingResult | None = None
    indices: np.ndarray | None = None
    num_random: int | None = None
    images: np.ndarray | None = None
    boxes: np.ndarray | None = None
    activations: ActivationsResult | None = None
    bleu: BleuResult | None = None
    learning: LearningResult | None = None
    learned_images: np.ndarray | None = None
    learned_labels: np.ndarray | None = None
    why: WhyResult | None = None
    detections: Mapping[str, DetectResult] = field(default_factory=dict)
    class_names: tuple[str, ...] = ()
    sampling: str = ""
    split_size: int | None = None
    missing: Mapping[str, str] = field(default_factory=dict)
    absent: frozenset[str] = frozenset()
    seed: int = 0
    command: str = ""
    notes: tuple[str, ...] = ()

    @property
    def num_predicted(self) -> int:
        """Images that the predictions are of."""
        return next((len(side.predictions.labels) for side in self.sides if side.predictions is not None), 0)

    @property
    def pair(self) -> tuple[Side, ...]:
        """A and B, without the control."""
        return self.sides[:2]

    @property
    def control(self) -> Side | None:
        """The control, where there is one."""
        return self.sides[2] if len(self.sides) > 2 else None

    @property
    def random_indices(self) -> np.ndarray:
        """The part of ``indices`` that is a random sample of the split; none where there are no images."""
        return np.arange(0) if self.indices is None else self.indices[: self.num_random]

    def label_of(self, method: str) -> str:
        """What the page calls the side of a method; the method itself where no side, or several, are of it."""
        found = [side.name for side in self.sides if side.method == method]
        return found[0] if len(found) == 1 else method_name(method)

    def name_runs(self) -> list[str]:
        """What the page calls each run, side by side: the side, and the seed where a side has several runs."""
        several = any(len(side.runs) > 1 for side in self.sides)
        return [
            f"{side.name}, seed {run.seed}" if several else side.name
            for side in self.sides
            for run in side.runs
        ]

    @property
    def is_limited(self) -> bool:
        """Whether the predictions are of a part of the split."""
        return self.split_size is not None and self.num_predicted < self.split_size

    def class_name(self, label: int) -> str:
        """Name of a class, or its number where it has none."""
        return self.class_names[label] if 0 <= label < len(self.class_names) else str(label)


def whose_checkpoints(sides: Sequence[Side]) -> str:
    """Whose checkpoints are looked at, of how many trainings, as a sentence; empty where no seed is known."""
    seeds = [side.checkpoint.get("seed") for side in sides]
    counts = [max(1, len(side.runs)) for side in sides]
    if None in seeds:
        return ""
    if len(set(zip(seeds, counts, strict=True))) == 1:
        many = f" (1 of {counts[0]})" if counts[0] > 1 else ""
        return f"Of seed {seeds[0]}'s checkpoint{'s' * (len(sides) > 1)}{many}."
    parts = [
        f"{side.name}, seed {seed}" + (f" (1 of {count})" if count > 1 else "")
        for side, seed, count in zip(sides, seeds, counts, strict=True)
    ]
    return f"Of the checkpoints of {'; '.join(parts)}."


def side_colors(sides: Sequence[Side]) -> list[str]:
    """Colour of each side as ``#rrggbb``: its method's in all figures, where the sides' methods differ."""
    from ralr_viz.plots.style import method_looks

    keys = [side.method or side.name for side in sides]
    if len(set(keys)) < len(keys):
        keys = [side.name for side in sides]
    looks = method_looks(keys)
    return [looks[key].color for key in keys]
