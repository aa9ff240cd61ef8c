"""``ralr-viz figures``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ralr_viz.cli import options
from ralr_viz.cli.lines import print_line, print_note
from ralr_viz.cli.output import describe_command, print_nothing
from ralr_viz.cli.progress import show_progress


def figures(
    runs: Annotated[
        Path, typer.Option("--runs", metavar="DIR", help="Folder of runs, such as runs or checkpoints.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for figures and numbers.")],
    data: options.Data = None,
    limit: options.Limit = None,
    device: options.Device = "auto",
    precision: options.Precision = "fp32",
    style: options.Style = "icml",
    caption: options.Caption = False,
    force: options.Force = False,
    quiet: options.Quiet = False,
) -> None:
    """The paper's four figures from the runs in a folder; says which runs it took, and why.

    A figure that cannot be drawn, for example because its images are not here, does not keep the others.

    Example: ralr-viz figures --runs checkpoints --out out
    """
    from ralr_viz.workflows.figures import FigureOptions, draw_figures

    chosen = FigureOptions(data, limit, device, precision, style, force)
    with show_progress(quiet) as progress:
        draw_figures(
            runs,
            out,
            chosen,
            provenance=describe_command(),
            progress=progress,
            tell=print_line,
            say=print_nothing if quiet else print_note,
            warn=print_note,  # to the quiet, too: which runs a figure shows is no progress
        )
