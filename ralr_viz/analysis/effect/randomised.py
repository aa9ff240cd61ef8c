"""The runs among several whose learning rate was amplified at random."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ralr_viz.errors import InputError
from ralr_viz.results.records import Source, list_sources
from ralr_viz.results.run import RunRecord, load_run

_METHOD = "ralr"


def find_randomised(runs: Source | Sequence[Source]) -> tuple[list[RunRecord], list[str]]:
    """Records with random flips, each run directory once, and which runs are left out, a line each.

    Records that the caller has read are taken as they are, whatever their method is called.

    Raises:
        InputError: No run directory where one is named, or none in which an LR was amplified at random.
    """
    kept: list[RunRecord] = []
    left_out: list[str] = []
    seen: set[Path] = set()
    for source in list_sources(runs):
        if isinstance(source, RunRecord):
            kept.append(source)
        elif (directory := source.resolve()) not in seen:
            seen.add(directory)
            record = load_run(directory)
            if record.method == _METHOD:
                kept.append(record)
            else:
                left_out.append(f"{record.label}: left out, no random flips")
    if left_out and not kept:
        several = [runs] if isinstance(runs, str | os.PathLike | RunRecord) else runs
        shown = ", ".join(f"`{Path(run)}`" for run in several if not isinstance(run, RunRecord))
        raise InputError(
            f"no run of method `{_METHOD}` in {shown}: only its LR is amplified at random; give RUNS/RECIPE/ralr"
        )
    return kept, left_out
