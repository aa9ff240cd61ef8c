"""Every option of every command, its default and its words: what changes shows in the diff of `golden/options.csv`."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from ralr_viz.cli.app import app

SNAPSHOT = Path(__file__).parents[1] / "golden" / "options.csv"
HEADER = ("command", "option", "required", "default", "help")


def list_options(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    commands = getattr(command, "commands", None)
    if commands is not None:
        for name, child in commands.items():
            yield from list_options(child, (*path, name))
        return
    for parameter in command.params:
        names = "/".join([*parameter.opts, *parameter.secondary_opts])
        default = parameter.default() if callable(parameter.default) else parameter.default
        shown = "" if parameter.required or default is None else str(default)
        yield " ".join(path), names, str(parameter.required), shown, getattr(parameter, "help", "") or ""


def test_commands_and_options_are_those_of_the_snapshot() -> None:
    rows = sorted(list_options(typer.main.get_command(app)))
    if os.environ.get("RALR_VIZ_GOLDEN") == "write":
        with SNAPSHOT.open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([HEADER, *rows])
    with SNAPSHOT.open(newline="") as file:
        expected = [tuple(row) for row in csv.reader(file)][1:]
    assert rows == expected, "write it anew by RALR_VIZ_GOLDEN=write, and read the diff"
