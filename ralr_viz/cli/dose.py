"""``ralr-viz dose``."""

from __future__ import annotations

import math
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


def dose(
    noun: Annotated[
        str, typer.Argument(metavar="NOUN", help="Diagnostic that gives numbers, such as collapse.")
    ],
    doses: Annotated[
        list[str],
        typer.Option(
            "--dose",
            metavar="VALUE=RUNS",
            help="Value of a setting, and the run directory or folder of seeds trained with it; three or more.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out", metavar="DIR", help="Folder for the figure, its numbers and each seed's result."
        ),
    ],
    beside: Annotated[
        list[Path] | None,
        typer.Option("--beside", metavar="RUNS", help="Runs without a dose, such as RALR's; repeatable."),
    ] = None,
    dose_name: Annotated[str, typer.Option("--dose-name", help="What the dose is called.")] = "factor",
    own: OwnOptions = None,
    arch: options.Arch = None,
    dataset: options.DatasetName = None,
    data: options.Data = None,
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
    """Ask whether a diagnostic predicts the score over runs that differ in a dose, and whether others lie on that line.

    A diagnostic that carries what the dose does moves with it and orders the scores, among the doses of a seed and among the
    seeds of a dose. Each seed is saved by itself; stopped and started again, it goes on.

    Example: ralr-viz dose collapse --dose 0.5=runs/half --dose 1=runs/one --dose 2=runs/two --beside runs/R/ralr --out out
    """
    from ralr_viz.workflows.dose import DoseOptions, dose_response, save_dose

    if noun not in NOUNS:
        raise UnknownNameError("diagnostic", noun, NOUNS)
    given = {"arch": arch, "dataset": dataset, "data": data, "limit": limit}
    where = {name: value for name, value in given.items() if value is not None} | {"device": device}
    chosen = DoseOptions(dose_name, parse_own(NOUNS[noun], own or ()), where, style, force)
    say = print_nothing if quiet else print_note
    with show_progress(quiet) as progress:
        result = dose_response(
            noun, _parse_doses(doses), out, beside=beside or (), options=chosen, provenance=describe_command(),
            progress=progress, say=say,
        )  # fmt: skip
    for line in (*result.describe(), *result.remarks()):
        print_line(line)
    save_dose(result, out, chosen, saved=print_line, note=say)


def _parse_doses(texts: list[str]) -> dict[float, Path]:
    found: dict[float, Path] = {}
    for text in texts:
        value, _, path = text.partition("=")
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not (math.isfinite(number) and path):
            raise InputError(f"`--dose {text}` must be a number and runs: write --dose 1.5=runs/R/scaled")
        if number in found:
            raise InputError(
                f"`--dose {text}`: {number:g} has runs already: give one folder of seeds for each dose"
            )
        found[number] = Path(path)
    return found
