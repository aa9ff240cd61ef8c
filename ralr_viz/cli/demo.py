"""``ralr-viz demo``."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Annotated

import typer

from ralr_viz.cli import options
from ralr_viz.cli.lines import print_line, print_note
from ralr_viz.cli.output import describe_command, open_command, print_nothing
from ralr_viz.cli.progress import show_progress


def demo(
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder for runs, figures and the report.")
    ] = Path("demo"),
    force: options.Force = False,
    quiet: options.Quiet = False,
) -> None:
    """Train baseline and RALR on scikit-learn's digits and draw the figures and a report; offline, about two minutes on two cores.

    What it shows is how the tool works: a network of this size learns the digits either way.
    """
    from ralr_viz.cli.training_progress import show_training
    from ralr_viz.workflows.demo import draw_demo, train_demo

    say = print_nothing if quiet else print_note
    described = describe_command()
    show = functools.partial(show_training, quiet=quiet)
    train_demo(out, force=force, provenance=described, show=show, tell=print_line, say=say, warn=print_note)
    with show_progress(quiet) as progress:
        page = draw_demo(
            out,
            force=force,
            provenance=described,
            progress=progress,
            tell=print_line,
            say=say,
            warn=print_note,
        )
    say(
        f"done: open {page} in a browser ({open_command(page)}); the same with your data: ralr-viz data import, "
        "ralr-viz pair, ralr-viz report"
    )
