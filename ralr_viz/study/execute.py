"""Execute a run directory in a child process.

The child is ``ralr-viz run DIR --json --stop-at-eof``: one JSON object on stdout says how it ended, stderr goes
to ``DIR/output.txt``, and stdin is a pipe that nobody writes to. When it closes, the child saves and stops. So
one mechanism serves a driver that wants to stop and one that was killed by SIGKILL, on every POSIX system and in
any thread. A second signal does not end a child before it has saved (`ralr_viz.runtime.stop`): what stops a driver
often sends SIGTERM to its children, too.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from ralr_viz.errors import InputError, RalrVizError, StorageError
from ralr_viz.results.document import parse_json
from ralr_viz.results.storage import append_line, storage_error
from ralr_viz.runtime.ranks import PeerError
from ralr_viz.study.attempt import (
    ATTEMPTS,
    DONE,
    Attempt,
    classify_end,
    describe_end,
    describe_error,
    describe_result,
    read_attempts,
    record_attempt,
)
from ralr_viz.study.state import is_locked
from ralr_viz.train.lock import try_lock
from ralr_viz.train.prepare import finished_result

OUTPUT = "output.txt"
# What `torchrun` tells a process of its own ranks; with these, a child would wait for ranks that never come.
_OF_TORCHRUN = re.compile(
    r"((LOCAL_|GROUP_|ROLE_)?(RANK|WORLD_SIZE)|ROLE_NAME|MASTER_(ADDR|PORT)|TORCHELASTIC_.*)"
)


@dataclass(frozen=True)
class ExecuteOptions:
    """What every child is told; it can be pickled.

    Attributes:
        data: Folder of the ingested data sets; None for the child's own default.
        device: ``--device``; a child whose ``CUDA_VISIBLE_DEVICES`` names one GPU takes ``cuda``.
        deterministic, compile: See `ralr_viz.runtime.device.Runtime`.
        allow: Code of the user's own that his command names; see `ralr_viz.own_code`.
        environment: Variables set for the child beside those of this process, of which torchrun's are left out.
    """

    data: Path | None = None
    device: str = "auto"
    deterministic: bool = True
    compile: bool = False
    allow: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


class Children:
    """The child processes of this process's threads, to be stopped together."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._alive: set[subprocess.Popen[bytes]] = set()
        self._stopping = False

    @contextlib.contextmanager
    def hold(self, process: subprocess.Popen[bytes]) -> Iterator[None]:
        """Make a child known for as long as the block lasts; one that comes after `stop` is stopped too."""
        with self._lock:
            self._alive.add(process)
            if self._stopping:
                _close_stdin(process)
        try:
            yield
        finally:
            with self._lock:
                self._alive.discard(process)

    def stop(self) -> None:
        """Ask all to save and stop; it does not wait."""
        with self._lock:
            self._stopping = True
            for process in self._alive:
                _close_stdin(process)

    def kill(self) -> None:
        """End all at once; what they have saved before is intact."""
        with self._lock:
            self._stopping = True
            for process in self._alive:
                process.kill()


def execute_run(
    directory: Path, options: ExecuteOptions | None = None, children: Children | None = None
) -> Attempt:
    """Execute or resume one prepared run directory; wait for its end.

    A run that is done, or that another process trains, starts no child. The attempt is kept in
    ``attempts.jsonl``.

    Args:
        directory: Holds ``recipe.toml``; visible to this process.
        options: What the child is told.
        children: Where the child is made known, for the caller to stop it.

    Returns:
        How it ended; no error of the run is raised.
    """
    try:
        with _claim(directory) as mine:
            if not mine or is_locked(directory):
                return Attempt(0, "locked", error=f"`{directory}` is trained by another process")
            result = result_of(directory)
            if result is not None:
                outcome, error = describe_result(result)
                return Attempt(0, outcome, 0, error=error)
            return _attempt_run(directory, options or ExecuteOptions(), children)
    except StorageError as error:
        return Attempt(0, "storage", error=str(error))


def is_taken(directory: Path) -> bool:
    """Whether a process trains this run, or another driver is about to let one.

    Raises:
        StorageError: The folder cannot be written.
    """
    if is_locked(directory):
        return True
    with _claim(directory) as mine:
        return not mine


def result_of(directory: Path) -> dict[str, Any] | None:
    """Content of ``result.json``; None where the run is not done, or the file is damaged (the child says so)."""
    try:
        return finished_result(directory)
    except InputError:
        return None


