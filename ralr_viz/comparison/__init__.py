"""What is compared: networks side by side, looking at the same samples."""

from __future__ import annotations

from ralr_viz.comparison.comparison import Comparison, Progress, compare
from ralr_viz.comparison.network import Network
from ralr_viz.comparison.samples import Samples
from ralr_viz.comparison.states import late_states, open_states

__all__ = ["Comparison", "Network", "Progress", "Samples", "compare", "late_states", "open_states"]
