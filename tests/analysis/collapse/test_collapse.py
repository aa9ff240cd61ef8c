"""Neural collapse against closed forms, slow literal twins and scikit-learn."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from sklearn.metrics import davies_bouldin_score, silhouette_score
from sklearn.neighbors import KNeighborsClassifier
from torch import nn

from ralr_viz.analysis.collapse import compute_collapse
from ralr_viz.analysis.collapse.collapse import read_classifier
from ralr_viz.analysis.collapse.neural_collapse import davies_bouldin, spread_over_classes, whitening
from ralr_viz.analysis.predictions import compute_predictions
from ralr_viz.comparison import Comparison, compare
from ralr_viz.errors import InputError
from ralr_viz.results.collapse import METRICS, SPLITS
from ralr_viz.results.predictions import PredictionsResult


def predictions(features: np.ndarray, labels: np.ndarray, **changes: object) -> PredictionsResult:
    classes = int(labels.max()) + 1
    values: dict = {
        "model": "net",
        "indices": np.arange(len(labels)),
        "labels": labels,
        "logits": np.eye(classes, dtype=np.float32)[labels],
        "features": features.astype(np.float32),
        "feature_layer": "fc",
        "true_maps": np.zeros((len(labels), 0, 0), np.float32),
        "predicted_maps": np.zeros((len(labels), 0, 0), np.float32),
        "map_layer": "",
    }
    return PredictionsResult(**(values | changes))


def blobs(
    seed: int, classes: int = 4, each: int = 30, width: int = 6, noise: float = 0.4
) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.tile(np.arange(classes), each)
    centres = 2 * np.eye(classes, width) + np.arange(width) / 10
    features = centres[labels] + noise * rng.standard_normal((len(labels), width))
    return features.astype(np.float32), labels


def numbers(result, split: str = "test") -> dict[str, float]:
    return dict(zip(METRICS, result.values[0, SPLITS.index(split)], strict=True))


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_collapse_of_a_simplex_etf_is_complete(classes):
    labels = np.repeat(np.arange(classes), 5)
    rotation = np.linalg.qr(np.random.default_rng(0).standard_normal((12, 12)))[0][:classes]
    vertices = (np.eye(classes) - 1 / classes) @ rotation + 3.0
    p = predictions(vertices[labels], labels)
    weight = (5 * (np.eye(classes) - 1 / classes) @ rotation).astype(np.float32)
    result = compute_collapse([p], [p], classifiers=[weight], k=3, resamples=20)
    for split in SPLITS:
        found = numbers(result, split)
        for name in ("nc1", "nc2_norms", "nc2_angles", "nc3", "nc4", "davies_bouldin"):
            if classes == 2 and name.startswith("nc2"):  # 0 of any two classes: not defined
                assert np.isnan(found[name]), name
            else:
                assert found[name] == pytest.approx(0, abs=1e-5), name
        assert found["silhouette"] == pytest.approx(1, abs=1e-5)
        assert found["knn_accuracy"] == 100
    assert any("NC2 is not defined for two classes" in note for note in result.notes) == (classes == 2)
    np.testing.assert_allclose(result.draws, result.values[..., None].repeat(20, axis=3), atol=1e-5)


def test_collapse_nc1_of_isotropic_noise_is_its_closed_form():
    # means 2·e_c in the noise σ: Σ_B is 4/C on the simplex's C − 1 directions, so NC1 = σ²(C − 1)/(4/C)/C
    features, labels = blobs(0, classes=5, each=1000, width=8, noise=0.3)
    p = predictions(features, labels)
    result = compute_collapse([p], [p], resamples=2)
    assert numbers(result)["nc1"] == pytest.approx(0.09 * 4 / 4, rel=0.04)


def test_collapse_of_noise_without_classes_has_large_nc1():
    rng, labels = np.random.default_rng(0), np.repeat(np.arange(4), 50)
    p = predictions(rng.standard_normal((200, 6)), labels)
    found = numbers(compute_collapse([p], [p], resamples=2))
    assert found["nc1"] > 5 and found["davies_bouldin"] > 5 and abs(found["silhouette"]) < 0.1


def literal(features: np.ndarray, labels: np.ndarray, weight: np.ndarray) -> dict[str, float]:
    """The definitions, written down image by image."""
    x, classes = features.astype(np.float64), np.unique(labels)
    means = [x[labels == c].mean(axis=0) for c in classes]
    overall, count = sum(means) / len(means), len(classes)
    within, between = np.zeros((x.shape[1],) * 2), np.zeros((x.shape[1],) * 2)
    for mean, c in zip(means, classes, strict=True):
        between += np.outer(mean - overall, mean - overall) / count
        for row in x[labels == c]:
            within += np.outer(row - mean, row - mean) / count / (labels == c).sum()
    centred = [mean - overall for mean in means]
    lengths = [np.linalg.norm(m) for m in centred]
    angles = [
        abs(centred[i] @ centred[j] / lengths[i] / lengths[j] + 1 / (count - 1))
        for i in range(count)
        for j in range(i)
    ]
    stacked = np.stack(centred)
    difference = weight.T / np.linalg.norm(weight) - stacked.T / np.linalg.norm(stacked)
    return {
        "nc1": np.trace(within @ np.linalg.pinv(between, rcond=1e-9)) / count,
        "nc2_norms": np.std(lengths) / np.mean(lengths),
        "nc2_angles": float(np.mean(angles)),
        "nc3": np.linalg.norm(difference) ** 2,
    }


@pytest.mark.parametrize("width", [2, 6, 40])
def test_collapse_equals_its_literal_twin_also_with_unequal_classes(width):
    rng = np.random.default_rng(1)
    labels = np.repeat(np.arange(4), [10, 20, 15, 31])
    features = (rng.standard_normal((4, width))[labels] + rng.standard_normal((76, width))).astype(np.float32)
    weight = rng.standard_normal((4, width)).astype(np.float32)
    p = predictions(features, labels)
    found = numbers(compute_collapse([p], [p], classifiers=[weight], resamples=2))
    for name, value in literal(features, labels, weight).items():
        assert found[name] == pytest.approx(value, rel=1e-6), name


def test_collapse_nc4_is_against_the_training_means_and_the_networks_decision():
    labels = np.array([0, 0, 1, 1])
    train = predictions(np.array([[0.0, 0], [0, 1], [4, 0], [4, 1]]), labels)
    # by the training means (x = 0 and 4) nearest are 0, 1, 1, 1; by their own means 0 and 1 would be swapped
    test = predictions(np.array([[1.0, 0], [9, 1], [3, 0], [5, 1]]), labels)
    assert numbers(compute_collapse([test], [train], resamples=2))["nc4"] == 25
    decided = np.eye(2, dtype=np.float32)[[0, 1, 1, 0]]
    test = predictions(test.features, labels, logits=decided)
    result = compute_collapse([test], [train], resamples=2)
    assert numbers(result)["nc4"] == 25 and numbers(result, "train")["nc4"] == 0


def test_collapse_separation_equals_scikit_learn():
    features, labels = blobs(2, noise=1.5)
    p = predictions(features, labels)
    found = numbers(compute_collapse([p], [p], k=5, resamples=2))
    assert found["silhouette"] == pytest.approx(silhouette_score(features, labels, metric="cosine"), rel=1e-5)
    assert found["davies_bouldin"] == pytest.approx(davies_bouldin_score(features, labels), rel=1e-6)
    right = 0
    for i in range(len(labels)):
        rest = np.arange(len(labels)) != i
        model = KNeighborsClassifier(5, metric="cosine").fit(features[rest], labels[rest])
        right += model.predict(features[i : i + 1])[0] == labels[i]
    assert found["knn_accuracy"] == pytest.approx(100 * right / len(labels))


def test_collapse_draws_are_the_numbers_of_the_resampled_images():
    from ralr_viz.analysis.separation import group_by_class
    from ralr_viz.results.uncertainty import bootstrap_weights

    features, labels = blobs(3, noise=1.0)
    weight = np.random.default_rng(0).standard_normal((4, 6)).astype(np.float32)
    p = predictions(features, labels)
    result = compute_collapse([p], [p], classifiers=[weight], resamples=5, seed=7)
    order, bounds = group_by_class(labels)
    rows = np.concatenate(list(bootstrap_weights(bounds, 5, 64, seed=7)))
    for r, row in enumerate(rows):
        drawn = np.repeat(order, np.rint(row * 29 / 30).astype(int))
        for name, value in literal(features[drawn], labels[drawn], weight).items():
            q = list(METRICS).index(name)
            assert result.draws[0, 0, q, r] * result.draw_ratio[0, 0, q] == pytest.approx(value, rel=1e-6)
        q = list(METRICS).index("davies_bouldin")
        exact = davies_bouldin_score(features[drawn], labels[drawn])
        assert result.draws[0, 0, q, r] * result.draw_ratio[0, 0, q] == pytest.approx(exact, rel=0.03)


def test_collapse_draws_are_around_the_value_and_common_to_the_networks():
    features, labels = blobs(4, each=15, noise=1.0)
    a, b = predictions(features, labels), predictions(2 * features + 1, labels, model="scaled")
    result = compute_collapse([a, b], [a, b], resamples=200)
    nc1 = result.measure("nc1", "test")
    assert nc1.draws.mean(axis=1) == pytest.approx(nc1.values)
    assert (result.draw_ratio[:, 0, 0] < 0.99).all()  # NC1 of a resample is too low: its means are noisier
    # NC1 knows no scale and no origin: the same images in both, so there is no difference in any draw
    assert nc1.difference(0, 1) == pytest.approx((0, 0, 0), abs=1e-5)


def test_collapse_interval_of_nc1_covers():
    """Coverage of the truth's nearest estimate, NC1 of a sample of that size on average."""
    values, covered = [], []
    for seed in range(60):
        features, labels = blobs(100 + seed, classes=3, each=60, width=4, noise=1.0)
        p = predictions(features, labels)
        values.append(compute_collapse([p], [p], resamples=80).measure("nc1", "test").interval(0))
    mean = np.mean([value for value, _, _ in values])
    covered = [low <= mean <= high for _, low, high in values]
    assert 0.82 <= np.mean(covered) <= 1


