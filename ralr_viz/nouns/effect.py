"""Options of ``effect``."""

from __future__ import annotations

from dataclasses import replace

from ralr_viz.nouns.noun import Spec
from ralr_viz.nouns.option import SEED, Option

HORIZON = Option("horizon", 5, "Largest lag in epochs.", least=0, most=100, metavar="K")
RESAMPLES = Option("resamples", 2000, "Redraws of all flips.", least=99, most=100_000, metavar="N")

SPEC = Spec(
    """What one amplification does to loss, accuracy and weight step, from the runs' own coin flips.

    Example: ralr-viz effect --run runs/R/ralr --out out
    """,
    (HORIZON, RESAMPLES, replace(SEED, help="Of the redraws.", most=None)),
)
