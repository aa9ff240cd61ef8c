"""Layouts of points in the plane by t-SNE or UMAP, made comparable with each other."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from scipy.linalg import orthogonal_procrustes

from ralr_viz.comparison import Progress
from ralr_viz.foreign import one_line

_EXACT_UP_TO = 20_000
"""Points; beyond, t-SNE's neighbours are approximate."""
_ITERATIONS = (250, 500)
"""Of t-SNE: with exaggeration 12, then without."""
_REPORT_EVERY = 25


def lay_out(
    engine: Engine, points: Sequence[np.ndarray], names: Sequence[str], align: str, seed: int
) -> tuple[list[np.ndarray], float]:
    """Maps of the same images by several networks' features, and the noise floor of their displacement.

    Args:
        engine: What lays out.
        points: Of each network, (n, d).
        names: Of each network, for the progress.
        align: ``none``, ``init`` or ``aligned-umap``, as in `compute_embedding`.
        seed: Of the first map.

    Returns:
        A map (n, 2) of each network, and the displacement of the first one's map from itself made again; NaN
        without alignment.
    """
    again = f"{names[0]} again, for the noise floor"
    if align == "aligned-umap":
        maps = engine.embed_together(points, seed, ", ".join(names))
        same = engine.embed_together([points[0], points[0]], seed, again)
        return maps, displacement(*same)
    maps = [engine.embed(points[0], None, seed, names[0])]
    if align == "none":
        return maps + [
            engine.embed(p, None, seed, n) for p, n in zip(points[1:], names[1:], strict=True)
        ], np.nan
    for its_points, name in zip(points[1:], names[1:], strict=True):
        maps.append(fit_similarity(engine.embed(its_points, maps[0], seed, name), maps[0]))
    floor = fit_similarity(engine.embed(points[0], maps[0], seed + 1, again), maps[0])
    return maps, displacement(maps[0], floor)


def fit_similarity(moving: np.ndarray, fixed: np.ndarray) -> np.ndarray:
    """``moving`` (n, 2), rotated or reflected, scaled and shifted onto ``fixed`` with least squares."""
    centre = fixed.mean(axis=0)
    moving = moving - moving.mean(axis=0)
    rotation, size = orthogonal_procrustes(moving, fixed - centre)
    return size / (moving**2).sum() * moving @ rotation + centre


def displacement(first: np.ndarray, second: np.ndarray) -> float:
    """Median distance of a point's places in two maps (n, 2), over the first map's RMS radius."""
    radius = np.sqrt(((first - first.mean(axis=0)) ** 2).sum(axis=1).mean())
    return float(np.median(np.linalg.norm(second - first, axis=1)) / radius)


class Engine:
    """openTSNE or umap-learn with its settings; collects what they warn of as ``notes``."""

    def __init__(
        self, method: str, perplexity: float, neighbours: int, threads: int, progress: Progress | None
    ) -> None:
        self.method, self.perplexity, self.neighbours = method, perplexity, neighbours
        self.threads, self.progress = threads, progress
        self.notes: list[str] = []

    def report(self, done: int, total: int, what: str) -> None:
        if self.progress is not None:
            self.progress(done, total, what)

    def embed(self, points: np.ndarray, start: np.ndarray | None, seed: int, name: str) -> np.ndarray:
        """Map (n, 2) of points (n, d), from another map (n, 2) or from the method's own start."""
        if self.method == "tsne":
            return self._tsne(points, start, seed, f"t-SNE of {name}")

        def run() -> Any:
            from umap import UMAP  # heavy

            settings = {"n_neighbors": self.neighbours, "random_state": seed, "n_jobs": 1}
            return UMAP(init="spectral" if start is None else start, **settings).fit_transform(points)

        return self._run_umap(run, f"UMAP of {name}")

    def embed_together(self, points: Sequence[np.ndarray], seed: int, names: str) -> list[np.ndarray]:
        """Maps of the same n images by AlignedUMAP."""

        def run() -> Any:
            from umap import AlignedUMAP  # heavy

            # the layout's own seed is `transform_seed`
            mapper = AlignedUMAP(n_neighbors=self.neighbours, random_state=seed, transform_seed=seed)
            same = [{i: i for i in range(len(points[0]))}] * (len(points) - 1)
            return mapper.fit_transform(list(points), relations=same)

        return [np.asarray(m) for m in self._run_umap(run, f"AlignedUMAP of {names}")]

    def _tsne(self, points: np.ndarray, start: np.ndarray | None, seed: int, what: str) -> np.ndarray:
        from openTSNE import TSNE, initialization
        from openTSNE.affinity import PerplexityBasedNN

        exact = len(points) <= _EXACT_UP_TO
        if not exact:
            self._note(f"t-SNE's neighbours are approximate (Annoy) beyond {_EXACT_UP_TO:,} images")
        self.report(0, sum(_ITERATIONS), what)
        affinities = PerplexityBasedNN(
            points,
            perplexity=self.perplexity,
            method="exact" if exact else "annoy",
            n_jobs=1,  # Annoy's neighbours depend on it
            random_state=seed,
        )
        if start is None:
            start = initialization.pca(points, random_state=seed)
        else:
            # the seed's only effect: openTSNE draws nothing after its start
            small = initialization.rescale(start.astype(np.float64))
            start = initialization.jitter(small, random_state=seed)
        done = 0

        def count(*_: Any) -> None:
            nonlocal done
            done += _REPORT_EVERY
            self.report(done, sum(_ITERATIONS), what)

        exaggerated, plain = _ITERATIONS
        tsne = TSNE(
            early_exaggeration=12,
            early_exaggeration_iter=exaggerated,
            n_iter=plain,
            n_jobs=self.threads,
            negative_gradient_method="auto",
            random_state=seed,
            callbacks=count,
            callbacks_every_iters=_REPORT_EVERY,
        )
        return np.asarray(tsne.fit(affinities=affinities, initialization=start))

    def _run_umap(self, run: Callable[[], Any], what: str) -> Any:
        self.report(0, 1, what)
        threads = torch.get_num_threads()
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                found = run()
        finally:
            torch.set_num_threads(threads)  # Numba sets OpenMP's for all of the process
        for warning in caught:
            text = one_line(warning.message)
            # AlignedUMAP has no option for the threads that a seed allows
            if issubclass(warning.category, UserWarning) and not text.startswith("n_jobs"):
                self._note(f"UMAP: {text}")
        self.report(1, 1, what)
        return found

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)
