"""Separation against closed forms, slow twins, scikit-learn, and intervals against their coverage."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from sklearn.metrics import calinski_harabasz_score, silhouette_samples
from sklearn.neighbors import KNeighborsClassifier

from ralr_viz.analysis.separation import (
    _class_numbers,
    compute_separation,
    jaccard,
    nearest_neighbours,
    silhouette_influence,
    vote,
)
from ralr_viz.errors import InputError
from ralr_viz.results.uncertainty import bootstrap_weights

COMPACTNESS, SEPARABILITY, SCATTER, SILHOUETTE, KNN = range(5)


def simplex(classes: int, each: int) -> tuple[np.ndarray, np.ndarray]:
    """Every image at its class's vertex of a simplex ETF; lengths differ, which must not matter."""
    labels = np.repeat(np.arange(classes), each)
    vertices = np.eye(classes) - 1 / classes
    lengths = np.random.default_rng(0).uniform(0.5, 2, len(labels))
    return (vertices[labels] * lengths[:, None]).astype(np.float32), labels


def blobs(seed: int, classes: int = 4, each: int = 12, width: int = 6, noise: float = 0.5) -> tuple:
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), each)
    return np.eye(classes, width)[labels] + noise * rng.standard_normal((len(labels), width)), labels


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_separation_of_a_simplex_etf_is_its_closed_form(classes: int) -> None:
    found = compute_separation([simplex(classes, 30)[0]], simplex(classes, 30)[1], k=3, resamples=50)
    value, low, high = found.metrics[0].T
    np.testing.assert_allclose(
        value, [1, np.sqrt(2 * classes / (classes - 1)), 0, 1, 100], rtol=1e-6, atol=1e-6
    )
    np.testing.assert_allclose(low[:KNN], value[:KNN], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(high, value, rtol=1e-6, atol=1e-6)
    n = 30 * classes  # of each image right, the share is not known to be 1: Wilson's lower end
    assert low[KNN] == pytest.approx(100 * n / (n + 1.96**2), abs=1e-3)
    np.testing.assert_allclose(found.silhouette, 1, atol=1e-6)


def test_separation_of_isotropic_noise_is_none() -> None:
    rng, labels = np.random.default_rng(0), np.repeat(np.arange(5), 8)
    found = [
        compute_separation([rng.standard_normal((40, 20))], labels, k=5, resamples=1).metrics[0, :, 0]
        for _ in range(200)
    ]
    mean = np.mean(found, axis=0)
    error = np.std(found, axis=0, where=np.isfinite(found)) / np.sqrt(len(found))
    assert abs(mean[COMPACTNESS]) < 3 * error[COMPACTNESS]  # the plug-in estimate would be 1/8
    assert mean[SEPARABILITY] < 0.15  # the plug-in estimate would be ½
    assert 14 < mean[KNN] < 18  # below 7/39: a class lacks the image itself
    assert np.mean([not np.isfinite(f[SCATTER]) for f in found]) > 0.2


def test_class_numbers_equal_sums_over_pairs_also_of_repeated_images() -> None:
    features, labels = blobs(1, each=6)
    z = features / np.linalg.norm(features, axis=1, keepdims=True)
    bounds = [(6 * c, 6 * c + 6) for c in range(4)]
    for weights in [np.ones((1, 24)), *bootstrap_weights(bounds, 3, 1, seed=0)]:
        kernel, total = np.zeros((4, 4)), np.zeros((4, 4))
        for i, j in itertools.product(range(24), repeat=2):
            if i != j:
                w = weights[0, i] * weights[0, j]
                kernel[labels[i], labels[j]] += w * (z[i] @ z[j])
                total[labels[i], labels[j]] += w
        overall, kernel = kernel.sum() / total.sum(), kernel / total
        squared = [
            min(kernel[c, c] + kernel[d, d] - 2 * kernel[c, d] for d in range(4) if d != c) for c in range(4)
        ]
        compactness = kernel.trace() / 4
        expected = [
            compactness,
            np.sqrt(np.maximum(squared, 0)).mean(),
            (1 - compactness) / (compactness - overall),
        ]
        np.testing.assert_allclose(_class_numbers([z], bounds, weights)[0, 0], expected)


def test_scatter_equals_scikit_learns_within_and_the_unbiased_between() -> None:
    features, labels = blobs(2, classes=3, each=40)
    z = features / np.linalg.norm(features, axis=1, keepdims=True)
    score, total = calinski_harabasz_score(z, labels), ((z - z.mean(0)) ** 2).sum()
    n, k = 120, 3
    within = total / (1 + score * (k - 1) / (n - k))  # sum of squares
    variance, mean_squares = within / (n - k), (total - within) / (k - 1)
    # balanced one-way analysis of variance: E[mean squares between] = variance + 40 · (spread of the means)
    spread = (mean_squares - variance) / 40
    found = compute_separation([features], labels, resamples=1).metrics[0, :, 0]
    assert found[COMPACTNESS] == pytest.approx(1 - variance)
    overall = (np.linalg.norm(z.sum(0)) ** 2 - n) / (n * (n - 1))
    assert found[SCATTER] == pytest.approx(variance / (1 - variance - overall))
    # pairs of images of one class are among all pairs, which lowers the spread by 1/119 · 80/3
    assert 1 - variance - overall == pytest.approx(spread * (k - 1) / k * 40 * k / (n - 1), rel=1e-9)


def test_silhouette_equals_its_form_by_class_means() -> None:
    features, labels = blobs(3)
    z = features / np.linalg.norm(features, axis=1, keepdims=True)
    sums = np.stack([z[labels == c].sum(0) for c in range(4)])
    to_class = 1 - z @ sums.T / 12
    own = (12 * to_class[np.arange(48), labels]) / 11
    to_class[np.arange(48), labels] = np.inf
    other = to_class.min(1)
    found = compute_separation([features], labels, resamples=1)
    np.testing.assert_allclose(found.silhouette[0], (other - own) / np.maximum(own, other), atol=1e-9)
    assert found.metrics[0, SILHOUETTE, 0] == pytest.approx(found.silhouette[0].mean())


def test_silhouette_influence_is_the_slope_of_the_weighted_mean_silhouette() -> None:
    features, labels = blobs(9, each=7, noise=0.8)
    labels[-1] = 0  # classes of different sizes
    z = features / np.linalg.norm(features, axis=1, keepdims=True)
    far, n = 1 - z @ z.T, len(labels)
    np.fill_diagonal(far, 0)

    def mean_silhouette(weights: np.ndarray) -> float:
        values = []
        for i in range(n):
            mean = {}
            for c in np.unique(labels):
                w = weights * (labels == c) * (np.arange(n) != i)
                mean[c] = w @ far[i] / w.sum()
            a = mean.pop(labels[i])
            b = min(mean.values())
            values.append((b - a) / max(a, b))
        return float(weights @ values / n)

    silhouette = silhouette_samples(z, labels, metric="cosine")
    found = silhouette_influence(z, labels, silhouette)
    assert found.mean() == pytest.approx(silhouette.mean())
    step = 1e-5
    for i, j in [(0, 1), (5, 2), (8, 11), (20, 14), (27, 3)]:  # of one class each, as in the bootstrap
        weights = np.ones(n)
        weights[[i, j]] += step, -step
        slope = (mean_silhouette(weights) - mean_silhouette(np.ones(n))) * n / step
        assert labels[i] == labels[j]
        assert slope == pytest.approx(found[i] - found[j], abs=1e-3)


def test_knn_label_is_that_of_leave_one_out_classifiers() -> None:
    features, labels = blobs(4, noise=0.8)
    z = features / np.linalg.norm(features, axis=1, keepdims=True)
    expected = [
        KNeighborsClassifier(7, algorithm="brute", metric="cosine")
        .fit(np.delete(z, i, 0), np.delete(labels, i))
        .predict(z[i : i + 1])[0]
        for i in range(len(z))
    ]
    found = compute_separation([features], labels, k=7, resamples=1)
    assert found.knn_label[0].tolist() == expected
    assert found.metrics[0, KNN, 0] == pytest.approx(100 * np.mean(expected == labels))


def test_nearest_neighbours_never_hold_the_point_itself_even_among_copies() -> None:
    points = np.repeat(np.random.default_rng(0).standard_normal((4, 3)), 3, axis=0)
    found = nearest_neighbours(points, 2)
    for i in range(12):
        assert set(found[i]) == set(range(3 * (i // 3), 3 * (i // 3) + 3)) - {i}
    assert nearest_neighbours(points, 50).shape == (12, 11)


def test_vote_takes_the_commonest_and_the_lowest_on_ties() -> None:
    assert vote(np.array([[7, 3, 7], [9, 3, 7], [3, 9, 9]])).tolist() == [7, 3, 9]


def test_jaccard_equals_that_of_sets() -> None:
    rng = np.random.default_rng(0)
    a, b = (np.stack([rng.permutation(30)[:8] for _ in range(50)]) for _ in range(2))
    expected = [len(set(x) & set(y)) / len(set(x) | set(y)) for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(jaccard(a, b), expected)


def test_kept_is_one_for_rotated_features_and_low_for_others() -> None:
    features, labels = blobs(5, each=13)
    rotation = np.linalg.qr(np.random.default_rng(0).standard_normal((6, 6)))[0]
    other = np.random.default_rng(1).standard_normal((52, 9))
    found = compute_separation([features, 3 * features @ rotation, other], labels, k=5, resamples=20)
    np.testing.assert_array_equal(found.kept[:2], 1)
    assert found.mean_kept[2, 0] == pytest.approx(found.kept[2].mean())
    assert found.mean_kept[2, 0] < 0.3
    # paired: not the width of two intervals; of a share, that none of these images changes
    np.testing.assert_allclose(np.delete(found.differences[1], KNN, axis=0), 0, atol=1e-9)
    assert found.differences[1, KNN, 0] == 0 < found.differences[1, KNN, 2] < 6
    np.testing.assert_allclose(found.differences[2, :, 0], found.metrics[2, :, 0] - found.metrics[0, :, 0])
    assert (found.differences[0] == 0).all()


def test_bootstrap_draws_within_classes_and_each_image_equally_often() -> None:
    bounds = [(0, 3), (3, 10)]
    chunks = list(bootstrap_weights(bounds, 5000, 999, seed=1))
    assert [len(c) for c in chunks] == [999] * 5 + [5]
    weights = np.concatenate(chunks)
    np.testing.assert_allclose(weights[:, :3].sum(1), 3)
    np.testing.assert_allclose(weights[:, 3:].sum(1), 7)
    np.testing.assert_allclose(weights.mean(0), 1, atol=0.06)
    np.testing.assert_allclose(weights.var(0), 1, atol=0.08)


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    def draw(seed: int, each: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        features, labels = blobs(seed, classes=3, each=each, width=4, noise=0.4)
        return features, labels, np.random.default_rng(10_000 + seed).exponential(1, len(labels))

    big, labels, _ = draw(99_999, 20_000)
    z = big / np.linalg.norm(big, axis=1, keepdims=True)
    bounds = [(20_000 * c, 20_000 * (c + 1)) for c in range(3)]
    truth = np.array([*_class_numbers([z], bounds, np.ones((1, 60_000)))[0, 0], 1.0])
    covered = []
    for seed in range(300):
        features, labels, values = draw(seed, 30)
        found = compute_separation(
            [features], labels, also=[values[None]], k=3, resamples=300, seed=seed
        ).metrics[0]
        low, high = found[[COMPACTNESS, SEPARABILITY, SCATTER, 5], 1:].T
        covered.append((low <= truth) & (truth <= high))
    assert (np.mean(covered, axis=0) > 0.89).all(), np.mean(covered, axis=0)
    assert (np.mean(covered, axis=0) < 0.985).all(), np.mean(covered, axis=0)


def test_separation_repeats_and_reports_its_resamples() -> None:
    features, labels = blobs(6)
    done: list[tuple[int, int, str]] = []
    arguments = {"k": 5, "resamples": 40, "seed": 3}
    a = compute_separation([features], labels, **arguments, progress=lambda *progress: done.append(progress))
    b = compute_separation([features], labels, **arguments)
    np.testing.assert_array_equal(a.metrics, b.metrics)
    assert done[-1] == (40, 40, "bootstrap")
    shuffled = np.random.default_rng(0).permutation(48)
    c = compute_separation([features[shuffled]], labels[shuffled], **arguments)
    np.testing.assert_allclose(c.metrics[..., 0], a.metrics[..., 0])
    np.testing.assert_allclose(c.silhouette[0], a.silhouette[0, shuffled], atol=1e-9)


def test_separation_takes_features_that_are_zero() -> None:
    features, labels = blobs(7, each=13)
    features[3] = 0
    assert np.isfinite(compute_separation([features], labels, resamples=20).metrics).all()


def test_separation_refuses_what_has_no_classes_to_separate() -> None:
    features, labels = blobs(8)
    with pytest.raises(InputError, match="all of class 5: separation needs two classes"):
        compute_separation([features], np.full(48, 5))
    with pytest.raises(InputError, match="class 9 has one image among the 48"):
        compute_separation([features], np.where(np.arange(48) == 2, 9, labels))
