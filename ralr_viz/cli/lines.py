"""The one way to print: data on stdout, notes on stderr, whatever names they hold.

A name may come from an archive, a checkpoint or a log of anybody's; what is printed of it obeys no terminal and
begins no line of its own (`one_line`).
"""

from __future__ import annotations

import json
import sys
from typing import Any

import typer

from ralr_viz.foreign import one_line


def print_line(line: object) -> None:
    """A line of data, or a path, on stdout."""
    typer.echo(one_line(line, None))


def print_document(text: str) -> None:
    """Text of several lines, ended by a newline, on stdout."""
    for line in text.removesuffix("\n").split("\n"):
        print_line(line)


def print_json(value: Any, indent: int | None = 1) -> None:
    """A value as JSON in ASCII, which escapes all else, on stdout."""
    typer.echo(json.dumps(value, indent=indent))


def print_note(line: object) -> None:
    """A line on stderr, at once."""
    print(one_line(line, None), file=sys.stderr, flush=True)
