"""``ralr-viz localisation``."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ralr_viz.cli import options
from ralr_viz.cli.lines import print_line, print_note
from ralr_viz.cli.output import describe_command, prepare_out, save_all
from ralr_viz.cli.progress import show_progress
from ralr_viz.errors import InputError

if TYPE_CHECKING:
    from ralr_viz.cli.inputs import SplitImages
    from ralr_viz.results.localisation import LocalisationResult
    from ralr_viz.results.predictions import PredictionsResult
    from ralr_viz.train.checkpoint import Checkpoint


def localisation(
    ckpt: options.Checkpoints,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the figure and its numbers.")],
    sanity: Annotated[
        int,
        typer.Option(
            "--sanity", metavar="N", min=0, help="Images of the weight randomisation check; 0 for none."
        ),
    ] = 200,
    faithfulness: Annotated[
        int,
        typer.Option(
            "--faithfulness",
            metavar="N",
            min=0,
            help="Images of deletion, insertion and ROAD, some 90 forward passes each; 0 for none.",
        ),
    ] = 0,
    resamples: Annotated[
        int, typer.Option("--resamples", min=2, max=1_000_000, help="Of the bootstrap over images.")
    ] = 1000,
    seed: Annotated[int, typer.Option("--seed", min=0, max=2**32 - 2, help="Of bootstrap and checks.")] = 0,
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
    """How well class activation maps point at the object's box, beside maps that know nothing.

    Needs data with boxes, such as Tiny-ImageNet.

    Example: ralr-viz localisation --ckpt runs/R/baseline/seed0 --ckpt runs/R/ralr/seed0 --out out
    """
    from ralr_viz.analysis.localisation import compute_localisation
    from ralr_viz.cli.inputs import load_checkpoints, select_common
    from ralr_viz.cli.predictions import cached_predictions
    from ralr_viz.comparison.network import name_checkpoints
    from ralr_viz.results.measure import list_measures
    from ralr_viz.train.runtime import resolve_runtime

    force = prepare_out(out, "localisation", style=style, force=force)
    runtime = resolve_runtime(device, precision)
    checkpoints = load_checkpoints(
        ckpt, arch=arch, num_classes=num_classes, size=size, mean=mean, std=std, dataset=dataset
    )
    parts = select_common(checkpoints, data, split, limit, quiet=quiet)
    boxes = parts[0].boxes
    if boxes is None:
        raise InputError(
            f"`{parts[0].dataset}` has no bounding boxes: localisation needs data such as Tiny-ImageNet"
        )
    with show_progress(quiet) as progress:
        predictions = [
            cached_predictions(checkpoint, part, runtime, name=name, batch=batch, progress=progress)
            for name, checkpoint, part in zip(name_checkpoints(checkpoints), checkpoints, parts, strict=True)
        ]
        settings = {
            "seed": seed,
            "batch": batch,
            "device": str(runtime.device),
            "precision": runtime.precision,
        }
        result = compute_localisation(
            predictions,
            boxes,
            (parts[0].images.shape[1], parts[0].images.shape[2]),
            sanity=_check_sanity(checkpoints, parts, predictions, sanity, settings, progress),
            faithfulness=_check_faithfulness(
                checkpoints, parts, predictions, faithfulness, settings, progress
            ),
            resamples=resamples,
            seed=seed,
            progress=lambda done, total: progress(done, total, "boxes"),
            provenance=describe_command(),
        )
    if not quiet:
        for note in result.notes:
            print_note(note)
    for line in [*list_measures(result.models, result.measures()), *_describe(result)]:
        print_line(line)
    save_all(result, out, "localisation", style=style, force=force, quiet=quiet)


Progress = Callable[[int, int, str], None]


def _check_sanity(
    checkpoints: Sequence[Checkpoint],
    parts: Sequence[SplitImages],
    predictions: Sequence[PredictionsResult],
    count: int,
    settings: dict[str, Any],
    progress: Progress,
) -> list[Any]:
    """Weight randomisation of each network on ``count`` images, evenly spread."""
    from ralr_viz.analysis.localisation_sanity import randomise_cascade

    if not count or not all(p.has_maps for p in predictions):  # the latter is refused with its reason later
        return []
    chosen = _spread(len(parts[0].labels), count)
    return [
        randomise_cascade(
            checkpoint.build(),
            part.images[chosen],
            part.labels[chosen],
            mean=part.mean,
            std=part.std,
            progress=functools.partial(_named, progress, f"random weights of {p.model}"),
            **settings,
        )
        for checkpoint, part, p in zip(checkpoints, parts, predictions, strict=True)
    ]


def _check_faithfulness(
    checkpoints: Sequence[Checkpoint],
    parts: Sequence[SplitImages],
    predictions: Sequence[PredictionsResult],
    count: int,
    settings: dict[str, Any],
    progress: Progress,
) -> list[Any]:
    """Deletion, insertion and ROAD of each network on ``count`` images, evenly spread."""
    from ralr_viz.analysis.faithfulness import compute_faithfulness

    if not count or not all(p.has_maps for p in predictions):
        return []
    chosen = _spread(len(parts[0].labels), count)
    return [
        compute_faithfulness(
            checkpoint.build(),
            part.images[chosen],
            part.labels[chosen],
            p.true_maps[chosen],
            mean=part.mean,
            std=part.std,
            progress=functools.partial(_named, progress, f"faithfulness of {p.model}"),
            **settings,
        )
        for checkpoint, part, p in zip(checkpoints, parts, predictions, strict=True)
    ]


def _named(progress: Progress, what: str, done: int, total: int) -> None:
    progress(done, total, what)


def _spread(total: int, count: int) -> list[int]:
    count = min(total, count)
    return [total * i // count for i in range(count)]


def _describe(result: LocalisationResult) -> list[str]:
    """What maps that know nothing reach, and whether the networks' maps depend on their weights."""
    from ralr_viz.results.localisation import METRICS, STRATA

    lines = []
    for stratum, words in STRATA.items():
        parts = []
        for name in METRICS:
            uniform, centre = result.baseline(name, stratum).values()
            if not math.isnan(uniform):
                parts.append(
                    f"{METRICS[name]} {uniform:.4g}, {centre:.4g} (n = {result.count(name, stratum):,})"
                )
        lines.append(f"uniform and centre map, {words}: {'; '.join(parts)}")
    for i, model in enumerate(result.models):
        zero = f"{result.zero_maps[i]:,} zero maps, threshold {result.thresholds[i]:.2f}"
        lines.append(f"{model}: {zero}; {result.dropped:,} images without a proper box dropped")
        if result.sanity_images:
            stages = ", ".join(
                f"{stage} {value:.3f}"
                for stage, (value, _, _) in zip(result.sanity_stages[i], result.sanity[i], strict=False)
            )
            lines.append(
                f"{model}: rank correlation with its own maps, weights random from the head up to: {stages} "
                f"({result.sanity_images:,} images)"
            )
    return lines