def record_own_end(directory: Path, error: BaseException, seconds: float = 0.0) -> None:
    """Keep how this process's own execution of a run ended, as a driver would: ``ralr-viz run`` by hand.

    An end with a result needs no line; nor is a line written for a run that somebody else trains. Whatever goes
    wrong here is not raised: the error itself matters more.
    """
    status, text = describe_end(error)
    if status == "locked" or result_of(directory) is not None:
        return
    code = 130 if isinstance(error, KeyboardInterrupt) else getattr(error, "exit_code", 1)
    outcome, _, message = classify_end(code, {"status": status, "error": text}, None)
    if isinstance(error, PeerError):  # of another rank, which may have been killed
        outcome = "killed"
    unexpected = status == "failed" and not isinstance(error, RalrVizError)
    trace = "".join(traceback.format_exception(error)) if unexpected else text
    with contextlib.suppress(StorageError, OSError):
        if (directory / "recipe.toml").is_file():
            with _claim(directory) as mine:
                if mine and not is_locked(directory):
                    number = len(read_attempts(directory)) + 1
                    record_attempt(
                        directory, Attempt(number, outcome, code, None, message, round(seconds, 3))
                    )
                    append_line(directory / OUTPUT, f"--- attempt {number}\n{trace.rstrip()}")


@contextlib.contextmanager
def _claim(directory: Path) -> Iterator[bool]:
    """Be the one who makes attempts at a run, for as long as the block lasts; false where somebody else is.

    The child's own lock comes late, after torch is imported: two drivers would start a child each.
    """
    path = directory / ATTEMPTS
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise storage_error(path, error) from error
    try:
        yield try_lock(descriptor, directory)
    finally:
        os.close(descriptor)


def _attempt_run(directory: Path, options: ExecuteOptions, children: Children | None) -> Attempt:
    """Start a child, wait for it and keep how it ended."""
    number, begin = len(read_attempts(directory)) + 1, time.monotonic()
    try:
        code, reply, last_line = _run_child(directory, options, number, children)
    except StorageError:
        raise
    except Exception as error:  # one run must not end the others
        with contextlib.suppress(OSError), (directory / OUTPUT).open("a", encoding="utf-8") as output:
            output.write(traceback.format_exc())
        attempt = Attempt(number, "failed", error=describe_error(error))
    else:
        outcome, signal_number, error_line = classify_end(code, reply, result_of(directory), last_line)
        seconds = round(time.monotonic() - begin, 3)
        attempt = Attempt(number, outcome, code if code >= 0 else None, signal_number, error_line, seconds)
    if attempt.outcome == "locked":  # by a `ralr-viz run` of somebody's: nothing was attempted
        return attempt
    try:
        record_attempt(directory, attempt)
    except StorageError:
        if attempt.outcome not in DONE:  # a result stays one
            raise
    return attempt


def _run_child(
    directory: Path, options: ExecuteOptions, number: int, children: Children | None
) -> tuple[int, dict[str, Any] | None, str]:
    """Exit code (minus the signal), the JSON object on stdout if there is one, the last line on stderr."""
    path = directory / OUTPUT
    try:
        append_line(path, f"--- attempt {number}")
        output = path.open("ab")
    except OSError as error:
        raise storage_error(path, error) from error
    with output:
        start = output.seek(0, os.SEEK_END)
        process = _start(directory, options, output)
    said: deque[bytes] = deque(maxlen=1)

    def read() -> None:
        with process.stdout or io.BytesIO() as stream:
            said.extend(stream)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    with (children or Children()).hold(process):
        try:
            # Not `process.wait()`: a task that Ray cancels is told so between two bytecodes only. Nor the end of
            # the output alone: a grandchild may hold it.
            while reader.is_alive() and process.poll() is None:
                reader.join(1)
            process.wait()
        finally:
            _close_stdin(process)
            process.wait()
    reader.join(1)
    return process.returncode, _parse_reply(said), _last_line(path, start)


def _start(directory: Path, options: ExecuteOptions, output: IO[bytes]) -> subprocess.Popen[bytes]:
    inherited = {name: value for name, value in os.environ.items() if not _OF_TORCHRUN.fullmatch(name)}
    # A session of its own: Ctrl-C on the terminal reaches the driver alone, which passes it on.
    return subprocess.Popen(
        _command(directory, options),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=output,
        env={**inherited, **options.environment},
        start_new_session=True,
    )


def _command(directory: Path, options: ExecuteOptions) -> list[str]:
    # faulthandler: where a segmentation fault happened is in output.txt
    command = [sys.executable, "-X", "faulthandler", "-m", "ralr_viz", "run", str(directory)]
    command += ["--json", "--stop-at-eof", "--quiet", "--device", options.device]
    command += ["--data", str(options.data)] if options.data is not None else []
    command += [] if options.deterministic else ["--fast"]
    command += ["--compile"] if options.compile else []
    command += [word for named in options.allow for word in ("--allow", named)]
    return command


def _close_stdin(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        with contextlib.suppress(OSError):
            process.stdin.close()


def _parse_reply(said: deque[bytes]) -> dict[str, Any] | None:
    try:
        reply = parse_json(said[-1])
    except (IndexError, ValueError):
        return None
    return reply if isinstance(reply, dict) else None


def _last_line(path: Path, start: int) -> str:
    """The last line with text that this attempt wrote to its output."""
    try:
        with path.open("rb") as file:
            file.seek(max(start, file.seek(0, os.SEEK_END) - 4096))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
