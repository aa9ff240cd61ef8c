"""``ralr-viz cam``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ralr_viz.cli import options
from ralr_viz.cli.output import describe_command, prepare_out, save_all
from ralr_viz.errors import InputError

if TYPE_CHECKING:
    from ralr_viz.train.checkpoint import Checkpoint


def cam(
    ckpt: options.Checkpoints,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the figure and its numbers.")],
    images: Annotated[
        list[Path] | None, typer.Option("--images", metavar="FILE...", help="Your own pictures, one or more.")
    ] = None,
    # click's options take one value each; the others of `--images A B C` arrive as arguments
    more: Annotated[list[Path] | None, typer.Argument(metavar="--images FILE", hidden=True)] = None,
    count: Annotated[
        int, typer.Option("--count", min=1, max=64, help="Images to choose from the split.")
    ] = 8,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the choice.")] = 0,
    data: options.Data = None,
    dataset: options.DatasetName = None,
    split: options.Split = "test",
    limit: options.Limit = None,
    arch: options.Arch = None,
    num_classes: options.NumClasses = None,
    size: options.Size = None,
    mean: options.Mean = None,
    std: options.Std = None,
    batch: options.Batch = 256,
    device: options.Device = "auto",
    precision: options.Precision = "fp32",
    style: options.Style = "icml",
    force: options.Force = False,
    quiet: options.Quiet = False,
) -> None:
    """Class activation maps (the paper's Figure 3): images in columns, a row for each checkpoint.

    The map explains the true class where it is known, else the first checkpoint's prediction.

    Example: ralr-viz cam --ckpt runs/R/baseline/seed0 --ckpt runs/R/ralr/seed0 --out out
    """
    from ralr_viz.analysis.cam import collect_cams, compute_cam
    from ralr_viz.cli.pictures import choose_pictures, read_pictures
    from ralr_viz.train.checkpoint import load_checkpoint
    from ralr_viz.train.runtime import resolve_runtime

    if more and not images:
        raise InputError(f"`{more[0]}` follows no option: write --ckpt {more[0]} or --images {more[0]}")
    prepare_out(out, "cam", style=style, force=force)
    resolve_runtime(device, precision)  # refuse early what is not there
    given_mean, given_std = options.parse_three(mean, "--mean"), options.parse_three(std, "--std")
    checkpoints = [
        load_checkpoint(
            c,
            arch=arch,
            num_classes=num_classes,
            image_size=size,
            mean=given_mean,
            std=given_std,
            dataset=dataset,
        )
        for c in ckpt
    ]
    if images:
        chosen = read_pictures(checkpoints, data, [*images, *(more or [])])
    else:
        chosen = choose_pictures(checkpoints, data, split, limit, count, seed)
    if not quiet:
        print(f"images: {chosen.selection}", file=sys.stderr)

    known = bool((chosen.labels >= 0).all())
    targets = chosen.labels if known else None
    names, cams = _row_names(checkpoints), []
    for name, checkpoint, (its_mean, its_std) in zip(names, checkpoints, chosen.scales, strict=True):
        found = compute_cam(
            checkpoint.build(), chosen.images, mean=its_mean, std=its_std, targets=targets,
            batch=batch, device=device, precision=precision,
        )  # fmt: skip
        targets = found.target  # the same class in every row
        cams.append(found)
        if not quiet:
            print(f"{name}: {found.method} at `{found.layer}`", file=sys.stderr)
            for note in found.notes:
                print(f"{name}: {note}", file=sys.stderr)
    result = collect_cams(
        names,
        cams,
        images=chosen.images,
        indices=chosen.indices,
        labels=chosen.labels,
        boxes=chosen.boxes,
        class_names=chosen.class_names,
        selection=chosen.selection,
        dataset=chosen.dataset,
        split=chosen.split,
        image_names=chosen.names,
        provenance=describe_command()
        | {
            "checkpoints": [
                {"name": n, "sha256": c.sha256, "epoch": c.epoch}
                for n, c in zip(names, checkpoints, strict=True)
            ],
            "recipe": dict(checkpoints[0].recipe or {}),
            "device": device,
            "precision": precision,
        },
    )
    save_all(result, out, "cam", style=style, force=force)


def _row_names(checkpoints: list[Checkpoint]) -> list[str]:
    """``baseline`` and ``RALR`` where that tells them apart, else seed and epoch too, else numbered."""
    from ralr_viz.plots.style import method_name

    for names in (
        [method_name(c.method) if c.method else c.label for c in checkpoints],
        [c.label for c in checkpoints],
    ):
        if len(set(names)) == len(names):
            return names
    return [f"{c.label} ({i})" for i, c in enumerate(checkpoints, 1)]