def test_collapse_is_the_same_for_a_seed_and_another_for_another():
    features, labels = blobs(5)
    p = predictions(features, labels)
    first, same, other = (compute_collapse([p], [p], resamples=10, seed=s) for s in (0, 0, 1))
    assert first == same and first != other
    np.testing.assert_array_equal(first.values, other.values)


def test_collapse_without_linear_layer_has_no_nc3():
    features, labels = blobs(6)
    p = predictions(features, labels)
    result = compute_collapse([p], [p], classifiers=[None], resamples=2)
    assert np.isnan(numbers(result)["nc3"])
    assert any("no linear layer" in note for note in result.notes)


def on_own_images(seed: int) -> Comparison:
    networks = {}
    for number, name in enumerate("ab"):
        torch.manual_seed(number)
        parts = [nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3)]
        networks[name] = nn.Sequential(*parts)
    images = np.random.default_rng(seed).integers(0, 256, (30, 8, 8, 3), dtype=np.uint8)
    settings = {"mean": (0.5,) * 3, "std": (0.25,) * 3, "device": "cpu"}
    return compare(networks, images=images, labels=np.arange(30) % 3, **settings)


def test_collapse_of_comparisons_is_that_of_their_predictions_and_classifiers():
    test, train, seen = on_own_images(0), on_own_images(1), []
    found = compute_collapse(test, train, resamples=5, progress=lambda done, total, what: seen.append(what))
    predictions = compute_predictions(test)
    classifiers = [read_classifier(test.build(i), p) for i, p in enumerate(predictions)]
    again = compute_collapse(predictions, compute_predictions(train), classifiers=classifiers, resamples=5)
    assert found == again and np.isfinite(found.measure("nc3", "test").values).all()
    said = [f"predictions of {name}, {split}" for split in SPLITS for name in "ab"]
    assert list(dict.fromkeys(seen)) == [*said, "collapse"]


