"""``ralr-viz verify``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from ralr_viz.cli import options
from ralr_viz.cli.lines import print_json, print_line, print_note


def verify(
    folder: Annotated[
        Path,
        typer.Argument(metavar="[DIR]", help="Published results with their verify.toml.", show_default=True),
    ] = Path("figures"),
    quick: Annotated[bool, typer.Option("--quick", help="Only what takes seconds and no data.")] = False,
    data: options.Data = None,
    device: options.Device = "auto",
    as_json: options.Json = False,
) -> None:
    """Make published tables and figures anew from the published runs, and compare their numbers.

    Each CSV of the folder is named in its verify.toml, with the command that makes it or the reason why none does. The
    first epochs of published runs are trained again, and are to be equal to the last bit on the same processor. Exit
    code 1: something differs or could not be made.

    Example: ralr-viz verify figures --quick
    """
    from ralr_viz.workflows.verify import find_unlisted, read_list
    from ralr_viz.workflows.verify import verify as verify_results

    missing = find_unlisted(folder, read_list(folder))
    for line in missing:
        print_note(line)
    found = []
    for one in verify_results(folder, data=data, device=device, quick=quick):
        found.append(one)
        if not as_json:
            print_line(one.line)
    if as_json:
        print_json([asdict(one) for one in found])
    counts = {kind: sum(one.outcome == kind for one in found) for kind in ("equal", "differs", "failed")}
    print_note(", ".join(f"{n} {kind}" for kind, n in counts.items()))
    if missing or counts["differs"] or counts["failed"]:
        raise typer.Exit(1)
