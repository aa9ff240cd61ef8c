"""``ralr-viz barrier``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ralr_viz.cli import options
from ralr_viz.cli.lines import print_line
from ralr_viz.cli.measures import list_measures
from ralr_viz.cli.output import describe_command, prepare_out, save_all
from ralr_viz.cli.pairs import describe_pairs, load_pairs
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
    from ralr_viz.cli.inputs import check_common_scale, select_common
    from ralr_viz.cli.training_loss import augment_images
    from ralr_viz.train.runtime import resolve_runtime

    prepare_out(out, "barrier", style=style, force=force)
    resolve_runtime(device, precision)  # refuse early what is not there
    pairs, names, states = load_pairs(
        ckpt, arch=arch, num_classes=num_classes, mean=mean, std=std, dataset=dataset
    )
    checkpoints = [c for pair in pairs for c in pair]
    parts = select_common(checkpoints, data, split, limit, quiet=quiet)
    check_common_scale(checkpoints, parts)
    images, augmentation = augment_images(checkpoints, parts[0].images, augment=augment, seed=seed)
    with show_progress(quiet) as progress:
        result = compute_barrier(
            [(first.build(), second.build()) for first, second in pairs],
            images,
            parts[0].labels,
            mean=parts[0].mean,
            std=parts[0].std,
            names=names,
            states=states,
            points=points,
            statistics=statistics,
            augmentation=augmentation,
            indices=parts[0].indices,
            dataset=parts[0].dataset,
            split=split,
            batch=batch,
            device=device,
            precision=precision,
            seed=seed,
            progress=lambda done, total: progress(done, total, "points of the line"),
            provenance=describe_command() | {"checkpoints": describe_pairs(pairs, names, states)},
        )
    for line in list_measures(result.models, result.measures()):
        print_line(line)
    save_all(result, out, "barrier", style=style, force=force, quiet=quiet)
