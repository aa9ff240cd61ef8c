"""What is known while a report is being gathered: its sides and options, and what could not be had."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ralr_viz.comparison import Comparison, Progress
from ralr_viz.workflows.report.sides import Source

_ON_CPU = 32
"""Images of a forward pass there: more are no faster, and 500 of CIFAR's size take 0.6 GB more."""


@dataclass(frozen=True)
class Options:
    """What decides what is computed.

    Attributes:
        samples: Images in the maps and the gallery.
        split, limit, batch, device, precision: As in `compare`; ``data`` is its ``root``.
        seed: Of samples, maps and intervals.
        theirs: What `load_checkpoint` is to know of files that do not say it.
        provenance: Kept with every result, and its ``command`` on the page.
        say: Called with a note.
        labels: What the page calls the sides; empty for their methods' names.
    """

    samples: int
    split: str
    limit: int | None
    data: Path | None
    batch: int | None
    device: str
    precision: str
    seed: int
    theirs: Mapping[str, Any]
    provenance: Mapping[str, str]
    say: Callable[[object], object]
    labels: Sequence[str] = ()


@dataclass
class Gathering:
    """What was found so far.

    Attributes:
        sources: Of the sides.
        seeds: Whose checkpoints are looked at.
        missing: Section to why it is missing.
        absent: Sections that the sides' task does not have.
    """

    sources: Sequence[Source]
    options: Options
    progress: Progress
    seeds: list[int | None] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    absent: set[str] = field(default_factory=set)


def in_small_passes(compared: Comparison, options: Options) -> Comparison:
    """The same comparison with passes that a laptop's memory holds beside all else, where ``--batch`` does not say."""
    if options.batch is not None or compared.runtime.device.type != "cpu" or compared.task is not None:
        return compared
    return replace(compared, batch=compared.batch_size(_ON_CPU))
