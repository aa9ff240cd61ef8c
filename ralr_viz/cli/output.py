"""What a command leaves in ``--out``: the saved result, the figure drawn from it and its numbers."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import typer

from ralr_viz._version import __version__
from ralr_viz.errors import InputError

if TYPE_CHECKING:
    from ralr_viz.results.bundle import Result


def prepare_out(out: Path, stem: str, *, style: str, force: bool) -> None:
    """Make ``--out`` and refuse early, before the work, what would overwrite something.

    Raises:
        InputError: ``out`` is a file or cannot be made, or holds this result or figure already, or no such
            ``--style``.
    """
    if (out / stem).exists() and not force:
        raise InputError(f"`{out / stem}` exists: pass --force to overwrite it or another --out")
    prepare_figure(out, stem, style=style, force=force)


def prepare_figure(out: Path, stem: str, *, style: str, force: bool) -> None:
    """The part of `prepare_out` that is about the figure's files."""
    from ralr_viz.plots.style import style as figure_style

    with figure_style(style):
        pass
    if out.exists() and not out.is_dir():
        raise InputError(f"`--out {out}` is a file: give a folder")
    for path in (out / f"{stem}.{suffix}" for suffix in ("pdf", "png", "csv")):
        if path.exists() and not force:
            raise InputError(f"`{path}` exists: pass --force to overwrite it or another --out")
    make_folder(out)


def make_folder(folder: Path) -> None:
    """Make the folder that ``--out`` names or lies in.

    Raises:
        InputError: It cannot be made or may not be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"`{folder}` cannot be made ({error.strerror}): choose another --out") from None
    if not os.access(folder, os.W_OK):
        raise InputError(f"`{folder}` may not be written: choose another --out or change its permissions")


def save_all(result: Result, out: Path, stem: str, *, style: str, force: bool) -> None:
    """Save the result as ``out/stem/`` and its figure as ``out/stem.{pdf,png,csv}``; print the paths."""
    from ralr_viz.results.bundle import save_result

    typer.echo(save_result(result, out / stem, force=force))
    save_drawing(result, out / stem, style=style, force=force)


def save_drawing(
    result: Result, stem: Path, *, style: str, column: Literal["full", "half"] = "full", force: bool
) -> None:
    """Draw a result and save the figure as ``stem.{pdf,png,csv}``; print the paths."""
    from ralr_viz.plots.drawing import find_drawing
    from ralr_viz.plots.style import save_figure
    from ralr_viz.plots.style import style as figure_style

    drawing = find_drawing(result)
    with figure_style(style, column=column):
        figure = drawing.draw(result)
        for path in save_figure(figure, stem, drawing.table(result), result.provenance, force=force):
            typer.echo(path)


def describe_command() -> dict[str, str]:
    """The provenance that every result has."""
    return {"command": shlex.join(["ralr-viz", *sys.argv[1:]]), "ralr_viz": __version__}
