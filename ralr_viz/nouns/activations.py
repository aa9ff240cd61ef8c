"""Options of ``activations``."""

from __future__ import annotations

from ralr_viz.nouns.noun import Inputs, Spec
from ralr_viz.nouns.option import Option

IMAGE = Option(
    "image",
    None,
    "Only this image of the split, from 0, as in the paper.",
    least=0,
    metavar="N",
    kind=int,
)
LAYERS = Option(
    "layers",
    None,
    "Module to look at; repeatable. [default: the end of each stage]",
    metavar="NAME",
    flag="--layer",
    kind=str,
    many="repeated",
)

SPEC = Spec(
    """Activation histograms of two epochs over each other (the paper's Figure 2), and how far units moved.

    Every two checkpoints are a row: two epochs of one training, the earlier first, or two trainings to compare with
    each other.

    Example: ralr-viz activations --ckpt runs/R/ralr/seed0@200 --ckpt runs/R/ralr/seed0@300 --out out
    """,
    (IMAGE, LAYERS),
    Inputs(batch=256),
)
