"""A noun: something that is computed of networks or runs, saved, and drawn."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from ralr_viz.nouns.option import Option


@dataclass(frozen=True)
class Inputs:
    """Defaults of the options by which a command opens what is compared.

    Attributes:
        split, limit, batch, precision: Of the options of these names; ``split`` empty and ``batch`` 0 for a noun that
            has no such option.
        limit_on_gpu: Of ``--limit`` there, where it is another.
        limit_help, precision_help: Of the option, where it is not the common one.
        auto_precision: What ``--precision auto`` means.
        augment: Whether images get one draw of training's augmentation, unless ``--no-augment``.
        churn: Of runs: whether the predictions at both ends of their late phase are compared, unless ``--no-churn``.
        kept: Of runs: whether ``--kept`` evaluates the states that they have kept.
    """

    split: str = "test"
    limit: int | None = None
    batch: int = 500
    precision: str = "fp32"
    limit_on_gpu: int | None = None
    limit_help: str = ""
    precision_help: str = ""
    auto_precision: str = "auto"
    augment: bool = False
    churn: bool = False
    kept: bool = False


@dataclass(frozen=True)
class Spec:
    """What a noun's own file says.

    Attributes:
        help: Of the command: a sentence, more where needed, and an example.
        options: Of its own.
        inputs: Defaults of the common ones.
    """

    help: str
    options: tuple[Option, ...] = ()
    inputs: Inputs = Inputs()


Takes = Literal[
    "networks",
    "networks or path",
    "pairs",
    "pairs and nulls",
    "pictures",
    "detectors",
    "runs",
    "logs",
    "state",
]
"""``networks`` of ``--ckpt``, or the ``path`` through the epochs that the run of ``--run`` has kept; ``pairs`` of them, with those of ``--null`` behind; ``pictures`` that they look at; ``detectors`` of ``--ckpt``; ``runs`` of ``--run``; ``logs``, which
may be anybody's CSV; a ``state`` to continue."""


ANY = ("any",)
"""Tasks of a noun that needs a loss at most."""


@dataclass(frozen=True)
class Noun:
    """One row of the table.

    Attributes:
        name: ``compute_name``, ``draw_name``, ``analysis/name``, ``results/name``, ``plots/name`` follow from it.
        takes: What its command opens.
        cost: Relative time in ``why`` of one network of CIFAR-10's, a ResNet-20, at its defaults: about the thousands of images that
            pass forward; 0 where ``why`` does not run it.
        command: Where it is not the name.
        trains: Whether it trains: ``why`` then runs it only where it is asked for by name.
        tasks: For which it is; `ANY` where it looks at weights or records alone, so that any will do.
    """

    name: str
    takes: Takes
    cost: int = 0
    command: str = ""
    tasks: tuple[str, ...] = ("classification",)
    trains: bool = False

    @property
    def of_any_task(self) -> bool:
        """Whether it needs neither images nor classes."""
        return self.tasks == ANY

    def takes_task(self, name: str) -> bool:
        """Whether it is for that task."""
        return self.of_any_task or name in self.tasks

    @property
    def command_name(self) -> str:
        """After ``ralr-viz``."""
        return self.command or self.name.replace("_", "-")

    @property
    def spec(self) -> Spec:
        """Its own file."""
        found: Spec = importlib.import_module(f"ralr_viz.nouns.{self.name}").SPEC
        return found

    @property
    def public_names(self) -> dict[str, str]:
        """Public name → module that it is loaded from."""
        return {
            f"{verb}_{self.name}": f"ralr_viz.{package}.{self.name}"
            for verb, package in (("compute", "analysis"), ("draw", "plots"))
        }

    def load(self, verb: Literal["compute", "draw"]) -> Callable[..., Any]:
        """Its function of that verb; imports torch or matplotlib."""
        name = f"{verb}_{self.name}"
        function: Callable[..., Any] = getattr(importlib.import_module(self.public_names[name]), name)
        return function
