"""A horizontal axis of layers, from input to output: as many names as have room."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from ralr_viz.plots.fit_text import fit_text

TICK = 6.5
"""Points."""
_SPACE = 0.14  # inches
_MOST_LEVEL = 6  # names beside each other


def name_layers(panel: Axes, layers: Sequence[str], room: float) -> None:
    """Name the layers at 0, 1, … of the panel, which is ``room`` inches wide."""
    at = spread(len(layers), room)
    panel.set_xticks(at, [fit_text(layers[j], TICK, 0.8) for j in at], size=TICK)
    if len(at) > _MOST_LEVEL:
        panel.tick_params(axis="x", labelrotation=90)
    panel.set_xlim(-0.3, len(layers) - 0.7)


def spread(count: int, room: float) -> np.ndarray:
    """As many of ``count`` places as have room for a label, evenly spread."""
    return np.arange(0, count, -(-count * _SPACE // room)).astype(int)
