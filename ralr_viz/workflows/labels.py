"""What the user calls the inputs of a command."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, TypeVar

from ralr_viz.errors import InputError
from ralr_viz.results.bundle import Result

AnyResult = TypeVar("AnyResult", bound=Result)
_NAMES = ("group", "models", "runs")
"""Fields of results of runs by whose values their lines are told apart."""


def check_labels(labels: Sequence[str], inputs: int) -> list[str]:
    """The labels, one for each input.

    Raises:
        InputError: Another number of labels, an empty one, or one twice.
    """
    if len(labels) != inputs:
        raise InputError(
            f"`--label` is given {len(labels)} times for {inputs} inputs: name each, in their order"
        )
    for i, label in enumerate(labels):
        if not label.strip():
            raise InputError(f"`--label {label!r}` is empty: give a name")
        if label in labels[:i]:
            raise InputError(f"`--label {label}` is given twice: names must differ")
    return list(labels)


def relabel_runs(result: AnyResult, labels: Sequence[str]) -> AnyResult:
    """A result of runs whose lines have other names: of the groups that are averaged, else of the runs.

    Raises:
        InputError: As `check_labels`.
    """
    name = next(name for name in _NAMES if hasattr(result, name))
    old = getattr(result, name)
    new = dict(zip(dict.fromkeys(old), check_labels(labels, len(set(old))), strict=True))
    changes: dict[str, Any] = {name: tuple(new[one] for one in old)}
    return dataclasses.replace(result, **changes)
