"""Records of runs from whatever names them: run directories, folders of these, CSVs, or records that were read already."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ralr_viz._version import __version__
from ralr_viz.results.log_csv import load_log_csv
from ralr_viz.results.run import RunRecord, find_runs, load_run

Source = str | os.PathLike[str] | RunRecord
"""A run directory, a folder of them, or a record; where logs are taken, a ``.csv`` file too."""


def list_sources(runs: Source | Sequence[Source], *, logs: bool = False) -> list[Path | RunRecord]:
    """What is named, one or several: a run directory for each run below a folder, in the order of `find_runs`.

    Args:
        runs: One or several.
        logs: Whether a ``.csv`` file is a run.

    Raises:
        InputError: A path that is no run directory and has none below it.
    """
    several = [runs] if isinstance(runs, str | os.PathLike | RunRecord) else runs
    found: list[Path | RunRecord] = []
    for run in several:
        if isinstance(run, RunRecord) or (logs and _is_log(Path(run))):
            found.append(run if isinstance(run, RunRecord) else Path(run))
        else:
            found += find_runs(Path(run))
    return found


def read_records(runs: Source | Sequence[Source]) -> list[RunRecord]:
    """The record of each run.

    Raises:
        InputError: As `list_sources`, or a damaged run directory.
    """
    return [run if isinstance(run, RunRecord) else load_run(run) for run in list_sources(runs)]


def read_logs(
    runs: Source | Sequence[Source],
    columns: Mapping[str, str] | None = None,
    progress: Callable[[int, int, str], object] | None = None,
) -> list[RunRecord]:
    """The record of each run, which may be anybody's CSV.

    Args:
        runs: One or several.
        columns: Of the CSVs, as `load_log_csv` takes them.
        progress: Called as ``progress(done, total, what)`` after each file.

    Raises:
        InputError: As `read_records` and `load_log_csv`.
        UnknownNameError: As `load_log_csv`.
    """
    sources = list_sources(runs, logs=True)
    found = []
    for source in sources:
        if isinstance(source, RunRecord):
            found.append(source)
        else:
            found.append(load_log_csv(source, columns) if _is_log(source) else load_run(source))
        if progress is not None:
            progress(len(found), len(sources), "logs")
    return found


def _is_log(path: Path) -> bool:
    return path.suffix.lower() == ".csv" and not path.is_dir()


def describe_runs(runs: Sequence[RunRecord], **more: Any) -> dict[str, Any]:
    """Provenance of a result that was made of runs: version and, of each run, settings, state, machine and what was assumed.

    Args:
        runs: That it was made of.
        more: What else belongs to it.
    """
    described = [
        {"run": run.label, "recipe": run.recipe, "status": run.status, "env": run.env, "notes": run.notes}
        for run in runs
    ]
    # through JSON: a user's recipe.toml may hold dates, which a manifest cannot
    told: dict[str, Any] = json.loads(
        json.dumps({"ralr_viz": __version__, "runs": described, **more}, default=str)
    )
    return told
