"""t-SNE of 10,000 × 64 features: openTSNE as `ralr-viz embed` runs it against scikit-learn, on the CPU.

Same features, perplexity 30, 250 iterations with exaggeration 12 and 500 without, exact neighbours, started from the
principal components, both on all cores. Both start with the same learning rate ("auto", which scikit-learn counts in
units four times as large); scikit-learn keeps it where openTSNE raises it for the second phase. kNN recall is the
share of each point's 20 nearest others in the features that are so in the map.

The features are the penultimate ones of the published CIFAR-10 network on the test images where the data set is
there, else a seeded Gaussian mixture of that shape.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits
from timing import (
    PUBLISHED,
    Timed,
    make_parser,
    measure,
    print_machine,
    print_table,
    run,
    speedup,
    stopwatch,
    verdict,
)

import ralr_viz as rv
from ralr_viz.analysis.embedding.embedding import map_recall
from ralr_viz.analysis.embedding.layout import Engine
from ralr_viz.data import data_root
from ralr_viz.errors import DataError, UnknownNameError

OURS, SKLEARN = "openTSNE as in ralr-viz", "scikit-learn"
PERPLEXITY, ITERATIONS, NEAREST = 30, 750, 20
DIMENSIONS = 64


def find_features(root: Path, ckpt: str, n: int) -> tuple[np.ndarray, str]:
    """Features (n, 64) float64 and what they are."""
    try:
        compared = rv.compare([ckpt], root=root, limit=n)
        if len(compared.samples) < n:
            raise DataError(f"there are fewer than {n} test images")
    except (DataError, UnknownNameError):
        rng = np.random.default_rng(0)
        centres = rng.normal(0, 1.5, (10, DIMENSIONS))
        points = centres[rng.integers(0, 10, n)] + rng.normal(0, 1, (n, DIMENSIONS))
        return points, f"a seeded mixture of 10 Gaussians, since the data root has no {n:,} test images"
    (found,) = rv.compute_predictions(compared)
    return found.features.astype(np.float64), f"features of {found.model} on {n:,} test images"


class Maps:
    """Both sides on the same features; ``made`` holds their last maps (n, 2)."""

    def __init__(self, features: np.ndarray, perplexity: float, threads: int, seed: int) -> None:
        self.features, self.perplexity, self.threads, self.seed = features, perplexity, threads, seed
        self.made: dict[str, np.ndarray] = {}

    def sides(self) -> dict[str, Timed]:
        return {SKLEARN: stopwatch(self._sklearn), OURS: stopwatch(self._ours)}

    def _ours(self) -> None:
        engine = Engine("tsne", self.perplexity, 15, self.threads, None)
        with threadpool_limits(1):  # as in `compute_embedding`: openTSNE's own threads are not of these
            self.made[OURS] = engine.embed(self.features, None, self.seed, "features")

    def _sklearn(self) -> None:
        tsne = TSNE(
            perplexity=self.perplexity,
            early_exaggeration=12,
            learning_rate="auto",
            max_iter=ITERATIONS,
            n_iter_without_progress=ITERATIONS,  # no early end: openTSNE has none
            min_grad_norm=0,
            init="pca",
            method="barnes_hut",
            random_state=self.seed,
            n_jobs=self.threads,
        )
        with threadpool_limits(self.threads):
            self.made[SKLEARN] = tsne.fit_transform(self.features)


def compare(args: argparse.Namespace) -> None:
    print_machine(args.threads, "openTSNE", "scikit-learn")
    features, source = find_features(data_root(args.data), args.ckpt, args.images)
    for timed in Maps(features[:200], 10, args.threads, args.seed).sides().values():
        timed()
    print(
        f"{source}; {features.shape[0]:,} × {features.shape[1]}, perplexity {args.perplexity:g}, seed {args.seed}, "
        f"{args.repeats} repeats in turn after a warm-up on 200 points"
    )
    maps = Maps(features, args.perplexity, args.threads, args.seed)
    times = measure(maps.sides(), args.repeats)
    recall = {side: 100 * map_recall(features, made, NEAREST).mean() for side, made in maps.made.items()}
    ratios = {side: speedup(t, times[SKLEARN]) for side, t in times.items()}
    print_table(
        ("side", "seconds", "min–max", f"kNN recall, k = {NEAREST}", "against scikit-learn"),
        [(s, *t.show_seconds(), f"{recall[s]:.2f} %", f"{ratios[s]:.2f}×") for s, t in times.items()],
    )
    print(f"kNN recall, openTSNE minus scikit-learn: {recall[OURS] - recall[SKLEARN]:+.2f} points")
    print(verdict("openTSNE against scikit-learn", ratios[OURS], 3))


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--ckpt", default=str(PUBLISHED))
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--perplexity", type=float, default=PERPLEXITY)
    parser.add_argument("--repeats", type=int, default=1, help="one takes about a minute on two cores")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    compare(args)


if __name__ == "__main__":
    run(main)
