"""Training: recipes, the loop, checkpoints and run directories.

The names below are loaded when first used: a recipe can be read without torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ralr_viz.train.checkpoint import Checkpoint, load_checkpoint
    from ralr_viz.train.run import RunWriter

__all__ = ["Checkpoint", "RunWriter", "load_checkpoint"]

_HOME = {"Checkpoint": "checkpoint", "load_checkpoint": "checkpoint", "RunWriter": "run"}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"ralr_viz.train.{_HOME[name]}"), name)
    raise AttributeError(f"module `ralr_viz.train` has no attribute `{name}`")
