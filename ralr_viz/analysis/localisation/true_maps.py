"""Maps of each image's true class: in closed form where there is one, else Grad-CAM, whose units are the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ralr_viz.analysis.cam.network_maps import explain
from ralr_viz.comparison import Comparison, Progress
from ralr_viz.results.predictions import PredictionsResult


def with_true_maps(
    comparison: Comparison, i: int, found: PredictionsResult, progress: Progress | None = None
) -> PredictionsResult:
    """Predictions of network i with maps of the true class.

    Args:
        comparison: Labelled images.
        i: The network.
        found: Its predictions; returned as they are where they have maps.
        progress: Called as ``progress(done, total, what)``, of images.

    Raises:
        InputError: The network has no map at all, or outputs that are not finite.
    """
    if found.has_maps:
        return found
    network, samples = comparison.networks[i], comparison.samples
    what = f"Grad-CAM of {network.name}"
    cam = explain(
        comparison.build(i),
        samples.images,
        mean=network.mean,
        std=network.std,
        targets=found.labels,
        batch=comparison.batch,
        device=str(comparison.runtime.device),
        precision=comparison.runtime.precision,
        progress=None if progress is None else lambda done: progress(done, len(samples), what),
    )
    return replace(
        found,
        true_maps=cam.raw,
        predicted_maps=np.full_like(cam.raw, np.nan),  # of no use here, and as dear as the others
        map_layer=cam.layer,
        notes=(*found.notes, *cam.notes),
    )
