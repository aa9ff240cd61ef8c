"""What training shows on stderr: a live bar on a terminal, else a line every few per cent."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from ralr_viz.cli.lines import print_note
from ralr_viz.foreign import one_line

if TYPE_CHECKING:
    from ralr_viz.train.training import Report, StepReport

# Lines of a whole training where there is no terminal to draw a bar on.
_LINES = 50


@contextlib.contextmanager
def show_training(directory: Path, *, quiet: bool) -> Iterator[Report | None]:
    """Yield what `train_run` reports to; None when quiet."""
    if quiet:
        yield None
    elif sys.stderr.isatty():
        with _Bar() as bar:
            task = bar.add_task(
                one_line("/".join(directory.parts[-2:])), total=None, epoch="reading the data"
            )

            def move(report: StepReport) -> None:
                done = (report.epoch - 1) * report.steps + report.step
                bar.facts = _facts(report)
                bar.update(task, completed=done, total=report.epochs * report.steps, epoch=_epoch(report))

            yield move
    else:
        print_note(f"training {directory}")

        def say(report: StepReport) -> None:
            every = max(1, report.epochs // _LINES)
            if report.record is not None and (report.epoch % every == 0 or report.epoch == report.epochs):
                print_note(f"{_epoch(report)}  {_facts(report)}")

        yield say


class _Bar(Progress):
    """The bar and, below it, the numbers: on one line they would not fit into 80 columns."""

    facts = ""

    def __init__(self) -> None:
        super().__init__(
            TextColumn("{task.description}  {task.fields[epoch]}", markup=False),
            BarColumn(bar_width=20),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=Console(stderr=True),
            refresh_per_second=4,
        )

    def get_renderables(self) -> Iterable[RenderableType]:
        yield from super().get_renderables()
        yield Text(self.facts, no_wrap=True, overflow="ellipsis")


def _epoch(report: StepReport) -> str:
    return f"epoch {report.epoch}/{report.epochs}"


def _facts(report: StepReport) -> str:
    parts = [f"LR {report.lr:.3g} (×{report.factor:.2f})", f"loss {report.loss:.3f}"]
    score = report.task.score
    if report.record is not None and score is not None:
        values = {split: report.record.get(f"{split}_{score.key}") for split in ("val", "test")}
        parts += [f"{split} {score.show(v, 1)}" for split, v in values.items() if v is not None]
    parts.append(f"{report.speed:.0f} {report.task.samples_name}/s")
    return "  ".join(parts)
