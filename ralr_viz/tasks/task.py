"""What the diagnostics of weights need of the work at hand, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

from torch import Tensor, nn

Batch = Any
"""What a task's loss takes beside the network; only the task looks into it."""


@dataclass(frozen=True)
class Score:
    """How well a network does, beside its loss.

    Attributes:
        key: In a record, such as ``acc``.
        title: What figures and tables call it.
        unit: Of it; empty for a pure number.
        better: Which direction is better.
    """

    key: str
    title: str
    unit: str = ""
    better: Literal["higher", "lower"] = "higher"


class Sums(NamedTuple):
    """Of a batch, each a scalar tensor on the device: what is summed over batches before it is divided.

    Attributes:
        loss: Σ loss.
        score: Σ score; NaN where the task has none.
        weight: Σ weight (images, tokens, boxes) that both are divided by.
    """

    loss: Tensor
    score: Tensor
    weight: Tensor


class Each(NamedTuple):
    """Of the k samples of a batch, on the device.

    Attributes:
        losses: (k,) float64.
        weights: (k,) float64.
        right: (k,) bool, whether the class is predicted; None where there are none.
    """

    losses: Tensor
    weights: Tensor
    right: Tensor | None


class Task(Protocol):
    """A task as the diagnostics of weights know it.

    Attributes:
        name: Such as ``classification``.
        score: How well a network does; None where only the loss says it.
    """

    @property
    def name(self) -> str: ...

    @property
    def score(self) -> Score | None: ...

    def prepare(self, model: nn.Module, batch: Batch) -> None:
        """Make a private network ready, and refuse one that the task cannot use; ``batch`` is the first.

        Raises:
            InputError: It cannot.
        """

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """Σ loss with its graph, and Σ weight."""

    def evaluate(self, model: nn.Module, batch: Batch) -> Sums:
        """Σ loss, Σ score and Σ weight, in float64 without a graph."""

    def each(self, model: nn.Module, batch: Batch) -> Each:
        """What is known of each sample of a batch, without a graph; of a batch as a whole where there is none."""
