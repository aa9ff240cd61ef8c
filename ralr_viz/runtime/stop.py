"""End a training early with its state saved: by a signal, or with the driver that started it. Imports no torch."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import types
from collections.abc import Iterator

_driven = threading.Event()


class StopSignal:
    """Remembers SIGINT or SIGTERM until the loop asks, so that saving happens outside the handler.

    A second signal ends the process at once, but not under a driver: what stops both of them sends one to each,
    and the driver's request then comes as a second one. A driver that loses patience sends SIGKILL.

    Attributes:
        number: Of the signal that the loop is to obey, this process's or another rank's.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self._received = False  # another rank's signal comes here too, and late: it is no second one

    def _receive(self, number: int, frame: types.FrameType | None) -> None:
        if self._received and not _driven.is_set():
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self._received = True
        self.number = self.number or number


@contextlib.contextmanager
def catch_stop_signals() -> Iterator[StopSignal]:
    """Install a `StopSignal` for SIGINT and SIGTERM; the old handlers come back afterwards.

    Under a driver a process that was stopped keeps it: it has its end to tell, and a signal may still come.
    """
    stop = StopSignal()
    try:
        old = {s: signal.signal(s, stop._receive) for s in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread: the caller decides about signals
        yield stop
        return
    try:
        yield stop
    finally:
        if stop.number is None or not _driven.is_set():
            for number, handler in old.items():
                signal.signal(number, handler)


def watch_stdin() -> None:
    """Put this process under the driver that holds the other end of its stdin; what a child calls.

    When stdin closes it ends as by SIGTERM, its state saved; further signals do not hasten that.
    """

    def watch() -> None:
        with contextlib.suppress(OSError):
            while os.read(0, 4096):
                pass
        os.kill(os.getpid(), signal.SIGTERM)

    _driven.set()
    threading.Thread(target=watch, name="stop-at-eof", daemon=True).start()
