"""What the fields of saved results may hold: declared once, with the field, and checked wherever one is made or read."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Union

import numpy as np

_KINDS = {"float": "fiu", "integer": "iu", "boolean": "b", "text": "U"}
_LONGEST_SHOWN = 60


@dataclass(frozen=True)
class Array:
    """An array field: ``values: Annotated[np.ndarray, Array("float", 2)]``.

    Attributes:
        kind: ``float`` (integers too), ``integer``, ``boolean`` or ``text``.
        axes: How many.
        finite: Whether a NaN or an infinity, which else stand for "not measured" or "not defined", is no value of it.
    """

    kind: str
    axes: int
    finite: bool = False


@dataclass(frozen=True)
class OneOf:
    """A text field, or each text of a tuple, that is one of a few: ``split: Annotated[str, OneOf(SPLITS)]``."""

    names: tuple[str, ...]


def check_fields(values: Mapping[str, Any], cls: type) -> None:
    """Check the fields of a result against their declarations.

    Raises:
        TypeError: A field holds another type, or an array of another kind.
        ValueError: An array has another number of axes or holds what is not finite, or a text is none of its names.
    """
    for name, hint in _hints(cls).items():
        if name in values:
            _check(name, values[name], hint)


@cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls, include_extras=True)


def _check(name: str, value: Any, hint: Any) -> None:
    plain, *rules = typing.get_args(hint) if typing.get_origin(hint) is typing.Annotated else (hint,)
    if value is None and types.NoneType in typing.get_args(plain):
        return
    if not _fits(value, plain):
        shown = "an array" if isinstance(value, np.ndarray) else _shorten(value)
        raise TypeError(f"`{name}` is {shown}, must be of type {_name(plain)}")
    for rule in rules:
        if isinstance(rule, Array):
            _check_array(name, value, rule)
        elif isinstance(rule, OneOf):
            for text in (value,) if isinstance(value, str) else value:
                if text not in rule.names:
                    raise ValueError(
                        f"`{name}` is {_shorten(text)}, must be one of {', '.join(map(repr, rule.names))}"
                    )


def _check_array(name: str, array: np.ndarray, rule: Array) -> None:
    if array.dtype.kind not in _KINDS[rule.kind]:
        raise TypeError(f"`{name}` is an array of {array.dtype}, must be of kind {rule.kind}")
    if array.ndim != rule.axes:
        raise ValueError(f"`{name}` is {array.shape}, expects {rule.axes} axes")
    if rule.finite and array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError(f"`{name}` holds {int((~np.isfinite(array)).sum())} values that are not finite")


def _fits(value: Any, hint: Any) -> bool:
    """Whether a plain value is of a type such as ``tuple[str | None, ...]``; integers are of their 64-bit range."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return True
    if origin in (Union, types.UnionType):
        return any(_fits(value, one) for one in inner)
    if origin is tuple and not isinstance(value, tuple):
        return False
    if origin is tuple and inner[1:] == (...,):
        return all(_fits(item, inner[0]) for item in value)
    if origin is tuple:
        return len(value) == len(inner) and all(map(_fits, value, inner))
    if origin is dict:
        return isinstance(value, dict) and all(_fits(item, inner[1]) for item in value.values())
    if isinstance(value, bool):
        return hint is bool
    if isinstance(value, int):
        return hint in (int, float) and -(2**63) <= value < 2**63
    return isinstance(value, hint)


def _name(hint: Any) -> str:
    return (
        hint.__name__
        if isinstance(hint, type) and not typing.get_args(hint)
        else str(hint).replace("numpy.", "")
    )


def _shorten(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"
