"""The command of a noun, made from its row of the table and its own options."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from ralr_viz.cli import options
from ralr_viz.cli.lines import print_line, print_note
from ralr_viz.cli.noun_inputs import INPUTS, keyword, parameter
from ralr_viz.cli.output import describe_command, prepare_out, print_nothing, save_all
from ralr_viz.cli.progress import show_progress
from ralr_viz.nouns import Noun, check

_OUT = Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the figure and its numbers.")]


def make_command(noun: Noun) -> Callable[..., None]:
    """A function that Typer makes ``ralr-viz NOUN`` of: open what is compared, compute, print, save."""
    spec = noun.spec
    shown = [option for option in spec.options if option.shown]
    before, after = INPUTS[noun.takes](noun)
    parameters = [
        *before,
        keyword("out", _OUT),
        *(parameter(option) for option in shown),
        *after,
        keyword("style", options.Style, "icml"),
        keyword("caption", options.Caption, False),
        keyword("force", options.Force, False),
        keyword("quiet", options.Quiet, False),
    ]

    def command(**given: Any) -> None:
        values = {option.name: option.read(given.pop(option.name)) for option in shown}
        check(spec.options, **values)
        _run(noun, given, values)

    # required ones first, as Python has it
    parameters.sort(key=lambda p: p.default is not inspect.Parameter.empty)
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    command.__name__ = noun.command_name
    command.__doc__ = spec.help
    return command


def _run(noun: Noun, given: dict[str, Any], values: dict[str, Any]) -> None:
    from ralr_viz.workflows.subjects import Ears, run_noun

    style, _, force, quiet = (given.pop(name) for name in ("style", "caption", "force", "quiet"))
    out: Path = given["out"]
    for name in ("mean", "std"):
        if name in given:
            given[name] = options.parse_three(given[name], f"--{name}")
    if "task" in given:
        given["task"] = options.load_task(given["task"])
    force = prepare_out(out, noun.name, style=style, force=force)
    note = functools.cache(print_note)  # says no line twice
    with show_progress(quiet) as progress:
        result = run_noun(
            noun,
            given,
            values,
            provenance=describe_command(),
            ears=Ears(progress, print_nothing if quiet else note, note),
        )
    for line in result.describe():
        print_line(line)
    save_all(result, out, noun.name, style=style, force=force, quiet=quiet)
