"""Calibration against hand-computed numbers, scikit-learn, and what is known of calibrated predictions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import accuracy_score, log_loss

from ralr_viz.analysis.calibration import (
    bin_means,
    compute_calibration,
    ece_floor,
    expected_calibration_error,
)
from ralr_viz.analysis.temperature import fit_temperature
from ralr_viz.errors import InputError
from ralr_viz.results.calibration import METRICS
from ralr_viz.results.predictions import PredictionsResult
from ralr_viz.results.uncertainty import paired_proportions_interval, wilson_interval


def predictions(logits: np.ndarray, labels: np.ndarray, **changes: object) -> PredictionsResult:
    n = len(labels)
    values: dict = {
        "model": "net",
        "indices": np.arange(n) * 3,
        "labels": labels,
        "logits": logits.astype(np.float32),
        "features": np.zeros((n, 2), np.float32),
        "feature_layer": "fc",
        "true_maps": np.zeros((n, 0, 0), np.float32),
        "predicted_maps": np.zeros((n, 0, 0), np.float32),
        "map_layer": "",
    }
    return PredictionsResult(**(values | changes))


def calibrated(seed: int, n: int = 2000, classes: int = 5, heat: float = 1.0) -> PredictionsResult:
    """Labels drawn from the softmax of the logits; ``heat`` > 1 makes the network too sure."""
    rng = np.random.default_rng(seed)
    logits = 1.5 * rng.standard_normal((n, classes))
    p = softmax(logits, axis=1)
    labels = (rng.random((n, 1)) > p.cumsum(axis=1)).sum(axis=1).clip(max=classes - 1)
    return predictions(heat * logits, labels)


def test_ece_by_hand():
    confidence = np.array([0.9, 0.6, 0.8, 0.5])
    correct = np.array([1, 0, 1, 1])
    # sorted: .5 right, .6 wrong | .8 right, .9 right: |.55 − .5|/2 + |.85 − 1|/2
    assert expected_calibration_error(confidence, correct, 2) == pytest.approx(0.1)
    assert expected_calibration_error(confidence, correct, 1) == pytest.approx(abs(0.7 - 0.75))
    np.testing.assert_allclose(bin_means(confidence, correct, 2), [[0.55, 0.85], [0.5, 1]])


def test_ece_shares_an_image_between_the_bins_of_a_border():
    confidence, correct = np.array([0.5, 0.7, 0.9]), np.array([0, 1, 1])
    # 1½ images each: (.5 + .35) against (0 + .5), and (.35 + .9) against (.5 + 1)
    assert expected_calibration_error(confidence, correct, 2) == pytest.approx((0.35 + 0.25) / 3)


def test_ece_of_weights_is_that_of_repeated_images():
    rng = np.random.default_rng(0)
    confidence, correct = rng.random(60), rng.random(60) < 0.6
    weights = rng.integers(0, 4, 60)
    repeated = expected_calibration_error(np.repeat(confidence, weights), np.repeat(correct, weights), 7)
    assert expected_calibration_error(confidence, correct, 7, weights.astype(float)) == pytest.approx(
        repeated
    )


def test_ece_of_calibrated_predictions_is_at_its_floor_and_of_sure_ones_above():
    result = [compute_calibration([calibrated(seed)], resamples=60) for seed in range(12)]
    ece = list(METRICS).index("ece")
    found = np.array([r.values[0, ece] for r in result])
    mean, high = np.mean([r.ece_floor[0] for r in result], axis=0)
    assert found.mean() == pytest.approx(mean, abs=3 * found.std() / np.sqrt(len(found)))
    assert (found < high).mean() > 0.8
    sure = compute_calibration([calibrated(0, heat=3.0)], resamples=60)
    assert sure.values[0, ece] > 3 * sure.ece_floor[0, 1]


def test_temperature_undoes_the_heat_of_the_logits_and_leaves_the_predictions():
    """Fitted on other images than those that are looked at; ECE after it is at the floor, the raw one far above."""
    test, watched = calibrated(0, 4000, heat=3.0), calibrated(1, 4000, heat=3.0)
    result = compute_calibration([test], [watched], resamples=40)
    assert result.temperature is not None and result.temperature[0] == pytest.approx(3, rel=0.05)
    assert result.watched == 4000
    assert result.scaled_ece[0] < result.scaled_floor[0, 1] < result.values[0, 2] / 3
    found = {m.name: m for m in result.measures()}
    assert found["ece_scaled"].interval(0)[0] == result.scaled_ece[0]
    low, high = found["ece_scaled"].interval(0)[1:]
    assert low < result.scaled_ece[0] < high
    slow = np.linspace(2.5, 3.5, 201)
    losses = [log_loss(watched.labels, softmax(watched.logits.astype(float) / t, axis=1)) for t in slow]
    assert result.temperature[0] == pytest.approx(slow[np.argmin(losses)], abs=0.006)
    probabilities = softmax(test.logits.astype(float) / result.temperature[0], axis=1)
    expected = expected_calibration_error(probabilities.max(1), test.predicted == test.labels, 15)
    assert result.scaled_ece[0] == pytest.approx(100 * expected)


def test_temperature_of_a_network_that_is_always_right_is_bounded():
    labels = np.arange(5).repeat(4)
    assert 0 < fit_temperature(np.eye(5)[labels], labels) < 0.02


def test_calibration_without_watched_images_has_no_temperature():
    result = compute_calibration([calibrated(0, 200)], resamples=2)
    assert np.isnan(result.temperature).all() and np.isnan(result.scaled_ece).all() and result.watched == 0
    assert [m.name for m in result.measures()] == list(METRICS)
    with pytest.raises(InputError, match="`watched` has 1 networks for 1"):
        compute_calibration(
            [calibrated(0, 200)], [predictions(np.eye(5), np.arange(5), model="other")], resamples=2
        )


def test_ece_floor_grows_as_images_get_fewer():
    p = np.random.default_rng(0).uniform(0.4, 1, 4000)
    many, few = ece_floor(p, 15, 50, 0)[0], ece_floor(p[:400], 15, 50, 0)[0]
    assert few == pytest.approx(many * np.sqrt(10), rel=0.2)


def test_calibration_scores_equal_scikit_learn():
    p = calibrated(1, heat=1.7)
    result = compute_calibration([p], resamples=2)
    found = dict(zip(METRICS, result.values[0], strict=True))
    probabilities = p.probabilities
    assert found["nll"] == pytest.approx(log_loss(p.labels, probabilities, labels=range(5)), rel=1e-6)
    assert found["accuracy"] == pytest.approx(100 * accuracy_score(p.labels, p.predicted))
    onehot = np.eye(5)[p.labels]
    assert found["brier"] == pytest.approx(((probabilities - onehot) ** 2).sum(axis=1).mean())


def test_brier_by_hand():
    logits = np.log([[0.7, 0.2, 0.1], [0.5, 0.25, 0.25]])
    result = compute_calibration([predictions(logits, np.array([0, 1]))], resamples=2)
    first, second = 0.09 + 0.04 + 0.01, 0.25 + 0.5625 + 0.0625
    assert result.values[0, list(METRICS).index("brier")] == pytest.approx((first + second) / 2, rel=1e-6)


def test_calibration_lists_what_changed_hands_and_its_exact_p():
    labels = np.zeros(10, dtype=int)
    right = np.array([[1, 1, 1, 1, 1, 1, 0, 0, 0, 0], [1, 1, 1, 1, 1, 0, 1, 1, 1, 0]])
    a, b = (predictions(np.eye(2)[1 - r], labels, model=str(i)) for i, r in enumerate(right))
    result = compute_calibration([a, b], resamples=10)
    np.testing.assert_array_equal(result.fixed(1), [18, 21, 24])  # positions in the split
    np.testing.assert_array_equal(result.broken(1), [15])
    assert result.mcnemar_p(1) == pytest.approx(2 * (1 + 4) / 2**4)  # P(≥ 3 of 4) on both sides
    assert result.mcnemar_p(0) == 1


def test_calibration_class_differences_are_paired():
    rng = np.random.default_rng(0)
    labels = np.tile(np.arange(4), 200)
    wrong = (labels + 1) % 4
    base = np.where(rng.random(800) < 0.7, labels, wrong)
    better = np.where((labels == 2) & (rng.random(800) < 0.6), labels, base)
    a, b = (predictions(5 * np.eye(4)[d], labels, model=n) for d, n in ((base, "a"), (better, "b")))
    result = compute_calibration([a, b], resamples=200)
    np.testing.assert_array_equal(result.class_difference[1, [0, 1, 3], 0], 0)  # same images right
    agreeing = 100 * np.array(paired_proportions_interval(0, 0, 200))  # which of 200 images is no certainty
    np.testing.assert_allclose(result.class_difference[1, [0, 1, 3], 1:], np.tile(agreeing, (3, 1)))
    value, low, high = result.class_difference[1, 2]
    assert value == pytest.approx(100 * ((better == labels) * 1.0 - (base == labels))[labels == 2].mean())
    assert 0 < low < value < high
    np.testing.assert_allclose(
        result.class_accuracy[0], [100 * (base == labels)[labels == c].mean() for c in range(4)]
    )


def test_calibration_draws_are_common_to_the_networks_and_around_the_value():
    p = calibrated(2, n=300)
    same = predictions(p.logits, p.labels, model="same")
    result = compute_calibration([p, same], resamples=50)
    np.testing.assert_array_equal(result.draws[0], result.draws[1])
    ece = list(METRICS).index("ece")
    assert result.draws[0, ece].mean() == pytest.approx(result.values[0, ece])
    assert result.ece_ratio[0] > 1  # resampling adds noise to each bin


def test_calibration_interval_of_nll_covers_the_truth():
    covered = []
    rng = np.random.default_rng(0)
    logits = 1.5 * rng.standard_normal((200_000, 5))
    p = softmax(logits, axis=1)
    truth = -(p * np.log(p)).sum(axis=1).mean()
    for seed in range(60):
        _, low, high = compute_calibration([calibrated(seed, n=300)], resamples=100).measures()[0].interval(0)
        covered.append(low <= truth <= high)
    assert 0.82 <= np.mean(covered) <= 1  # 0.95 within its binomial spread


def test_calibration_of_a_class_or_two_an_image_has_the_error_of_its_mean():
    """Within classes of one image or two, resamples would hardly vary: "95 %" covered .67 (50 images, 50 classes)."""
    rng = np.random.default_rng(0)
    for labels in (np.arange(100), np.repeat(np.arange(50), 2)):
        p = predictions(rng.standard_normal((100, 100)), labels)
        nll, brier, _, accuracy = compute_calibration([p], resamples=2000).measures()
        hits = 100.0 * (p.predicted == p.labels)
        for measure, values in ((nll, p.loss), (accuracy, hits)):
            assert measure.draws[0].std() == pytest.approx(values.std(ddof=1) / 10, rel=0.06)
        assert brier.count == 100


def test_calibration_of_few_images_says_why_it_has_no_intervals():
    measures = compute_calibration([calibrated(0, n=49)], resamples=20).measures()
    assert all(
        np.isnan(m.interval(0)[1:]).all() and "no interval of 49 images" in m.refusal for m in measures
    )


def test_calibration_is_the_same_for_a_seed_and_for_any_order_of_equal_confidences():
    p = calibrated(3, n=100)
    first, again, other = (compute_calibration([p], resamples=10, seed=s) for s in (0, 0, 1))
    assert first == again and first != other
    np.testing.assert_array_equal(first.values, other.values)


def test_wilson_interval_by_hand():
    low, high = wilson_interval(np.array([0.5, 0.0, 1.0]), 10)
    np.testing.assert_allclose(low, [0.2366, 0, 0.7225], atol=2e-4)
    np.testing.assert_allclose(high, [0.7634, 0.2775, 1], atol=2e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"compared": []}, "`predictions` is empty"),
        ({"bins": 0}, "`bins` = 0 must be 1 or more"),
        ({"resamples": 1}, "`resamples` = 1 must be 2 or more"),
    ],
)
def test_calibration_refuses_in_one_line(change, message):
    arguments: dict = {"compared": [calibrated(0, n=20)]} | change
    with pytest.raises(InputError, match=message) as caught:
        compute_calibration(**arguments)
    assert "\n" not in str(caught.value)


def test_calibration_refuses_other_images_and_other_classes():
    p = calibrated(0, n=20)
    with pytest.raises(InputError, match="other images"):
        compute_calibration([p, predictions(p.logits, p.labels, indices=np.arange(20))])
    with pytest.raises(InputError, match="has 4 classes, `net` has 5"):
        compute_calibration([p, predictions(p.logits[:, :4], p.labels, model="four")])


def test_calibration_takes_one_class_of_few_images():
    result = compute_calibration([predictions(np.eye(2)[[0, 1, 0]], np.zeros(3, dtype=int))], resamples=5)
    assert result.bin_confidence.shape == (1, 3)
    assert any("a class has 3 images" in note for note in result.notes)
