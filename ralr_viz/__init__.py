"""ralr-viz: train, draw and measure why randomly amplified learning rates (RALR) change a network.

Importing the package loads neither torch nor matplotlib; the names below are loaded when first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ralr_viz._version import __version__

if TYPE_CHECKING:
    from ralr_viz.schedule import RALR, amplification_factors
    from ralr_viz.train import RunWriter, load_checkpoint

_HOME = {
    "RALR": "ralr_viz.schedule",
    "amplification_factors": "ralr_viz.schedule",
    "RunWriter": "ralr_viz.train",
    "load_checkpoint": "ralr_viz.train",
}

__all__ = ["RALR", "RunWriter", "__version__", "amplification_factors", "load_checkpoint"]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module `ralr_viz` has no attribute `{name}`")
