"""Every error that ralr-viz raises on purpose.

    RalrVizError              failed midway (exit code 1)
    ├── InputError            wrong usage or bad input (exit code 2); also a ValueError
    │   ├── UnknownNameError  no recipe, model, dataset, … of that name; offers the nearest
    │   ├── CheckpointError   a checkpoint that is missing, damaged, unsafe or of another network
    │   ├── DataError         a dataset, archive or image that cannot be used
    │   └── RunLockedError    another process works on this run directory
    ├── DivergedError         the loss is no longer finite
    ├── StorageError          the disk is full or cannot be written
    └── InterruptedRunError   stopped by a signal, state saved (exit code 130 or 143)

The message is one line: the name in backticks, the value, the rule and the remedy. What a name in it holds
beside text, such as escape codes or a newline, is shown by `one_line`, whoever raises it. The command line
prints it as it is.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

from ralr_viz.foreign import LONGEST_MESSAGE, LONGEST_NAME, one_line


class RalrVizError(Exception):
    """Base of all errors raised on purpose; ``exit_code`` is what the command line returns."""

    exit_code = 1

    def __init__(self, message: str = "") -> None:
        super().__init__(one_line(message, LONGEST_MESSAGE))

    def __reduce__(self) -> tuple[Any, ...]:
        # children take other arguments than the message, and processes send each other errors
        return _revive, (type(self), self.args, self.__dict__)


def _revive(kind: type[RalrVizError], args: tuple[Any, ...], state: dict[str, Any]) -> RalrVizError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error


class InputError(RalrVizError, ValueError):
    """Wrong usage or bad input; nothing was changed. A ``ValueError`` too, as torch and scikit-learn raise it."""

    exit_code = 2


class UnknownNameError(InputError):
    """A name that is in no registry; the message offers the nearest known names."""

    def __init__(self, kind: str, name: str, known: Iterable[str], hint: str = "") -> None:
        names = sorted(known)
        # of a name of a megabyte none is near, and finding that out would take hours
        near = difflib.get_close_matches(name[:LONGEST_NAME], names, n=3, cutoff=0.5)
        shown = [f"`{one_line(n)}`" for n in near] or [one_line(n) for n in names]
        offer = f"did you mean {', '.join(shown)}?" if near else f"known: {', '.join(shown)}"
        super().__init__(f"unknown {kind} `{one_line(name)}`: {offer}{' ' + hint if hint else ''}")


class CheckpointError(InputError):
    """A checkpoint that is missing, damaged, unsafe or belongs to another network."""


class DataError(InputError):
    """A dataset, archive or image that cannot be used."""


class RunLockedError(InputError):
    """Another process is working on this run directory."""


class DivergedError(RalrVizError):
    """The loss is no longer finite; the last finite state is kept."""


class StorageError(RalrVizError):
    """The disk is full or cannot be written; what was saved before is intact."""


class InterruptedRunError(RalrVizError):
    """Stopped by a signal after saving; ``exit_code`` is 128 + the signal number."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number
