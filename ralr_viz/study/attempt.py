"""How an execution of a run directory ended: what a child process says, what is kept in ``attempts.jsonl``.

finished diverged      a result is there
failed                 a Python error; it would come again
killed                 died by a signal or ran out of memory; a checkpoint is there to go on from
interrupted            somebody else's SIGINT or SIGTERM; the state is saved
storage                the disk is full
locked                 another process trains this run; nothing was attempted, so no line is kept
"""

from __future__ import annotations

import errno
import json
import signal
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from ralr_viz.errors import DivergedError, InterruptedRunError, RalrVizError, RunLockedError, StorageError
from ralr_viz.foreign import one_line
from ralr_viz.results.document import parse_json
from ralr_viz.results.storage import append_line, storage_error

ATTEMPTS = "attempts.jsonl"
DONE = ("finished", "diverged")
"""Of what has a result: a divergence is one."""
# Cuts an error that quotes a tensor; a line of attempts.jsonl stays one write.
_LONGEST = 500
_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "MemoryError")
_STOPS = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True)
class Attempt:
    """One execution of a run directory.

    Attributes:
        attempt: 1-based number within the run directory; 0 where nothing was attempted.
        outcome: See the module.
        code: Exit code; None where a signal or the executor's own machinery ended it.
        signal: Number of the signal that killed it.
        error: One line; empty where a result is there.
        seconds: From start to end, ≥ 0.
    """

    attempt: int
    outcome: str
    code: int | None = None
    signal: int | None = None
    error: str = ""
    seconds: float = 0.0


_FIELDS = {field.name for field in fields(Attempt)}


def read_attempts(directory: Path) -> list[Attempt]:
    """The ended attempts of a run directory, oldest first; a line without an outcome is left out."""
    try:
        text = (directory / ATTEMPTS).read_bytes().decode(errors="replace")
    except OSError:
        return []
    attempts: list[Attempt] = []
    for line in text.splitlines():
        try:
            record = parse_json(line)
        except ValueError:  # of a driver that was killed while it wrote
            continue
        if isinstance(record, dict) and isinstance(record.get("outcome"), str):
            known = {key: value for key, value in record.items() if key in _FIELDS}
            known["error"] = str(record.get("error") or "")
            attempts.append(Attempt(**{"attempt": len(attempts) + 1} | known))
    return attempts


def record_attempt(directory: Path, attempt: Attempt) -> None:
    """Append a line to ``attempts.jsonl``.

    Raises:
        StorageError: The disk is full or cannot be written.
    """
    path = directory / ATTEMPTS
    line = json.dumps(asdict(attempt), ensure_ascii=False)
    try:
        before = path.read_bytes() if path.exists() else b""
    except OSError as error:
        raise storage_error(path, error) from error
    torn = before and not before.endswith(b"\n")
    append_line(path, "\n" + line if torn else line)


def describe_end(error: BaseException | None) -> tuple[str, str]:
    """Status and one-line error that ``ralr-viz run --json`` prints for what ended it."""
    text = describe_error(error) if error is not None else ""
    match error:
        case None:
            return "finished", ""
        case DivergedError():
            return "diverged", text
        case RunLockedError():
            return "locked", text
        case StorageError():
            return "storage", text
        case OSError(errno=errno.ENOSPC | errno.EDQUOT | errno.EFBIG):
            return "storage", text
        case InterruptedRunError():
            return "interrupted", text
        case KeyboardInterrupt():
            return "interrupted", "interrupted before the training began"
    return "failed", text


def describe_error(error: BaseException) -> str:
    """The message of an error; with its class where ralr-viz did not raise it on purpose."""
    text = one_line(error, None)
    if not isinstance(error, RalrVizError):
        text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return one_line(text, _LONGEST)


def describe_result(result: Mapping[str, Any]) -> tuple[str, str]:
    """One of `DONE`, and the message, of the content of ``result.json``."""
    return ("diverged" if result.get("status") == "diverged" else "finished"), str(result.get("message", ""))


def classify_end(
    code: int, reply: Mapping[str, Any] | None, result: Mapping[str, Any] | None, last_line: str = ""
) -> tuple[str, int | None, str]:
    """What became of a child process.

    Args:
        code: Exit code, or minus the number of the signal that it died by.
        reply: The object that ``ralr-viz run --json`` printed; None if it did not get so far.
        result: Content of ``result.json``; where there is one, the run is done, however the child ended.
        last_line: Last line on its stderr, for an end without a reply.

    Returns:
        Outcome, signal number and one-line error.
    """
    if result is not None:
        outcome, message = describe_result(result)
        return outcome, None, message
    status, error = (
        ("", one_line(last_line, _LONGEST))
        if reply is None
        else (str(reply.get("status")), str(reply.get("error")))
    )
    # 128 + n is how a shell or a container reports a signal, and how `run` does after it has saved
    number = -code if code < 0 else code - 128 if code > 128 else None
    if status == "interrupted" or number in _STOPS:
        return "interrupted", number if code < 0 else None, error or f"stopped by {_name(number)}"
    if number is not None:
        hint = " (out of memory, or somebody's kill -9)" if number == signal.SIGKILL else ""
        return "killed", number, f"died by {_name(number)}{hint}"
    if status in ("locked", "storage"):
        return status, None, error
    if any(text in error for text in _OUT_OF_MEMORY):
        return "killed", None, error
    return "failed", None, error or f"ended with code {code} and left no result.json"


def _name(number: int | None) -> str:
    try:
        return signal.Signals(number or 0).name
    except ValueError:
        return f"signal {number}"
