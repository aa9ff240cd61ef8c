"""How compact and how far apart classes are among features of unit length, with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn import config_context
from sklearn.metrics import silhouette_samples
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import normalize

from ralr_viz.comparison import Progress
from ralr_viz.errors import InputError
from ralr_viz.results.measure import describe_refusal
from ralr_viz.results.uncertainty import (
    bootstrap_interval,
    bootstrap_weights,
    error_interval,
    paired_shares_interval,
    wilson_interval,
)

_KNN = 4  # place of ``knn_accuracy``, a share of the images in per cent
_BY_MEANS = 3  # quantities that are made of the means of the classes, before those that are means over images
_CHUNK = 2**22  # numbers in the largest array of a chunk of resamples
_MEMORY = 128  # MiB that scikit-learn's chunks of distances take


@dataclass(frozen=True, eq=False)
class Separation:
    """Numbers of the features of m networks on n images; `EmbeddingResult` defines each.

    Attributes:
        silhouette, knn_label, kept: (m, n).
        metrics: (m, q, 3) value, low and high end: ``compactness``, ``separability``, ``scatter_ratio``,
            ``silhouette``, ``knn_accuracy``, then the means of what was given as ``also``.
        differences: (m, q, 3) minus the first network's, with paired intervals.
        mean_kept: (m, 3).
    """

    silhouette: np.ndarray
    knn_label: np.ndarray
    kept: np.ndarray
    metrics: np.ndarray
    differences: np.ndarray
    mean_kept: np.ndarray


def compute_separation(
    features: Sequence[np.ndarray],
    labels: np.ndarray,
    *,
    also: Sequence[np.ndarray] = (),
    k: int = 20,
    resamples: int = 2000,
    seed: int = 0,
    progress: Progress | None = None,
) -> Separation:
    r"""Compactness, separability, silhouette and nearest-neighbour accuracy of several networks' features.

    With :math:`z_i` an image's features over their length and :math:`k_{cd}` the mean of
    :math:`z_i\cdot z_j` over pairs of *different* images i of class c and j of class d, compactness is
    :math:`\sum_c \pi_c k_{cc}` and the squared distance of two class means is
    :math:`k_{cc} + k_{dd} - 2k_{cd}`: the unbiased estimate, where the plug-in estimate takes the noise of the
    means for distance, which matters for few images a class and doubles in each resample.

    All networks get the same draws. The first three numbers are computed anew from draws within each class,
    as no class may be empty; of the others, the silhouette to first order (see `silhouette_influence`) and what
    needs each image's neighbours by its own value, means are taken anew over draws from all images, and their
    intervals are `bootstrap_interval`'s. Those of the first three and of differences are `error_interval`'s: the
    nearest class mean is a minimum, which is lower in each draw than in the sample. NaN of fewer than 50 images.

    Args:
        features: Of each network, (n, width); each its own width.
        labels: (n,) classes; two or more, each of two or more images.
        also: Further values of each image, each (m, n), whose means get intervals too.
        k: Nearest others; fewer where there are fewer images.
        resamples: Of the bootstrap, 1 or more.
        seed: Of the bootstrap.
        progress: Called as ``progress(done, total, what)`` with the number of resamples.

    Raises:
        InputError: One class only, or a class of one image.

    References:
        Rousseeuw, Silhouettes, J. Comput. Appl. Math. 1987.
        Gretton et al., A kernel two-sample test, JMLR 2012, equation 3 (here with the cosine as kernel).
    """
    order, bounds = group_by_class(labels)
    unit = [normalize(f.astype(np.float64)) for f in features]
    neighbours = [nearest_neighbours(z, k) for z in unit]
    silhouette = np.stack([_silhouette(z, labels) for z in unit])
    knn_label = np.stack([vote(labels[found]) for found in neighbours])
    kept = np.stack([jaccard(neighbours[0], found) for found in neighbours])

    influence = np.stack([silhouette_influence(z, labels, s) for z, s in zip(unit, silhouette, strict=True)])
    each = np.stack([influence, 100.0 * (knn_label == labels), *also, kept])[:, :, order]
    unit = [z[order] for z in unit]
    ones = np.ones((1, len(labels)))
    value = np.concatenate([_class_numbers(unit, bounds, ones), _means(each, ones)], axis=2)
    draws = np.empty((resamples, *value.shape[1:]))
    size = max(_CHUNK // max(len(labels), len(bounds) * max(z.shape[1] for z in unit), len(bounds) ** 2), 1)
    done = 0
    everywhere = bootstrap_weights([(0, len(labels))], resamples, size, seed)
    for weights, over_all in zip(bootstrap_weights(bounds, resamples, size, seed), everywhere, strict=True):
        part = slice(done, done + len(weights))
        draws[part] = np.concatenate([_class_numbers(unit, bounds, weights), _means(each, over_all)], axis=2)
        done = part.stop
        if progress is not None:
            progress(done, resamples, "bootstrap")
    metrics = _intervals(value, draws, len(labels))
    with np.errstate(invalid="ignore"):  # two infinite ratios have no difference
        differences = _intervals(value - value[:, :1], draws - draws[:, :1], len(labels), paired=True)
    # the last quantity is no property of one network: it has no difference
    return Separation(
        silhouette, knn_label, kept, metrics[:, :-1], differences[:, :-1], mean_kept=metrics[:, -1]
    )


def nearest_neighbours(points: np.ndarray, k: int) -> np.ndarray:
    """Indices (n, k) of the nearest others of each of (n, d) points, by Euclidean distance.

    Of points of unit length that is the order by cosine. k is lowered to n − 1.
    """
    search = NearestNeighbors(n_neighbors=min(k, len(points) - 1)).fit(points)
    with config_context(working_memory=_MEMORY):
        # without an argument, a point is not its own neighbour
        return search.kneighbors(return_distance=False)


def vote(labels: np.ndarray) -> np.ndarray:
    """The commonest label of each row of (n, k) labels, the lowest on ties."""
    classes, codes = np.unique(labels, return_inverse=True)
    rows = np.arange(len(labels))[:, None] * len(classes)
    counts = np.bincount((rows + codes.reshape(labels.shape)).ravel(), minlength=len(labels) * len(classes))
    return classes[counts.reshape(len(labels), -1).argmax(axis=1)]


def common_neighbours(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """How many of the neighbours (n, k) of each point are in both, int64 (n,)."""
    rows = np.arange(len(a))[:, None] * (max(a.max(), b.max()) + 1)
    both = np.isin((rows + a).ravel(), (rows + b).ravel(), assume_unique=True)
    return both.reshape(a.shape).sum(axis=1)


def jaccard(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """|A ∩ B| / |A ∪ B| of the neighbours (n, k) of each point, float64 (n,) in [0, 1]."""
    common = common_neighbours(a, b)
    return common / (2 * a.shape[1] - common)


def silhouette_influence(unit: np.ndarray, labels: np.ndarray, silhouette: np.ndarray) -> np.ndarray:
    r"""What each image adds to the mean silhouette: its own value and its effect on the others' values.

    Drawing image j once more changes the mean distances a to the own class and b to the nearest other class
    of other images too. To first order its share is

    .. math:: s_j + \sum_{i\neq j,\,c_i=c_j} \frac{\partial s_i}{\partial a_i}\frac{d_{ij}-a_i}{n_{c_j}-1}
        + \sum_{i:\,b_i\text{ of }c_j} \frac{\partial s_i}{\partial b_i}\frac{d_{ij}-b_i}{n_{c_j}},

    in closed form because :math:`d_{ij} = 1 - z_i\cdot z_j`. Means of the silhouettes alone would give
    intervals that are too narrow by a third, since all images of a class share its place.

    Args:
        unit: (n, d) features of unit length.
        labels: (n,) classes, each of two images or more.
        silhouette: (n,) by cosine distance.

    Returns:
        (n,), of the same mean as ``silhouette``.
    """
    codes, counts = np.unique(labels, return_inverse=True, return_counts=True)[1:]
    rows, others = np.arange(len(labels)), counts[codes] - 1

    def by_class(values: np.ndarray, classes: np.ndarray) -> np.ndarray:
        sums = np.zeros((len(counts), *values.shape[1:]))
        np.add.at(sums, classes, values)
        return sums

    itself = 1 - (unit**2).sum(axis=1)
    total = counts - unit @ by_class(unit, codes).T
    a = (total[rows, codes] - itself) / others
    total[rows, codes] = np.inf
    near = (total / counts).argmin(axis=1)
    b = total[rows, near] / counts[near]
    with np.errstate(divide="ignore", invalid="ignore"):  # images in one place: their silhouette stays 0
        by_a = np.nan_to_num(np.where(a < b, -1 / b, -b / a**2), posinf=0, neginf=0)
        by_b = np.nan_to_num(np.where(a < b, a / b**2, 1 / a), posinf=0, neginf=0)
    from_own = by_class(by_a * (1 - a), codes)[codes] - by_a * (1 - a)
    from_own -= (unit * (by_class(by_a[:, None] * unit, codes)[codes] - by_a[:, None] * unit)).sum(axis=1)
    from_near = by_class(by_b * (1 - b), near)[codes]
    from_near -= (unit * by_class(by_b[:, None] * unit, near)[codes]).sum(axis=1)
    return silhouette + from_own / others + from_near / counts[codes]


def group_by_class(labels: np.ndarray) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """Order of the images by class, and start and end of each class in it.

    Raises:
        InputError: One class only, or a class of one image.
    """
    classes, counts = np.unique(labels, return_counts=True)
    if len(classes) < 2:
        raise InputError(f"the images are all of class {classes[0]}: separation needs two classes or more")
    if counts.min() < 2:
        raise InputError(
            f"class {classes[counts.argmin()]} has one image among the {len(labels)}: separation needs two or more "
            "of each class; raise the limit or take another split"
        )
    ends = np.cumsum(counts)
    bounds = [(int(end - count), int(end)) for end, count in zip(ends, counts, strict=True)]
    return np.argsort(labels, kind="stable"), bounds


def _silhouette(unit: np.ndarray, labels: np.ndarray) -> np.ndarray:
    with config_context(working_memory=_MEMORY):
        return silhouette_samples(unit, labels, metric="cosine")


def _class_numbers(
    unit: Sequence[np.ndarray], bounds: Sequence[tuple[int, int]], weights: np.ndarray
) -> np.ndarray:
    """Compactness, separability and scatter ratio (b, m, 3) of weighted images in the order of their class."""
    return np.stack([_class_numbers_of_one(z, bounds, weights) for z in unit], axis=1)


def _class_numbers_of_one(
    z: np.ndarray, bounds: Sequence[tuple[int, int]], weights: np.ndarray
) -> np.ndarray:
    parts = [slice(*bound) for bound in bounds]
    counts = np.array([last - first for first, last in bounds], dtype=np.float64)  # kept by each draw
    n = counts.sum()
    squares = (z**2).sum(axis=1)  # 1, or 0 where all features are 0
    sums = np.stack([weights[:, part] @ z[part] for part in parts], axis=1)
    # Σ w² of the pairs of an image with itself, which do not count
    selves = np.stack([weights[:, part] ** 2 @ squares[part] for part in parts], axis=1)
    self_pairs = np.stack([(weights[:, part] ** 2).sum(axis=1) for part in parts], axis=1)
    similarity = sums @ sums.transpose(0, 2, 1) / np.outer(counts, counts)
    pairs = counts**2 - self_pairs
    # a draw that is one image again and again has no pair; its class is then a point
    own = np.divide((sums**2).sum(axis=2) - selves, pairs, out=selves / self_pairs, where=pairs > 0)
    compactness = own @ counts / n
    squared = own[:, :, None] + own[:, None, :] - 2 * similarity
    diagonal = np.arange(len(counts))
    squared[:, diagonal, diagonal] = np.inf
    separability = np.sqrt(np.maximum(squared.min(axis=2), 0)).mean(axis=1)
    overall = ((sums.sum(axis=1) ** 2).sum(axis=1) - selves.sum(axis=1)) / (n**2 - self_pairs.sum(axis=1))
    within, between = weights @ squares / n - compactness, compactness - overall
    ratio = np.divide(within, between, out=np.full_like(within, np.inf), where=between > 0)
    return np.stack([compactness, separability, ratio], axis=1)


def _means(each: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted means (b, m, q) of q values (q, m, n) of each image."""
    return np.moveaxis(each @ weights.T, 2, 0).transpose(0, 2, 1) / weights.sum(axis=1)[:, None, None]


def _intervals(value: np.ndarray, draws: np.ndarray, count: int, *, paired: bool = False) -> np.ndarray:
    """Value, low and high end (m, q, 3) from the value (1, m, q) and its draws (b, m, q) over ``count`` images."""
    value, draws = value[0], np.moveaxis(draws, 0, -1)
    ends = np.full((*value.shape, 2), np.nan)
    if draws.shape[-1] > 1 and not describe_refusal(count):
        known = np.isfinite(draws).all(axis=-1) & np.isfinite(value)
        by_error = known & (paired | (np.arange(value.shape[1]) < _BY_MEANS))
        by_rank = known & ~by_error
        ends[by_error] = np.stack(error_interval(value[by_error], draws[by_error], count), axis=-1)
        ends[by_rank] = np.stack(bootstrap_interval(draws[by_rank], count), axis=-1)
        for i in np.flatnonzero(known[:, _KNN])[int(paired) :]:  # the first network minus itself is 0
            share, error = value[i, _KNN] / 100, draws[i, _KNN].std(ddof=1) / 100
            found = paired_shares_interval(share, error, count) if paired else wilson_interval(share, count)
            ends[i, _KNN] = 100 * np.array(found)
    return np.concatenate([value[..., None], ends], axis=-1)
