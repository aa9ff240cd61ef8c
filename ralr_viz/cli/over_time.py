"""``ralr-viz over-time``."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Annotated

import typer

from ralr_viz.cli import options
from ralr_viz.cli.lines import print_line, print_note
from ralr_viz.cli.output import describe_command, print_nothing
from ralr_viz.cli.own_options import OwnOptions, parse_own
from ralr_viz.cli.progress import show_progress
from ralr_viz.errors import InputError, UnknownNameError
from ralr_viz.nouns import NOUNS


def over_time(
    noun: Annotated[
        str, typer.Argument(metavar="NOUN", help="Diagnostic that gives numbers, such as sharpness.")
    ],
    a: Annotated[
        Path, typer.Option("--a", metavar="RUNS", help="Run directory, or folder of seeds, to compare with.")
    ],
    b: Annotated[
        Path,
        typer.Option("--b", metavar="RUNS", help="The runs whose change is asked about, such as RALR's."),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out", metavar="DIR", help="Folder for the figure, its numbers and each epoch's result."
        ),
    ],
    control: Annotated[
        Path | None,
        typer.Option("--control", metavar="RUNS", help="Runs with a constant larger learning rate."),
    ] = None,
    epochs: Annotated[
        str | None, typer.Option("--epochs", metavar="A,B,C", help="Kept epochs to measure. [default: all]")
    ] = None,
    every: Annotated[
        int,
        typer.Option("--every", metavar="N", min=1, help="Measure each N-th of these epochs, and the last."),
    ] = 1,
    axis: Annotated[
        str,
        typer.Option("--axis", help="Draw against epoch, sum-lr or train-loss (which is fair to flatness)."),
    ] = "epoch",
    own: OwnOptions = None,
    arch: options.Arch = None,
    dataset: options.DatasetName = None,
    allow: options.Allow = None,
    data: options.Data = None,
    split: Annotated[
        str | None, typer.Option("--split", help="test, train or val. [default: the diagnostic's own]")
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit", metavar="N", min=1, help="At most N samples. [default: the diagnostic's own]"
        ),
    ] = None,
    device: options.Device = "auto",
    style: options.Style = "icml",
    caption: options.Caption = False,
    force: options.Force = False,
    quiet: options.Quiet = False,
) -> None:
    """Measure a diagnostic after each epoch that all runs have kept, and draw it over the training.

    Of nouns that compare two networks (barrier, similarity, distance) the arms of a seed are compared, beside two seeds of one arm:
    when do they part? Each epoch is saved by itself; stopped and started again, it goes on.

    Example: ralr-viz over-time sharpness --a runs/R/baseline --b runs/R/ralr --every 5 --axis train-loss --out out
    """
    from ralr_viz.workflows.over_time import OverTimeOptions, save_over_time
    from ralr_viz.workflows.over_time import over_time as measure

    if noun not in NOUNS:
        raise UnknownNameError("diagnostic", noun, NOUNS)
    given = {"arch": arch, "dataset": dataset, "data": data, "split": split, "limit": limit}
    where = {name: value for name, value in given.items() if value is not None} | {"device": device}
    chosen = OverTimeOptions(
        _parse_epochs(epochs), every, axis, parse_own(NOUNS[noun], own or ()), where, style, force
    )
    runs = {"--a": a, "--b": b} | ({"--control": control} if control is not None else {})
    say = print_nothing if quiet else functools.cache(print_note)  # what holds of each epoch is said once
    with show_progress(quiet) as progress:
        result = measure(
            noun, runs, out, options=chosen, provenance=describe_command(), progress=progress, say=say
        )
    for line in result.describe():
        print_line(line)
    save_over_time(result, out, chosen, saved=print_line, note=say)


def _parse_epochs(text: str | None) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(",")) if text else ()
    except ValueError:
        raise InputError(f"`--epochs {text}` must be numbers such as 10,20,30") from None
