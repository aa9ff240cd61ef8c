"""``ralr-viz schedule``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ralr_viz.cli import options
from ralr_viz.cli.lines import print_line
from ralr_viz.cli.output import describe_command, prepare_out, save_all

if TYPE_CHECKING:
    import numpy as np


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
    force: options.Force = False,
) -> None:
    """The learning rate that each epoch will use: plot, CSV, share and mean of amplified epochs.

    Example: ralr-viz schedule cifar100-resnet110 --seed 3
    """
    from ralr_viz.analysis.schedule import compute_schedule
    from ralr_viz.train.optim import preview_lr
    from ralr_viz.train.recipe import check_seed, load_recipe

    check_seed(seed)
    chosen = load_recipe(recipe, settings or [])
    stem = f"schedule-{chosen.name}-seed{seed}"
    force = prepare_out(out, stem, style=style, force=force)
    base, factor = preview_lr(chosen, "ralr", seed)
    arms: list[tuple[str, int | None, np.ndarray]] = [("ralr", seed, factor)]
    arms.append(("scaled", None, preview_lr(chosen, "scaled", seed)[1]))
    if matched:
        arms.append(("matched", seed, preview_lr(chosen, "matched", seed)[1]))
    if noise:
        arms.append(("noise", seed, preview_lr(chosen, "noise", seed)[1]))
    result = compute_schedule(
        base,
        arms,
        recipe=chosen.name,
        provenance=describe_command() | {"recipe": chosen.to_dict()},
    )
    ralr = result.summary()[0]
    amplified = (
        f"{ralr['amplified_epochs']} of {chosen.epochs} epochs amplified ({ralr['amplified_share']:.0%})"
    )
    if ralr["amplified_epochs"]:
        amplified += f", by {ralr['mean_amplification']:.2f} on average"
    print_line(
        f"{chosen.name}, seed {seed}: {amplified}; mean factor {ralr['mean_factor']:.3f}, sum of LR "
        f"x{ralr['sum_lr_ratio']:.3f} of the baseline's"
    )
    for arm in result.summary():
        name = arm["method"] if arm["seed"] is None else f"{arm['method']} of seed {arm['seed']}"
        print_line(f"{name}: sum of LR x{arm['sum_lr_ratio']:.3f}, of LR² x{arm['sum_lr_squared_ratio']:.3f}")
    save_all(result, out, stem, style=style, force=force)
