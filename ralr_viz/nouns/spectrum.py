"""Options of ``spectrum``."""

from __future__ import annotations

from dataclasses import replace

from ralr_viz.nouns.noun import Inputs, Spec
from ralr_viz.nouns.option import SEED, Option

PROBES = Option("probes", 6, "Random probes of the trace.", least=1)
DENSITY_PROBES = Option("density_probes", 2, "Of them, of the density.", least=1)
STEPS = Option("steps", 10, "Lanczos steps of each of those.", least=2)
BASIS = Option("basis", 8, "Lanczos vectors of eigsh.", least=3)
RESTARTS = Option("restarts", 1, "Of eigsh, for each eigenvalue.", least=0)

SPEC = Spec(
    """Curvature: signed extreme eigenvalues, trace and density of the training loss's Hessian.

    Example: ralr-viz spectrum --ckpt runs/R/baseline/seed0 --ckpt runs/R/ralr/seed0 --out out
    """,
    (PROBES, DENSITY_PROBES, STEPS, BASIS, RESTARTS, replace(SEED, help="Of probes and intervals.")),
    Inputs(
        split="train",
        limit=1024,
        limit_on_gpu=4096,
        batch=128,
        auto_precision="fp32",
        precision_help="fp32; auto means the same, bf16 and tf32 are too coarse.",
    ),
)
