"""Maps of penultimate features by t-SNE or UMAP, made comparable between networks (paper Figure 4)."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import metadata

import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.manifold import trustworthiness
from threadpoolctl import threadpool_limits

from ralr_viz.analysis.comparison import check_same_images, describe_networks
from ralr_viz.analysis.embedding.layout import Engine, displacement, lay_out
from ralr_viz.analysis.predictions import predictions_of
from ralr_viz.analysis.sentences import predict_sentences
from ralr_viz.analysis.separation import (
    common_neighbours,
    compute_separation,
    group_by_class,
    nearest_neighbours,
)
from ralr_viz.comparison import Comparison, Progress
from ralr_viz.errors import InputError
from ralr_viz.nouns import check
from ralr_viz.nouns import embedding as options
from ralr_viz.results.embedding import EmbeddingResult
from ralr_viz.results.predictions import PredictionsResult
from ralr_viz.tasks.batches import Batches

_MOST_DIMENSIONS = 50
_TRUST_IMAGES = 3000
"""`trustworthiness` holds three matrices of all pairs."""
_PACKAGES = {"tsne": ("openTSNE",), "umap": ("umap-learn", "pynndescent", "numba")}


def compute_embedding(
    compared: Comparison | Sequence[PredictionsResult],
    *,
    method: str = options.METHOD.default,
    align: str = options.ALIGN.default,
    perplexity: float | None = options.PERPLEXITY.default,
    neighbours: int = options.NEIGHBOURS.default,
    k: int = options.NEAREST.default,
    resamples: int = options.DRAWS.default,
    seed: int = options.MAP_SEED.default,
    progress: Progress | None = None,
) -> EmbeddingResult:
    """Embed the penultimate features of several networks, and measure how their classes separate.

    The features go in as they are, reduced by PCA to 50 dimensions where there are more. A map's position,
    orientation and, in part, arrangement are arbitrary; ``align`` decides how maps are made comparable:

    - ``init``: every further network starts from the first one's map (scaled down) and is fitted onto it by
      rotation, reflection, scale and shift. Its neighbourhoods are its own, but its arrangement is biased
      towards the first one's. The noise floor is the displacement of the first network treated likewise.
    - ``aligned-umap``: AlignedUMAP lays all out at once and pulls an image's places together. The noise floor
      is the displacement between the first network and itself.
    - ``none``: maps are independent, and places in them cannot be compared.

    t-SNE is openTSNE's: exact neighbours up to 20,000 images, Barnes–Hut below 10,000 and FFT from there,
    started from the principal components, 250 iterations at exaggeration 12, then 500. For a seed the result
    is the same to the bit with any number of threads, of which it takes as many as torch.

    Args:
        compared: One network or more on labelled images, or their predictions on the same images in the same order. Of
            networks that translate, the features are the encoder's states and the classes groups of lengths.
        method: ``tsne`` or ``umap``.
        align: As above; without effect for one network.
        perplexity: Of t-SNE, at least 1 and below a third of the images; 30, or as much as few images allow,
            when left out.
        neighbours: Of UMAP, at least 2 and below the number of images.
        k: Nearest others of the numbers.
        resamples: Of the bootstrap, 1 or more.
        seed: Of maps and bootstrap.
        progress: Called as ``progress(done, total, what)``.

    Raises:
        InputError: No networks, other images or labels in one than in another, no labels, features that do
            not vary, or an option out of its range.
        UnknownNameError: No such method or alignment.

    Example:
        >>> result = compute_embedding(compare(["runs/R/baseline/seed0", "runs/R/ralr/seed0"]))  # doctest: +SKIP
        >>> result.metric("compactness"), result.difference("compactness")  # doctest: +SKIP

    References:
        Kobak and Berens, The art of using t-SNE for single-cell transcriptomics, Nat. Commun. 2019.
        Wattenberg et al., How to Use t-SNE Effectively, Distill 2016.
    """
    check(options.SPEC.options, method=method, align=align, k=k, resamples=resamples, seed=seed)
    what = "images"
    if isinstance(compared, Comparison) and isinstance(compared.samples, Batches):
        compared, what = predict_sentences(compared, progress), "sentences"
    if isinstance(compared, Comparison):  # refuse before the forward passes
        _check_map(len(compared.samples), method, align, perplexity, neighbours)
    predictions = predictions_of(compared, progress)
    _check_predictions(predictions)
    first = predictions[0]
    perplexity = _check_map(len(first.labels), method, align, perplexity, neighbours)
    group_by_class(first.labels)  # refuse before the work
    align = align if len(predictions) > 1 else "none"
    engine = Engine(method, perplexity, neighbours, torch.get_num_threads(), progress)
    features = [p.features.astype(np.float64) for p in predictions]
    # one thread of BLAS and OpenMP: sums in another order, and ties between neighbours, would change bits
    with threadpool_limits(1):
        points = [_reduce(f) for f in features]
        maps, floor = lay_out(engine, points, [p.model for p in predictions], align, seed)
        maps = [_finite(m, p.model) for m, p in zip(maps, predictions, strict=True)]
        recall = np.stack([map_recall(f, m, k) for f, m in zip(features, maps, strict=True)])
        found = compute_separation(
            features,
            first.labels,
            also=[recall],
            k=k,
            resamples=resamples,
            seed=seed,
            progress=engine.report,
        )
        trust, trust_images = _trustworthiness(features, maps, k)
    return EmbeddingResult(
        models=tuple(p.model for p in predictions),
        indices=first.indices,
        labels=first.labels,
        predicted=np.stack([p.predicted for p in predictions]),
        coordinates=np.stack(maps),
        silhouette=found.silhouette.astype(np.float32),
        knn_label=found.knn_label,
        kept=found.kept.astype(np.float32),
        recall=recall.astype(np.float32),
        metrics=found.metrics,
        differences=found.differences,
        mean_kept=found.mean_kept,
        trustworthiness=trust,
        displacement=np.array([displacement(maps[0], m) for m in maps]),
        noise_floor=floor,
        method=method,
        align=align,
        perplexity=perplexity if method == "tsne" else None,
        neighbours=neighbours if method == "umap" else None,
        k=min(k, len(first.labels) - 1),
        seed=seed,
        resamples=resamples,
        trust_images=trust_images,
        feature_widths=tuple(f.shape[1] for f in features),
        class_names=first.class_names,
        dataset=first.dataset,
        split=first.split,
        notes=(*engine.notes, *_notes(predictions, k)),
        samples_name=what,
        provenance=describe_networks(predictions) | {"packages": _versions(method)},
    )


def map_recall(features: np.ndarray, coordinates: np.ndarray, k: int) -> np.ndarray:
    """Share (n,) of each image's k nearest others by features (n, d) that are so in the map (n, 2) too."""
    near = nearest_neighbours(features, k)
    return common_neighbours(near, nearest_neighbours(coordinates.astype(np.float64), k)) / near.shape[1]


