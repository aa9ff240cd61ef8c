"""What one amplification does, from the draws inside the runs."""

from __future__ import annotations

from ralr_viz.analysis.effect.effect import compute_effect

__all__ = ["compute_effect"]
