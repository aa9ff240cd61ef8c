"""Options of ``detect``."""

from __future__ import annotations

from ralr_viz.nouns.cam import SEED
from ralr_viz.nouns.noun import Inputs, Spec
from ralr_viz.nouns.option import Option

ROWS = Option(
    "rows",
    "random",
    "Rule that chooses the images: random, or gain or loss: where the second checkpoint finds more objects than the "
    "first, or fewer, the most.",
    among=("random", "gain", "loss"),
)
COUNT = Option("count", 4, "Images to choose from the split.", least=1, most=64)
SCORE = Option(
    "score",
    None,
    "Smallest score of a detection that is shown, of all checkpoints. [default: each one's of the highest F1 on images "
    "that are not tested]",
    least=0,
    most=1,
    kind=float,
)
MAPS = Option(
    "maps", False, "Rows of maps of what one detection rests on (gradient × activation), on the same object where all "
    "checkpoints find one.",
)  # fmt: skip

SPEC = Spec(
    """Objects that detectors find, beside those that there are: images in columns, a row for each checkpoint.

    Example: ralr-viz detect --ckpt runs/R/baseline/seed0 --ckpt runs/R/ralr/seed0 --out out
    """,
    (ROWS, COUNT, SEED, SCORE, MAPS),
    Inputs(batch=0),
)
