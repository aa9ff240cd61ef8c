"""Values of a recipe's settings as TOML and ``--set`` write them."""

from __future__ import annotations

import contextlib
from typing import Any

from ralr_viz.errors import InputError
from ralr_viz.results.document import parse_toml

_LONGEST_SHOWN = 200
_EXAMPLES = {"tuple": "0.5,0.75", "bool": "true", "int": "30", "float": "0.1", "str": "NAME"}


def parse_value(text: str) -> Any:
    """TOML's value, a list where several stand between commas, or the text itself where it is neither."""
    for candidate in (text, f"[{text}]"):
        try:
            return parse_toml(f"value = {candidate}")["value"]
        except ValueError:
            continue
    return text


def coerce_value(name: str, value: Any, annotation: str) -> Any:
    """Accept what TOML can write for a field: an integer for a float, a list or a number for a tuple.

    Args:
        name: Of the field, for the message.
        value: As TOML gives it.
        annotation: The field's type, as it stands in the class.

    Raises:
        InputError: Another type.
    """
    if annotation.startswith("tuple"):
        value = tuple(value) if isinstance(value, list | tuple) else (value,)
        if all(_is_number(v) for v in value):
            return value
    elif annotation == "bool":
        if isinstance(value, bool):
            return value
    elif annotation == "int":
        if _is_number(value) and isinstance(value, int):
            return value
    elif annotation == "int | float":  # epochs, or a fraction of them
        if _is_number(value):
            return value
    elif annotation == "float":
        with contextlib.suppress(OverflowError):  # TOML's integers have no bound
            if _is_number(value):
                return float(value)
    elif isinstance(value, str):
        return value
    kind = annotation.split("[")[0].removeprefix("int | ")
    raise InputError(
        f"`{name}` = {shorten(value)} must be of type {kind}, e.g. --set {name}={_EXAMPLES[kind]}"
    )


def shorten(value: object) -> str:
    """A value of a setting as a message shows it."""
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
