"""``ralr-viz curves``."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ralr_viz.cli import options
from ralr_viz.cli.lines import print_line, print_note
from ralr_viz.cli.output import describe_command, prepare_out, save_all
from ralr_viz.errors import InputError

if TYPE_CHECKING:
    from ralr_viz.results.run import RunRecord


def curves(
    run: Annotated[
        list[Path],
        typer.Option(
            "--run",
            metavar="RUN",
            help="Run directory, a folder of them, or a CSV of your own log; repeatable.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the figure and its numbers.")],
    column: Annotated[
        list[str] | None,
        typer.Option(
            "--column",
            metavar="NAME=COLUMN",
            help="Column of a CSV that is not recognised, e.g. val_acc=score; repeatable.",
        ),
    ] = None,
    style: options.Style = "icml",
    force: options.Force = False,
    quiet: options.Quiet = False,
) -> None:
    """Loss, accuracy and learning rate over the epochs (the paper's Figure 1).

    Example: ralr-viz curves --run runs/R/baseline --run runs/R/ralr --out out
    """
    from ralr_viz.analysis.curves import compute_curves

    force = prepare_out(out, "curves", style=style, force=force)
    records = [record for path in run for record in _read(path, column or [])]
    result = compute_curves(records)
    result = dataclasses.replace(result, provenance=dict(result.provenance) | describe_command())
    if not quiet:
        for name, record in zip(result.run, records, strict=True):
            for note in record.notes:
                print_note(f"{name}: {note}")
    for row, best_by in zip(result.summary(), result.best_by, strict=True):
        print_line(_describe(row, best_by))
    save_all(result, out, "curves", style=style, force=force, quiet=quiet)


def _describe(row: dict[str, Any], best_by: str) -> str:
    """One line a run; what was not measured is left out."""
    parts = [
        (row["last_acc"], f"{row['split']} accuracy {row['last_acc']:.2f} % (last)"),
        (row["best_acc"], f"{row['best_acc']:.2f} % (lowest {best_by}, epoch {row['best_epoch']})"),
        (row["median5_acc"], f"{row['median5_acc']:.2f} % (median of the last five)"),
        (row["gap"], f"overfitting gap {row['gap']:.3f} nats"),
        (row["final_factor"], f"final factor {row['final_factor']:.2f}"),
        (row["sum_lr"], f"sum of LR {row['sum_lr']:.3f}"),
    ]
    return f"{row['run']}: " + ", ".join(text for value, text in parts if not math.isnan(value))


def _read(path: Path, columns: list[str]) -> list[RunRecord]:
    from ralr_viz.results.log_csv import load_log_csv
    from ralr_viz.results.run import find_runs, load_run

    if path.suffix.lower() == ".csv" and not path.is_dir():
        return [load_log_csv(path, dict(_split_pair(c) for c in columns))]
    return [load_run(directory) for directory in find_runs(path)]


def _split_pair(text: str) -> tuple[str, str]:
    name, separator, column = text.partition("=")
    if not separator:
        raise InputError(f"`--column {text}` has no `=`: write --column val_acc=score")
    return name, column
