"""``ralr-viz embed``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ralr_viz.cli import options
from ralr_viz.cli.lines import print_line, print_note
from ralr_viz.cli.output import describe_command, prepare_out, save_all
from ralr_viz.cli.progress import show_progress

if TYPE_CHECKING:
    from ralr_viz.results.embedding import EmbeddingResult


def embed(
    ckpt: options.Checkpoints,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the figure and its numbers.")],
    method: Annotated[str, typer.Option("--method", help="tsne or umap.")] = "tsne",
    align: Annotated[
        str,
        typer.Option(
            "--align",
            help="How maps are made comparable: init (the others start from the first one's map), "
            "aligned-umap (all at once, with --method umap) or none.",
        ),
    ] = "init",
    perplexity: Annotated[
        float | None, typer.Option("--perplexity", metavar="P", help="Of t-SNE. [default: 30]")
    ] = None,
    neighbours: Annotated[int, typer.Option("--neighbours", metavar="K", help="Of UMAP.")] = 15,
    seed: Annotated[int, typer.Option("--seed", min=0, max=2**32 - 2, help="Of maps and intervals.")] = 0,
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
    """Maps of the penultimate features (the paper's Figure 4), and how tight and how far apart the classes are.

    The numbers are of the features themselves, never of the map.

    Example: ralr-viz embed --ckpt runs/R/baseline/seed0 --ckpt runs/R/ralr/seed0 --out out
    """
    from ralr_viz.analysis.embedding import check_options, compute_embedding
    from ralr_viz.cli.inputs import load_checkpoints, select_common
    from ralr_viz.cli.predictions import cached_predictions
    from ralr_viz.comparison.network import name_checkpoints
    from ralr_viz.train.runtime import resolve_runtime

    force = prepare_out(out, "embedding", style=style, force=force)
    runtime = resolve_runtime(device, precision)
    checkpoints = load_checkpoints(
        ckpt, arch=arch, num_classes=num_classes, size=size, mean=mean, std=std, dataset=dataset
    )
    parts = select_common(checkpoints, data, split, limit, quiet=quiet)
    check_options(len(parts[0].labels), method, align, perplexity=perplexity, neighbours=neighbours)
    with show_progress(quiet) as progress:
        predictions = [
            cached_predictions(checkpoint, part, runtime, name=name, batch=batch, progress=progress)
            for name, checkpoint, part in zip(name_checkpoints(checkpoints), checkpoints, parts, strict=True)
        ]
        result = compute_embedding(
            predictions,
            method=method,
            align=align,
            perplexity=perplexity,
            neighbours=neighbours,
            seed=seed,
            progress=progress,
            provenance=describe_command(),
        )
    if not quiet:
        for note in result.notes:
            print_note(note)
    for line in _describe(result):
        print_line(line)
    save_all(result, out, "embedding", style=style, force=force, quiet=quiet)


def _describe(result: EmbeddingResult) -> list[str]:
    """The numbers of each network, of each one minus the first, and what their intervals cover."""
    from ralr_viz.plots.embedding_layout import interval_text
    from ralr_viz.results.embedding import INTERVALS
    from ralr_viz.results.measure import describe_refusal

    lines = [
        f"{name}: {_list_numbers(result, i, difference=False)}, trustworthiness {result.trustworthiness[i]:.3f} "
        f"({result.trust_images:,} images)"
        for i, name in enumerate(result.models)
    ]
    first, others = result.models[0], list(enumerate(result.models))[1:]
    for i, name in others:
        lines.append(f"{name} minus {first}: {_list_numbers(result, i, difference=True)}")
        lines.append(
            f"{name}, {result.k} nearest neighbours kept from {first}: {interval_text('neighbours_kept', result.mean_kept[i])} "
            f"(Jaccard; chance {result.chance_kept:.3f})"
        )
    if others:
        moved = ", ".join(f"{name} {result.displacement[i]:.3f}" for i, name in others)
        lines.append(f"median displacement in the map, in RMS radii: {moved}; {_describe_floor(result)}")
    return [*lines, INTERVALS, *filter(None, [describe_refusal(len(result.labels))])]


def _list_numbers(result: EmbeddingResult, model: int, *, difference: bool) -> str:
    from ralr_viz.plots.embedding_layout import interval_text
    from ralr_viz.results.embedding import METRICS

    parts = []
    for name in METRICS:
        numbers = (result.difference(name) if difference else result.metric(name))[model]
        label = {"knn_accuracy": "kNN accuracy (%)", "map_recall": f"map recall@{result.k}"}.get(name, name)
        parts.append(f"{label.replace('_', ' ')} {interval_text(name, numbers, signed=difference)}")
    return ", ".join(parts)


def _describe_floor(result: EmbeddingResult) -> str:
    first = result.models[0]
    if math.isnan(result.noise_floor):
        return "the maps are independent, so places in them cannot be compared"
    floor = f"noise floor {result.noise_floor:.3f} ({first} made again)"
    if result.align == "init":
        return f"{floor}; starting from {first}'s map favours its arrangement"
    return f"{floor}; a common layout pulls an image's places together"
