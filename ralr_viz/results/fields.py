"""What the fields of saved results may hold: declared once, with the field, and checked wherever one is made or read."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Union

import numpy as np

_KINDS = {"float": "fiu", "integer": "iu", "boolean": "b", "text": "U"}
_LONGEST_SHOWN = 60

LARGEST = 1e100
"""Of all finite numbers of an array: beyond, their squares and cubes overflow. What a network computes is smaller."""

MOST_DRAWS = 1_000_000
"""Of a bootstrap, as the command line has it: more fill the memory of who reads the result."""

Size = str | int | tuple[int, ...]
"""How long an axis is: its name, where all axes of that name in a result are equally long (``epochs+1`` is one
longer than ``epochs``), a number, or one of a few numbers."""


@dataclass(frozen=True)
class Array:
    """An array field: ``values: Annotated[np.ndarray, Array("float", ("models", "images"), unit="nats")]``.

    Attributes:
        kind: ``float`` (integers too), ``integer``, ``boolean`` or ``text``.
        axes: Its shape.
        unit: Of its values; empty for pure numbers, names and places.
        fewest: No axis is shorter.
        finite: Whether a NaN or an infinity, which else stand for "not measured" or "not defined", is no value of it.
    """

    kind: str
    axes: tuple[Size, ...]
    unit: str = ""
    fewest: int = 0
    finite: bool = False


@dataclass(frozen=True)
class Axis:
    """The lengths of a tuple, and of the tuples in it: ``models: Annotated[tuple[str, ...], Axis(("models",))]``.

    Attributes:
        axes: Length of the tuple, then of each tuple in it, as deep as is declared.
        fewest: No axis is shorter.
        optional: Whether the tuple may be empty instead.
        unique: Whether no item may stand there twice, as where figures tell networks apart by their names.
    """

    axes: tuple[Size, ...]
    fewest: int = 0
    optional: bool = False
    unique: bool = False


@dataclass(frozen=True)
class OneOf:
    """Text, or each text of a tuple or an array, that is one of a few: ``split: Annotated[str, OneOf(SPLITS)]``."""

    names: tuple[str, ...]


@dataclass(frozen=True)
class Within:
    """Numbers, alone or in a tuple or an array, from ``low`` to ``high``; NaN and None are not looked at."""

    low: float
    high: float = np.inf


@dataclass(frozen=True)
class PlaceOn:
    """Integers that are places on an axis, or from ``lowest`` on where a negative one means none."""

    axis: str
    lowest: int = 0


@dataclass(frozen=True)
class Keys:
    """A dict that has at least these keys, each with a value of its type."""

    types: Mapping[str, Any]


def check_fields(values: Mapping[str, Any], cls: type) -> None:
    """Check the fields of a result against their declarations.

    Raises:
        TypeError: A field holds another type, or an array of another kind.
        ValueError: An array or a tuple has another shape, disagrees with another field on the length of an axis, or
            holds what its rules exclude.
    """
    declared: list[tuple[str, Any, Any]] = []
    for name, (plain, rules) in declarations(cls).items():
        value = values.get(name)
        if name not in values or (value is None and types.NoneType in typing.get_args(plain)):
            continue
        if not _fits(value, plain):
            shown = "an array" if isinstance(value, np.ndarray) else _shorten(value)
            raise TypeError(f"`{name}` is {shown}, must be of type {_name(plain)}")
        declared += [(name, value, rule) for rule in rules]
    lengths: dict[str, tuple[int, str]] = {}
    for name, value, rule in declared:
        if isinstance(rule, Array):
            _check_array(name, value, rule)
        if isinstance(rule, Array | Axis):
            _check_lengths(name, value, rule, lengths)
    for name, value, rule in declared:
        _check_values(name, value, rule, lengths)


@cache
def declarations(cls: type) -> dict[str, tuple[Any, tuple[Any, ...]]]:
    """Type and rules of each field of a result."""
    found = {}
    for name, hint in typing.get_type_hints(cls, include_extras=True).items():
        plain, *rules = typing.get_args(hint) if typing.get_origin(hint) is typing.Annotated else (hint,)
        found[name] = (plain, tuple(rules))
    return found


def _check_array(name: str, array: np.ndarray, rule: Array) -> None:
    if array.dtype.kind not in _KINDS[rule.kind]:
        raise TypeError(f"`{name}` is an array of {array.dtype}, must be of kind {rule.kind}")
    if array.ndim != len(rule.axes):
        raise ValueError(f"`{name}` is {array.shape}, expects {len(rule.axes)} axes, {_pattern(rule.axes)}")
    if rule.finite and array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError(f"`{name}` holds {int((~np.isfinite(array)).sum())} values that are not finite")
    if array.dtype == np.float64 and (np.isfinite(array) & (np.abs(array) > LARGEST)).any():
        raise ValueError(f"`{name}` holds numbers beyond ±{LARGEST:g}")


def _check_lengths(name: str, value: Any, rule: Array | Axis, lengths: dict[str, tuple[int, str]]) -> None:
    """Check the length of each axis, and note those that no field before has named."""
    if isinstance(rule, Axis) and rule.optional and not value:
        return
    for i, length in _lengths(value, len(rule.axes)):
        axis, wanted, source = rule.axes[i], "", ""
        if isinstance(axis, str):
            base, _, more = axis.partition("+")
            known, other = lengths.setdefault(base, (length - int(more or 0), name))
            if length != known + int(more or 0):
                wanted, source = str(known + int(more or 0)), f" as in `{other}`"
        elif length not in (axis if isinstance(axis, tuple) else (axis,)):
            wanted = str(axis) if isinstance(axis, int) else " or ".join(map(str, axis))
        if not wanted and length < rule.fewest:
            wanted = f"{rule.fewest} or more"
        if wanted:
            raise ValueError(
                f"`{name}` has length {length} on axis {i + 1} of {_pattern(rule.axes)}, expects {wanted}{source}"
            )


def _lengths(value: Any, depth: int) -> Iterator[tuple[int, int]]:
    """(axis, length) of an array's axes, or of a tuple and the tuples in it."""
    if isinstance(value, np.ndarray):
        yield from enumerate(value.shape)
        return
    level = [value]
    for i in range(depth):
        for item in level:
            yield i, len(item)
        level = [inner for item in level for inner in item]


