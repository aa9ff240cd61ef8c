"""How far the weights of runs move."""

from __future__ import annotations

from ralr_viz.analysis.movement.movement import compute_movement

__all__ = ["compute_movement"]
