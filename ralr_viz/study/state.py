"""What a run directory says of itself, from its files alone and without torch."""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ralr_viz.errors import InputError, StorageError
from ralr_viz.results.document import parse_json
from ralr_viz.study.attempt import DONE, describe_result, read_attempts
from ralr_viz.train.lock import try_lock
from ralr_viz.train.prepare import finished_result, has_progress


@dataclass(frozen=True)
class RunState:
    """State of one run.

    Attributes:
        status: ``finished``; ``diverged`` (a result, too); ``failed`` (the last attempt ended with a Python
            error, or the result is damaged); ``running`` (some process holds its lock); ``stopped`` (an epoch
            or more is saved, nobody works on it); ``pending``.
        result: Content of ``result.json``, where there is one.
        message: Why it failed or diverged.
    """

    status: str
    result: dict[str, Any] | None = None
    message: str = ""

    @property
    def done(self) -> bool:
        """Whether there is a result: a divergence is one."""
        return self.status in DONE


def run_state(directory: Path) -> RunState:
    """State of a run directory, which need not exist."""
    try:
        result = finished_result(directory)
    except InputError as error:
        return RunState("failed", message=str(error))
    if result is not None:
        status, message = describe_result(result)
        return RunState(status, result, message)
    if is_locked(directory):
        return RunState("running")
    attempts = read_attempts(directory)
    if attempts and attempts[-1].outcome == "failed":
        return RunState("failed", message=attempts[-1].error)
    return RunState("stopped" if has_progress(directory) else "pending")


def is_locked(directory: Path) -> bool:
    """Whether a process works on the directory (see `lock_folder`)."""
    try:
        descriptor = os.open(directory / "run.lock", os.O_RDONLY)
    except OSError:
        return False
    try:
        # shared, and given back at once; a run that starts at this instant tries again
        return not try_lock(descriptor, directory, fcntl.LOCK_SH)
    except StorageError:  # no locks there: nobody can have one
        return False
    finally:
        os.close(descriptor)


def last_record(directory: Path) -> dict[str, Any] | None:
    """The newest whole epoch of ``metrics.jsonl``, read from its end: a live display asks often."""
    try:
        with (directory / "metrics.jsonl").open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 4096))
            lines = file.read().decode("utf-8", errors="replace").splitlines()
    except OSError:
        return None
    for line in reversed(lines):
        try:
            record = parse_json(line)
        except ValueError:
            continue
        if isinstance(record, dict) and isinstance(record.get("epoch"), int):
            return record
    return None
