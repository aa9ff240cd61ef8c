"""Values of a recipe's settings as TOML and ``--set`` write them."""

from __future__ import annotations

import tomllib
from typing import Any

from ralr_viz.errors import InputError

_EXAMPLES = {"tuple": "0.5,0.75", "bool": "true", "int": "30", "float": "0.1", "str": "NAME"}


def parse_value(text: str) -> Any:
    """TOML's value, a list where several stand between commas, or the text itself where it is neither."""
    for candidate in (text, f"[{text}]"):
        try:
            return tomllib.loads(f"value = {candidate}")["value"]
        except tomllib.TOMLDecodeError:
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
        value = tuple(value) if isinstance(value, list) else (value,)
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
        if _is_number(value):
            return float(value)
    elif isinstance(value, str):
        return value
    kind = annotation.split("[")[0].removeprefix("int | ")
    raise InputError(f"`{name}` = {value!r} must be of type {kind}, e.g. --set {name}={_EXAMPLES[kind]}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
