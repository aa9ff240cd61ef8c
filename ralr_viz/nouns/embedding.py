"""Options of ``embedding``."""

from __future__ import annotations

from dataclasses import replace

from ralr_viz.nouns.noun import Spec
from ralr_viz.nouns.option import RESAMPLES, SEED, Option

METHOD = Option("method", "tsne", "tsne or umap.", among=("tsne", "umap"), called="embedding method")
ALIGN = Option(
    "align",
    "init",
    "How maps are made comparable: init (the others start from the first one's map), "
    "aligned-umap (all at once, with --method umap) or none.",
    among=("none", "init", "aligned-umap"),
    called="alignment",
)
PERPLEXITY = Option("perplexity", None, "Of t-SNE. [default: 30]", metavar="P", kind=float)
NEIGHBOURS = Option("neighbours", 15, "Of UMAP.", metavar="K")
NEAREST = Option("k", 20, "Nearest others of the numbers below the maps.", least=1, metavar="K")
DRAWS = replace(RESAMPLES, default=2000, least=1)
MAP_SEED = replace(SEED, help="Of maps and intervals.")

SPEC = Spec(
    """Maps of the penultimate features (the paper's Figure 4), and how tight and how far apart the classes are.

    The numbers are of the features themselves, never of the map.

    Example: ralr-viz embed --ckpt runs/R/baseline/seed0 --ckpt runs/R/ralr/seed0 --out out
    """,
    (METHOD, ALIGN, PERPLEXITY, NEIGHBOURS, NEAREST, DRAWS, MAP_SEED),
)
