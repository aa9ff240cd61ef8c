"""``ralr-viz export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ralr_viz.cli import options
from ralr_viz.cli.lines import print_line


def export(
    ckpt: options.OneCheckpoint,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The .safetensors file to write.")],
    arch: options.Arch = None,
    num_classes: options.NumClasses = None,
    size: options.Size = None,
    mean: options.Mean = None,
    std: options.Std = None,
    dataset: options.DatasetName = None,
    force: options.Force = False,
) -> None:
    """Write a checkpoint's weights as safetensors, which holds no code, with its recipe as metadata.

    Example: ralr-viz export --ckpt runs/cifar10-resnet20-short/ralr/seed0@best --out ralr.safetensors
    """
    from ralr_viz.train.checkpoint import export_checkpoint

    export_checkpoint(
        ckpt,
        out,
        force=force,
        arch=arch,
        num_classes=num_classes,
        image_size=size,
        mean=options.parse_three(mean, "--mean"),
        std=options.parse_three(std, "--std"),
        dataset=dataset,
    )
    print_line(out)
