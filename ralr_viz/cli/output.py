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


def open_command(page: Path) -> str:
    """What opens a page in the browser of this system."""
    program = {"darwin": "open", "win32": "start"}.get(sys.platform, "xdg-open")
    return f"{program} {shlex.quote(str(page))}"


def describe_pasteable() -> dict[str, str]:
    """The same, of a command that runs when it is pasted in the folder where it ran, and replaces what it made then.

    A path below that folder or the home folder is written from there; of others no more than the last part is shown to
    whoever is mailed the page, who has to put in their own.
    """
    words = [_word_from_here(word) for word in sys.argv[1:]]
    force = [] if "--force" in words else ["--force"]
    return describe_command() | {"command": " ".join(["ralr-viz", *words, *force])}


def _word_from_here(word: str) -> str:
    """A word of a command for a shell, with a path as seen from here or from home."""
    option, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
    path, before = Path(value), f"{option} " if equals else ""
    for base, short in ((Path.cwd(), ""), (Path.home(), "~/")):
        if path.is_absolute() and path.is_relative_to(base) and base != Path(base.anchor):
            return before + short + shlex.quote(str(path.relative_to(base)))
    return shlex.quote(word)
