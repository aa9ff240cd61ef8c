"""``ralr-viz demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ralr_viz.cli import options
from ralr_viz.cli.lines import print_note

RECIPE = "digits-resnet20"


def demo(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for runs and figures.")] = Path(
        "demo"
    ),
    force: options.Force = False,
    quiet: options.Quiet = False,
) -> None:
    """Train baseline and RALR on scikit-learn's digits and draw the figures; offline, about two minutes on two cores.

    What it shows is how the tool works: a network of this size learns the digits either way.
    """
    from ralr_viz.cli import figures, schedule, train
    from ralr_viz.cli.output import prepare_out

    pictures = out / "figures"
    for stem in (f"schedule-{RECIPE}-seed0", *figures.FIGURES):
        prepare_out(pictures, stem, style="icml", force=force)
    runs, data = out / "runs", out / "data"
    train.pair(RECIPE, runs=runs, data=data, resume=not force, force=force, quiet=quiet)
    schedule.schedule(RECIPE, out=pictures, force=force)
    figures.figures(runs=runs, data=data, out=pictures, force=force, quiet=quiet)
    if not quiet:
        print_note(
            f"done: look at the PNG files in {pictures}; the same with your data: ralr-viz data import, "
            "ralr-viz pair, ralr-viz cam"
        )
