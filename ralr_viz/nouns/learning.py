"""Options of ``learning``."""

from __future__ import annotations

from dataclasses import replace

from ralr_viz.nouns.noun import Inputs, Spec
from ralr_viz.nouns.option import SEED, Option

EXAMPLES = Option(
    "examples",
    "auto",
    "Which record to read: train, val or test; auto takes the first that all runs have, val before train.",
    among=("auto", "train", "val", "test"),
    called="set of examples",
)
COUNT = Option("count", 12, "Timelines of examples to show.", least=0, most=200, metavar="N")

SPEC = Spec(
    """When examples are learned and forgotten, in which order, and which of them two trainings learn differently.

    Reads what `train --set examples=val` (or train, or both: train,val) has recorded; of runs without a record
    --kept evaluates the states that they have kept.

    Example: ralr-viz learning --run runs/R/baseline --run runs/R/ralr --out out
    """,
    (EXAMPLES, COUNT, replace(SEED, most=None)),
    Inputs(split="val", kept=True),
)
