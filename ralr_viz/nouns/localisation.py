"""Options of ``localisation``."""

from __future__ import annotations

from dataclasses import replace

from ralr_viz.nouns.noun import Spec
from ralr_viz.nouns.option import RESAMPLES, SEED, Option

SANITY = Option("sanity", 200, "Images of the weight randomisation check; 0 for none.", least=0, metavar="N")
FAITHFULNESS = Option(
    "faithfulness",
    0,
    "Images of deletion, insertion and ROAD, some 90 forward passes each; 0 for none.",
    least=0,
    metavar="N",
)

SPEC = Spec(
    """How well class activation maps point at the object's box, beside maps that know nothing.

    Needs data with boxes, such as Tiny-ImageNet, or with masks: `planted`, made here, whose objects are known to the pixel.

    Example: ralr-viz localisation --ckpt runs/R/baseline/seed0 --ckpt runs/R/ralr/seed0 --out out
    """,
    (SANITY, FAITHFULNESS, RESAMPLES, replace(SEED, help="Of bootstrap and checks.")),
)
