"""Execute a list of run directories on an executor: what is retried, what is left alone, how it stops."""

from __future__ import annotations

import contextlib
import signal
import types
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from ralr_viz.errors import InputError, InterruptedRunError, RalrVizError, StorageError
from ralr_viz.study.attempt import (
    DONE,
    Attempt,
    describe_error,
    describe_result,
    read_attempts,
    record_attempt,
)
from ralr_viz.study.execute import OUTPUT, ExecuteOptions, execute_run, is_taken, result_of

# Seconds between two looks at runs that another process trains, and at how much room there is.
POLL = 5.0
# A run that dies is started again from its checkpoint so many times by one command.
RETRIES = 2


@dataclass(frozen=True)
class Event:
    """Something that a live display shows.

    Attributes:
        directory: The run; None for what concerns all (``stopping``, ``waiting``).
        status: ``submitted`` (on the local engine: started), ``retry``, ``locked``, ``storage``, ``stopping``,
            ``waiting`` (a cluster has lost all its room), or that of the `Outcome`.
        attempt: Number of the attempt within the run directory; 0 where nothing was attempted.
        message: One line; may be empty.
    """

    directory: Path | None
    status: str
    attempt: int = 0
    message: str = ""


@dataclass(frozen=True)
class Outcome:
    """What became of a run.

    Attributes:
        directory: As it was given.
        status: ``finished`` or ``diverged`` (there is a result); ``failed`` (a Python error); ``killed`` or
            ``interrupted`` (as often as it was tried: the same command goes on).
        attempts: How many were made by this call; 0 for what was settled before.
        error: One line; empty for a finished run.
    """

    directory: Path
    status: str
    attempts: int = 0
    error: str = ""


Report = Callable[[Event], None]


def run_all(
    directories: Sequence[Path],
    executor: Executor,
    options: ExecuteOptions | None = None,
    *,
    retry_failed: bool = False,
    report: Report | None = None,
    execute: Callable[..., Attempt] = execute_run,
    poll: float = POLL,
) -> list[Outcome]:
    """Execute run directories until each has a result or has failed; the same call goes on after any end.

    A run that another process trains is waited for, and taken up if that process dies. One that dies by a
    signal, for lack of memory or with its worker goes on from its checkpoint, at most twice. A Python error
    fails its run once; the next call leaves it alone, too.

    Args:
        directories: Prepared run directories; one that is named twice is executed once.
        executor: `LocalExecutor`, ``RayExecutor`` or any other whose workers see the directories; only
            ``execute(directory, options)`` is submitted, which can be pickled. The caller shuts it down.
        options: For every run.
        retry_failed: Execute what a former call has failed at.
        report: Called in this thread with each `Event`.
        execute: What is submitted.
        poll: Seconds between two looks at runs that another process trains, and at the executor's ``capacity``.

    Returns:
        One for each directory, in their order.

    Raises:
        InputError: A directory is no prepared run.
        StorageError: The disk is full: the running ones were let end, no other was started.
        InterruptedRunError: SIGINT or SIGTERM (in the main thread): the running ones have saved their state. A
            second signal kills them.
        RalrVizError: The executor is broken.
    """
    for directory in directories:
        if not (directory / "recipe.toml").is_file():
            raise InputError(
                f"`{directory}` is no prepared run (no recipe.toml): make one by `train --prepare`"
            )
    driver = _Driver(executor, options or ExecuteOptions(), retry_failed, report, execute)
    with _signals_into(driver.events):
        try:
            driver.run(directories, poll)
        except BaseException:
            driver.stop_children()
            raise
    driver.check_end()
    return [driver.outcomes[directory] for directory in directories]


