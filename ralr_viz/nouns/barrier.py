"""Options of ``barrier``."""

from __future__ import annotations

from dataclasses import replace

from ralr_viz.nouns.noun import Inputs, Spec
from ralr_viz.nouns.option import SEED, Option

POINTS = Option("points", 11, "Points of the line, an odd number.", least=3, metavar="N")
STATISTICS = Option(
    "statistics",
    "recomputed",
    "BatchNorm's running statistics at a point: recomputed or interpolated.",
    among=("recomputed", "interpolated"),
)

SPEC = Spec(
    """Loss on the straight line between two networks: whether a barrier stands between them.

    Every two checkpoints are a pair: two epochs of one training, or two trainings. Between two late epochs of one
    training it was 0.0 in all twelve published runs, so that it tests nothing there; whether an amplified epoch leaves the
    basin is asked by fork --anneal.

    Example: ralr-viz barrier --ckpt runs/R/ralr/seed0@200 --ckpt runs/R/ralr/seed0 --out out
    """,
    (POINTS, STATISTICS, replace(SEED, help="Of the augmentation and the intervals.")),
    Inputs(split="train", limit=2000, augment=True),
)
