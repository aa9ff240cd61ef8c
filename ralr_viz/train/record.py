"""One epoch's record, as somebody's loop hands it over and as JSON keeps it."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from typing import Any

import numpy as np

from ralr_viz.errors import InputError
from ralr_viz.results.columns import ACCURACIES
from ralr_viz.results.run import are_shares

_MANY_CLASSES = 20  # with more, a first epoch may be near one per cent by chance


def clean_record(record: Mapping[str, Any], last: int, num_classes: int | None) -> dict[str, Any]:
    """The record in plain numbers, None where a value is not finite.

    Args:
        record: ``epoch`` and the quantities; numbers of Python, NumPy or torch.
        last: Last logged epoch, 0 before the first.
        num_classes: Where known; decides whether an accuracy below 1 may be in per cent.

    Raises:
        InputError: ``epoch`` is no integer, below 1 or does not grow; a value that is no number; an accuracy outside
            [0, 100]; or accuracies of the first epoch below 1, which are shares unless there are many classes.
    """
    epoch = _integer(record.get("epoch"))
    if epoch is None or epoch <= last:
        first = "" if last else "epochs count from 1 and "
        raise InputError(
            f"`epoch` = {record.get('epoch')!r} must be an integer above the last logged one, {last}: {first}"
            "each is logged once"
        )
    clean = {name: _number(name, value) for name, value in record.items()} | {"epoch": epoch}
    known = {name: float(value) for name in ACCURACIES if (value := clean.get(name)) is not None}
    for name, value in known.items():
        if not 0 <= value <= 100:
            raise InputError(
                f"`{name}` = {value!r} must be in per cent, in [0, 100]: log 100 · correct / all"
            )
    few = (num_classes or 0) < _MANY_CLASSES
    if few and not last and are_shares([np.array(list(known.values()))]) and max(known.values()) < 1:
        name, value = max(known.items(), key=lambda item: item[1])
        raise InputError(
            f"`{name}` = {value!r} looks like a share: accuracies are in per cent, log {100 * value:g} (with "
            f"{_MANY_CLASSES} classes or more, where it may be one, give num_classes)"
        )
    return clean


def _integer(value: Any) -> int | None:
    """An integer of Python, NumPy or torch; None for anything else, also for a truth value."""
    if isinstance(value, bool | np.bool_):
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None


def _number(name: str, value: Any) -> float | int | None:
    """A value as JSON keeps it, None where it is not finite.

    Raises:
        InputError: It is no number.
    """
    if value is None or isinstance(value, bool):
        return value
    if (whole := _integer(value)) is not None:
        return whole
    try:
        if isinstance(value, str):  # "0.5" too: a text is a slip
            raise TypeError
        number = float(value)
    except (TypeError, ValueError, RuntimeError):
        shown = repr(value) if isinstance(value, str) else f"a {type(value).__name__}"
        raise InputError(f"`{name}` = {shown} must be one number or None: log a float") from None
    return number if math.isfinite(number) else None
