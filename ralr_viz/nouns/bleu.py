"""Options of ``bleu``."""

from __future__ import annotations

from dataclasses import replace

from ralr_viz.nouns.noun import Inputs, Spec
from ralr_viz.nouns.option import RESAMPLES, SEED, Option

BINS = Option(
    "bins", 5, "Groups of sentences by the length of the source, of about equal size.", least=1, most=20
)
EXAMPLES = Option(
    "examples", 3, "Sentences that are cited of those fixed and of those broken.", least=0, most=20
)
OF_SENTENCES = "Of the bootstrap over sentences."

SPEC = Spec(
    """BLEU of beam search by the length of the source, with intervals over sentences, and sentences fixed and broken.

    Example: ralr-viz bleu --ckpt runs/R/baseline/seed0 --ckpt runs/R/ralr/seed0 --out out
    """,
    (BINS, EXAMPLES, replace(RESAMPLES, help=OF_SENTENCES), replace(SEED, help=OF_SENTENCES)),
    Inputs(batch=0, limit_help="Only N sentences of the split, evenly spread."),
)
