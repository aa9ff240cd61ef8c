"""Options of ``detection-errors``."""

from __future__ import annotations

from ralr_viz.nouns.noun import Inputs, Spec
from ralr_viz.nouns.option import RESAMPLES, SEED

SPEC = Spec(
    """Precision over recall of each class, paired differences of average precision, and what kinds of errors cost it.

    Example: ralr-viz detection-errors --ckpt runs/R/baseline/seed0 --ckpt runs/R/ralr/seed0 --out out
    """,
    (RESAMPLES, SEED),
    Inputs(batch=0),
)
