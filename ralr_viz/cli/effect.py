"""``ralr-viz effect``."""

from __future__ import annotations

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
    from ralr_viz.results.run import RunRecord

_METHOD = "ralr"


def effect(
    run: Annotated[
        list[Path],
        typer.Option("--run", metavar="RUN", help="Run directory or a folder of them; repeatable."),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the figure and its numbers.")],
    horizon: Annotated[
        int, typer.Option("--horizon", metavar="K", min=0, max=100, help="Largest lag in epochs.")
    ] = 5,
    resamples: Annotated[
        int, typer.Option("--resamples", metavar="N", min=99, max=100_000, help="Redraws of all flips.")
    ] = 2000,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the redraws.")] = 0,
    style: options.Style = "icml",
    force: options.Force = False,
    quiet: options.Quiet = False,
) -> None:
    """What one amplification does to loss, accuracy and weight step, from the runs' own coin flips.

    Example: ralr-viz effect --run runs/R/ralr --out out
    """
    from ralr_viz.analysis.effect import compute_effect

    force = prepare_out(out, "effect", style=style, force=force)
    records = _read(run, quiet)
    with show_progress(quiet) as progress:
        result = compute_effect(
            records,
            horizon=horizon,
            resamples=resamples,
            seed=seed,
            progress=lambda done, total: progress(done, total, "redraws"),
            provenance=describe_command(),
        )
    for note in result.notes:
        _say(note, quiet)
    law = result.law
    print_line(
        f"{len(result.runs)} run(s), {result.draws.sum()} draws of law low {law['low']:g}, high {law['high']:g}, "
        f"probability {law['probability']:g} ({law['draw']}), {result.amplified.sum()} amplified; {result.schedule}"
    )
    for row in result.summary():
        print_line(_describe(row))
    save_all(result, out, "effect", style=style, force=force, quiet=quiet)


def _read(paths: Sequence[Path], quiet: bool) -> list[RunRecord]:
    """The runs with random flips; the others are named on stderr."""
    from ralr_viz.results.run import find_runs, load_run

    directories = dict.fromkeys(directory.resolve() for path in paths for directory in find_runs(path))
    records = [load_run(directory) for directory in directories]
    flipped = [record for record in records if record.method == _METHOD]
    if not flipped:
        raise InputError(
            f"no run of method `{_METHOD}` in {', '.join(f'`{path}`' for path in paths)}: only its LR is amplified at "
            "random; give RUNS/RECIPE/ralr"
        )
    for record in records:
        if record.method != _METHOD:
            _say(f"{record.label}: left out, no random flips", quiet)
    return flipped


def _describe(row: dict[str, Any]) -> str:
    """One line an outcome and lag."""
    head = f"{row['label']}, lag {row['lag']}: "
    if math.isnan(row["estimate"]):
        return f"{head}not estimable (n = {row['n']})"
    return (
        f"{head}{row['estimate']:+.4g} {row['unit']} [{row['low']:+.4g}, {row['high']:+.4g}], p {row['p']:.4f} "
        f"(no draw acts at any lag, exact: {row['overall_p']:.4f}), minimum detectable effect {row['mde']:.4g}, n = {row['n']}"
    )


def _say(line: str, quiet: bool) -> None:
    if not quiet:
        print_note(line)
