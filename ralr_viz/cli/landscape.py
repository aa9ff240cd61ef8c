"""``ralr-viz landscape``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ralr_viz.cli import options
from ralr_viz.cli.lines import print_line
from ralr_viz.cli.output import prepare_out, save_all, with_command
from ralr_viz.cli.progress import show_progress
from ralr_viz.errors import InputError

if TYPE_CHECKING:
    from ralr_viz.results.landscape import LandscapeResult

_MOST_STATES = 200


def landscape(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the figure and its numbers.")],
    ckpt: Annotated[
        list[str] | None,
        typer.Option(
            "--ckpt",
            metavar="CKPT",
            help="Checkpoint file or run directory (DIR, DIR@200, DIR@best); repeatable.",
        ),
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option(
            "--run", metavar="RUN", help="Instead: the path of a run through the epochs it has kept."
        ),
    ] = None,
    radius: Annotated[
        float, typer.Option("--radius", help="Half the side of a plane, in shares of each filter's norm.")
    ] = 0.6,
    points: Annotated[int, typer.Option("--points", min=3, help="A side of the grid, an odd number.")] = 13,
    line: Annotated[bool, typer.Option("--line", help="Only along one direction.")] = False,
    batchnorm: Annotated[
        str,
        typer.Option(
            "--batchnorm",
            help="batch (each batch by its own statistics, as in training) or frozen (running statistics).",
        ),
    ] = "batch",
    augment: Annotated[
        bool,
        typer.Option(
            "--augment/--no-augment",
            help="Give the images one fixed draw of training's augmentation, whose statistics BatchNorm knows.",
        ),
    ] = True,
    seed: Annotated[
        int, typer.Option("--seed", min=0, max=2**32 - 2, help="Of directions and augmentation.")
    ] = 0,
    data: options.Data = None,
    dataset: options.DatasetName = None,
    split: options.Split = "train",
    limit: options.Limit = 500,
    arch: options.Arch = None,
    num_classes: options.NumClasses = None,
    size: options.Size = None,
    mean: options.Mean = None,
    std: options.Std = None,
    batch: options.Batch = 500,
    device: options.Device = "auto",
    precision: options.Precision = "auto",
    style: options.Style = "icml",
    force: options.Force = False,
    quiet: options.Quiet = False,
) -> None:
    """Pictures of the loss around networks, or around the path of a run: illustrations, no evidence.

    Example: ralr-viz landscape --ckpt runs/R/baseline/seed0 --ckpt runs/R/ralr/seed0 --out out
    """
    from ralr_viz.analysis.landscape import compute_landscape
    from ralr_viz.cli.inputs import open_comparison

    if (run is None) == (not ckpt):
        raise InputError("give the networks by --ckpt, or one run by --run")
    force = prepare_out(out, "landscape", style=style, force=force)
    specs, epochs = (list(ckpt or []), None) if run is None else _states(run)
    comparison = open_comparison(
        specs, data=data, split=split, limit=limit, device=device, precision=precision, batch=batch, quiet=quiet,
        arch=arch, num_classes=num_classes, size=size, mean=mean, std=std, dataset=dataset,
    )  # fmt: skip
    if augment:
        comparison = comparison.augmented(seed)
    with show_progress(quiet) as progress:
        result = compute_landscape(
            comparison,
            epochs=epochs,
            radius=radius,
            points=points,
            line=line,
            batchnorm=batchnorm,
            seed=seed,
            progress=progress,
        )
    result = with_command(result)
    for text in _describe(result):
        print_line(text)
    save_all(result, out, "landscape", style=style, force=force, quiet=quiet)


def _states(run: Path) -> tuple[list[str], list[int]]:
    """The kept epochs of a run and their checkpoints.

    Raises:
        InputError: Fewer than three.
    """
    from ralr_viz.train.checkpoint import resolve_checkpoint, saved_epochs

    if not run.is_dir():
        raise InputError(f"`--run {run}` is no run directory: give RUNS/RECIPE/METHOD/seedK")
    epochs = saved_epochs(run)
    if len(epochs) < 3:
        raise InputError(
            f"`--run {run}` has kept {len(epochs)} epochs, a path takes 3 or more: train with --set keep_every=1"
        )
    if len(epochs) > _MOST_STATES:
        epochs = [epochs[i * (len(epochs) - 1) // (_MOST_STATES - 1)] for i in range(_MOST_STATES)]
    specs = [f"{run}@{epoch}" for epoch in epochs]
    for spec in specs:
        resolve_checkpoint(spec)
    return specs, epochs


def _describe(result: LandscapeResult) -> list[str]:
    """The loss of the networks and what the plane of a path holds."""
    if not len(result.epochs):
        return [
            f"{name}: loss {centre:.4g} nats at the centre, at most {losses.max():.4g} in the plane"
            for name, centre, losses in zip(result.models, result.centre_loss, result.losses, strict=True)
        ]
    shares, walk = (
        " and ".join(f"{100 * s:.1f} %" for s in pair) for pair in (result.explained, result.walk_explained)
    )
    return [
        f"{result.models[0]}: {len(result.epochs)} epochs, loss {result.path_loss[0]:.4g} to {result.path_loss[-1]:.4g} "
        f"nats; the first two principal components have {shares} of the variance of the weights",
        f"a pure random walk of as many states has {walk}: the share says nothing about the training",
    ]
