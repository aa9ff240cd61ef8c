"""``ralr-viz average``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ralr_viz.cli import options
from ralr_viz.cli.lines import print_json, print_line
from ralr_viz.cli.progress import show_progress


def average(
    run: Annotated[
        list[Path],
        typer.Option("--run", metavar="RUN", help="Run directory, or a folder of them; repeatable."),
    ],
    kind: Annotated[
        list[str] | None,
        typer.Option("--kind", help="swa (plain mean of the late states) or ema; repeatable. [default: swa]"),
    ] = None,
    start: Annotated[
        float,
        typer.Option("--start", metavar="F", help="Share of the training after which states are averaged."),
    ] = 0.75,
    decay: Annotated[
        float, typer.Option("--decay", metavar="F", help="Weight of the mean so far, state by state, of ema.")
    ] = 0.8,
    data: options.Data = None,
    device: options.Device = "auto",
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Average the states that runs have kept, as a control: is a gain what averaging gives anyway?

    BatchNorm's statistics are made anew on the training images. The mean is kept as RUN@swa or RUN@ema, which every command
    takes, and its scores for `study table --weights swa`.

    Example: ralr-viz average --run runs/R/baseline --run runs/R/ralr --kind swa --kind ema
    """
    from ralr_viz.analysis.averaging import average_states
    from ralr_viz.results.records import list_sources

    rows = []
    with show_progress(quiet) as progress:
        for folder in list_sources(run):
            for name in kind or ["swa"]:
                found = average_states(
                    str(folder), name, start=start, decay=decay, root=data, device=device, progress=progress
                )
                rows.append({"run": str(folder), "kind": name, **found})
    if as_json:
        print_json(rows)
        return
    for row in rows:
        epochs = row["epochs"]
        scores = ", ".join(
            f"{split} {row[split]['acc']:.2f} % (loss {row[split]['loss']:.4f})"
            for split in ("test", "val")
            if split in row
        )
        print_line(
            f"{row['run']}@{row['kind']}: {len(epochs)} states, epochs {epochs[0]} to {epochs[-1]}: {scores}"
        )
