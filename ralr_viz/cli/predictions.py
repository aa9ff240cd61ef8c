"""Predictions of a checkpoint on a split, until every command goes by `Comparison`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ralr_viz.cli.inputs import SplitImages
from ralr_viz.results.predictions import PredictionsResult

if TYPE_CHECKING:
    from ralr_viz.train.checkpoint import Checkpoint
    from ralr_viz.train.runtime import Runtime


def cached_predictions(
    checkpoint: Checkpoint,
    part: SplitImages,
    runtime: Runtime,
    *,
    name: str,
    batch: int = 500,
    progress: Callable[[int, int, str], None] | None = None,
) -> PredictionsResult:
    """`compute_predictions` of one checkpoint."""
    from ralr_viz.analysis.predictions import compute_predictions
    from ralr_viz.comparison import Comparison, Network, Samples

    samples = Samples(
        part.images,
        part.labels,
        part.boxes,
        part.indices,
        part.class_names,
        part.dataset,
        part.split,
        part.content_hash,
    )
    network = Network(name, checkpoint, part.mean, part.std)
    return compute_predictions(Comparison((network,), samples, runtime, batch), progress)[0]
