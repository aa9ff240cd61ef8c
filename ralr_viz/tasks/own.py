"""A task of anybody's own: a loader, a loss, and perhaps a score."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from ralr_viz.errors import InputError
from ralr_viz.foreign import describe_error
from ralr_viz.own_code import call_named
from ralr_viz.results.tasks import Score
from ralr_viz.tasks.batches import Batch, Batches, bytes_of, count_samples
from ralr_viz.tasks.exact import exact
from ralr_viz.tasks.task import Each, Sums

Measured = Tensor | float | tuple[Tensor | float, Tensor | float]
"""The mean over a batch, or Σ value and Σ weight."""
Measure = Callable[[nn.Module, Batch], Measured]


@dataclass(frozen=True, eq=False)
class OwnTask:
    """What `task` makes.

    Attributes:
        loader: Gives the batches, each time it is gone through.
        name: For texts.
        score: What ``measure_score`` gives; None where there is none.
        loss_unit: Of the loss; empty where it is not known.
    """

    loader: Iterable[Batch]
    measure_loss: Measure
    measure_score: Measure | None
    name: str
    score: Score | None
    loss_unit: str = ""

    def read(self, limit: int | None = None, split: str = "") -> Batches:
        """The first batches of the loader, kept, so that every network sees the same.

        Args:
            limit: At most so many; None for all.
            split: Is the loader's.

        Raises:
            InputError: There is none, or the loader fails.
        """
        try:
            found = tuple(itertools.islice(iter(self.loader), limit))
        except Exception as error:
            raise InputError(f"the loader of `{self.name}` failed: {describe_error(error)}") from error
        if not found:
            raise InputError(f"the loader of `{self.name}` gives no batch")
        return Batches(found, self.name, self.loss_unit, self.score, limit)

    def augmented(self, batches: Batches, seed: int) -> Batches:
        """Themselves: they are as the loader gave them."""
        return batches

    def fingerprint(self, limit: int | None = None) -> str:
        """Hash of the batches and of the loss's own code, for what is kept between two calls."""
        digest = hashlib.sha256(self.name.encode())
        for measure in filter(None, (self.measure_loss, self.measure_score)):
            code = getattr(measure, "__code__", None)
            digest.update(
                code.co_code + repr(code.co_consts).encode() if code else type(measure).__name__.encode()
            )
        for batch in self.read(limit).batches:
            digest.update(bytes_of(batch))
        return digest.hexdigest()

    def prepare(self, model: nn.Module, batch: Batch) -> None:
        """Try the loss on the first batch."""
        with torch.no_grad():
            total, weight = self.loss(model, batch)
        if not math.isfinite(float(total)):
            raise InputError(
                f"the loss of `{self.name}` is not finite on the first batch: the network has diverged, choose another"
            )
        if not float(weight) > 0:
            raise InputError(
                f"the weight of the first batch of `{self.name}` is {float(weight):g}: it must be above 0"
            )

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """Σ loss with its graph, and Σ weight; a mean counts as often as the batch has samples."""
        return self._sum("loss", self.measure_loss, model, batch)

    @torch.no_grad()
    def evaluate(self, model: nn.Module, batch: Batch) -> Sums:
        """Σ loss, Σ score and Σ weight; a score with a weight of its own counts by that."""
        loss, weight = self._sum("loss", self.measure_loss, model, batch)
        loss, weight = exact(loss), exact(weight)
        score = torch.full_like(loss, math.nan)
        if self.measure_score is not None:
            total, of = self._sum("score", self.measure_score, model, batch)
            score = exact(total) * (weight / exact(of))
        return Sums(loss, score, weight)

    @torch.no_grad()
    def each(self, model: nn.Module, batch: Batch) -> Each:
        """Of the batch as a whole, since its samples are not known."""
        loss, weight = self._sum("loss", self.measure_loss, model, batch)
        weight = exact(weight).reshape(1)
        return Each(exact(loss).reshape(1) / weight, weight, None)

    def _sum(self, what: str, measure: Measure, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        try:
            value = measure(model, batch)
        except InputError:
            raise
        except Exception as error:
            raise InputError(f"the {what} of `{self.name}` failed: {describe_error(error)}") from error
        summed = isinstance(value, tuple)
        first, weight = value if isinstance(value, tuple) else (value, float(count_samples(batch)))
        if not isinstance(first, Tensor) and what == "loss":
            raise InputError(
                f"the loss of `{self.name}` returned a {type(first).__name__}: return a scalar tensor, the batch's mean, "
                "or a pair of them, Σ loss and Σ weight"
            )
        total = torch.as_tensor(first)
        if total.numel() != 1:
            raise InputError(
                f"the {what} of `{self.name}` has the shape {tuple(total.shape)}: return one number, the batch's mean, "
                f"or a pair, Σ {what} and Σ weight"
            )
        total = total.reshape(())
        share = torch.as_tensor(weight, dtype=total.dtype, device=total.device).reshape(())
        return (total if summed else total * share), share


def task(
    loader: Iterable[Batch],
    loss: Measure,
    score: Measure | None = None,
    *,
    better: Literal["higher", "lower"] = "higher",
    name: str = "own task",
    title: str = "score",
    unit: str = "",
    loss_unit: str = "",
) -> OwnTask:
    """Anybody's objective, for `compare` and the diagnostics of weights.

    Args:
        loader: Gives batches of any kind: a list, a ``DataLoader``. What is compared keeps them, so give as many as
            fit the memory (or ``limit`` of `compare`).
        loss: ``loss(model, batch)``: the batch's mean, a scalar tensor with its graph, or Σ loss and Σ weight. The
            tensors of the batch are on the network's device.
        score: Likewise, how well the network does; no graph is needed.
        better: Which direction of the score is better.
        name: For texts.
        title, unit: Of the score.
        loss_unit: Of the loss, such as ``nats``.

    Example:
        >>> texts = task(loader, lambda model, batch: cross_entropy(model(batch.x), batch.y), name="texts")  # doctest: +SKIP
        >>> pair = compare({"SGD": before, "RALR": after}, task=texts)  # doctest: +SKIP
    """
    told = Score("score", title, unit, better) if score is not None else None
    return OwnTask(loader, loss, score, name, told, loss_unit)


def load_task(named: str) -> OwnTask:
    """The task that ``package.module:factory`` makes, a factory without arguments.

    Args:
        named: As the user typed it: that code is run.

    Raises:
        InputError: It cannot be imported, fails, or makes something else.
    """
    made = call_named(named)
    if not isinstance(made, OwnTask):
        raise InputError(
            f"`{named}` returned a {type(made).__name__}: return what `ralr_viz.task(loader, loss)` makes"
        )
    return made
