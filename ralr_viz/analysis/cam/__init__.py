"""Class activation maps (paper section 4.1 and Figure 3)."""

from __future__ import annotations

from ralr_viz.analysis.cam.comparison import compute_cam

__all__ = ["compute_cam"]
