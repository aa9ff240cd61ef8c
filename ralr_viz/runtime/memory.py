"""What the C library does with memory that is freed."""

from __future__ import annotations

import contextlib
import ctypes

_M_MMAP_THRESHOLD = -3
_LARGE = 8 << 20


def return_large_arrays() -> None:
    """Let freed arrays of 8 MB or more go back to the system at once, for the rest of the process.

    By itself glibc begins to keep those of up to 32 MB, between which others then lie. Other libraries are left alone. For
    commands that make many large arrays once, not for trainings, which make the same ones again.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE)
