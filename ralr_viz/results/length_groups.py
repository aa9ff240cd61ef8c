"""Groups of sentences by their number of words."""

from __future__ import annotations

import numpy as np


def group_starts(lengths: np.ndarray, groups: int) -> np.ndarray:
    """Fewest words of each group, (b,) int64 ascending from 0: quantiles of the lengths (n,), each once."""
    ends = np.quantile(lengths, np.arange(1, groups) / groups, method="higher")
    return np.unique([0, *(end for end in ends if end > lengths.min())]).astype(np.int64)


def find_groups(lengths: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """(n,) group of each length."""
    return np.searchsorted(starts, lengths, side="right") - 1


def group_name(lengths: np.ndarray, starts: np.ndarray, group: int) -> str:
    """``9–11``, of words; the last one without an end."""
    low = max(int(starts[group]), int(lengths.min()))
    if group == len(starts) - 1:
        return f"{low} or more"
    high = int(starts[group + 1]) - 1
    return str(low) if low == high else f"{low}–{high}"
