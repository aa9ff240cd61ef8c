"""Options of ``similarity``."""

from __future__ import annotations

from dataclasses import replace

from ralr_viz.nouns.noun import Inputs, Spec
from ralr_viz.nouns.option import NULL_PAIRS, SEED, Option

SMALLEST = 4
"""Images that the unbiased HSIC needs."""
LAYERS = Option(
    "layers",
    None,
    "Module to look at; repeatable. [default: the end of each block]",
    metavar="NAME",
    flag="--layer",
    kind=str,
    many="repeated",
)
MINIBATCH = Option("minibatch", 100, "Images of a kernel matrix.", least=SMALLEST, metavar="N")

SPEC = Spec(
    """How alike two networks' layers are (unbiased minibatch CKA), beside what two seeds differ by.

    Every two checkpoints are a pair: two trainings, or two epochs of one for the drift of its activations.

    Example: ralr-viz similarity --ckpt R/baseline/seed0 --ckpt R/ralr/seed0 --null R/baseline/seed0 --null R/baseline/seed1 --out out
    """,
    (LAYERS, MINIBATCH, NULL_PAIRS, replace(SEED, help="Of the bootstrap over minibatches.")),
    Inputs(limit=2000, batch=0),
)
