"""``ralr-viz spectrum``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ralr_viz.cli import options
from ralr_viz.cli.lines import print_line
from ralr_viz.cli.measures import list_measures
from ralr_viz.cli.output import prepare_out, save_all, with_command
from ralr_viz.cli.progress import show_progress

if TYPE_CHECKING:
    from ralr_viz.results.spectrum import SpectrumResult
    from ralr_viz.train.checkpoint import Checkpoint


def spectrum(
    ckpt: options.Checkpoints,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the figure and its numbers.")],
    probes: Annotated[int, typer.Option("--probes", min=1, help="Random probes of the trace.")] = 6,
    density_probes: Annotated[
        int, typer.Option("--density-probes", min=1, help="Of them, of the density.")
    ] = 2,
    steps: Annotated[int, typer.Option("--steps", min=2, help="Lanczos steps of each of those.")] = 10,
    basis: Annotated[int, typer.Option("--basis", min=3, help="Lanczos vectors of eigsh.")] = 8,
    restarts: Annotated[int, typer.Option("--restarts", min=0, help="Of eigsh, for each eigenvalue.")] = 1,
    seed: Annotated[int, typer.Option("--seed", min=0, max=2**32 - 2, help="Of probes and intervals.")] = 0,
    data: options.Data = None,
    dataset: options.DatasetName = None,
    split: options.Split = "train",
    limit: Annotated[
        int | None,
        typer.Option("--limit", metavar="N", min=1, help="Images. [default: 1024 on the CPU, else 4096]"),
    ] = None,
    arch: options.Arch = None,
    num_classes: options.NumClasses = None,
    size: options.Size = None,
    mean: options.Mean = None,
    std: options.Std = None,
    batch: options.Batch = 128,
    device: options.Device = "auto",
    precision: Annotated[
        str, typer.Option("--precision", help="fp32; auto means the same, bf16 is too coarse.")
    ] = "fp32",
    style: options.Style = "icml",
    force: options.Force = False,
    quiet: options.Quiet = False,
) -> None:
    """Curvature: signed extreme eigenvalues, trace and density of the training loss's Hessian.

    Example: ralr-viz spectrum --ckpt runs/R/baseline/seed0 --ckpt runs/R/ralr/seed0 --out out
    """
    from ralr_viz.analysis.spectrum import compute_spectrum
    from ralr_viz.cli.inputs import open_comparison
    from ralr_viz.train.runtime import resolve_runtime

    force = prepare_out(out, "spectrum", style=style, force=force)
    precision = "fp32" if precision == "auto" else precision
    runtime = resolve_runtime(device, precision)  # refuse early what is not there
    images = limit or (1024 if runtime.device.type == "cpu" else 4096)
    comparison = open_comparison(
        ckpt, data=data, split=split, limit=images, device=device, precision=precision, batch=batch, quiet=quiet,
        arch=arch, num_classes=num_classes, size=size, mean=mean, std=std, dataset=dataset,
    )  # fmt: skip
    with show_progress(quiet) as progress:
        result = compute_spectrum(
            comparison,
            learning_rates=[_learning_rate(network.checkpoint) for network in comparison.networks],
            probes=probes,
            density_probes=density_probes,
            steps=steps,
            basis=basis,
            restarts=restarts,
            seed=seed,
            progress=progress,
        )
    result = with_command(result)
    for line in [*list_measures(result.models, result.measures()), *_describe(result)]:
        print_line(line)
    save_all(result, out, "spectrum", style=style, force=force, quiet=quiet)


def _learning_rate(checkpoint: Checkpoint | None) -> float:
    """In use in the checkpoint's epoch, from its run's record; NaN where there is none."""
    from ralr_viz.errors import InputError
    from ralr_viz.results.run import load_run

    if checkpoint is None:
        return float("nan")
    try:
        record = load_run(checkpoint.path.parent.parent)
    except (InputError, OSError):
        return float("nan")
    found = record.values("lr")[record.epoch == checkpoint.epoch]
    return float(found[0]) if len(found) else float("nan")


def _describe(result: SpectrumResult) -> list[str]:
    """Standard errors, residuals and what the numbers are of."""
    lines = []
    for i, name in enumerate(result.models):
        words = ["converged" if done else "not converged, a bound" for done in result.converged[i]]
        lines.append(
            f"{name}: residuals λ_max {result.residual_max[i]:.2g} ({words[0]}), λ_min {result.residual_min[i]:.2g} "
            f"({words[1]}), scaled {result.scaled_residual[i]:.2g} ({words[2]}); trace {result.trace[i]:.4g} ± "
            f"{result.trace_error[i]:.2g}; {result.products[i]} Hessian-vector products"
        )
    return [
        *lines,
        f"of {result.num_images:,} images, without weight decay, BatchNorm frozen; the interval of the trace: 95 % "
        f"t over {result.trace_samples.shape[1]} probes; of these checkpoints, not of training seeds",
    ]
