"""What a command leaves in ``--out``: the saved result, the figure drawn from it and its numbers."""

from __future__ import annotations

import dataclasses
import os
import shlex
import sys
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, TypeVar

from ralr_viz._version import __version__
from ralr_viz.cli.lines import print_line, print_note
from ralr_viz.errors import InputError, StorageError

if TYPE_CHECKING:
    from ralr_viz.results.bundle import Result

AnyResult = TypeVar("AnyResult", bound="Result")
_FIGURE = ("pdf", "png", "csv")


def prepare_out(out: Path, stem: str, *, style: str, force: bool, texts: Iterable[str] = ()) -> bool:
    """Make ``--out`` and refuse early, before the work, what would overwrite something.

    Args:
        out, stem, style, force: As for `save_all`.
        texts: Suffixes of what `save_all` will write beside the figure.

    Returns:
        ``force`` for `save_all`: set, too, where this very command has left something unfinished before, as on a
        full disk. Not asked again then: by that time it may be another process's, at work on the same.

    Raises:
        InputError: ``out`` is a file or cannot be made, or holds this result or figure already, or no such
            ``--style``.
    """
    force = force or _is_half_saved(out, stem, texts)
    if (out / stem).exists() and not force:
        raise InputError(f"`{out / stem}` exists: pass --force to overwrite it or another --out")
    prepare_figure(out, stem, style=style, force=force, texts=texts)
    return force


def prepare_figure(out: Path, stem: str, *, style: str, force: bool, texts: Iterable[str] = ()) -> None:
    """The part of `prepare_out` that is about files beside the result."""
    from ralr_viz.plots.style import style as figure_style

    with figure_style(style):
        pass
    if out.exists() and not out.is_dir():
        raise InputError(f"`--out {out}` is a file: give a folder")
    for path in (out / f"{stem}.{suffix}" for suffix in (*_FIGURE, *texts)):
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


def save_all(
    result: Result,
    out: Path,
    stem: str,
    *,
    style: str,
    force: bool,
    quiet: bool = False,
    texts: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Save the result as ``out/stem/`` and its figure as ``out/stem.{pdf,png,csv}``; print the paths.

    Args:
        result: What was computed.
        out, stem: Folder and name.
        style: Of the figure.
        force: Replace what is there.
        quiet: No notes on the figure on stderr.
        texts: Suffix → what else to write, as ``out/stem.suffix``.

    Raises:
        StorageError: A disk is full; what was computed is kept where it had room.
    """
    from ralr_viz.results.bundle import save_result
    from ralr_viz.results.storage import write_bytes

    print_line(save_result(result, out / stem, force=force))
    try:
        for suffix, text in texts.items():
            path = out / f"{stem}.{suffix}"
            write_bytes(path, text.encode("utf-8", "backslashreplace"), replace=force)
            print_line(path)
        save_drawing(result, out / stem, style=style, force=force, quiet=quiet)
    except StorageError as error:
        raise StorageError(
            f"{error}; the numbers are saved, `ralr-viz draw {out / stem}` draws them"
        ) from error


def _is_half_saved(out: Path, stem: str, texts: Iterable[str]) -> bool:
    """Whether this very command has saved its result here, but not all that belongs beside it.

    A result names its command without the folders above files, so it is compared so.
    """
    from ralr_viz.results.bundle import load_result, without_paths

    if all((out / f"{stem}.{suffix}").exists() for suffix in (*_FIGURE, *texts)):
        return False
    try:
        command = load_result(out / stem).provenance.get("command")
    except InputError:  # none is there, or it is damaged
        return False
    return command == without_paths(describe_command()["command"])


def save_drawing(
    result: Result,
    stem: Path,
    *,
    style: str,
    column: Literal["full", "half"] = "full",
    force: bool,
    quiet: bool = False,
) -> None:
    """Draw a result and save the figure as ``stem.{pdf,png,csv}``; print the paths, and on stderr what it lacks."""
    from ralr_viz.plots.drawing import find_drawing
    from ralr_viz.plots.style import save_figure
    from ralr_viz.plots.style import style as figure_style

    drawing = find_drawing(result)
    with figure_style(style, column=column), warnings.catch_warnings(record=True) as notes:
        warnings.simplefilter("always", UserWarning)
        figure = drawing.draw(result)
        paths = save_figure(figure, stem, drawing.table(result), result.provenance, force=force)
    for path in paths:
        print_line(path)
    for note in dict.fromkeys(str(note.message) for note in notes if issubclass(note.category, UserWarning)):
        if not quiet:
            print_note(f"{stem.name}: {note}")


def with_command(result: AnyResult) -> AnyResult:
    """A result that names this command, before what it was computed from."""
    return dataclasses.replace(result, provenance=describe_command() | dict(result.provenance))


def describe_command() -> dict[str, str]:
    """The provenance that every result has."""
    return {"command": shlex.join(["ralr-viz", *sys.argv[1:]]), "ralr_viz": __version__}
