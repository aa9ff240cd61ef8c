"""Options of ``movement``."""

from __future__ import annotations

from dataclasses import replace

from ralr_viz.nouns.noun import Inputs, Spec
from ralr_viz.nouns.option import SEED

SPEC = Spec(
    """How far the weights move, when, and for how much learning rate (the paper's "keeps moving").

    The records alone give path lengths; kept states give the angular path, net distances, angles and layers; images
    give how much probability and how many predictions change between 2/3 of the training and its end. Lengths change
    with the scale of the weights; angular path and function change do not, and are compared with a control of the same
    rates (`matched`).

    Example: ralr-viz movement --run runs/R/baseline --run runs/R/ralr --run runs/R/scaled --out out
    """,
    (replace(SEED, most=None),),
    Inputs(churn=True),
)
