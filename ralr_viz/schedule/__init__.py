"""RALR: a learning rate that is randomly amplified, epoch by epoch.

``RALR`` wraps a torch scheduler; ``LRNoise``, a comparator, and ``MatchedRALR``, a control, do so likewise.
``amplification_factors`` gives the same draws, ``mean_factor`` their mean and ``matched_factors`` the control's
constants, without torch. The names are loaded when first used, so importing this package loads neither.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ralr_viz.schedule.factors import amplification_factors, mean_factor
    from ralr_viz.schedule.matched import MatchedRALR
    from ralr_viz.schedule.noise import LRNoise
    from ralr_viz.schedule.pieces import find_decays, matched_factors
    from ralr_viz.schedule.ralr import RALR

_HOME = {
    "LRNoise": "ralr_viz.schedule.noise",
    "MatchedRALR": "ralr_viz.schedule.matched",
    "RALR": "ralr_viz.schedule.ralr",
    "amplification_factors": "ralr_viz.schedule.factors",
    "find_decays": "ralr_viz.schedule.pieces",
    "matched_factors": "ralr_viz.schedule.pieces",
    "mean_factor": "ralr_viz.schedule.factors",
}

__all__ = [
    "RALR",
    "LRNoise",
    "MatchedRALR",
    "amplification_factors",
    "find_decays",
    "matched_factors",
    "mean_factor",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module `ralr_viz.schedule` has no attribute `{name}`")
