"""One checkpoint, continued at several learning rates."""

from __future__ import annotations

from ralr_viz.analysis.fork.fork import compute_fork

__all__ = ["compute_fork"]
