"""ralr-viz: train, draw and measure why randomly amplified learning rates (RALR) change a network.

Importing the package loads neither torch nor matplotlib; the names below are loaded when first used.

    Train       RALR, amplification_factors, RunWriter, load_checkpoint
    Compute     compute_activations, compute_cam, collect_cams, compute_curves, compute_embedding,
                compute_predictions, load_run
    Keep        save_result, load_result
    Draw        draw_activations, draw_cam, draw_curves, draw_embedding, style, save_figure
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ralr_viz._version import __version__

if TYPE_CHECKING:
    from ralr_viz.analysis.activations import compute_activations
    from ralr_viz.analysis.cam import collect_cams, compute_cam
    from ralr_viz.analysis.embedding import compute_embedding
    from ralr_viz.analysis.predictions import compute_predictions
    from ralr_viz.plots.activations import draw_activations
    from ralr_viz.plots.cam import draw_cam
    from ralr_viz.plots.curves import draw_curves
    from ralr_viz.plots.embedding import draw_embedding
    from ralr_viz.plots.style import save_figure, style
    from ralr_viz.results.bundle import load_result, save_result
    from ralr_viz.results.curves import compute_curves
    from ralr_viz.results.run import load_run
    from ralr_viz.schedule import RALR, amplification_factors
    from ralr_viz.train import RunWriter, load_checkpoint

_HOME = {
    "RALR": "ralr_viz.schedule",
    "RunWriter": "ralr_viz.train",
    "amplification_factors": "ralr_viz.schedule",
    "collect_cams": "ralr_viz.analysis.cam",
    "compute_activations": "ralr_viz.analysis.activations",
    "compute_cam": "ralr_viz.analysis.cam",
    "compute_curves": "ralr_viz.results.curves",
    "compute_embedding": "ralr_viz.analysis.embedding",
    "compute_predictions": "ralr_viz.analysis.predictions",
    "draw_activations": "ralr_viz.plots.activations",
    "draw_cam": "ralr_viz.plots.cam",
    "draw_curves": "ralr_viz.plots.curves",
    "draw_embedding": "ralr_viz.plots.embedding",
    "load_checkpoint": "ralr_viz.train",
    "load_result": "ralr_viz.results.bundle",
    "load_run": "ralr_viz.results.run",
    "save_figure": "ralr_viz.plots.style",
    "save_result": "ralr_viz.results.bundle",
    "style": "ralr_viz.plots.style",
}

__all__ = [
    "RALR",
    "RunWriter",
    "__version__",
    "amplification_factors",
    "collect_cams",
    "compute_activations",
    "compute_cam",
    "compute_curves",
    "compute_embedding",
    "compute_predictions",
    "draw_activations",
    "draw_cam",
    "draw_curves",
    "draw_embedding",
    "load_checkpoint",
    "load_result",
    "load_run",
    "save_figure",
    "save_result",
    "style",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module `ralr_viz` has no attribute `{name}`")