class _Driver:
    """What is to do, what flies and what has landed; all in one thread, which sleeps on ``events``."""

    def __init__(
        self,
        executor: Executor,
        options: ExecuteOptions,
        retry_failed: bool,
        report: Report | None,
        execute: Callable[..., Attempt],
    ) -> None:
        self.executor, self.options, self.execute = executor, options, execute
        self.retry_failed, self.report = retry_failed, report
        # A future that is done, or the number of a signal: `put` is safe within a signal handler.
        self.events: SimpleQueue[Future[Attempt] | int] = SimpleQueue()
        self.todo: deque[Path] = deque()
        self.flying: dict[Future[Attempt], Path] = {}
        self.locked: list[Path] = []
        self.outcomes: dict[Path, Outcome] = {}
        self.tries: Counter[Path] = Counter()
        self.attempts_before: dict[Path, int] = {}
        self.without_room = False
        self.stop_signal = 0
        self.storage_error = ""

    @property
    def ending(self) -> bool:
        """Whether nothing more is started."""
        return bool(self.stop_signal or self.storage_error)

    def run(self, directories: Sequence[Path], poll: float) -> None:
        for directory in dict.fromkeys(directories):
            self.attempts_before[directory] = len(read_attempts(directory))
            if not self._settle_if_known(directory):
                self.todo.append(directory)
        while True:
            if not self.ending:
                self._look_at_locked()
                self._submit()
            if not self.flying and (self.ending or not (self.todo or self.locked)):
                return
            try:
                waits = (self.locked or self.todo) and not self.ending
                event = self.events.get(timeout=poll if waits else None)
            except Empty:
                continue
            if isinstance(event, int):
                self._receive_signal(event)
            elif event in self.flying:
                self._land(self.flying.pop(event), event)

    def check_end(self) -> None:
        """Raises: InterruptedRunError or StorageError where that is how it ended."""
        done = f"{len(self.outcomes)} of {len(self.attempts_before)} runs are done"
        if self.stop_signal:
            name = signal.Signals(self.stop_signal).name
            raise InterruptedRunError(
                f"stopped by {name}: {done}, the others keep their state; the same command goes on",
                self.stop_signal,
            )
        if self.storage_error:
            raise StorageError(f"{self.storage_error}; {done}, the others keep their state")

    def stop_children(self, *, kill: bool = False) -> None:
        stop = getattr(self.executor, "stop", None)
        if stop is not None:
            stop(kill=kill)
            return
        for future in list(self.flying):
            future.cancel()
        if kill:  # an executor that cannot end what runs: its workers are on their own
            self.flying.clear()

    def _submit(self) -> None:
        capacity = getattr(self.executor, "capacity", None)
        if capacity == 0 and self.todo and not self.without_room:
            self._tell(None, "waiting", 0, "no node has room for a run")
        self.without_room = capacity == 0
        while self.todo and (capacity is None or len(self.flying) < capacity):
            directory = self.todo.popleft()
            if self._settle_if_known(directory):  # by another driver, in the meantime
                continue
            try:
                future = self.executor.submit(self.execute, directory, self.options)
            except BrokenExecutor as error:
                raise RalrVizError(
                    f"the executor is broken ({describe_error(error)}): run the same command again"
                ) from None
            self.flying[future] = directory
            self._tell(directory, "submitted")
            future.add_done_callback(self.events.put)

    def _settle_if_known(self, directory: Path) -> bool:
        """Settle what is done, and what has failed before or in the hands of another driver."""
        result = result_of(directory)
        if result is not None:
            self._settle(directory, *describe_result(result))
            return True
        attempts = read_attempts(directory)
        new = len(attempts) > self.attempts_before[directory]
        if attempts and attempts[-1].outcome == "failed" and (new or not self.retry_failed):
            self._settle(directory, "failed", attempts[-1].error)
            return True
        return False

    def _settle(self, directory: Path, status: str, error: str, attempt: int = 0) -> None:
        self.outcomes[directory] = Outcome(directory, status, self.tries[directory], error)
        self._tell(directory, status, attempt, error)

    def _look_at_locked(self) -> None:
        if self.todo:
            return
        for directory in list(self.locked):
            if self._settle_if_known(directory):
                self.locked.remove(directory)
            elif not is_taken(directory):
                self.locked.remove(directory)
                self.todo.append(directory)

    def _land(self, directory: Path, future: Future[Attempt]) -> None:
        attempt = self._attempt_of(directory, future)
        outcome, number, error = attempt.outcome, attempt.attempt, attempt.error
        if outcome == "locked":
            self.locked.append(directory)
            self._tell(directory, "locked", 0, error)
        elif outcome == "storage":
            self.storage_error = error
            self._tell(directory, "storage", number, error)
        elif outcome in DONE:
            self.tries[directory] += bool(number)  # 0: it was found done
            self._settle(directory, outcome, error, number)
        elif outcome == "failed":
            self.tries[directory] += 1
            self._settle(directory, outcome, f"{error} (see {directory / OUTPUT})", number)
        elif self.stop_signal:
            self._tell(directory, outcome, number, error)
        else:
            self.tries[directory] += 1
            if self.tries[directory] <= RETRIES:
                self.todo.append(directory)
                self._tell(directory, "retry", number, error)
            else:
                self._settle(directory, outcome, f"{error} (see {directory / OUTPUT})", number)

    def _attempt_of(self, directory: Path, future: Future[Attempt]) -> Attempt:
        """What the task returned; a task that did not return has lost its worker, as `execute` raises nothing."""
        try:
            return future.result()
        except (CancelledError, KeyboardInterrupt):
            return Attempt(0, "interrupted", error="cancelled")
        except Exception as error:
            if self.stop_signal:  # by which it was cancelled
                return Attempt(0, "interrupted", error="cancelled")
            number = len(read_attempts(directory)) + 1
            attempt = Attempt(number, "killed", error=f"its worker was lost: {describe_error(error)}")
            try:
                record_attempt(directory, attempt)
            except StorageError as full:
                return Attempt(number, "storage", error=str(full))
            return attempt

    def _receive_signal(self, number: int) -> None:
        again = bool(self.stop_signal)
        self.stop_signal = self.stop_signal or number
        running = f"{len(self.flying)} runs"
        self._tell(None, "stopping", 0, f"killing {running}" if again else f"{running} save their state")
        self.stop_children(kill=again)

    def _tell(self, directory: Path | None, status: str, attempt: int = 0, message: str = "") -> None:
        if self.report is not None:
            self.report(Event(directory, status, attempt, message))


@contextlib.contextmanager
def _signals_into(events: SimpleQueue[Any]) -> Iterator[None]:
    """Put SIGINT and SIGTERM into the queue; the old handlers come back afterwards.

    After the second signal the system's own handlers are back: a third ends this process at once, and the
    children notice.
    """
    received: list[int] = []

    def receive(number: int, frame: types.FrameType | None) -> None:
        received.append(number)
        if len(received) == 2:
            for each in (signal.SIGINT, signal.SIGTERM):
                signal.signal(each, signal.SIG_DFL)
        events.put(number)

    try:
        old = {s: signal.signal(s, receive) for s in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread: the caller decides about signals
        yield
        return
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
