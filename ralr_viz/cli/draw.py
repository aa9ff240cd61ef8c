"""``ralr-viz draw``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from ralr_viz.cli import options
from ralr_viz.cli.lines import print_line, print_note


def draw(
    result: Annotated[
        Path, typer.Argument(metavar="RESULT", help="Folder of a saved result, such as out/cam.")
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Folder for the figure. [default: beside RESULT]"),
    ] = None,
    style: options.Style = "icml",
    caption: options.Caption = False,
    column: Annotated[
        Literal["full", "half"], typer.Option("--column", help="Width: the whole text, or half of it.")
    ] = "full",
    force: options.Force = False,
) -> None:
    """Redraw a saved result in another style; needs neither a GPU nor the data.

    Example: ralr-viz draw out/curves --style ieee --column half --out paper
    """
    from ralr_viz.plots.drawing import find_drawing
    from ralr_viz.results.bundle import load_result
    from ralr_viz.workflows.output import prepare_figure, save_drawing

    loaded = load_result(result)
    find_drawing(loaded)  # refuse before a folder is made
    result = result if result.name else result.resolve()  # the folder itself, as `.`
    folder, stem = out or result.parent, result.name
    prepare_figure(folder, stem, style=style, force=force)
    save_drawing(
        loaded, folder / stem, style=style, column=column, force=force, saved=print_line, note=print_note
    )
