"""Neural collapse and class separation of penultimate features."""

from ralr_viz.analysis.collapse.collapse import compute_collapse

__all__ = ["compute_collapse"]
