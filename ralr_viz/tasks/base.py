"""A short way to write a task: samples that can be counted and taken by number."""

from __future__ import annotations

import functools
import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from ralr_viz.errors import InputError
from ralr_viz.recipe import Recipe
from ralr_viz.results.tasks import Score
from ralr_viz.runtime.device import Runtime
from ralr_viz.runtime.ranks import Ranks
from ralr_viz.tasks.batches import Batch, Batches, bytes_of, count_samples, place
from ralr_viz.tasks.batching import check_batches, count_steps, spread
from ralr_viz.tasks.eval_mode import eval_mode
from ralr_viz.tasks.exact import exact
from ralr_viz.tasks.task import Each, Evaluator, Feed, Part, Sums

_READ_BATCH = 500


class BaseTask(ABC):
    """A task of samples that count alike and can be taken by number.

    A child says what its samples are (`count`, `batch`), what is trained (`build`) and towards what (`loss`); `evaluate`
    where it has a score. The validation samples are drawn from the training samples at random by the recipe's
    ``split_seed``, the order of an epoch by (seed, epoch).

    Attributes:
        name: For texts; a class of your own is named in a recipe by ``package.module:Class``.
        score: Of `evaluate`; None for the loss alone.
        loss_unit: Of the loss.
    """

    recipe_type: ClassVar[type[Recipe]] = Recipe
    name: str = "own task"
    score: Score | None = None
    loss_unit: str = ""
    samples_name: str = "samples"
    counted: tuple[str, ...] = ()
    largest_growth: float = math.inf

    def __init__(self, recipe: Recipe, root: Path) -> None:
        self.recipe, self.root = recipe, root

    @abstractmethod
    def count(self, split: str) -> int:
        """Samples of ``train`` (before any are held out) or ``test``; 0 where there are none."""

    @abstractmethod
    def batch(self, split: str, places: np.ndarray) -> Batch:
        """Those samples, on the host; ``places`` (b,) count from 0."""

    @abstractmethod
    def build(self) -> nn.Module:
        """A network with initial weights from torch's global generator, in training mode."""

    @abstractmethod
    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """Σ loss with its graph, and Σ weight."""

    @torch.no_grad()
    def evaluate(self, model: nn.Module, batch: Batch) -> Sums:
        """Σ loss, Σ score and Σ weight; here without a score."""
        loss, weight = self.loss(model, batch)
        return Sums(exact(loss), torch.full_like(exact(loss), torch.nan), exact(weight))

    @property
    def facts(self) -> Mapping[str, Any]:
        """Of the data: the recipe's name for them, and a hash of the training samples."""
        return {"dataset": self.recipe.dataset, "content_hash": self._content_hash}

    @functools.cached_property
    def _content_hash(self) -> str:
        """Found once: it reads every training sample."""
        digest = hashlib.sha256()
        for first in range(0, self.count("train"), _READ_BATCH):
            places = np.arange(first, min(first + _READ_BATCH, self.count("train")))
            digest.update(bytes_of(self.batch("train", places)))
        return digest.hexdigest()

    def prepare(self, model: nn.Module, batch: Batch) -> None:
        """Try the loss.

        Raises:
            InputError: It is not finite.
        """
        with torch.no_grad():
            total, _ = self.loss(model, batch)
        if not bool(torch.isfinite(total)):
            raise InputError(
                f"the loss of `{self.name}` is not finite on the first batch: the network has diverged, choose another"
            )

    @torch.no_grad()
    def each(self, model: nn.Module, batch: Batch) -> Each:
        """Of the batch as a whole."""
        loss, weight = self.loss(model, batch)
        return Each(exact(loss).reshape(1) / weight, exact(weight).reshape(1), None)

    def parameter_groups(self, model: nn.Module) -> list[dict[str, Any]]:
        """All in one."""
        return [{"params": list(model.parameters())}]

    def train_loss(self, network: nn.Module, batch: Batch, runtime: Runtime) -> Part:
        """The loss itself."""
        with runtime.autocast():
            total, weight = self.loss(network, batch)
        return Part(total.float() / weight, weight, total.new_zeros(0, dtype=torch.float32))

    def example_places(self, name: str) -> np.ndarray | None:
        """None: what a loss makes of one sample is not known here."""
        return None

    def weigh(self, batch: Batch) -> Tensor | float:
        """Its samples."""
        return float(count_samples(batch))

    def record(self, counts: Sequence[float], weight: float) -> dict[str, float]:
        """Nothing more."""
        return {}

    def feed(self, runtime: Runtime, ranks: Ranks) -> Feed:
        """Batches of so many training samples, in an order drawn for the epoch."""
        trained = self.split()["train"]
        ranks.lead(lambda: check_batches(self.recipe, len(trained), ranks.size))
        return CountedFeed(self, trained, runtime)

    def evaluator(self, runtime: Runtime) -> Evaluator:
        """On the training sample, on what was held out and, where the recipe says so, on the test samples."""
        return SumEvaluator(self, self.watched(), runtime)

    def watched(self) -> dict[str, np.ndarray]:
        """Places of the samples that epochs are measured on."""
        places = self.split()
        places["train"] = spread(places["train"], self.recipe.train_sample)
        if self.recipe.evaluate_test != "epoch":
            places.pop("test", None)
        return places

    def judge(self, record: Mapping[str, Any], steps: int) -> str:
        """A finite loss is no failure."""
        return ""

    def conclude(self, model: nn.Module, runtime: Runtime) -> dict[str, Any]:
        """The test samples, where the recipe leaves them for the end."""
        places = self.split()
        if self.recipe.evaluate_test == "epoch" or "test" not in places:
            return {}
        found = SumEvaluator(self, {"test": places["test"]}, runtime)(model)
        return {"test": {name.removeprefix("test_"): value for name, value in found.items()}}

    def read(self, limit: int | None, split: str = "test") -> Batches:
        """Evenly spread samples of a split, in batches as those of training."""
        places = self.split()
        if split not in places:
            raise InputError(f"`{self.name}` has no `{split}` samples: choose {' or '.join(places)}")
        chosen, step = spread(places[split], limit), self.recipe.batch
        of = "test" if split == "test" else "train"
        made = self.read_parts(of, [chosen[first : first + step] for first in range(0, len(chosen), step)])
        facts = self.facts
        return Batches(
            made, self.name, self.loss_unit, self.score, limit, f"{len(chosen):,} {split} {self.samples_name}",
            dataset=facts.get("dataset"), split=split, content_hash=facts.get("content_hash"),
            samples_name=self.samples_name,
        )  # fmt: skip

    def read_parts(self, split: str, parts: Sequence[np.ndarray]) -> Sequence[Batch]:
        """`batch` of each of several parts; here all at once."""
        return tuple(self.batch(split, part) for part in parts)

    def augmented(self, batches: Batches, seed: int) -> Batches:
        """Themselves."""
        return batches

    def probe(self, count: int, runtime: Runtime) -> Batches:
        """Training samples as they are."""
        return self.read(min(count, self.recipe.train_sample), "train")

    def split(self) -> dict[str, np.ndarray]:
        """Places of the samples of ``train``, ``val`` and ``test``; what is empty is left out."""
        recipe, count = self.recipe, self.count("train")
        order = np.random.default_rng([recipe.split_seed, 0x53504C54]).permutation(count)
        kept = order[: recipe.subset or count]
        held = round(recipe.validation * len(kept))
        places = {"train": kept[held:], "val": kept[:held], "test": np.arange(self.count("test"))}
        return {name: np.sort(found) for name, found in places.items() if len(found)}


