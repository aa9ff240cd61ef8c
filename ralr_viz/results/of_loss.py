"""Results of a loss as a function of the weights, which may be of any task."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

from ralr_viz.results.bundle import Result
from ralr_viz.results.fields import OneOf
from ralr_viz.results.tasks import About, Score

MOST_UNEQUAL = 1.1
"""Largest ratio of two training losses at which flatness and tightness, which both follow the loss, are compared."""


@dataclass(frozen=True, eq=False)
class ScoredResult(Result):
    """Base of what says how well networks do, which may be of any task.

    Attributes:
        score_name, score_unit: What is called accuracy in its fields, and its unit.
        score_better: Which direction of it is better: ``higher`` or ``lower``.
    """

    score_name: str = field(default="accuracy", kw_only=True)
    score_unit: str = field(default="%", kw_only=True)
    score_better: Annotated[str, OneOf(("higher", "lower"))] = field(default="higher", kw_only=True)

    @property
    def score_label(self) -> str:
        """The score with its unit behind: ``accuracy (%)``."""
        return f"{self.score_name} ({self.score_unit})" if self.score_unit else self.score_name

    @property
    def score_difference_unit(self) -> str:
        """Unit of a difference of two scores."""
        return "points" if self.score_unit == "%" else self.score_unit

    def show_score(self, value: float) -> str:
        """``91.73 %``."""
        return Score("", self.score_name, self.score_unit).show(value)


@dataclass(frozen=True, eq=False)
class LossResult(ScoredResult):
    """Base of what is measured of a loss at several weights.

    Attributes:
        loss_name: What the loss is.
        loss_unit: Its unit; empty where it is not known.
        samples_name: What it is a mean over.
    """

    loss_name: str = field(default="cross-entropy", kw_only=True)
    loss_unit: str = field(default="nats", kw_only=True)
    samples_name: str = field(default="images", kw_only=True)

    def in_unit(self, text: str, power: str = "") -> str:
        """A quantity of the loss with its unit behind: ``loss (nats)``."""
        return f"{text} ({self.loss_unit}{power})" if self.loss_unit else text

    @property
    def sample_name(self) -> str:
        """One of the samples."""
        return self.samples_name.removesuffix("es" if self.samples_name.endswith("ches") else "s")

    @property
    def squared_unit(self) -> str:
        """Of a squared gradient."""
        return f"{self.loss_unit}²" if self.loss_unit else ""


def describe_score(about: About) -> dict[str, Any]:
    """Fields of a `ScoredResult` for the runs of a task."""
    score = about.score
    if score is None:
        return {"score_name": "", "score_unit": ""}
    return {"score_name": score.title, "score_unit": score.unit, "score_better": score.better}


def describe_task(about: About) -> dict[str, Any]:
    """Fields of a `LossResult`, likewise."""
    return {**describe_score(about), "loss_unit": about.loss_unit, "samples_name": about.samples}
