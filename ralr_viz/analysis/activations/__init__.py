"""How the activations of a network move between two states of it."""

from __future__ import annotations

from ralr_viz.analysis.activations.rows import compute_activations

__all__ = ["compute_activations"]
