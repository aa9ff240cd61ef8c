"""Options of ``landscape``."""

from __future__ import annotations

from dataclasses import replace

from ralr_viz.nouns.noun import Inputs, Spec
from ralr_viz.nouns.option import BATCHNORM, SEED, Option

EPOCHS = Option("epochs", None, "Of the states of one run.", kind=int, many="repeated", flag="")
RADIUS = Option("radius", 0.6, "Half the side of a plane, in shares of each filter's norm.")
POINTS = Option("points", 13, "A side of the grid, an odd number.", least=3)
LINE = Option("line", False, "Only along one direction.")

SPEC = Spec(
    """Pictures of the loss around networks, or around the path of a run: illustrations, no evidence.

    Example: ralr-viz landscape --ckpt runs/R/baseline/seed0 --ckpt runs/R/ralr/seed0 --out out
    """,
    (EPOCHS, RADIUS, POINTS, LINE, BATCHNORM, replace(SEED, help="Of directions and augmentation.")),
    Inputs(split="train", limit=500, augment=True),
)
