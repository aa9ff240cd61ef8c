"""The rule of a study that decides: written down before its runs, and never changed after the first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

OUTCOMES = ("unseen",)
"""``unseen``: accuracy of the last state on all images that a run neither trains on nor watches, scored once, in fp32
(``final`` of ``result.json``: ``unused`` and ``test``)."""


class Contrast(NamedTuple):
    """One difference that is tested: ``arm`` − ``reference``, by the labels of their cells."""

    arm: str
    reference: str

    def __str__(self) -> str:
        return f"{self.arm} − {self.reference}"


class Family(NamedTuple):
    """Tests in fixed order: each is made only if all before it reject, so each has the whole level.

    Attributes:
        name: Of the question.
        level: Of each test, two-sided, in (0, 1).
        contrasts: In their order.
    """

    name: str
    level: float
    contrasts: tuple[Contrast, ...]


@dataclass(frozen=True, eq=False)
class Rule:
    """What decides, and on which runs.

    Attributes:
        outcome: Of `OUTCOMES`: what a run is judged by.
        baseline: Label of the arm that the others are held against.
        families: Questions, each with its tests.
        support: Name of the family all of whose tests must reject, each with the arm higher, for *supported*.
        collapse: A run collapsed if it is more than so many points below the baseline's of its seed.
        equivalence: Half the width of the band around 0 as a share of the baseline's error.
        resolution: Paired standard deviations that the tests find with power 0.8.
        arms: Labels of the main arms, in the order of the study.
        seeds: Of the main arms.
        protocol: All of this and the key of every main arm's training, in plain values.
    """

    outcome: str
    baseline: str
    families: tuple[Family, ...]
    support: str
    collapse: float
    equivalence: float
    resolution: float
    arms: tuple[str, ...]
    seeds: tuple[int, ...]
    protocol: Mapping[str, Any]

    @property
    def contrasts(self) -> tuple[Contrast, ...]:
        """All that are tested, in the order of the families."""
        return tuple(contrast for family in self.families for contrast in family.contrasts)
