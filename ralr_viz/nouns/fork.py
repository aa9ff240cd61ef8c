"""Options of ``fork``."""

from __future__ import annotations

from ralr_viz.nouns.noun import Spec
from ralr_viz.nouns.option import Option

FACTORS = Option(
    "factors",
    (1.0, 1.5, 2.0, 3.0),
    "Factors of the scheduled LR, 1 among them.",
    metavar="A,B,…",
    kind=float,
    many="comma",
)
EPOCHS = Option("epochs", 1, "Epochs at each factor; as many at factor 1 follow.", least=1, metavar="K")
ANNEAL = Option(
    "anneal",
    (),
    "Epochs at a tenth, a hundredth, … of the scheduled LR, the same for all factors, in the place of those at factor 1.",
    metavar="A,B,…",
    kind=int,
    many="comma",
    may_be_empty=True,
)
REPEATS = Option(
    "repeats", 1, "The run's own data order, and R − 1 others that the factors share.", least=1, metavar="R"
)
PROBE_IMAGES = Option(
    "probe_images",
    1000,
    "Training images for sharpness and barrier after each part; 0 leaves these two out.",
    least=0,
    metavar="N",
)
DETERMINISTIC = Option(
    "deterministic",
    True,
    "On CUDA only deterministic kernels, so that arms are bit-identical until an amplification, or any.",
    flag="--deterministic/--fast",
)
COMPILE = Option("compile", False, "With `torch.compile`, as the run was trained.")

SPEC = Spec(
    """Continue one checkpoint at several learning rates: the controlled experiment.

    Finished branches are kept in the folder `fork-branches` of --out: after an interruption, or to add factors
    or repeats (with --force), the same command goes on.

    With --anneal all branches end at the same low rates: what is left of a factor then is where it led, and the barrier
    between two ends says whether it left the basin that the noise of SGD keeps. States of several seeds make these the
    units of the intervals. It trains: factors × repeats × epochs of each state.

    Example: ralr-viz fork --ckpt runs/R/baseline/seed0@16 --ckpt runs/R/baseline/seed1@16 --anneal 5,5 --repeats 2 --out out
    """,
    (FACTORS, EPOCHS, ANNEAL, REPEATS, PROBE_IMAGES, DETERMINISTIC, COMPILE),
)
