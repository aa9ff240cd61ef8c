"""One of the networks that are compared: where it comes from, how it is built, what is known of it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from ralr_viz.errors import InputError
from ralr_viz.results.names import method_name, tell_apart
from ralr_viz.train.checkpoint import Checkpoint

Triple = tuple[float, float, float]
PLAIN: tuple[Triple, Triple] = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
"""Normalisation of networks whose task makes its own batches."""


@dataclass(frozen=True, eq=False)
class Network:
    """A network under a name.

    Attributes:
        name: In figures; unique in a comparison.
        source: A checkpoint, or a module, which nothing moves or changes.
        mean, std: Normalisation of its images, per channel in units of [0, 1].
    """

    name: str
    source: Checkpoint | nn.Module
    mean: Triple
    std: Triple

    @property
    def checkpoint(self) -> Checkpoint | None:
        """Where the weights come from; None for a module."""
        return self.source if isinstance(self.source, Checkpoint) else None

    @property
    def recipe(self) -> dict[str, Any]:
        """Of its training; empty where it is not known."""
        return dict((self.checkpoint and self.checkpoint.recipe) or {})

    @property
    def recipe_batch(self) -> int | None:
        """Samples a step in its training; None where its recipe does not say."""
        batch = self.recipe.get("batch")
        return batch if isinstance(batch, int) and not isinstance(batch, bool) and batch > 0 else None

    @property
    def label(self) -> str:
        """Where it comes from, as short as names it: of a checkpoint, its run and epoch."""
        return self.checkpoint.label if self.checkpoint else self.name

    @property
    def shown(self) -> str:
        """What an error calls it: the file, else the name."""
        return str(self.checkpoint.path) if self.checkpoint else self.name

    @property
    def identity(self) -> str | int:
        """Equal for networks that are one file or one module, whatever they are called."""
        return self.checkpoint.sha256 if self.checkpoint else id(self.source)

    def build(self, *, classifier: bool = True, make: Callable[[], nn.Module] | None = None) -> nn.Module:
        """A private copy in eval mode, to be moved and changed at will.

        Args:
            classifier, make: As in `Checkpoint.build`.

        Raises:
            CheckpointError: The weights belong to another architecture or number of classes.
            InputError: The module is TorchScript.
        """
        if isinstance(self.source, Checkpoint):
            return self.source.build(classifier=classifier, make=make)
        return copy.deepcopy(plain_network(self.source)).eval()

    def facts(self) -> dict[str, Any]:
        """What a result keeps of it."""
        known: dict[str, Any] = {"name": self.name}
        if self.checkpoint:
            known |= {"sha256": self.checkpoint.sha256, "epoch": self.checkpoint.epoch}
        return known


def plain_network(model: nn.Module) -> nn.Module:
    """The network itself, where it is the wrapper of `torch.compile`.

    What was compiled does not see hooks that come later, so that the same call would answer differently the
    second time; `capture` has parts that were compiled run as they are written.

    Raises:
        InputError: It is TorchScript, whose modules return nothing to hooks.
    """
    model = getattr(model, "_orig_mod", model)
    if isinstance(model, torch.jit.ScriptModule):
        raise InputError(
            "the network is TorchScript, whose layers cannot be looked into: pass the `nn.Module` that it was made "
            "from, with its state dict"
        )
    return model


def check_scale(mean: Sequence[float], std: Sequence[float]) -> tuple[Triple, Triple]:
    """Mean and std as three floats each.

    Raises:
        InputError: One is not three numbers, or a std is not positive.
    """
    found = []
    for name, values in (("mean", mean), ("std", std)):
        if len(values) != 3 or not np.isfinite(values).all() or (name == "std" and min(values) <= 0):
            rule = "positive numbers" if name == "std" else "numbers"
            raise InputError(f"`{name}` = {tuple(values)} must be three {rule}, in units of [0, 1]")
        red, green, blue = map(float, values)
        found.append((red, green, blue))
    return found[0], found[1]


def name_checkpoints(checkpoints: Sequence[Checkpoint]) -> list[str]:
    """``baseline`` and ``RALR`` where that tells them apart, else seed and epoch too, else what differs."""
    names = [method_name(c.method) if c.method else c.label for c in checkpoints]
    if len(set(names)) == len(names):
        return names
    return label_checkpoints(checkpoints, [c.label for c in checkpoints])


def label_checkpoints(checkpoints: Sequence[Checkpoint], names: Sequence[str]) -> list[str]:
    """Names of checkpoints; equal ones get the settings, else the part of the path, in which they differ."""
    return list(
        tell_apart(
            names,
            [c.path for c in checkpoints],
            settings=[c.recipe or {} for c in checkpoints],
            methods=[c.method for c in checkpoints],
        )
    )
