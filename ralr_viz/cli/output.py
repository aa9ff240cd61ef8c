"""What a command leaves in ``--out``, and says of it."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar

from ralr_viz._version import __version__
from ralr_viz.cli.lines import print_line, print_note

if TYPE_CHECKING:
    from ralr_viz.results.bundle import Result

AnyResult = TypeVar("AnyResult", bound="Result")


def prepare_out(out: Path, stem: str, *, style: str, force: bool, texts: Iterable[str] = ()) -> bool:
    """`prepare_output` for this command."""
    from ralr_viz.workflows.output import prepare_output

    command = describe_command()["command"]
    return prepare_output(out, stem, style=style, force=force, command=command, texts=texts)


def save_all(
    result: Result,
    out: Path,
    stem: str,
    *,
    style: str,
    force: bool,
    quiet: bool = False,
    texts: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """`save_output`; prints the paths, and on stderr what the figure lacks."""
    from ralr_viz.workflows.output import save_output

    note = print_nothing if quiet else print_note
    save_output(result, out, stem, style=style, force=force, texts=texts, saved=print_line, note=note)


def print_nothing(line: object) -> None:
    """For the quiet."""


def with_command(result: AnyResult) -> AnyResult:
    """A result that names this command, before what it was computed from."""
    return result.asked_by(describe_command())


def describe_command() -> dict[str, str]:
    """The provenance that every result has."""
    return {"command": shlex.join(["ralr-viz", *sys.argv[1:]]), "ralr_viz": __version__}
