"""Options of ``attention``."""

from __future__ import annotations

from dataclasses import replace

from ralr_viz.nouns.noun import Inputs, Spec
from ralr_viz.nouns.option import RESAMPLES, SEED, Option

ROWS = Option(
    "rows",
    "random",
    "Rule that chooses the sentences that are drawn: random, or gain or loss: where the second checkpoint's mean log "
    "probability of the reference's pieces exceeds the first's, or falls short of it, the most.",
    among=("random", "gain", "loss"),
    called="--rows",
)
COUNT = Option("count", 2, "Sentences to draw.", least=1, most=8)
LAYER = Option(
    "layer", None, "Layer of the decoder that is drawn, from 1. [default: the last]", least=1, kind=int
)

SPEC = Spec(
    """Where the decoder looks in the source while it reads the reference: a map for each sentence and checkpoint.

    Its number is the entropy of the alignment of each layer, over all sentences of the split.

    Example: ralr-viz attention --ckpt runs/R/baseline/seed0 --ckpt runs/R/ralr/seed0 --rows gain --out out
    """,
    (
        ROWS,
        COUNT,
        LAYER,
        replace(RESAMPLES, help="Of the bootstrap over sentences."),
        replace(SEED, help="Of a random choice, and of the bootstrap."),
    ),
    Inputs(batch=0, limit_help="Only N sentences of the split, evenly spread."),
)
