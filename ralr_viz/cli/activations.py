"""``ralr-viz activations``."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ralr_viz.cli import options
from ralr_viz.cli.lines import print_line, print_note
from ralr_viz.cli.output import describe_command, prepare_out, save_all
from ralr_viz.cli.progress import show_progress
from ralr_viz.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from ralr_viz.cli.inputs import SplitImages
    from ralr_viz.train.checkpoint import Checkpoint

    Pair = tuple[Checkpoint, Checkpoint]


def activations(
    ckpt: Annotated[
        list[str],
        typer.Option(
            "--ckpt",
            metavar="CKPT",
            help="Checkpoint file or run directory (DIR, DIR@200, DIR@best); two make a row, the earlier first.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the figure and its numbers.")],
    image: Annotated[
        int | None,
        typer.Option(
            "--image", metavar="N", min=0, help="Only this image of the split, from 0, as in the paper."
        ),
    ] = None,
    layer: Annotated[
        list[str] | None,
        typer.Option(
            "--layer", metavar="NAME", help="Module to look at; repeatable. [default: the end of each stage]"
        ),
    ] = None,
    data: options.Data = None,
    dataset: options.DatasetName = None,
    split: options.Split = "test",
    limit: options.Limit = None,
    arch: options.Arch = None,
    num_classes: options.NumClasses = None,
    mean: options.Mean = None,
    std: options.Std = None,
    batch: options.Batch = 256,
    device: options.Device = "auto",
    precision: options.Precision = "fp32",
    style: options.Style = "icml",
    force: options.Force = False,
    quiet: options.Quiet = False,
) -> None:
    """Activation histograms of two epochs over each other (the paper's Figure 2), and how far units moved.

    Every two checkpoints are a row: two epochs of one training, or two trainings to compare with each other.

    Example: ralr-viz activations --ckpt runs/R/ralr/seed0@200 --ckpt runs/R/ralr/seed0@300 --out out
    """
    from ralr_viz.analysis.activations import compute_activations
    from ralr_viz.cli.inputs import load_checkpoints
    from ralr_viz.train.runtime import resolve_runtime

    if len(ckpt) % 2:
        raise InputError(
            f"`--ckpt` is given {len(ckpt)} times: every row takes two, the earlier and the later, e.g. "
            "--ckpt RUN@200 --ckpt RUN@300"
        )
    if image is not None and limit is not None:
        raise InputError(f"`--image {image}` is one image and `--limit {limit}` several: give one of the two")
    force = prepare_out(out, "activations", style=style, force=force)
    resolve_runtime(device, precision)  # refuse early what is not there
    checkpoints = load_checkpoints(
        ckpt, arch=arch, num_classes=num_classes, mean=mean, std=std, dataset=dataset
    )
    pairs = list(zip(checkpoints[::2], checkpoints[1::2], strict=True))
    part, scales, selection = _choose_images(checkpoints, data, split, limit, image, quiet)
    chosen = part.images if image is None else part.images[image : image + 1]
    from ralr_viz.comparison.pairs import name_pairs

    rows, states = name_pairs(pairs)
    with show_progress(quiet) as progress:
        result = compute_activations(
            [(earlier.build(), later.build()) for earlier, later in pairs],
            chosen,
            mean=scales[:, :, 0],
            std=scales[:, :, 1],
            layers=layer,
            names=rows,
            checkpoints=states,
            selection=selection,
            dataset=part.dataset,
            split=split,
            image=image,
            batch=batch,
            device=device,
            precision=precision,
            progress=lambda done: progress(done, len(pairs) * len(chosen), "activations"),
        )
    if not quiet:
        print_note(f"images: {selection}")
        for row, names in zip(rows, result.layers, strict=True):
            print_note(f"{row}: layers {', '.join(names)}")
    summary = result.summary()
    for numbers in summary:
        print_line(_describe(numbers))
    for i, numbers in enumerate(summary[result.num_layers :]):
        print_line(_describe_difference(numbers, summary[i % result.num_layers]))
    described = [
        {"row": row, "name": name, "sha256": c.sha256, "epoch": c.epoch}
        for row, names, pair in zip(rows, states, pairs, strict=True)
        for name, c in zip(names, pair, strict=True)
    ]
    result = dataclasses.replace(
        result,
        provenance=describe_command()
        | {
            "checkpoints": described,
            "recipe": dict(checkpoints[0].recipe or {}),
            "device": device,
            "precision": precision,
            "summary": summary,
        },
    )
    save_all(result, out, "activations", style=style, force=force, quiet=quiet)


def _choose_images(
    checkpoints: Sequence[Checkpoint],
    data: Path | None,
    split: str,
    limit: int | None,
    image: int | None,
    quiet: bool,
) -> tuple[SplitImages, np.ndarray, str]:
    """The images that all checkpoints share, means and stds (pairs, 2, 2, 3), and the choice in words."""
    import numpy as np

    from ralr_viz.cli.inputs import select_common

    parts = select_common(checkpoints, data, split, limit, quiet=quiet)
    part, scales = parts[0], [(part.mean, part.std) for part in parts]
    n, called = len(part.labels), f"{part.dataset} {split} images"
    if image is not None and image >= n:
        raise InputError(f"`--image {image}` is not there: the {called} are 0 to {n - 1}")
    selection = f"{n:,} {called}, evenly spread" if n == limit else f"all {n:,} {called}"
    if image is not None:
        selection = f"image {image} of the {n:,} {called}"
    return part, np.array(scales).reshape(-1, 2, 2, 3), selection


def _describe(row: dict[str, Any]) -> str:
    """One line for each row and layer; what was not measured is left out."""
    floor = max(row["floor_earlier"], row["floor_later"])
    distance = f"W1 {_measured(row, 'distance')} ± {row['distance_bound']:.2g} (bins)"
    distance += f", {_measured(row, 'distance_sd')} sd"
    parts = [
        f"zeros {100 * row['zero_share_earlier']:.1f} → {100 * row['zero_share_later']:.1f} %",
        distance + ("" if math.isnan(floor) else f", floor {floor:.2g}"),
        f"correlation {_measured(row, 'correlation')}",
        f"relative change {_measured(row, 'relative_change', 100)} %",
        f"dead channels {row['dead_channels_earlier']} → {row['dead_channels_later']}",
    ]
    return f"{row['row']}, {row['layer']} ({row['shape']}): " + "; ".join(parts)


def _describe_difference(row: dict[str, Any], first: dict[str, Any]) -> str:
    bound = row["distance_bound"] + first["distance_bound"]
    parts = [
        f"W1 {_measured(row, 'distance_difference')} ± {bound:.2g} (bins)",
        f"correlation {_measured(row, 'correlation_difference')}",
        f"relative change {_measured(row, 'relative_change_difference', 100)} points",
    ]
    return f"{row['row']} minus {first['row']}, {row['layer']}: " + "; ".join(parts)


def _measured(row: dict[str, Any], name: str, scale: float = 1) -> str:
    value, low, high = (scale * row[name + end] for end in ("", "_low", "_high"))
    return f"{value:.4g}" + ("" if math.isnan(low) else f" [{low:.4g}, {high:.4g}]")
