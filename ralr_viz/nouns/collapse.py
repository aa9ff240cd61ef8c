"""Options of ``collapse``."""

from __future__ import annotations

from dataclasses import replace

from ralr_viz.nouns.noun import Inputs, Spec
from ralr_viz.nouns.option import RESAMPLES, SEED, Option

NEAREST = Option("k", 20, "Nearest others that vote, for kNN accuracy.", least=1, metavar="K")

SPEC = Spec(
    """Neural collapse: how tight classes are and how far apart, of penultimate features on test and training images.

    NC1–NC4, silhouette, Davies–Bouldin index and kNN accuracy, with intervals.

    Example: ralr-viz collapse --ckpt runs/R/baseline/seed0 --ckpt runs/R/ralr/seed0 --out out
    """,
    (NEAREST, RESAMPLES, replace(SEED, help="Of the bootstrap.")),
    Inputs(split="", limit=10_000, limit_help="At most N images of each split, evenly spread."),
)