@dataclass(frozen=True, eq=False)
class CountedPlan:
    """An epoch's order of the training samples.

    Attributes:
        order: (n,) places.
        size: Samples a step.
        steps: Of the epoch.
    """

    order: np.ndarray
    size: int
    steps: int

    def shown(self, steps: int) -> int:
        """The last batch may be smaller."""
        return min(steps * self.size, len(self.order))


class CountedFeed:
    """Takes batches of one number of samples and puts them on the device."""

    def __init__(self, task: BaseTask, trained: np.ndarray, runtime: Runtime) -> None:
        self.task, self.trained, self.runtime = task, trained, runtime
        self.steps = count_steps(task.recipe, len(trained))

    def plan(self, seed: int, epoch: int) -> CountedPlan:
        """Each seed and epoch has a stream of its own."""
        order = np.random.default_rng([seed, epoch, 0x4F524452]).permutation(self.trained)
        return CountedPlan(order, self.task.recipe.batch, self.steps)

    def load(self, plan: CountedPlan, step: int, ranks: Ranks) -> list[Batch]:
        """One batch."""
        start = step * plan.size
        first, last = ranks.shard(start, min(start + plan.size, len(plan.order)))
        return [place(self.task.batch("train", plan.order[first:last]), self.runtime.device)]


class SumEvaluator:
    """Mean loss and score over sets of samples, which stay on the host."""

    def __init__(self, task: BaseTask, places: Mapping[str, np.ndarray], runtime: Runtime) -> None:
        self.task, self.places, self.runtime = task, places, runtime

    @property
    def sizes(self) -> dict[str, int]:
        """Samples of each set."""
        return {name: len(places) for name, places in self.places.items()}

    def __call__(self, model: nn.Module) -> dict[str, float | None]:
        """In the precision of the training."""
        record: dict[str, float | None] = {}
        for name, places in self.places.items():
            loss, score = self._measure(model, "test" if name == "test" else "train", places)
            if name == "train":
                record["train_loss_eval"] = loss
                continue
            record[f"{name}_loss"] = loss
            if self.task.score is not None:
                record[f"{name}_{self.task.score.key}"] = score
        return record

    def _measure(self, model: nn.Module, split: str, places: np.ndarray) -> tuple[float, float]:
        total = np.zeros(3)
        with eval_mode(model), torch.no_grad(), self.runtime.autocast():
            for batch in self._batches(split, places):
                total += torch.stack([*self.task.evaluate(model, batch)]).cpu().double().numpy()
        loss, score, weight = total
        return float(loss / weight), float(score / weight)

    def _batches(self, split: str, places: np.ndarray) -> Iterator[Batch]:
        for first in range(0, len(places), _READ_BATCH):
            yield place(self.task.batch(split, places[first : first + _READ_BATCH]), self.runtime.device)
