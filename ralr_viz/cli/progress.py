"""Progress of long work on stderr: a bar on a terminal, a line every few per cent elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ralr_viz.cli.lines import print_note
from ralr_viz.foreign import one_line

_LINE_EVERY = 5
"""Per cent between two lines where stderr is no terminal."""


@contextmanager
def show_progress(quiet: bool = False) -> Iterator[Callable[[int, int, str], None]]:
    """A callback ``progress(done, total, what)`` that shows how far each ``what`` has come.

    Args:
        quiet: Show nothing.
    """
    if quiet:
        yield lambda done, total, what: None
    elif sys.stderr.isatty():
        with _bars() as callback:
            yield callback
    else:
        yield _Lines()


@contextmanager
def _bars() -> Iterator[Callable[[int, int, str], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bars:
        tasks = {}

        def callback(done: int, total: int, what: str) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(one_line(what), total=total)
            bars.update(tasks[what], completed=done, total=total)

        yield callback


class _Lines:
    def __init__(self) -> None:
        self._printed: dict[str, int] = {}

    def __call__(self, done: int, total: int, what: str) -> None:
        percent = 100 * done // max(total, 1)
        if percent == 100 or percent >= self._printed.get(what, -_LINE_EVERY) + _LINE_EVERY:
            if self._printed.get(what) != percent:
                print_note(f"{what}: {percent} % ({done:,} of {total:,})")
            self._printed[what] = percent
