"""``ralr-viz barrier``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ralr_viz.cli import options
from ralr_viz.cli.lines import print_line
from ralr_viz.cli.measures import list_measures
from ralr_viz.cli.output import prepare_out, save_all, with_command
from ralr_viz.cli.progress import show_progress


def barrier(
    ckpt: Annotated[
        list[str],
        typer.Option(
            "--ckpt",
            metavar="CKPT",
            help="Checkpoint file or run directory (DIR, DIR@200, DIR@best); two make a pair.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the figure and its numbers.")],
    points: Annotated[
        int, typer.Option("--points", metavar="N", min=3, help="Points of the line, an odd number.")
    ] = 11,
    statistics: Annotated[
        str,
        typer.Option(
            "--statistics", help="BatchNorm's running statistics at a point: recomputed or interpolated."
        ),
    ] = "recomputed",
    augment: Annotated[
        bool,
        typer.Option(
            "--augment/--no-augment",
            help="Give the images one fixed draw of training's augmentation, whose statistics BatchNorm knows.",
        ),
    ] = True,
    data: options.Data = None,
    dataset: options.DatasetName = None,
    split: options.Split = "train",
    limit: options.Limit = 2000,
    arch: options.Arch = None,
    num_classes: options.NumClasses = None,
    mean: options.Mean = None,
    std: options.Std = None,
    batch: options.Batch = 500,
    device: options.Device = "auto",
    precision: options.Precision = "fp32",
    seed: Annotated[
        int, typer.Option("--seed", min=0, max=2**32 - 2, help="Of the augmentation and the intervals.")
    ] = 0,
    style: options.Style = "icml",
    force: options.Force = False,
    quiet: options.Quiet = False,
) -> None:
    """Loss on the straight line between two networks: whether a barrier stands between them.

    Every two checkpoints are a pair: two epochs of one training, or two trainings.

    Example: ralr-viz barrier --ckpt runs/R/ralr/seed0@200 --ckpt runs/R/ralr/seed0 --out out
    """
    from ralr_viz.analysis.barrier import compute_barrier
    from ralr_viz.cli.inputs import open_comparison

    force = prepare_out(out, "barrier", style=style, force=force)
    comparison = open_comparison(
        ckpt, data=data, split=split, limit=limit, device=device, precision=precision, batch=batch, quiet=quiet,
        arch=arch, num_classes=num_classes, mean=mean, std=std, dataset=dataset,
    )  # fmt: skip
    if augment:
        comparison = comparison.augmented(seed)
    with show_progress(quiet) as progress:
        result = compute_barrier(
            comparison, points=points, statistics=statistics, seed=seed, progress=progress
        )
    result = with_command(result)
    for line in list_measures(result.models, result.measures()):
        print_line(line)
    save_all(result, out, "barrier", style=style, force=force, quiet=quiet)
