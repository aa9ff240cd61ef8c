"""What is known while a report is being gathered: its sides and options, and what could not be had."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ralr_viz.cli.report_sides import Source

if TYPE_CHECKING:
    from ralr_viz.train.runtime import Runtime

Progress = Callable[[int, int, str], None]
"""Called as ``progress(done, total, what)``."""


@dataclass(frozen=True)
class Options:
    """Options of the command that decide what is computed; see `ralr_viz.cli.report`."""

    samples: int
    split: str
    limit: int | None
    data: Path | None
    batch: int
    seed: int
    theirs: dict[str, Any]
    quiet: bool = False


@dataclass
class Gathering:
    """What was found so far.

    Attributes:
        sources: Of the sides.
        seeds: Whose checkpoints are looked at.
        missing: Section to why it is missing.
    """

    sources: Sequence[Source]
    options: Options
    runtime: Runtime
    progress: Progress
    seeds: list[int | None] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
