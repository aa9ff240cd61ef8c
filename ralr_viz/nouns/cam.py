"""Options of ``cam``, and its methods."""

from __future__ import annotations

from ralr_viz.nouns.noun import Inputs, Spec
from ralr_viz.nouns.option import Option

METHOD_NAMES = {
    "cam": "CAM",
    "gradcam": "Grad-CAM",
    "gradcam++": "Grad-CAM++",
    "layercam": "LayerCAM",
    "hirescam": "HiResCAM",
    "xgradcam": "XGrad-CAM",
    "eigencam": "Eigen-CAM",
    "scorecam": "Score-CAM",
    "ablationcam": "Ablation-CAM",
}
"""The methods and how they are written; all but the closed form ``cam`` come from the `grad-cam` package."""

METHOD = Option(
    "method",
    "cam",
    "cam (closed form, else Grad-CAM), gradcam, gradcam++, layercam, hirescam, xgradcam, eigencam, or scorecam or "
    "ablationcam, which run each image once for each channel.",
    among=tuple(METHOD_NAMES),
    called="CAM method",
)
LAYER = Option(
    "layer", None, "Module of the maps. [default: the last one with a map]", metavar="NAME", kind=str
)
DIFFERENCE = Option("difference", False, "Rows of signed differences from the first checkpoint.")
VERIFY = Option("verify", False, "Hold the maps against the grad-cam package and the logits first.")

ROWS = Option(
    "rows",
    "random",
    "Rule that chooses the images: random, classes (random, classes in turn), or gain or loss: "
    "where the second checkpoint's probability of the true class exceeds the first's, or falls "
    "short of it, the most.",
)
COUNT = Option("count", 8, "Images to choose from the split.", least=1, most=64)
SEED = Option("seed", 0, "Of a random choice.", least=0)
INDICES = Option(
    "indices",
    None,
    "Images by their numbers in the split, as a report and the CSV have them, in the place of a rule.",
    metavar="N",
    many="repeated",
    kind=int,
)
CHOICE = (ROWS, COUNT, SEED, INDICES)
"""Of `select_pictures`, which chooses what the maps are of."""

SPEC = Spec(
    """Class activation maps (the paper's Figure 3): images in columns, a row for each checkpoint.

    The map explains the true class where it is known, else the first checkpoint's prediction.

    Example: ralr-viz cam --ckpt runs/R/baseline/seed0 --ckpt runs/R/ralr/seed0 --out out
    """,
    (METHOD, LAYER, DIFFERENCE, VERIFY),
    Inputs(batch=256),
)
