"""Options of ``sharpness``."""

from __future__ import annotations

from dataclasses import replace

from ralr_viz.nouns.noun import Inputs, Spec
from ralr_viz.nouns.option import BATCHNORM, SEED, Option

RADII = Option(
    "radii",
    (0.1, 0.2, 0.4),
    "Shares of each filter's norm; the middle one leads.",
    metavar="R,...",
    kind=float,
    many="comma",
)
"""Chosen on the published CIFAR-10 baseline alone: at the middle one its loss of 0.3 rises by about 0.1."""
DIRECTIONS = Option("directions", 8, "Random directions, each with both signs.", least=2)
WORST_RADII = Option(
    "worst_radii",
    (0.005,),
    "Of the worst case; 'none' leaves it out.",
    metavar="R,...",
    kind=float,
    many="comma",
    may_be_empty=True,
)
"""Chosen on the same network alone: the worst direction is so much worse that the ball must be smaller."""
WORST_STARTS = Option("worst_starts", 2, "Starts of each ascent.", least=1)
WORST_STEPS = Option("worst_steps", 3, "Gradient steps a start.", least=1)

SPEC = Spec(
    """Flatness: how much the training loss rises when every filter is moved by a share of its norm.

    Example: ralr-viz sharpness --ckpt runs/R/baseline/seed0 --ckpt runs/R/ralr/seed0 --out out
    """,
    (
        RADII,
        DIRECTIONS,
        WORST_RADII,
        WORST_STARTS,
        WORST_STEPS,
        BATCHNORM,
        replace(SEED, help="Of directions, augmentation and intervals."),
    ),
    Inputs(split="train", limit=1000, augment=True),
)
