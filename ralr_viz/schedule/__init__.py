"""RALR: a learning rate that is randomly amplified, epoch by epoch.

``RALR`` wraps a torch scheduler, and ``LRNoise``, a comparator, does so likewise; ``amplification_factors`` gives the same draws, and ``mean_factor`` their
mean, without torch. The names are loaded when first used, so importing this package loads neither.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ralr_viz.schedule.factors import amplification_factors, mean_factor
    from ralr_viz.schedule.noise import LRNoise
    from ralr_viz.schedule.ralr import RALR

_HOME = {
    "LRNoise": "ralr_viz.schedule.noise",
    "RALR": "ralr_viz.schedule.ralr",
    "amplification_factors": "ralr_viz.schedule.factors",
    "mean_factor": "ralr_viz.schedule.factors",
}

__all__ = ["RALR", "LRNoise", "amplification_factors", "mean_factor"]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module `ralr_viz.schedule` has no attribute `{name}`")
