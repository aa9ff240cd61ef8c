"""What the rest of ralr-viz knows of the work at hand, and nothing else.

The diagnostics of weights need a `Criterion`; the training loop, evaluation and tables a whole `Task`. Neither knows of
a class, an image or an accuracy. `ralr_viz.tasks.base.BaseTask` is the short way to write one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

import numpy as np
from torch import Tensor, nn

from ralr_viz.results.tasks import Score
from ralr_viz.tasks.batches import Batch, Batches

if TYPE_CHECKING:
    from ralr_viz.recipe import Recipe
    from ralr_viz.runtime.device import Runtime
    from ralr_viz.runtime.ranks import Ranks


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


class Criterion(Protocol):
    """What the diagnostics of weights need: a loss, as a function of a network and a batch.

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


class Part(NamedTuple):
    """A training step's loss of one batch, or of the part of it that one rank has.

    Attributes:
        mean: () mean loss with its graph: Σ loss / Σ weight.
        weight: Σ weight, a number or a tensor () on the device.
        counts: (k,) float32 on the device: more sums for the record, see `Task.record`.
        each: (b, 2) float32 on the device: loss of each sample and 1 where it is right, where the recipe's ``examples``
            ask for them.
    """

    mean: Tensor
    weight: Tensor | float
    counts: Tensor
    each: Tensor | None = None


class Plan(Protocol):
    """The batches of one epoch: a pure function of seed and epoch, whatever the device or the ranks."""

    @property
    def steps(self) -> int: ...

    def shown(self, steps: int) -> int:
        """Samples in the first ``steps`` of its steps."""


class Feed(Protocol):
    """The training samples, ready for the device.

    Attributes:
        steps: Of the first epoch; later ones may have others.
    """

    @property
    def steps(self) -> int: ...

    def plan(self, seed: int, epoch: int) -> Plan:
        """What the 0-based epoch shows."""

    def load(self, plan: Any, step: int, ranks: Ranks) -> Sequence[Batch]:
        """The batches of a step, or this rank's parts of them, on the device.

        Several are micro-batches: the step's gradient is that of Σ loss / Σ weight over all of them. The rank's share
        of the step is told to ``ranks`` (`Ranks.shard` by samples, `Ranks.weigh` by weight).
        """


class ExampleFeed(Feed, Protocol):
    """Of a task that has `Task.example_places` of ``train`` samples."""

    def rows(self, plan: Any, step: int, ranks: Ranks) -> Tensor:
        """Which of those places the samples of `load` are, (b,) int64 on the device."""


class Task(Criterion, Protocol):
    """What is trained for; made of a recipe and the folder of the data.

    Attributes:
        recipe_type: What its recipes are; `Recipe` has no settings but the loop's.
        facts: What a checkpoint says of the data, plain values: ``dataset``, ``content_hash``, …
        loss_unit: Of the loss, such as ``nats``; empty where it has none.
        samples_name: What is shown and counted, such as ``images``.
        counted: What `train_loss` counts beside the loss.
        largest_growth: How many times the first looks' mean loss a finite loss may be; more is a divergence.
    """

    recipe_type: ClassVar[type[Recipe]]
    recipe: Any

    @property
    def facts(self) -> Mapping[str, Any]: ...

    @property
    def loss_unit(self) -> str: ...

    @property
    def samples_name(self) -> str: ...

    @property
    def counted(self) -> tuple[str, ...]: ...

    @property
    def largest_growth(self) -> float: ...

    def build(self) -> nn.Module:
        """A network with initial weights from torch's global generator, or from a file; in training mode."""

    def parameter_groups(self, model: nn.Module) -> list[dict[str, Any]]:
        """For the optimizer: each with ``params`` and, where its rate is not the recipe's, ``lr``."""

    def feed(self, runtime: Runtime, ranks: Ranks) -> Feed:
        """Together: the training samples.

        Raises:
            InputError: They make no epoch of the recipe.
        """

    def example_places(self, name: str) -> np.ndarray | None:
        """Places (n,) in their split of the ``train``, ``val`` or ``test`` samples, of which `train_loss` and the
        evaluator know each one's loss; None where they do not."""

    def train_loss(self, network: nn.Module, batch: Batch, runtime: Runtime) -> Part:
        """The loss that is trained on, of a network in training mode; nothing in it waits for the device."""

    def weigh(self, batch: Batch) -> Tensor | float:
        """Σ weight of a batch before its forward pass; asked where a step has several."""

    def record(self, counts: Sequence[float], weight: float) -> dict[str, float]:
        """Columns of an epoch's record that the loss's counts make.

        Args:
            counts: Summed over the epoch.
            weight: Σ weight of it.
        """

    def evaluator(self, runtime: Runtime) -> Evaluator:
        """In rank 0: the samples that each epoch is measured on."""

    def judge(self, record: Mapping[str, Any], steps: int) -> str:
        """In rank 0: why a training has failed although its loss is finite; empty where it has not.

        Args:
            record: Of the epoch that is over.
            steps: Of an epoch.
        """

    def conclude(self, model: nn.Module, runtime: Runtime) -> dict[str, Any]:
        """Once, at the end: what stands in ``result.json`` under ``final``; empty for nothing."""

    def read(self, limit: int | None, split: str = "test") -> Batches:
        """Samples for what looks at a finished network, in batches such as training's.

        Args:
            limit: At most so many, evenly spread; None for all.
            split: ``test``, ``val``, or ``train``.

        Raises:
            InputError: There are none.
        """

    def augmented(self, batches: Batches, seed: int) -> Batches:
        """The same samples in one fixed draw of training's augmentation; themselves where there is none."""

    def probe(self, count: int, runtime: Runtime) -> Batches:
        """So many training samples of those that epochs are measured on, evenly spread, augmented likewise."""


class Evaluator(Protocol):
    """Measures a network as it is."""

    @property
    def sizes(self) -> Mapping[str, int]:
        """Samples of each set: ``train``, ``val``, ``test``."""

    def __call__(self, model: nn.Module) -> dict[str, float | None]:
        """``train_loss_eval``, and of ``val`` and ``test`` ``…_loss`` and ``…_<score's key>``, where measured."""


class ExampleEvaluator(Evaluator, Protocol):
    """Of a task that has `Task.example_places` of held out or test samples."""

    @property
    def each(self) -> Mapping[str, Tensor]:
        """(n, 2) loss of each sample and 1 where it is right, of the last call and the sets in the recipe's ``examples``."""
