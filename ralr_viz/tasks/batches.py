"""Batches in the place of images: what a criterion is measured on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor

from ralr_viz.errors import InputError
from ralr_viz.models.outputs import tensors_in
from ralr_viz.nouns import NOUNS
from ralr_viz.results.of_loss import describe_task
from ralr_viz.results.tasks import About, Score

Batch = Any
"""What a task's loss takes beside the network; only the task looks into it."""


@dataclass(frozen=True, eq=False)
class Batches:
    """Batches of a task, in the place of images.

    Attributes:
        batches: n of them.
        name, loss_unit, score: Of the task.
        limit, choice: As in `Samples`.
        dataset, split, content_hash: Of the data; None where they are not known.
        augmentation: What was done to the samples, in words; empty for nothing.
        samples_name: What is counted; ``batches`` where the samples are not known.
    """

    batches: Sequence[Batch]
    name: str
    loss_unit: str = ""
    score: Score | None = None
    limit: int | None = None
    choice: str = ""

    dataset: str | None = None
    split: str | None = None
    content_hash: str | None = None
    augmentation: str = ""
    samples_name: str = "batches"

    store = boxes = None
    class_names: tuple[str, ...] = ()
    names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.batches)

    @property
    def indices(self) -> np.ndarray:
        """0 … n − 1."""
        return np.arange(len(self))

    def on_device(self, device: torch.device) -> Iterator[Batch]:
        """The batches, one after the other on the device."""
        return (place(batch, device) for batch in self.batches)

    def refuse_images(self) -> NoReturn:
        """Say what such a task can be looked at by.

        Raises:
            InputError: Always.
        """
        raise InputError(
            f"`{self.name}` has no images with one class each: take what needs none ("
            f"{', '.join(noun.command_name for noun in NOUNS.values() if noun.takes_task(self.name))})"
        )

    @property
    def images(self) -> np.ndarray:
        """There are none; see `refuse_images`."""
        self.refuse_images()

    @property
    def labels(self) -> np.ndarray:
        """There are none; see `refuse_images`."""
        self.refuse_images()

    def take(self, rows: np.ndarray, choice: str = "") -> Batches:
        """Some of them, by their places."""
        return replace(self, batches=tuple(self.batches[int(i)] for i in rows), choice=choice)

    @property
    def selection(self) -> str:
        """Which they are."""
        return self.choice or f"{len(self):,} batches of {self.name}"

    def describe(self) -> dict[str, Any]:
        """As `Samples.describe`."""
        return {
            "dataset": self.dataset,
            "split": self.split,
            "augmentation": self.augmentation,
            "loss_name": f"loss of {self.name}",
            **describe_task(About(self.score, self.loss_unit, self.samples_name)),
        }


class MadeWhenAsked(Sequence[Batch]):
    """Batches that are made each time anew, where all together would fill the memory.

    Args:
        make: A batch of what is given.
        parts: What each is made of.
    """

    def __init__(self, make: Callable[[Any], Batch], parts: Sequence[Any]) -> None:
        self._make, self._parts = make, parts

    def __len__(self) -> int:
        return len(self._parts)

    def __getitem__(self, i: Any) -> Batch:
        return self._make(self._parts[i])


def count_samples(batch: Batch) -> int:
    """Length of the first tensor's first axis; 1 where there is none."""
    first = next((tensor for tensor in tensors_in(batch) if tensor.ndim), None)
    return 1 if first is None else len(first)


def bytes_of(batch: Batch) -> bytes:
    """Its tensors' content, one after the other, for a hash."""
    return b"".join(
        tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
        for tensor in tensors_in(batch)
    )


def place(batch: Batch, device: torch.device) -> Batch:
    """The batch with its tensors on the device; containers are rebuilt, others are asked by their ``to``."""
    if isinstance(batch, Tensor) or hasattr(batch, "to"):
        return batch.to(device)
    if isinstance(batch, Mapping):
        return {key: place(value, device) for key, value in batch.items()}
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(place(value, device) for value in batch))
    if isinstance(batch, tuple | list):
        return type(batch)(place(value, device) for value in batch)
    return batch