def test_collapse_keeps_the_mean_loss_of_the_training_images():
    features, labels = blobs(0)
    test, train = (
        predictions(features, labels),
        predictions(features, labels, logits=2 * np.eye(4, dtype=np.float32)[labels]),
    )
    result = compute_collapse([test], [train], resamples=2)
    assert result.train_loss == pytest.approx(np.log(1 + 3 * np.exp(-2)), rel=1e-6)


def test_collapse_of_own_images_needs_those_of_the_training():
    test = on_own_images(0)
    with pytest.raises(InputError, match="own have no `train` images beside them: compare the networks on"):
        compute_collapse(test)
    training = dataclasses.replace(test, samples=dataclasses.replace(test.samples, split="train"))
    with pytest.raises(InputError, match="compared on training images: compare them on `test` or `val`"):
        compute_collapse(training)
    assert not test.memory


def test_collapse_progress_ends_with_the_total():
    seen = []
    p = predictions(*blobs(7))
    compute_collapse([p], [p], resamples=2, progress=lambda *step: seen.append(step))
    assert seen[-1] == (4, 4, "collapse") and len(seen) == 4


def test_whitening_is_a_root_of_the_pseudo_inverse():
    centred = np.random.default_rng(0).standard_normal((4, 7))
    centred -= centred.mean(axis=0)
    root = whitening(centred)
    assert root.shape == (7, 3)
    np.testing.assert_allclose(root @ root.T, np.linalg.pinv(centred.T @ centred / 4, rcond=1e-9), atol=1e-9)
    assert whitening(np.zeros((4, 7))).shape == (7, 0)