def _check_values(name: str, value: Any, rule: Any, lengths: Mapping[str, tuple[int, str]]) -> None:
    if isinstance(rule, Axis) and rule.unique and len(set(value)) < len(value):
        twice = next(item for item in value if value.count(item) > 1)
        raise ValueError(f"`{name}` holds {_shorten(twice)} more than once, must be unique")
    if isinstance(rule, OneOf):
        for text in _items(value):
            if text not in rule.names:
                raise ValueError(
                    f"`{name}` is {_shorten(text)}, must be one of {', '.join(map(repr, rule.names))}"
                )
    if isinstance(rule, PlaceOn):
        last = lengths[rule.axis][0] - 1
        _check_range(name, value, rule.lowest, last, f", a place on axis {rule.axis}")
    if isinstance(rule, Within):
        _check_range(name, value, rule.low, rule.high)
    if isinstance(rule, Keys):
        for key, hint in rule.types.items():
            if not _fits(value.get(key), hint):
                raise TypeError(
                    f"`{name}` has {_shorten(value.get(key))} for {key!r}, must be of {_name(hint)}"
                )


def _check_range(name: str, value: Any, low: float, high: float, what: str = "") -> None:
    numbers = np.array([item for item in _items(value) if item is not None])
    if outside := numbers[(numbers < low) | (numbers > high)].tolist():
        bounds = f"{low} or more" if high == np.inf else f"from {low} to {high}"
        raise ValueError(f"`{name}` holds {outside[0]}, must be {bounds}{what}")


def _items(value: Any) -> Any:
    """The single values of a plain value, a tuple of tuples or an array."""
    if isinstance(value, np.ndarray):
        return value.ravel().tolist() if value.dtype.kind == "U" else value.ravel()
    return [single for item in value for single in _items(item)] if isinstance(value, tuple) else [value]


def _pattern(axes: tuple[Size, ...]) -> str:
    return f"({', '.join(' or '.join(map(str, a)) if isinstance(a, tuple) else str(a) for a in axes)})"


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
