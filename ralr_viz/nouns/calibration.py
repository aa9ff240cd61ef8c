"""Options of ``calibration``."""

from __future__ import annotations

from ralr_viz.nouns.noun import Spec
from ralr_viz.nouns.option import RESAMPLES, SEED, Option

BINS = Option("bins", 15, "Of equal mass, for the ECE.", least=1, most=1000)

SPEC = Spec(
    """NLL, Brier score and calibration error, and which images and classes the networks get right in turn.

    Example: ralr-viz calibration --ckpt runs/R/baseline/seed0 --ckpt runs/R/ralr/seed0 --out out
    """,
    (BINS, RESAMPLES, SEED),
)
