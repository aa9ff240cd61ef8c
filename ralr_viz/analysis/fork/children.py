"""Whether an amplified epoch left the basin: the loss between the annealed ends of continuations of one checkpoint."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ralr_viz.analysis.fork.branch import Branch, BranchOutcome
from ralr_viz.analysis.fork.branch_probe import BranchProbe
from ralr_viz.comparison import Progress


def child_barriers(
    branches: Sequence[Branch],
    outcomes: Sequence[BranchOutcome],
    probe: BranchProbe,
    progress: Progress | None = None,
) -> np.ndarray:
    """Barrier (B,) in nats of each annealed end.

    Of a factor other than 1 it is to the end of factor 1 in the same order; of factor 1 to that of the next order, which
    is what the noise of SGD alone leaves between two children of one checkpoint.

    Args:
        branches, outcomes: Of one checkpoint.
        probe: Measures them.
        progress: Called as ``progress(done, total, what)``.

    Returns:
        NaN of the recorded branch, of one that diverged, and of factor 1 where there is one order only.

    References:
        Frankle et al., Linear mode connectivity and the lottery ticket hypothesis, ICML 2020, section 2.
    """
    ends = {
        (b.factor, b.repeat): o.states.get(b.epochs)
        for b, o in zip(branches, outcomes, strict=True)
        if b.anneal and b.factor is not None
    }
    repeats = 1 + max((repeat for _, repeat in ends), default=0)
    found = np.full(len(branches), math.nan)
    known: dict[frozenset[tuple[float, int]], float] = {}
    for i, branch in enumerate(branches):
        if branch.factor is None or not branch.anneal:
            continue
        own = branch.factor, branch.repeat
        other = (1.0, branch.repeat if branch.factor != 1 else (branch.repeat + 1) % repeats)
        first, second = ends.get(other), ends.get(own)
        if other == own or first is None or second is None:
            continue
        pair = frozenset((own, other))
        if pair not in known:
            known[pair] = probe.barrier(second, first)
        found[i] = known[pair]
        if progress is not None:
            progress(i + 1, len(branches), "barriers between the ends")
    return found
