"""Records of runs from whatever names them: run directories, folders of these, or records that were read already."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ralr_viz.results.run import RunRecord, find_runs, load_run

Source = str | os.PathLike[str] | RunRecord
"""A run directory, a folder of them, or a record."""


def list_sources(runs: Source | Sequence[Source]) -> list[Path | RunRecord]:
    """What is named, one or several: a run directory for each run below a folder, in the order of `find_runs`.

    Raises:
        InputError: A path that is no run directory and has none below it.
    """
    several = [runs] if isinstance(runs, str | os.PathLike | RunRecord) else runs
    found: list[Path | RunRecord] = []
    for run in several:
        found += [run] if isinstance(run, RunRecord) else find_runs(Path(run))
    return found


def read_records(runs: Source | Sequence[Source]) -> list[RunRecord]:
    """The record of each run.

    Raises:
        InputError: As `list_sources`, or a damaged run directory.
    """
    return [run if isinstance(run, RunRecord) else load_run(run) for run in list_sources(runs)]
