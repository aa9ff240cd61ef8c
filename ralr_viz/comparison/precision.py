"""What is computed of a comparison is computed in its precision."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import nullcontext
from typing import ParamSpec, TypeVar

from ralr_viz.comparison.comparison import Comparison

P = ParamSpec("P")
R = TypeVar("R")


def in_its_precision(compute: Callable[P, R]) -> Callable[P, R]:
    """A function whose first argument is a `Comparison`, with products of fp32 numbers as that one's precision says.

    Every function that runs a comparison's networks bears it: torch's own default is TF32 on CUDA. Afterwards torch's
    global switches are as they were.
    """

    @functools.wraps(compute)
    def call(*arguments: P.args, **named: P.kwargs) -> R:
        given = [*arguments, *named.values()]
        compared = next((value for value in given if isinstance(value, Comparison)), None)
        with nullcontext() if compared is None else compared.runtime.arithmetic():
            return compute(*arguments, **named)

    return call
