"""Curvature: the Hessian's spectrum at several networks."""

from __future__ import annotations

from ralr_viz.analysis.spectrum.spectrum import compute_spectrum

__all__ = ["compute_spectrum"]
