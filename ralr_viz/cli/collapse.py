"""``ralr-viz collapse``."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from ralr_viz.cli import options
from ralr_viz.cli.lines import print_line, print_note
from ralr_viz.cli.output import describe_command, prepare_out, save_all
from ralr_viz.cli.progress import show_progress


def collapse(
    ckpt: options.Checkpoints,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the figure and its numbers.")],
    resamples: Annotated[
        int, typer.Option("--resamples", min=2, max=1_000_000, help="Of the bootstrap over images.")
    ] = 1000,
    seed: Annotated[int, typer.Option("--seed", min=0, max=2**32 - 2, help="Of the bootstrap.")] = 0,
    data: options.Data = None,
    dataset: options.DatasetName = None,
    limit: Annotated[
        int,
        typer.Option("--limit", metavar="N", min=1, help="At most N images of each split, evenly spread."),
    ] = 10_000,
    arch: options.Arch = None,
    num_classes: options.NumClasses = None,
    size: options.Size = None,
    mean: options.Mean = None,
    std: options.Std = None,
    batch: options.Batch = 500,
    device: options.Device = "auto",
    precision: options.Precision = "fp32",
    style: options.Style = "icml",
    force: options.Force = False,
    quiet: options.Quiet = False,
) -> None:
    """Neural collapse: how tight classes are and how far apart, of penultimate features on test and training images.

    NC1–NC4, silhouette, Davies–Bouldin index and kNN accuracy, with intervals.

    Example: ralr-viz collapse --ckpt runs/R/baseline/seed0 --ckpt runs/R/ralr/seed0 --out out
    """
    from ralr_viz.analysis.collapse import compute_collapse, read_classifier
    from ralr_viz.cli.inputs import load_checkpoints, select_common
    from ralr_viz.cli.predictions import cached_predictions
    from ralr_viz.comparison.network import name_checkpoints
    from ralr_viz.results.measure import list_measures
    from ralr_viz.train.runtime import resolve_runtime

    force = prepare_out(out, "collapse", style=style, force=force)
    runtime = resolve_runtime(device, precision)
    checkpoints = load_checkpoints(
        ckpt, arch=arch, num_classes=num_classes, size=size, mean=mean, std=std, dataset=dataset
    )
    names = name_checkpoints(checkpoints)
    parts = {
        split: select_common(checkpoints, data, split, limit, quiet=quiet or split == "train")
        for split in ("test", "train")
    }
    with show_progress(quiet) as progress:
        test, train = (
            [
                cached_predictions(
                    c,
                    part,
                    runtime,
                    name=name,
                    batch=batch,
                    progress=functools.partial(_of_split, progress, split),
                )
                for name, c, part in zip(names, checkpoints, parts[split], strict=True)
            ]
            for split in ("test", "train")
        )
        result = compute_collapse(
            test,
            train,
            classifiers=[read_classifier(c.build(), p) for c, p in zip(checkpoints, test, strict=True)],
            resamples=resamples,
            seed=seed,
            progress=lambda done, total: progress(done, total, "collapse"),
            provenance=describe_command(),
        )
    if not quiet:
        for note in result.notes:
            print_note(note)
    for line in list_measures(result.models, result.measures()):
        print_line(line)
    save_all(result, out, "collapse", style=style, force=force, quiet=quiet)


def _of_split(
    progress: Callable[[int, int, str], None], split: str, done: int, total: int, what: str
) -> None:
    """Progress that says which split it is of."""
    progress(done, total, f"{what}, {split}")
