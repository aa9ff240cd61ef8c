"""Options of ``noise-scale``."""

from __future__ import annotations

from dataclasses import replace

from ralr_viz.nouns.noun import Inputs, Spec
from ralr_viz.nouns.option import SEED, Option

SMALL = Option("small", 32, "Images of a small batch.", least=1)
BIG = Option("big", 2048, "Images of a draw, two or more times --small.", least=2)
DRAWS = Option(
    "draws", None, "Draws that share no image. [default: as many as there are images for]", least=2, kind=int
)

SPEC = Spec(
    """Gradient noise scale: the batch at which the gradient's noise and signal are equal.

    Example: ralr-viz noise-scale --ckpt runs/R/baseline/seed0 --ckpt runs/R/ralr/seed0 --out out
    """,
    (SMALL, BIG, DRAWS, replace(SEED, help="Of draws, augmentation and intervals.")),
    Inputs(split="train", limit=20480, batch=0, augment=True),
)