def test_davies_bouldin_of_equal_means_is_infinite():
    assert davies_bouldin(np.ones(2), np.zeros((2, 3))) == np.inf


def test_spread_over_classes_takes_its_share_of_each_class():
    chosen = spread_over_classes([(0, 100), (100, 400)], 40)
    np.testing.assert_array_equal(chosen[:10], np.arange(0, 100, 10))
    assert len(chosen) == 40 and (chosen[10:] >= 100).all()
    np.testing.assert_array_equal(spread_over_classes([(0, 2), (2, 5)], 40), np.arange(5))


def test_read_classifier_is_the_linear_layers_weight():
    model = nn.Sequential(nn.Flatten(), nn.Linear(6, 4))
    p = predictions(*blobs(8), feature_layer="1")
    weight = read_classifier(model, p)
    torch.testing.assert_close(torch.from_numpy(weight), model[1].weight.detach())
    assert read_classifier(model, predictions(*blobs(8), feature_layer="0")) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"compared": []}, "`predictions` is empty"),
        ({"k": 0}, "`k` = 0 must be 1 or more"),
        ({"resamples": 1}, "`resamples` = 1 must be 2 or more"),
        ({"train": None}, "`train` is missing: give the predictions on training images, too"),
        ({"classifiers": [np.zeros((4, 5))]}, r"the classifier of `net` is \(4, 5\)"),
        ({"classifiers": []}, "`classifiers` 0: give the same networks"),
    ],
)
def test_collapse_refuses_in_one_line(change, message):
    p = predictions(*blobs(9))
    arguments: dict = {"compared": [p], "train": [p]} | change
    with pytest.raises(InputError, match=message) as caught:
        compute_collapse(**arguments)
    assert "\n" not in str(caught.value)


def test_collapse_refuses_other_classes_images_or_widths():
    features, labels = blobs(9)
    p = predictions(features, labels)
    three = predictions(features[labels < 3], labels[labels < 3])
    with pytest.raises(InputError, match="classes of the test images are not"):
        compute_collapse([p], [three])
    with pytest.raises(InputError, match="other images or another order"):
        compute_collapse([p, predictions(features, labels, indices=np.arange(len(labels))[::-1])], [p, p])
    with pytest.raises(InputError, match="6 features on test and 5"):
        compute_collapse([p], [predictions(features[:, :5], labels)])
    with pytest.raises(InputError, match="do not vary"):
        compute_collapse([predictions(0 * features, labels)], [p])
    with pytest.raises(InputError, match="without label"):
        compute_collapse([dataclasses.replace(p, labels=labels - 1)], [p])
