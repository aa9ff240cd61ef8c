"""Options of ``distance``."""

from __future__ import annotations

from dataclasses import replace

from ralr_viz.nouns.noun import Inputs, Spec
from ralr_viz.nouns.option import NULL_PAIRS, SEED

SPEC = Spec(
    """How far two networks are apart: in weights and layers, in what they predict, and in which errors they share.

    Every two checkpoints are a pair: two trainings, or two epochs of one.

    Example: ralr-viz distance --ckpt R/baseline/seed0 --ckpt R/ralr/seed0 --null R/baseline/seed0 --null R/baseline/seed1 --out out
    """,
    (NULL_PAIRS, replace(SEED, most=None)),
    Inputs(limit=2000),
)
