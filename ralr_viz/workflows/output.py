"""What is left in a folder: the saved result, the figure drawn from it and its numbers."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from ralr_viz.errors import InputError, StorageError
from ralr_viz.plots.drawing import find_drawing
from ralr_viz.plots.style import CAPTION_SUFFIXES, save_figure
from ralr_viz.plots.style import style as figure_style
from ralr_viz.results.bundle import Result, load_result, save_result, without_paths
from ralr_viz.results.storage import write_bytes

_FIGURE = ("pdf", "png", "csv")
_CAPTION = tuple(suffix[1:] for suffix in CAPTION_SUFFIXES)
Say = Callable[[object], object]
"""Called with a path that was written, or with a note."""


def be_silent(line: object) -> None:
    """Hears and says nothing."""


def prepare_output(
    out: Path, stem: str, *, style: str, force: bool, command: str = "", texts: Iterable[str] = ()
) -> bool:
    """Make ``--out`` and refuse early, before the work, what would overwrite something.

    Args:
        out, stem, style, force: As for `save_output`.
        command: Who asks; see there.
        texts: Suffixes of what `save_output` will write beside the figure.

    Returns:
        ``force`` for `save_output`: set, too, where this very ``command`` has left something unfinished before, as on a
        full disk. Not asked again then: by that time it may be another process's, at work on the same.

    Raises:
        InputError: ``out`` is a file or cannot be made, or holds this result or figure already, or no such
            ``--style``.
    """
    force = force or _is_half_saved(out, stem, command, texts)
    if (out / stem).exists() and not force:
        raise InputError(f"`{out / stem}` exists: pass --force to overwrite it or another --out")
    prepare_figure(out, stem, style=style, force=force, texts=texts)
    return force


def prepare_figure(out: Path, stem: str, *, style: str, force: bool, texts: Iterable[str] = ()) -> None:
    """The part of `prepare_output` that is about files beside the result."""
    with figure_style(style):
        pass
    if out.exists() and not out.is_dir():
        raise InputError(f"`--out {out}` is a file: give a folder")
    for path in (out / f"{stem}.{suffix}" for suffix in (*_FIGURE, *_CAPTION, *texts)):
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


def save_output(
    result: Result,
    out: Path,
    stem: str,
    *,
    style: str,
    force: bool,
    texts: Mapping[str, str] = MappingProxyType({}),
    saved: Say = be_silent,
    note: Say = be_silent,
) -> None:
    """Save the result as ``out/stem/`` and its figure as ``out/stem.{pdf,png,csv}`` with its caption.

    Args:
        result: What was computed.
        out, stem: Folder and name.
        style: Of the figure.
        force: Replace what is there.
        texts: Suffix → what else to write, as ``out/stem.suffix``.
        saved: Called with each path.
        note: Called with what the figure lacks.

    Raises:
        StorageError: A disk is full; what was computed is kept where it had room.
    """
    saved(save_result(result, out / stem, force=force))
    try:
        for suffix, text in texts.items():
            path = out / f"{stem}.{suffix}"
            write_bytes(path, text.encode("utf-8", "backslashreplace"), replace=force)
            saved(path)
        save_drawing(result, out / stem, style=style, force=force, saved=saved, note=note)
    except StorageError as error:
        raise StorageError(
            f"{error}; the numbers are saved, `ralr-viz draw {out / stem}` draws them"
        ) from error


def save_drawing(
    result: Result,
    stem: Path,
    *,
    style: str,
    column: Literal["full", "half"] = "full",
    force: bool,
    saved: Say = be_silent,
    note: Say = be_silent,
) -> None:
    """Draw a result and save the figure as ``stem.{pdf,png,csv}`` with its caption; arguments of `save_output`."""
    drawing = find_drawing(result)
    with figure_style(style, column=column), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        figure = drawing.draw(result)
        paths = save_figure(figure, stem, drawing.table(result), result.provenance, force=force)
    for path in paths:
        saved(path)
    for text in dict.fromkeys(str(w.message) for w in caught if issubclass(w.category, UserWarning)):
        note(f"{stem.name}: {text}")


def _is_half_saved(out: Path, stem: str, command: str, texts: Iterable[str]) -> bool:
    """Whether this very command has saved its result here, but not all that belongs beside it.

    A result names its command without the folders above files, so it is compared so.
    """
    if not command or all((out / f"{stem}.{suffix}").exists() for suffix in (*_FIGURE, *texts)):
        return False
    try:
        found = load_result(out / stem).provenance.get("command")
    except InputError:  # none is there, or it is damaged
        return False
    return bool(found == without_paths(command))
