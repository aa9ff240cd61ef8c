"""Scores of one side or two against closed forms and a literal bootstrap."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy import stats

from ralr_viz.analysis.verdict import (
    compute_class_scores,
    compute_verdict,
)
from ralr_viz.errors import InputError
from ralr_viz.results.predictions import PredictionsResult
from ralr_viz.results.run import RunRecord
from ralr_viz.results.uncertainty import paired_proportions_interval, wilson_interval


def predict(answers, labels, name="net", classes=4):
    """Predictions of given classes, each with the same probability."""
    labels = np.asarray(labels)
    n = len(labels)
    empty = np.zeros((n, 0, 0), np.float32)
    return PredictionsResult(
        model=name, indices=np.arange(n), labels=labels,
        logits=(3 * np.eye(classes)[np.asarray(answers)]).astype(np.float32), features=np.zeros((n, 2), np.float32),
        feature_layer="fc", true_maps=empty, predicted_maps=empty, map_layer="", dataset="toy", split="test",
    )  # fmt: skip


def record(seed, acc, loss, prefix="test", method="baseline"):
    metrics = {f"{prefix}_acc": np.array([10.0, acc]), f"{prefix}_loss": np.array([2.0, loss])}
    return RunRecord("toy", method, seed, np.array([1, 2]), metrics)


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    labels = rng.integers(4, size=200)
    a = np.where(rng.random(200) < 0.6, labels, rng.integers(4, size=200))
    b = np.where(rng.random(200) < 0.8, labels, rng.integers(4, size=200))
    return [predict(a, labels, "a"), predict(b, labels, "b")]


def test_image_scores_are_the_means_and_a_literal_bootstrap(pair):
    verdict = compute_verdict(["a", "b"], pair, [(), ()], resamples=400, seed=3)
    accuracy, loss = verdict.images
    assert accuracy.values[:, 0].tolist() == pytest.approx([p.accuracy for p in pair])
    assert loss.values[:, 0].tolist() == pytest.approx([p.loss.mean() for p in pair])
    assert accuracy.difference[0] == pytest.approx(pair[1].accuracy - pair[0].accuracy)
    low, high = wilson_interval(accuracy.values[:, 0] / 100, 200)
    np.testing.assert_allclose(accuracy.values[:, 1:], 100 * np.stack([low, high], axis=1))
    gained, lost = verdict.agreement[0, 1], verdict.agreement[1, 0]
    # of the spread of 400 resamples, not of the counts themselves
    assert accuracy.difference[1:] == pytest.approx(
        100 * np.array(paired_proportions_interval(gained, lost, 200)), abs=1
    )
    rows = np.random.default_rng(3).integers(200, size=(400, 200))
    draws = np.array([[p.loss[row].mean() for p in pair] for row in rows])
    skew, t = stats.skew(draws[:, 0]) / 6, stats.t.ppf([0.025, 0.975], 199)
    z = skew + np.sqrt(200 / 199) * t
    shares = stats.norm.cdf(skew + z / (1 - skew * z))
    expected = np.quantile(draws[:, 0], shares, method="nearest")
    assert loss.values[0, 1:] == pytest.approx(expected)
    error = (draws[:, 1] - draws[:, 0]).std(ddof=1)
    assert loss.difference[1:] == pytest.approx(loss.difference[0] + t * error)
    assert (verdict.num_images, verdict.split, verdict.seeds) == (200, "test images", ())


def test_bootstrap_of_an_accuracy_is_near_the_normal_interval(pair):
    accuracy = compute_verdict(["a"], pair[:1], [()], resamples=4000).images[0]
    p = accuracy.values[0, 0] / 100
    half = 196 * np.sqrt(p * (1 - p) / 200)
    assert accuracy.values[0, 1:] == pytest.approx([100 * p - half, 100 * p + half], abs=0.7)
    assert np.isnan(accuracy.difference).all() and np.isnan(accuracy.p)


def test_bootstrap_does_not_depend_on_the_chunks(pair, monkeypatch):
    whole = compute_verdict(["a", "b"], pair, [(), ()], resamples=100)
    monkeypatch.setattr("ralr_viz.analysis.verdict._CHUNK", 700)
    parts = compute_verdict(["a", "b"], pair, [(), ()], resamples=100)
    assert (whole.images[1].values == parts.images[1].values).all()


def test_agreement_counts_fixed_and_broken_images():
    labels = [0, 0, 0, 1, 1, 1]
    a, b = predict([0, 0, 1, 1, 2, 2], labels), predict([0, 1, 0, 1, 1, 2], labels)
    verdict = compute_verdict(["a", "b"], [a, b], [(), ()], resamples=10)
    # rows: A wrong, A right; columns: B wrong, B right
    assert verdict.agreement.tolist() == [[1, 2], [1, 2]]
    assert verdict.images[0].p == 1.0


def test_paired_proportions_interval_follows_bonett_and_price():
    # f12 = 9, f21 = 3, n = 40, by hand: p12 = 10/42, p21 = 4/42
    d, total = 6 / 42, 14 / 42
    half = 1.959964 * np.sqrt((total - d**2) / 42)
    assert paired_proportions_interval(9, 3, 40) == pytest.approx((d - half, d + half), abs=1e-6)
    low, high = paired_proportions_interval(0, 0, 20)  # full agreement is not certainty
    assert low < 0 < high and high == pytest.approx(-low)
    assert paired_proportions_interval(1, 0, 1)[1] <= 1


def test_paired_proportions_interval_covers():
    rng, covered = np.random.default_rng(1), 0
    for up, down in rng.multinomial(50, [0.15, 0.05, 0.8], size=800)[:, :2]:
        low, high = paired_proportions_interval(up, down, 50)
        covered += low <= 0.10 <= high
    assert 0.93 <= covered / 800 <= 0.985


def test_class_scores_count_by_hand():
    labels = [0, 0, 0, 0, 2, 2]
    a, b = predict([0, 1, 1, 3, 2, 2], labels), predict([0, 0, 3, 1, 2, 0], labels)
    found = compute_class_scores([a, b])
    assert found.labels.tolist() == [0, 2] and found.counts.tolist() == [4, 2]
    assert found.accuracy.tolist() == [[25.0, 100.0], [50.0, 50.0]]
    assert found.difference[:, 0].tolist() == [25.0, -50.0]
    assert found.difference[0, 1:] == pytest.approx(100 * np.array(paired_proportions_interval(1, 0, 4)))
    # class 1 twice in A; 1 and 3 once each in B, where the lower label counts; none wrong of A's class 2
    assert found.confused_with.tolist() == [[1, -1], [1, 0]]
    assert found.confused_counts.tolist() == [[2, 0], [1, 1]]


def test_seed_scores_are_scipys_t_intervals_over_common_seeds():
    a = [record(0, 80, 0.5), record(1, 82, 0.4), record(2, 81, 0.6), record(7, 10, 9)]
    b = [record(s, acc, loss) for s, acc, loss in ((2, 84, 0.5), (0, 81, 0.45), (1, 84, 0.42))]
    verdict = compute_verdict(["a", "b"], [], [a, b])
    accuracy, loss = verdict.seeds
    assert verdict.paired_seeds == (0, 1, 2) and verdict.seed_split == "test images" and verdict.images == ()
    assert verdict.per_seed.tolist() == [[[80, 82, 81], [81, 84, 84]], [[0.5, 0.4, 0.6], [0.45, 0.42, 0.5]]]
    d = np.array([1.0, 2.0, 3.0])
    interval = stats.t.interval(0.95, 2, d.mean(), stats.sem(d))
    assert accuracy.difference == pytest.approx([2.0, *interval])
    assert accuracy.p == pytest.approx(stats.ttest_rel([81, 84, 84], [80, 82, 81]).pvalue)
    of_a = stats.t.interval(0.95, 2, 81, stats.sem([80, 82, 81]))
    assert accuracy.values[0] == pytest.approx([81, *of_a])
    assert loss.difference[0] == pytest.approx(np.mean([-0.05, 0.02, -0.1]))


def test_seed_scores_of_runs_that_translate_are_of_sentences():
    runs = [
        [
            dataclasses.replace(
                one := record(0, bleu, 2.0),
                recipe={**one.recipe, "task": "translation"},
                result={"status": "finished"},
                metrics={"test_bleu": one.values("test_acc"), "test_loss": one.values("test_loss")},
            )
        ]
        for bleu in (33.0, 35.0)
    ]
    verdict = compute_verdict(["a", "b"], [], runs)
    assert verdict.seed_split == "test sentences"
    assert (verdict.seeds[0].name, verdict.seeds[0].difference[0]) == ("BLEU", 2.0)


def test_seed_scores_use_validation_where_a_run_was_never_tested_and_none_without_a_common_seed():
    a, b = [record(0, 80, 0.5, "val")], [record(0, 82, 0.5, "val")]
    verdict = compute_verdict(["a", "b"], [], [a, b])
    assert verdict.seed_split == "validation images" and verdict.seeds[0].difference[0] == 2
    assert np.isnan(verdict.seeds[0].difference[1:]).all()
    assert compute_verdict(["a", "b"], [], [a, [record(1, 82, 0.5)]]).seeds == ()
    assert compute_verdict(["a", "b"], [], [a, []]).seeds == ()


def test_compute_verdict_refuses_other_images_and_three_sides(pair):
    other = predict([0, 1], [0, 1], "other")
    with pytest.raises(InputError, match="other images"):
        compute_verdict(["a", "b"], [pair[0], other], [(), ()])
    with pytest.raises(InputError, match="3 sides, expects one or two"):
        compute_verdict(["a", "b", "c"], [], [(), (), ()])


def run_of(seed, status="finished", epochs=2, acc=(10.0, 80.0), method="baseline"):
    metrics = {"test_acc": np.array(acc[:epochs]), "test_loss": np.full(epochs, 0.5)}
    result = None if status == "running" else {"status": status}
    return RunRecord("toy", method, seed, np.arange(1, epochs + 1), metrics, {"seed": seed}, result)


def test_seed_scores_leave_out_runs_that_are_not_finished_diverged_or_ended_elsewhere():
    a = [run_of(s) for s in range(6)]
    b = [
        run_of(0, acc=(10, 82)), run_of(1, acc=(10, 84)), run_of(2, "running", 1), run_of(3, "diverged", acc=(9, 10)),
        run_of(4, epochs=1), run_of(6),
    ]  # fmt: skip
    verdict = compute_verdict(["a", "b"], [], [a, b])
    assert verdict.paired_seeds == (0, 1) and verdict.seeds[0].difference[0] == 3
    assert verdict.left_out == (
        (2, "b is running, at epoch 1"),
        (3, "b diverged after epoch 2"),
        (4, "b ended at epoch 1, others at 2"),
        (5, "b has none"),
        (6, "a has none"),
    )
    alone = compute_verdict(["b"], [], [b])
    assert alone.paired_seeds == (0, 1, 6) and [seed for seed, _ in alone.left_out] == [2, 3, 4]
    none = compute_verdict(["a", "b"], [], [[run_of(0)], [run_of(0, "running", 1)]])
    assert none.seeds == () and none.left_out == ((0, "b is running, at epoch 1"),)


def test_seed_scores_are_of_the_epoch_that_is_asked_for():
    a, b = [run_of(0), run_of(1, "running", 1)], [run_of(0, acc=(12, 90)), run_of(1, acc=(14, 90))]
    verdict = compute_verdict(["a", "b"], [], [a, b], epochs=[1, 1])
    assert verdict.paired_seeds == (0, 1) and verdict.per_seed[0].tolist() == [[10, 10], [12, 14]]
    assert verdict.seed_epoch == "epoch 1"
    mixed = compute_verdict(["a", "b"], [], [a, b], epochs=[1, None])
    assert (
        mixed.per_seed[0].tolist() == [[10, 10], [90, 90]]
        and mixed.seed_epoch == "epoch 1 and the last epoch"
    )
    assert compute_verdict(["a", "b"], [], [a, b], epochs=[7, 7]).left_out[0][1] == (
        "a did not measure epoch 7; b did not measure epoch 7"
    )


def test_seed_scores_of_the_best_epoch_are_those_that_each_run_recorded():
    runs = [
        dataclasses.replace(run_of(s), result={"status": "finished", "best": {"epoch": 1}}) for s in (0, 1)
    ]
    verdict = compute_verdict(["a"], [], [[*runs, run_of(2)]], epochs=["best"])
    assert verdict.per_seed[0].tolist() == [[10, 10]] and verdict.seed_epoch == "each run's best epoch"
    assert verdict.left_out == ((2, "a did not measure its best epoch"),)
