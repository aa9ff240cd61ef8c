"""How accurate one network or two are, on which classes, and what may be said of their difference."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Score:
    """One quantity of m sides with 95 % intervals, and their difference.

    Attributes:
        name: ``accuracy``, another task's score, or ``loss``.
        unit: ``%``, ``nats``, …; empty for a pure number.
        over: What the intervals are over: ``images`` or ``seeds``.
        values: (m, 3) float64 value, low and high end of its interval; NaN where not known.
        difference: (3,) float64 second side minus the first, paired, with its interval; NaN for one side.
        p: Two-sided, that there is no difference: McNemar's exact test of ``accuracy`` over images, the
            paired t test over seeds; else NaN.
        better: Which direction is better: ``higher`` or ``lower``; empty for what is so of its name.
    """

    name: str
    unit: str
    over: str
    values: np.ndarray
    difference: np.ndarray
    p: float
    better: str = ""

    @property
    def higher_is_better(self) -> bool:
        """A loss is better where it is lower."""
        return (self.better or ("lower" if self.name == "loss" else "higher")) == "higher"

    @property
    def label(self) -> str:
        """With the unit behind."""
        return f"{self.name} ({self.unit})" if self.unit else self.name


@dataclass(frozen=True, eq=False)
class ClassScores:
    """What m sides do with each of K classes that occur.

    Attributes:
        labels: (K,) int64, growing.
        counts: (K,) int64 images of each class.
        accuracy: (m, K) float64 per cent.
        difference: (K, 3) float64 second side minus the first in points, with its 95 % interval; NaN for
            one side.
        confused_with: (m, K) int64 the commonest wrong class, the lowest label on ties; −1 where none is.
        confused_counts: (m, K) int64 images that are taken for it.
    """

    labels: np.ndarray
    counts: np.ndarray
    accuracy: np.ndarray
    difference: np.ndarray
    confused_with: np.ndarray
    confused_counts: np.ndarray


@dataclass(frozen=True, eq=False)
class Verdict:
    """Accuracy and loss of one side or two.

    Attributes:
        names: m names.
        images: Scores over the images of one checkpoint each; empty where there are no predictions.
        num_images: Of these.
        split: That they are of, in words.
        agreement: (2, 2) int64 images by correct in the first side (wrong, right) and in the second; None
            for one side.
        classes: Of the same images; None where there are no predictions.
        seeds: Scores over training seeds; empty where no seed can be compared.
        paired_seeds: The seeds, growing, that all sides have finished.
        left_out: Seed and why it is not among them, of each other seed that some side has.
        seed_split: What the scores over seeds are of, such as ``test images``; empty where there are none.
        seed_epoch: After which they are, in words.
        per_seed: (scores, m, seeds) float64 what the scores over seeds are made of.
    """

    names: tuple[str, ...]
    images: tuple[Score, ...] = ()
    num_images: int = 0
    split: str = ""
    agreement: np.ndarray | None = None
    classes: ClassScores | None = None
    seeds: tuple[Score, ...] = ()
    paired_seeds: tuple[int, ...] = ()
    left_out: tuple[tuple[int, str], ...] = ()
    seed_split: str = ""
    seed_epoch: str = "the last epoch"
    per_seed: np.ndarray | None = None

    @property
    def num_sides(self) -> int:
        """m."""
        return len(self.names)
