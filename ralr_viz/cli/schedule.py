"""``ralr-viz schedule``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ralr_viz.cli import options
from ralr_viz.cli.lines import print_line
from ralr_viz.cli.output import prepare_out, save_all, with_command


def schedule(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="Packaged recipe or a TOML file.")],
    seed: Annotated[int, typer.Option("--seed", min=0, help="Training seed.")] = 0,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a recipe setting.")
    ] = None,
    matched: Annotated[
        bool,
        typer.Option("--matched", help="Show the control `matched` too: RALR's own mean, piece by piece."),
    ] = False,
    noise: Annotated[bool, typer.Option("--noise", help="Show the comparator `noise` too.")] = False,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder for the plot and the CSV.")
    ] = Path("out"),
    style: options.Style = "icml",
    caption: options.Caption = False,
    force: options.Force = False,
) -> None:
    """The learning rate that each epoch will use: plot, CSV, share and mean of amplified epochs.

    Example: ralr-viz schedule cifar100-resnet110 --seed 3
    """
    from ralr_viz.recipe import check_seed, load_recipe
    from ralr_viz.workflows.schedule import preview_schedule

    check_seed(seed)
    chosen = load_recipe(recipe, settings or [])
    stem = f"schedule-{chosen.name}-seed{seed}"
    force = prepare_out(out, stem, style=style, force=force)
    controls = ["scaled", *["matched"] * matched, *["noise"] * noise]
    result = with_command(preview_schedule(chosen, seed, controls))
    for line in result.describe():
        print_line(line)
    save_all(result, out, stem, style=style, force=force)
