"""Options of ``curves``."""

from __future__ import annotations

from ralr_viz.nouns.noun import Spec

SPEC = Spec(
    """Loss, accuracy and learning rate over the epochs (the paper's Figure 1).

    Example: ralr-viz curves --run runs/R/baseline --run runs/R/ralr --out out
    """
)