def default_perplexity(n: int) -> float:
    """30, or a third of the others where there are fewer than 91 images."""
    return min(30.0, (n - 1) / 3)


def _check_map(n: int, method: str, align: str, perplexity: float | None, neighbours: int) -> float:
    """The perplexity, of options that fit together and a map of n images."""
    if align == "aligned-umap" and method != "umap":
        raise InputError(
            f"alignment `aligned-umap` is of UMAP, not of `{method}`: take umap, or align by init"
        )
    perplexity = default_perplexity(n) if perplexity is None else perplexity
    if method == "tsne" and not 1 <= perplexity <= (n - 1) / 3:
        raise InputError(
            f"`perplexity` = {perplexity:g} must be from 1 to a third of the other images, {(n - 1) / 3:.4g} of "
            f"{n}: take more images or a lower one"
        )
    if method == "umap" and not 2 <= neighbours < n:
        raise InputError(f"`neighbours` = {neighbours} must be from 2 to {n - 1}, one less than the images")
    return float(perplexity)


def _reduce(features: np.ndarray) -> np.ndarray:
    """The first 50 principal components, where there are more features."""
    if features.shape[1] <= _MOST_DIMENSIONS:
        return features
    size = min(_MOST_DIMENSIONS, len(features))
    return PCA(size, svd_solver="covariance_eigh").fit_transform(features)


def _finite(coordinates: np.ndarray, name: str) -> np.ndarray:
    if lost := int((~np.isfinite(coordinates).all(axis=1)).sum()):
        raise InputError(
            f"{lost} of {len(coordinates)} images of `{name}` have no place in the map: take more neighbours or "
            "another method"
        )
    return coordinates.astype(np.float32)


def _trustworthiness(
    features: Sequence[np.ndarray], maps: Sequence[np.ndarray], k: int
) -> tuple[np.ndarray, int]:
    n = len(features[0])
    size = min(n, _TRUST_IMAGES)
    part = n * np.arange(size) // size
    near = min(k, (size - 1) // 2)
    found = [trustworthiness(f[part], m[part], n_neighbors=near) for f, m in zip(features, maps, strict=True)]
    return np.array(found), size


def _check_predictions(predictions: Sequence[PredictionsResult]) -> None:
    check_same_images(predictions)
    for one in predictions:
        if one.features.shape[1] < 2 or not np.ptp(one.features, axis=0).any():
            raise InputError(
                f"the features of `{one.model}` ({one.features.shape[1]} an image) do not vary in two "
                "dimensions: there is nothing to embed"
            )


def _notes(predictions: Sequence[PredictionsResult], k: int) -> list[str]:
    notes = [f"{p.model}: {note}" for p in predictions for note in p.notes]
    first = predictions[0]
    if first.split == "train":
        notes.append("training images: networks pull their classes together, so compare on held-out ones")
    smallest = int(np.unique(first.labels, return_counts=True)[1].min())
    if smallest <= k:
        notes.append(
            f"a class has {smallest} images, no more than the k = {k} nearest others: kNN accuracy is too low "
            "by construction, and intervals of few images are rough"
        )
    empty = [(p.model, int((~p.features.any(axis=1)).sum())) for p in predictions]
    notes += [f"{name}: all features are zero on {count} images" for name, count in empty if count]
    return notes


def _versions(method: str) -> dict[str, str]:
    names = (*_PACKAGES[method], "scikit-learn", "scipy", "numpy")
    return {name: metadata.version(name) for name in names}
