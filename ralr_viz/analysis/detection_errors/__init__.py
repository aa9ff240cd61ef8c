"""How precise detectors are, and what kinds of errors cost it."""

from __future__ import annotations

from ralr_viz.analysis.detection_errors.detection_errors import compute_detection_errors

__all__ = ["compute_detection_errors"]
