"""Scores of averaged weights, kept in a run directory beside its result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ralr_viz.errors import InputError
from ralr_viz.results.document import parse_json

AVERAGES = "averages.json"
KINDS = ("swa", "ema")
"""Plain mean of the late states (stochastic weight averaging), and a mean that forgets (exponential)."""


def read_averages(directory: Path) -> dict[str, dict[str, Any]]:
    """By kind: ``epochs``, ``start``, ``decay``, and for each set its ``loss``, score and ``n``; empty where there is none.

    Raises:
        InputError: The file is damaged.
    """
    path = directory / AVERAGES
    try:
        found = parse_json(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict) or not all(isinstance(entry, dict) for entry in found.values()):
            raise ValueError
    except FileNotFoundError:
        return {}
    except (OSError, ValueError):
        raise InputError(f"`{path}` is damaged: delete it and run `ralr-viz average` again") from None
    return {kind: entry for kind, entry in found.items() if kind in KINDS}
