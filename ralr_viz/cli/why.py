"""``ralr-viz why``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

import typer

from ralr_viz.cli import options
from ralr_viz.cli.lines import print_json, print_line, print_note
from ralr_viz.cli.output import describe_command, print_nothing
from ralr_viz.cli.progress import show_progress


def why(
    a: Annotated[
        Path, typer.Option("--a", metavar="RUNS", help="Run directory, or folder of seeds, to compare with.")
    ],
    b: Annotated[
        Path,
        typer.Option("--b", metavar="RUNS", help="The runs whose change is asked about, such as RALR's."),
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder for the table, results and figures.")
    ],
    control: Annotated[
        Path | None,
        typer.Option(
            "--control",
            metavar="RUNS",
            help="Runs with a constant larger learning rate (`scaled`, `matched`).",
        ),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only",
            metavar="NAME",
            help="Only this diagnostic; repeatable; `annealing` trains the ends on at low rates. [default: all that do not train]",
        ),
    ] = None,
    images: Annotated[
        int | None,
        typer.Option(
            "--images",
            metavar="N",
            min=2,
            help="Training images of barriers and sharpness. [default: each one's own]",
        ),
    ] = None,
    arch: options.Arch = None,
    dataset: options.DatasetName = None,
    task: options.Task = None,
    allow: options.Allow = None,
    data: options.Data = None,
    device: options.Device = "auto",
    style: options.Style = "icml",
    caption: options.Caption = False,
    force: options.Force = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Test the paper's explanations on saved runs: one table of claims, measures, intervals and verdicts.

    Runs the diagnostics that the runs and the data allow, each into its own folder with its figure. Stopped
    and started again, it goes on; with more diagnostics or seeds, it adds them.

    Example: ralr-viz why --a runs/R/baseline --b runs/R/ralr --control runs/R/scaled --out out
    """
    from ralr_viz.comparison.arms import find_arms
    from ralr_viz.plots.why import why_table
    from ralr_viz.workflows.why import WhyOptions, measure_claims, prepare_why, save_why

    chosen = WhyOptions(
        only or (), images, data, arch, dataset, options.load_task(task), device, style, force
    )
    prepare_why(out, chosen)
    arms = find_arms({"--a": a, "--b": b} | ({"--control": control} if control is not None else {}))
    say = print_nothing if quiet else print_note
    for note in arms.notes:
        say(note)
    with show_progress(quiet) as progress:
        result = measure_claims(arms, out, chosen, describe_command(), progress=progress, say=say)
    if as_json:
        print_json([_plain(row) for row in why_table(result)])
    else:
        for line in result.describe():
            print_line(line)
    for note in result.notes:
        say(note)
    save_why(result, out, chosen, saved=print_line, note=say)


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """JSON has no NaN."""
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}
