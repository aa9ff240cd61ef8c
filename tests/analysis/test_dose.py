"""Rank agreement within strata and the line through doses, against scipy, NumPy and simulated mediators."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kendalltau

from ralr_viz.analysis.dose import predict_scores, rank_agreement

DOSES = np.tile([0.5, 1.0, 1.5, 2.0, 3.0], 6)
SEEDS = np.repeat(np.arange(6), 5)


def simulate(mediates: bool, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A measure that moves with the dose, and a score: of the measure, or of the dose by another way."""
    rng = np.random.default_rng(seed)
    measure = np.log(DOSES) + 0.4 * rng.normal(size=30)
    other = np.log(DOSES) + 0.4 * rng.normal(size=30)
    level = np.repeat(rng.normal(0, 0.3, 6), 5)
    return measure, level - 2 * (measure if mediates else other) + 0.1 * rng.normal(size=30)


def test_rank_agreement_of_one_stratum_is_scipys() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 5, 12).astype(float), rng.normal(size=12)
    found = rank_agreement(x, y, np.zeros(12))
    twin = kendalltau(x, y)
    assert found.tau == pytest.approx(twin.statistic)  # with ties
    x = rng.normal(size=12)
    found, twin = rank_agreement(x, y, np.zeros(12)), kendalltau(x, y, method="exact")
    assert (found.tau, found.p) == pytest.approx((twin.statistic, twin.pvalue), abs=0.02)


def test_rank_agreement_is_the_mean_over_strata_weighted_by_pairs_and_leaves_out_what_is_unknown() -> None:
    rng = np.random.default_rng(1)
    strata = np.repeat([0, 1, 2], [3, 5, 1])
    x, y = rng.normal(size=9), rng.normal(size=9)
    a, b = (kendalltau(x[strata == s], y[strata == s]).statistic for s in (0, 1))
    assert rank_agreement(x, y, strata, shuffles=9).tau == pytest.approx((3 * a + 10 * b) / 13)
    more = [np.append(values, v) for values, v in ((x, np.nan), (y, 0.0), (strata, 1))]
    assert rank_agreement(*more, shuffles=9).tau == pytest.approx((3 * a + 10 * b) / 13)


def test_rank_agreement_of_small_strata_has_the_exact_p() -> None:
    x = np.array([1.0, 2, 3, 1, 2, 3])
    found = rank_agreement(x, x, np.repeat([0, 1], 3), shuffles=20_000)
    assert found.tau == 1
    assert found.p == pytest.approx(2 / 36, abs=0.006)  # of 36 orders two are as far from 0


def test_rank_agreement_is_not_defined_where_nothing_varies() -> None:
    found = rank_agreement(np.ones(4), np.arange(4.0), np.zeros(4))
    assert np.isnan(found.tau) and np.isnan(found.p)


@pytest.mark.parametrize("mediates", [True, False])
def test_a_mediator_orders_the_scores_at_equal_dose_and_another_measure_does_not(mediates: bool) -> None:
    within = []
    for seed in range(20):
        measure, score = simulate(mediates, seed)
        assert rank_agreement(measure, score, SEEDS, shuffles=999).p < 0.05  # both follow the dose
        within.append(rank_agreement(measure, score, DOSES, shuffles=999).p < 0.05)
    assert np.mean(within) > 0.8 if mediates else np.mean(within) < 0.25


def test_p_is_uniform_where_there_is_nothing() -> None:
    rng = np.random.default_rng(5)
    found = [
        rank_agreement(rng.normal(size=30), rng.normal(size=30), SEEDS, shuffles=199).p < 0.05
        for _ in range(200)
    ]
    assert 0.01 <= np.mean(found) <= 0.1


def test_predicted_scores_are_those_of_least_squares_with_a_level_for_each_seed() -> None:
    rng = np.random.default_rng(3)
    measure, score = simulate(True)
    fitted = rng.random(30) < 0.8
    design = np.column_stack([measure, *(s == SEEDS for s in range(6))]).astype(float)
    twin = np.linalg.lstsq(design[fitted], score[fitted], rcond=None)[0]
    predicted, slope = predict_scores(measure, score, SEEDS, fitted)
    np.testing.assert_allclose(predicted, design @ twin)
    assert slope == pytest.approx(twin[0])


def test_predicted_scores_are_unknown_for_a_seed_without_doses_and_where_nothing_varies() -> None:
    measure, score = simulate(True)
    fitted = SEEDS < 5
    predicted, _ = predict_scores(measure, score, SEEDS, fitted)
    assert np.isnan(predicted[SEEDS == 5]).all() and np.isfinite(predicted[fitted]).all()
    assert np.isnan(predict_scores(np.ones(30), score, SEEDS, fitted)[0]).all()
