"""Detections beside the objects that there are, and maps of what they rest on."""

from __future__ import annotations

from ralr_viz.analysis.detect.detect import compute_detect

__all__ = ["compute_detect"]
