"""``ralr-viz fork``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ralr_viz.cli import options
from ralr_viz.cli.lines import print_line, print_note
from ralr_viz.cli.output import describe_command, prepare_out, save_all
from ralr_viz.cli.progress import show_progress
from ralr_viz.errors import InputError

if TYPE_CHECKING:
    from ralr_viz.results.fork import ForkResult

_BRANCHES = "fork-branches"
_UNITS = {"acc": "%", "loss": "nats", "distance": "", "sharpness": "nats", "barrier": "nats"}


def fork(
    ckpt: Annotated[
        str,
        typer.Option(
            "--ckpt",
            metavar="RUN@E",
            help="State to continue: run directory and kept epoch, or a .pt file with the optimizer's state.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the result and its figure.")],
    factors: Annotated[
        str, typer.Option("--factors", metavar="A,B,…", help="Factors of the scheduled LR, 1 among them.")
    ] = "1,1.5,2,3",
    epochs: Annotated[
        int,
        typer.Option(
            "--epochs", metavar="K", min=1, help="Epochs at each factor; as many at factor 1 follow."
        ),
    ] = 1,
    repeats: Annotated[
        int,
        typer.Option(
            "--repeats",
            metavar="R",
            min=1,
            help="The run's own data order, and R − 1 others that the factors share.",
        ),
    ] = 1,
    probe_images: Annotated[
        int,
        typer.Option(
            "--probe-images",
            metavar="N",
            min=0,
            help="Training images for sharpness and barrier after each part; 0 leaves these two out.",
        ),
    ] = 1000,
    data: options.Data = None,
    device: options.Device = "auto",
    deterministic: Annotated[
        bool, typer.Option("--deterministic", help="Only deterministic kernels on CUDA.")
    ] = False,
    compile: Annotated[
        bool, typer.Option("--compile", help="torch.compile the network, as the run was trained.")
    ] = False,
    style: options.Style = "icml",
    force: options.Force = False,
    quiet: options.Quiet = False,
) -> None:
    """Continue one checkpoint at several learning rates: the controlled experiment.

    Finished branches are kept in the folder `fork-branches` of --out: after an interruption, or to add factors
    or repeats (with --force), the same command goes on.

    Example: ralr-viz fork --ckpt runs/R/ralr/seed0@16 --factors 1,2,3 --epochs 2 --repeats 3 --out out
    """
    from ralr_viz.analysis.fork import compute_fork
    from ralr_viz.data import data_root

    chosen = _parse_factors(factors)
    force = prepare_out(out, "fork", style=style, force=force)
    with show_progress(quiet) as progress:
        result = compute_fork(
            ckpt,
            data_root(data),
            factors=chosen,
            epochs=epochs,
            repeats=repeats,
            probe_images=probe_images,
            work=out / _BRANCHES,
            device=device,
            deterministic=deterministic,
            compile=compile,
            progress=lambda done, total: progress(done, total, "epochs of all branches"),
            provenance=describe_command(),
        )
    if not quiet:
        for note in result.notes:
            print_note(note)
    for line in _describe(result):
        print_line(line)
    save_all(result, out, "fork", style=style, force=force, quiet=quiet)


def _parse_factors(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise InputError(
            f"`--factors {text}` must be numbers with commas between, such as 1,1.5,2,3"
        ) from None


def _describe(result: ForkResult) -> list[str]:
    """The check against the run, then a line for each quantity, moment and factor."""
    lines = [f"repeat 0 against the run: {result.reproduction} ({result.reproduction_note})"]
    for row in result.summary():
        unit = f" {_UNITS.get(row['quantity'].split('_')[-1], '')}".rstrip()
        text = f"{row['quantity']} {row['at']}, factor {row['factor']:g}: {row['mean']:.4g}{unit}"
        if row["factor"] != 1:
            text += f", {row['difference']:+.3g} against factor 1"
            if row["repeats"] > 1:
                text += f" [{row['low']:+.3g}, {row['high']:+.3g}] over {row['repeats']} repeats"
        lines.append(text)
    return lines
