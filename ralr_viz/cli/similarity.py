"""``ralr-viz similarity``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ralr_viz.cli import options
from ralr_viz.cli.lines import print_line, print_note
from ralr_viz.cli.output import describe_command, prepare_out, save_all
from ralr_viz.cli.pairs import describe_pairs, load_pairs
from ralr_viz.cli.progress import show_progress


def similarity(
    ckpt: Annotated[
        list[str],
        typer.Option(
            "--ckpt",
            metavar="CKPT",
            help="Checkpoint file or run directory (DIR, DIR@200, DIR@best); two make a pair.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the figure and its numbers.")],
    null: Annotated[
        list[str] | None,
        typer.Option(
            "--null",
            metavar="CKPT",
            help="Two checkpoints that differ by the seed only: what differs anyway; repeatable by two.",
        ),
    ] = None,
    layer: Annotated[
        list[str] | None,
        typer.Option(
            "--layer", metavar="NAME", help="Module to look at; repeatable. [default: the end of each block]"
        ),
    ] = None,
    minibatch: Annotated[
        int, typer.Option("--minibatch", metavar="N", min=4, help="Images of a kernel matrix.")
    ] = 100,
    data: options.Data = None,
    dataset: options.DatasetName = None,
    split: options.Split = "test",
    limit: options.Limit = 2000,
    arch: options.Arch = None,
    num_classes: options.NumClasses = None,
    mean: options.Mean = None,
    std: options.Std = None,
    device: options.Device = "auto",
    precision: options.Precision = "fp32",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the bootstrap over minibatches.")] = 0,
    style: options.Style = "icml",
    force: options.Force = False,
    quiet: options.Quiet = False,
) -> None:
    """How alike two networks' layers are (unbiased minibatch CKA), beside what two seeds differ by.

    Every two checkpoints are a pair: two trainings, or two epochs of one for the drift of its activations.

    Example: ralr-viz similarity --ckpt R/baseline/seed0 --ckpt R/ralr/seed0 --null R/baseline/seed0 --null R/baseline/seed1 --out out
    """
    from ralr_viz.analysis.similarity import compute_similarity
    from ralr_viz.cli.inputs import check_common_scale, select_common
    from ralr_viz.results.measure import list_measures
    from ralr_viz.train.runtime import resolve_runtime

    force = prepare_out(out, "similarity", style=style, force=force)
    resolve_runtime(device, precision)  # refuse early what is not there
    known: dict[str, Any] = {
        "arch": arch,
        "num_classes": num_classes,
        "mean": mean,
        "std": std,
        "dataset": dataset,
    }
    pairs, names, states = load_pairs(ckpt, **known)
    nulls, null_names, null_states = load_pairs(null or [], option="--null", **known)
    studied = len(pairs)
    pairs, states = pairs + nulls, states + null_states
    names += [f"null: {name}" for name in null_names]
    checkpoints = [c for pair in pairs for c in pair]
    parts = select_common(checkpoints, data, split, limit, quiet=quiet)
    check_common_scale(checkpoints, parts)
    networks = {c.sha256: c.build() for c in checkpoints}  # each once, however often it is named
    with show_progress(quiet) as progress:
        result = compute_similarity(
            [(networks[first.sha256], networks[second.sha256]) for first, second in pairs],
            parts[0].images,
            mean=parts[0].mean,
            std=parts[0].std,
            layers=layer,
            names=names,
            states=states,
            null=[i >= studied for i in range(len(pairs))],
            minibatch=minibatch,
            indices=parts[0].indices,
            dataset=parts[0].dataset,
            split=split,
            device=device,
            precision=precision,
            seed=seed,
            progress=lambda done, total: progress(done, total, "images"),
            provenance=describe_command() | {"checkpoints": describe_pairs(pairs, names, states)},
        )
    if not quiet and not any(result.null):
        print_note("no --null pair: how alike two seeds of one method are is not shown")
    for line in list_measures(result.models, result.measures()):
        print_line(line)
    save_all(result, out, "similarity", style=style, force=force, quiet=quiet)
