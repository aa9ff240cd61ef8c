"""When examples are learned and forgotten, and which of them two trainings learn differently."""

from __future__ import annotations

from ralr_viz.analysis.learning.kept import evaluate_kept
from ralr_viz.analysis.learning.learning import compute_learning

__all__ = ["compute_learning", "evaluate_kept"]
