"""What the kept states of runs make of each image, for runs that have no record of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ralr_viz.analysis.evaluation import evaluate_one
from ralr_viz.comparison import Progress, compare
from ralr_viz.errors import InputError
from ralr_viz.results.examples import Examples
from ralr_viz.results.records import Source, read_records
from ralr_viz.results.run import RunRecord
from ralr_viz.train.checkpoint import saved_epochs


def evaluate_kept(
    runs: Source | Sequence[Source],
    *,
    root: Path | None = None,
    split: str = "val",
    limit: int | None = None,
    device: str = "auto",
    precision: str = "fp32",
    batch: int | None = None,
    progress: Progress | None = None,
) -> list[Examples]:
    """Evaluate each state that each run has kept, one at a time, on the same images.

    Args:
        runs: Run directories or folders of them.
        root, split, limit, device, precision, batch: As for `compare`.
        progress: Called as ``progress(done, total, what)`` after each state.

    Returns:
        One for each run, in their order.

    Raises:
        InputError: As `compare`; or a run that has kept fewer than two states.
    """
    records = read_records(runs)
    kept = [_epochs_of(record) for record in records]
    found, done, total = [], 0, sum(map(len, kept))
    for record, epochs in zip(records, kept, strict=True):
        rows: list[np.ndarray] = []
        for epoch in epochs:
            looked = compare(
                [f"{record.path}@{epoch}"], root=root, split=split, limit=limit, device=device,
                precision=precision, batch=batch,
            )  # fmt: skip
            each: list[Tensor] = []
            evaluate_one(looked, 0, each=each)
            rows.append(torch.cat(each).cpu().numpy())
            done += 1
            if progress is not None:
                progress(done, total, "states")
        losses, right = np.stack(rows).transpose(2, 0, 1)
        samples = looked.labelled()
        facts = {"dataset": samples.dataset, "content_hash": samples.content_hash}
        found.append(
            Examples(split, samples.indices, np.array(epochs), right > 0, losses.astype(np.float32), facts)
        )
    return found


def _epochs_of(record: RunRecord) -> list[int]:
    epochs = sorted(saved_epochs(record.path)) if record.path is not None else []
    if len(epochs) < 2:
        raise InputError(
            f"`{record.label}` has kept {len(epochs)} states, and learning takes two or more: train with --set keep_every=1, "
            "or with --set examples=val"
        )
    return epochs
