"""TOML and JSON of files that anybody may have written: the one place where they are parsed."""

from __future__ import annotations

import json
import tomllib
from typing import Any

MOST_NESTED = 64
"""Levels of tables and lists. Ours have six; of hundreds, whatever walks through them later runs out of stack."""


def parse_toml(text: str) -> dict[str, Any]:
    """Content of a TOML document.

    Raises:
        ValueError: It is none, nests deeper than `MOST_NESTED`, or has an integer of thousands of digits.
    """
    try:
        content = tomllib.loads(text)
    except RecursionError:
        raise _too_deep() from None
    _check_depth(content)
    return content


def parse_json(text: str | bytes) -> Any:
    """Content of a JSON document; raises as `parse_toml`."""
    try:
        content = json.loads(text)
    except RecursionError:
        raise _too_deep() from None
    _check_depth(content)
    return content


def _check_depth(content: Any) -> None:
    level = [content]
    for _ in range(MOST_NESTED):
        level = [
            item
            for value in level
            if isinstance(value, dict | list)
            for item in (value.values() if isinstance(value, dict) else value)
        ]
        if not level:
            return
    raise _too_deep()


def _too_deep() -> ValueError:
    return ValueError(f"it nests deeper than {MOST_NESTED} levels")
