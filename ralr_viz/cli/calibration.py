"""``ralr-viz calibration``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ralr_viz.cli import options
from ralr_viz.cli.lines import print_line, print_note
from ralr_viz.cli.measures import list_measures
from ralr_viz.cli.output import describe_command, prepare_out, save_all
from ralr_viz.cli.progress import show_progress

if TYPE_CHECKING:
    from ralr_viz.results.calibration import CalibrationResult


def calibration(
    ckpt: options.Checkpoints,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the figure and its numbers.")],
    bins: Annotated[int, typer.Option("--bins", min=1, max=1000, help="Of equal mass, for the ECE.")] = 15,
    resamples: Annotated[
        int, typer.Option("--resamples", min=2, max=1_000_000, help="Of the bootstrap over images.")
    ] = 1000,
    seed: Annotated[int, typer.Option("--seed", min=0, max=2**32 - 2, help="Of the bootstrap.")] = 0,
    data: options.Data = None,
    dataset: options.DatasetName = None,
    split: options.Split = "test",
    limit: options.Limit = None,
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
    """NLL, Brier score and calibration error, and which images and classes the networks get right in turn.

    Example: ralr-viz calibration --ckpt runs/R/baseline/seed0 --ckpt runs/R/ralr/seed0 --out out
    """
    from ralr_viz.analysis.calibration import compute_calibration
    from ralr_viz.cli.inputs import load_checkpoints, select_common
    from ralr_viz.cli.predictions import cached_predictions
    from ralr_viz.comparison.network import name_checkpoints
    from ralr_viz.train.runtime import resolve_runtime

    force = prepare_out(out, "calibration", style=style, force=force)
    runtime = resolve_runtime(device, precision)
    checkpoints = load_checkpoints(
        ckpt, arch=arch, num_classes=num_classes, size=size, mean=mean, std=std, dataset=dataset
    )
    parts = select_common(checkpoints, data, split, limit, quiet=quiet)
    with show_progress(quiet) as progress:
        predictions = [
            cached_predictions(checkpoint, part, runtime, name=name, batch=batch, progress=progress)
            for name, checkpoint, part in zip(name_checkpoints(checkpoints), checkpoints, parts, strict=True)
        ]
        result = compute_calibration(
            predictions,
            bins=bins,
            resamples=resamples,
            seed=seed,
            progress=lambda done, total: progress(done, total, "bootstrap"),
            provenance=describe_command(),
        )
    if not quiet:
        for note in result.notes:
            print_note(note)
    for line in [*list_measures(result.models, result.measures()), *_describe(result)]:
        print_line(line)
    save_all(result, out, "calibration", style=style, force=force, quiet=quiet)


def _describe(result: CalibrationResult) -> list[str]:
    """The floor of the ECE, and the images that changed hands between the first network and each other one."""
    floors = "; ".join(
        f"{name} {mean:.4g}, below {high:.4g} in 97.5 %"
        for name, (mean, high) in zip(result.models, result.ece_floor, strict=True)
    )
    return [
        f"calibration error of right confidences (%): {floors}",
        *(
            f"{name} against {result.models[0]}: {len(result.fixed(i)):,} images fixed, {len(result.broken(i)):,} "
            f"broken of {len(result.labels):,}, exact McNemar p = {result.mcnemar_p(i):.3g} (of these checkpoints)"
            for i, name in enumerate(result.models)
            if i
        ),
    ]
