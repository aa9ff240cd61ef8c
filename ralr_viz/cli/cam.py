"""``ralr-viz cam``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ralr_viz.cli import options
from ralr_viz.cli.lines import print_line, print_note
from ralr_viz.cli.output import describe_command, prepare_out, save_all
from ralr_viz.cli.progress import show_progress
from ralr_viz.errors import InputError, RalrVizError

if TYPE_CHECKING:
    from ralr_viz.analysis.cam.check import CamCheck
    from ralr_viz.analysis.cam.network_maps import Cam
    from ralr_viz.cli.pictures import Pictures
    from ralr_viz.results.cam import CamResult
    from ralr_viz.train.checkpoint import Checkpoint


def cam(
    ckpt: options.Checkpoints,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the figure and its numbers.")],
    images: Annotated[
        list[Path] | None, typer.Option("--images", metavar="FILE...", help="Your own pictures, one or more.")
    ] = None,
    # click's options take one value each; the others of `--images A B C` arrive as arguments
    more: Annotated[list[Path] | None, typer.Argument(metavar="--images FILE", hidden=True)] = None,
    method: Annotated[
        str,
        typer.Option(
            "--method",
            help="cam (closed form, else Grad-CAM), gradcam, gradcam++, layercam, hirescam, xgradcam, eigencam, or "
            "scorecam or ablationcam, which run each image once for each channel.",
        ),
    ] = "cam",
    layer: Annotated[
        str | None,
        typer.Option(
            "--layer", metavar="NAME", help="Module of the maps. [default: the last one with a map]"
        ),
    ] = None,
    rows: Annotated[
        str,
        typer.Option(
            "--rows",
            help="Rule that chooses the images: random, classes (random, classes in turn), or gain or loss: "
            "where the second checkpoint's probability of the true class exceeds the first's, or falls "
            "short of it, the most.",
        ),
    ] = "random",
    difference: Annotated[
        bool, typer.Option("--difference", help="Rows of signed differences from the first checkpoint.")
    ] = False,
    verify: Annotated[
        bool,
        typer.Option("--verify", help="Hold the maps against the grad-cam package and the logits first."),
    ] = False,
    count: Annotated[
        int, typer.Option("--count", min=1, max=64, help="Images to choose from the split.")
    ] = 8,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of a random choice.")] = 0,
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
    from ralr_viz.analysis.cam.methods import check_method
    from ralr_viz.analysis.cam.network_maps import collect_cams
    from ralr_viz.cli.inputs import load_checkpoints
    from ralr_viz.cli.pictures import check_rule, choose_pictures, read_pictures
    from ralr_viz.comparison.network import name_checkpoints
    from ralr_viz.plots.cam_layout import check_pictures
    from ralr_viz.train.runtime import resolve_runtime

    if more and not images:
        raise InputError(f"`{more[0]}` follows no option: write --ckpt {more[0]} or --images {more[0]}")
    check_method(method)
    check_rule(rows, len(ckpt), from_files=bool(images))
    if difference and len(ckpt) < 2:
        raise InputError("`--difference` subtracts the first checkpoint's maps, got 1: pass --ckpt twice")
    pictures = len(images) + len(more or []) if images else count
    check_pictures(pictures, len(ckpt), difference=difference)
    force = prepare_out(out, "cam", style=style, force=force)
    runtime = resolve_runtime(device, precision)  # refuse early what is not there
    checkpoints = load_checkpoints(
        ckpt, arch=arch, num_classes=num_classes, size=size, mean=mean, std=std, dataset=dataset
    )
    names = name_checkpoints(checkpoints)
    with show_progress(quiet) as progress:
        if images:
            chosen = read_pictures(checkpoints, data, [*images, *(more or [])])
        else:
            chosen = choose_pictures(
                checkpoints, data, split, limit, count, seed,
                rule=rows, names=names, runtime=runtime, batch=batch, progress=progress, quiet=quiet,
            )  # fmt: skip
        _say(f"images: {chosen.selection}", quiet)
        settings = {
            "method": method,
            "layer": layer,
            "batch": batch,
            "device": device,
            "precision": precision,
        }
        cams, checks = _explain(checkpoints, names, chosen, settings, verify, quiet, progress)
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
        difference=difference,
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
    for line in [*(f"{name}: {check}" for name, check in zip(names, checks, strict=False)), *_sum_up(result)]:
        print_line(line)
    save_all(result, out, "cam", style=style, force=force, quiet=quiet)


def _explain(
    checkpoints: Sequence[Checkpoint],
    names: Sequence[str],
    chosen: Pictures,
    settings: dict[str, Any],
    verify: bool,
    quiet: bool,
    progress: Callable[[int, int, str], None],
) -> tuple[list[Cam], list[CamCheck]]:
    """Maps of every checkpoint, and what `verify_cam` found where it was asked.

    Raises:
        RalrVizError: The maps are not those of the `grad-cam` package.
    """
    from ralr_viz.analysis.cam.check import PARITY_LIMIT, verify_cam
    from ralr_viz.analysis.cam.methods import METHODS
    from ralr_viz.analysis.cam.network_maps import compute_cam

    targets = chosen.labels if bool((chosen.labels >= 0).all()) else None
    cams, checks = [], []
    for name, checkpoint, (mean, std) in zip(names, checkpoints, chosen.scales, strict=True):
        arguments = (checkpoint.build(), chosen.images)
        given = settings | {"mean": mean, "std": std, "targets": targets}
        if settings["method"] in METHODS and METHODS[settings["method"]].per_channel:
            given["progress"] = lambda done, name=name: progress(done, len(chosen.images), name)
        if verify:
            check = verify_cam(*arguments, **given)
            if not check.passed:
                raise RalrVizError(
                    f"{name}: the drawn maps differ from those of grad-cam by {check.parity:.1e}, more than "
                    f"{PARITY_LIMIT:g}, so nothing was saved: report this network, or leave out --verify"
                )
            checks.append(check)
        found = checks[-1].cam if verify else compute_cam(*arguments, **given)
        targets = found.target  # the same class in every row
        cams.append(found)
        _say(f"{name}: {found.method} at `{found.layer}`", quiet)
        for note in found.notes:
            _say(f"{name}: {note}", quiet)
    return cams, checks


def _sum_up(result: CamResult) -> list[str]:
    """Mean of the box numbers of each model, where there are boxes."""
    boxed = result.box_area() >= 0  # NaN is not
    if not boxed.any():
        return []
    uniform, energy, rank = (
        f"{values[boxed].mean():.3f}"
        for values in (result.box_area(), result.centre_energy_in_box(), result.centre_rank_accuracy())
    )
    return [
        f"{name}: energy in box {result.energy_in_box(i)[boxed].mean():.3f}, rank accuracy "
        f"{result.rank_accuracy(i)[boxed].mean():.3f} (uniform map {uniform}, {uniform}; centre Gaussian {energy}, "
        f"{rank}); mean of the {boxed.sum()} drawn images with a box, not an evaluation"
        for i, name in enumerate(result.models)
    ]


def _say(line: str, quiet: bool) -> None:
    if not quiet:
        print_note(line)
