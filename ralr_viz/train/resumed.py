"""What a run that is gone on with must have in common with what it was, and what is kept of the difference."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ralr_viz.errors import CheckpointError, InputError
from ralr_viz.foreign import one_line
from ralr_viz.recipe import changed_settings
from ralr_viz.results.document import parse_json

_SAME = ("method", "seed", "arch", "num_classes", "dataset", "content_hash", "weights_sha256")


def check_same_run(directory: Path, saved: Mapping[str, Any], header: Mapping[str, Any]) -> None:
    """Refuse a state on disk that is of another training than the one asked for.

    Args:
        directory: Of the run, for the message.
        saved: Header of the state.
        header: What is asked for.

    Raises:
        InputError: It is.
    """
    values = {n: (saved[n], header[n]) for n in _SAME if n in saved and n in header}
    before, now = saved.get("recipe") or {}, header["recipe"]
    for name in changed_settings(before, now, header["method"]):
        values[name] = (before.get(name), now.get(name))
    for name, (there, here) in values.items():
        if there != here:
            raise InputError(
                f"the run in `{directory}` has `{name}` = {there}, not {here}: "
                "go on with what it had or choose another --runs"
            )


def check_history(history: Any) -> list[dict[str, Any]]:
    """The records of a checkpoint, if they can be logged again.

    Raises:
        CheckpointError: They cannot.
    """
    try:
        if not all(isinstance(record["epoch"], int) for record in history):
            raise TypeError("an epoch is no integer")
        json.dumps(history, allow_nan=False)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"its history is damaged: {one_line(error)}") from None
    return list(history)


def with_earlier(path: Path, environment: Mapping[str, Any]) -> dict[str, Any]:
    """The environment and, under ``earlier``, what differed in those that the run had before.

    Args:
        path: ``env.json`` as it was.
        environment: As it is.
    """
    try:
        before = parse_json(path.read_text(encoding="utf-8"))
        earlier = list(before.pop("earlier", []))
    except (OSError, ValueError, TypeError, AttributeError):
        return dict(environment)  # nothing to compare with
    now = json.loads(json.dumps(dict(environment)))
    changed = {name: value for name, value in before.items() if now.get(name) != value}
    earlier += [changed] if changed and changed not in earlier else []
    return now | ({"earlier": earlier} if earlier else {})
