import numpy as np
import pytest
from scipy import stats

from ralr_viz.results.sharpness import SharpnessResult


def make(**changes) -> SharpnessResult:
    rng = np.random.default_rng(0)
    values = {
        "models": ("baseline", "RALR"),
        "radii": np.array([0.1, 0.2, 0.4]),
        "losses": 1 + rng.random((2, 3, 5, 2)),
        "accuracies": 80 - rng.random((2, 3, 5, 2)),
        "centre_loss": np.array([0.5, 0.25]),
        "centre_accuracy": np.array([90.0, 91.0]),
        "given_loss": np.array([0.4, 0.3]),
        "worst_radii": np.array([0.005]),
        "worst_losses": np.array([[[0.6, 0.7]], [[0.5, 0.4]]]),
        "worst_accuracies": np.array([[80.0], [81.0]]),
        "worst_steps": 3,
        "batchnorm": "batch",
        "common": True,
        "num_images": 100,
        "batch": 50,
        "seed": 0,
        "resamples": 500,
    }
    return SharpnessResult(**(values | changes))


def test_rises_are_means_over_both_signs_minus_the_centre():
    result = make()
    assert result.rises[1, 2, 3] == pytest.approx(result.losses[1, 2, 3].mean() - 0.25)
    assert result.accuracy_drops[0, 0, 1] == pytest.approx(90 - result.accuracies[0, 0, 1].mean())
    assert result.worst_rises == pytest.approx(np.array([[0.2], [0.25]]))


def test_rises_are_given_for_whoever_draws_them():
    result = make()
    for m in range(2):
        centre = result.centre_loss[m]
        for r in range(3):
            rises = [sum(both) / 2 - centre for both in result.losses[m, r]]
            student = stats.ttest_1samp(rises, 0).confidence_interval()
            assert result.mean_rises[m, r] == pytest.approx(np.mean(rises))
            assert [end[m, r] for end in result.rise_intervals] == pytest.approx(list(student))
            assert result.signed_rises[m, r, 4, 1] == result.losses[m, r, 4, 1] - centre
        assert result.start_rises[m, 0].tolist() == [loss - centre for loss in result.worst_losses[m, 0]]
    assert result.worst_start.tolist() == [[1], [0]]


def test_measures_lead_with_the_middle_radius_and_share_their_draws():
    result = make()
    measures = {m.name: m for m in result.measures()}
    first = result.measures()[0]
    assert first.name == "sharpness" and first.label == "average sharpness, ρ = 0.2" and first.unit == "nats"
    assert first.values == pytest.approx(result.rises[:, 1].mean(axis=1))
    assert set(measures) >= {
        "sharpness_at_0_1",
        "sharpness_at_0_4",
        "sharpness_accuracy_drop",
        "worst_sharpness",
    }
    assert first.draws.shape == (2, 500) and first.resampled == "directions"
    # a standard error: the draws spread as the directions' mean does
    spread = result.rises[0, 1].std() / 5**0.5
    assert first.draws[0].std() == pytest.approx(spread, rel=0.15)
    student = stats.ttest_1samp(result.rises[0, 1], 0).confidence_interval()
    assert first.interval(0)[1:] == pytest.approx(student)
    paired = stats.ttest_rel(result.rises[1, 1], result.rises[0, 1]).confidence_interval()
    assert first.difference(0, 1)[1:] == pytest.approx(paired)
    shifted = make(losses=np.stack([result.losses[0], result.losses[0] + 0.125]))
    value, low, high = shifted.measures()[0].difference(0, 1)
    assert (low, high) == pytest.approx((value, value)) and value == pytest.approx(0.375)
    assert measures["worst_sharpness"].draws.shape == (2, 0)


def test_headline_of_two_radii_is_the_lower():
    result = make(
        radii=np.array([0.1, 0.2]), losses=make().losses[:, :2], accuracies=make().accuracies[:, :2]
    )
    assert result.headline == 0
