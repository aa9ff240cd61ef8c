"""Results of a loss as a function of the weights, which may be of any task."""

from __future__ import annotations

from dataclasses import dataclass, field

from ralr_viz.results.bundle import Result


@dataclass(frozen=True, eq=False)
class LossResult(Result):
    """Base of what is measured of a loss at several weights.

    Attributes:
        loss_name: What the loss is.
        loss_unit: Its unit; empty where it is not known.
        samples_name: What it is a mean over.
        score_name, score_unit: What is called accuracy in its fields, and its unit.
    """

    loss_name: str = field(default="cross-entropy", kw_only=True)
    loss_unit: str = field(default="nats", kw_only=True)
    samples_name: str = field(default="images", kw_only=True)
    score_name: str = field(default="accuracy", kw_only=True)
    score_unit: str = field(default="%", kw_only=True)

    def in_unit(self, text: str, power: str = "") -> str:
        """A quantity of the loss with its unit behind: ``loss (nats)``."""
        return f"{text} ({self.loss_unit}{power})" if self.loss_unit else text

    @property
    def score_label(self) -> str:
        """The score with its unit behind: ``accuracy (%)``."""
        return f"{self.score_name} ({self.score_unit})" if self.score_unit else self.score_name

    @property
    def sample_name(self) -> str:
        """One of the samples."""
        return self.samples_name.removesuffix("es" if self.samples_name.endswith("ches") else "s")

    @property
    def squared_unit(self) -> str:
        """Of a squared gradient."""
        return f"{self.loss_unit}²" if self.loss_unit else ""
