"""What the steps of an epoch made of each training sample, kept on the device until the epoch is over."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import NamedTuple, cast

import numpy as np
import torch
from torch import Tensor

from ralr_viz.errors import InputError
from ralr_viz.runtime.ranks import Ranks
from ralr_viz.tasks.task import Evaluator, ExampleEvaluator, Task


class Record(NamedTuple):
    """Of an epoch: the examples' places in their split, which were right, and their losses, NaN where not seen; (n,) each."""

    places: np.ndarray
    right: np.ndarray
    losses: np.ndarray


class ExampleTotals:
    """Loss and correctness of each example of the epoch; no step waits for them.

    Args:
        task: What is trained.
        device: Where its steps are.

    Attributes:
        seconds: That the host has spent on the record since `take_seconds`; what a GPU does of it runs beside the steps.

    Raises:
        InputError: The recipe asks for what the task or its data have not.
    """

    def __init__(self, task: Task, device: torch.device) -> None:
        self.seconds = 0.0
        self.places: dict[str, np.ndarray] = {}
        for name in filter(None, task.recipe.examples.split(",")):
            places = task.example_places(name)
            if places is None or not len(places):
                raise InputError(
                    f"`examples` = {task.recipe.examples}: there are no `{name}` examples that this training keeps a record "
                    "of; leave it out, or hold images out by --set validation"
                )
            self.places[name] = places
        # Σ loss, Σ right and how often it was seen: over ranks that each have a part, sums are what it was
        shape = (len(self.places["train"]), 3) if self.of_steps else (0, 3)
        self.values = torch.zeros(shape, device=device)

    @property
    def of_steps(self) -> bool:
        """Whether the samples that are trained on are recorded."""
        return "train" in self.places

    @contextlib.contextmanager
    def timed(self) -> Iterator[None]:
        """What is done within belongs to the price of the record."""
        begin = time.perf_counter()
        yield
        self.seconds += time.perf_counter() - begin

    def take_seconds(self) -> float:
        """The price so far, from 0 again."""
        taken, self.seconds = self.seconds, 0.0
        return taken

    def begin(self, saved: Tensor | None = None) -> None:
        """Forget the last epoch; go on with what was saved of this one."""
        self.values.zero_()
        if saved is not None and self.of_steps:
            self.values.copy_(saved)

    def add(self, rows: Tensor, each: Tensor | None) -> None:
        """Add the samples of a batch.

        Args:
            rows: (b,) int64 among the ``train`` examples.
            each: (b, 2) loss and right of each.
        """
        assert each is not None
        self.values[rows] = torch.cat([each, torch.ones_like(each[:, :1])], 1)

    def whole(self, ranks: Ranks) -> Tensor:
        """Together: of all ranks' parts."""
        return ranks.sum(self.values)

    def records(self, whole: Tensor, evaluator: Evaluator | None) -> dict[str, Record]:
        """Of the epoch that is over; of a set that this epoch was not measured on none.

        Args:
            whole: See `whole`.
            evaluator: Which has just measured the others, if any has.
        """
        found = {}
        for name, places in self.places.items():
            if name == "train":
                losses, right, seen = whole.cpu().numpy().T
                found[name] = Record(places, right > 0, np.where(seen > 0, losses, np.nan))
            elif evaluator is not None:
                losses, right = cast(ExampleEvaluator, evaluator).each[name].cpu().numpy().T
                found[name] = Record(places, right > 0, losses)
        return found
