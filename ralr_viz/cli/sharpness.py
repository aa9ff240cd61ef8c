"""``ralr-viz sharpness``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ralr_viz.cli import options
from ralr_viz.cli.lines import print_line
from ralr_viz.cli.measures import list_measures
from ralr_viz.cli.output import prepare_out, save_all, with_command
from ralr_viz.cli.progress import show_progress
from ralr_viz.errors import InputError

if TYPE_CHECKING:
    from ralr_viz.results.sharpness import SharpnessResult

Augment = Annotated[
    bool,
    typer.Option(
        "--augment/--no-augment",
        help="Give the images one fixed draw of training's augmentation, whose statistics BatchNorm knows.",
    ),
]
BatchNorm = Annotated[
    str,
    typer.Option(
        "--batchnorm",
        help="batch (each batch by its own statistics, as in training) or frozen (running statistics).",
    ),
]


def sharpness(
    ckpt: options.Checkpoints,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the figure and its numbers.")],
    radii: Annotated[
        str,
        typer.Option("--radii", metavar="R,...", help="Shares of each filter's norm; the middle one leads."),
    ] = "0.1,0.2,0.4",
    directions: Annotated[
        int, typer.Option("--directions", min=2, help="Random directions, each with both signs.")
    ] = 8,
    worst_radii: Annotated[
        str, typer.Option("--worst-radii", metavar="R,...", help="Of the worst case; 'none' leaves it out.")
    ] = "0.005",
    worst_starts: Annotated[int, typer.Option("--worst-starts", min=1, help="Starts of each ascent.")] = 2,
    worst_steps: Annotated[int, typer.Option("--worst-steps", min=1, help="Gradient steps a start.")] = 3,
    batchnorm: BatchNorm = "batch",
    augment: Augment = True,
    seed: Annotated[
        int, typer.Option("--seed", min=0, max=2**32 - 2, help="Of directions, augmentation and intervals.")
    ] = 0,
    data: options.Data = None,
    dataset: options.DatasetName = None,
    split: options.Split = "train",
    limit: options.Limit = 1000,
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
    """Flatness: how much the training loss rises when every filter is moved by a share of its norm.

    Example: ralr-viz sharpness --ckpt runs/R/baseline/seed0 --ckpt runs/R/ralr/seed0 --out out
    """
    from ralr_viz.analysis.sharpness import check_options, compute_sharpness
    from ralr_viz.cli.inputs import open_comparison

    force = prepare_out(out, "sharpness", style=style, force=force)
    shares = parse_radii(radii, "--radii")
    worst_shares = [] if worst_radii == "none" else parse_radii(worst_radii, "--worst-radii")
    check_options(shares, worst_shares, batchnorm)
    comparison = open_comparison(
        ckpt, data=data, split=split, limit=limit, device=device, precision=precision, batch=batch, quiet=quiet,
        arch=arch, num_classes=num_classes, size=size, mean=mean, std=std, dataset=dataset,
    )  # fmt: skip
    if augment:
        comparison = comparison.augmented(seed)
    with show_progress(quiet) as progress:
        result = compute_sharpness(
            comparison,
            radii=shares,
            directions=directions,
            worst_radii=worst_shares,
            worst_starts=worst_starts,
            worst_steps=worst_steps,
            batchnorm=batchnorm,
            seed=seed,
            progress=progress,
        )
    result = with_command(result)
    for line in [*list_measures(result.models, result.measures()), *_describe(result)]:
        print_line(line)
    save_all(result, out, "sharpness", style=style, force=force, quiet=quiet)


def parse_radii(text: str, option: str) -> list[float]:
    """``0.1,0.2`` as numbers.

    Raises:
        InputError: Anything else.
    """
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"`{option} {text}` must be numbers such as 0.1,0.2,0.4") from None


def _describe(result: SharpnessResult) -> list[str]:
    """Losses of the networks as they came, the starts of the ascent, and what the intervals cover."""
    given = ", ".join(f"{n} {v:.4f}" for n, v in zip(result.models, result.given_loss, strict=True))
    lines = [f"loss with the running statistics (nats): {given}"]
    for i, name in enumerate(result.models):
        for r, radius in enumerate(result.worst_radii):
            starts = ", ".join(f"{v - result.centre_loss[i]:.4f}" for v in result.worst_losses[i, r])
            lines.append(f"worst rise of {name} at ρ = {radius:g} by start (nats): {starts}")
    return [
        *lines,
        f"intervals: 95 % t over {result.losses.shape[2]} directions on {result.num_images:,} images; "
        "of these checkpoints, not of training seeds",
    ]
