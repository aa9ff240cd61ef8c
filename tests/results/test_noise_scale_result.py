"""The two estimates, their ratio and its interval, from squared lengths alone."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ralr_viz.results.measure import format_number
from ralr_viz.results.noise_scale import NoiseScaleResult


def make(squares: np.ndarray, traces: np.ndarray, *, small: int = 8, big: int = 128, **changes):
    """A result whose draws estimate |G|² and tr Σ to be these (m, K)."""
    m = len(squares)
    values = {
        "models": ("baseline", "RALR", "scaled")[:m],
        "small_squares": squares + traces / small,
        "big_squares": squares + traces / big,
        "loss": np.ones(m),
        "small": small,
        "big": big,
        "recipe_batch": (128,) * m,
        "num_images": 10_000,
        "seed": 0,
        "resamples": 2000,
    }
    return NoiseScaleResult(**(values | changes))


def draws(
    signal: float = 1.0, spread: float = 0.3, m: int = 2, count: int = 20
) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return signal + spread * rng.standard_normal((m, count)), 900 + 30 * rng.standard_normal((m, count))  # fmt: skip


def test_estimates_are_unbiased_over_every_draw_without_replacement():
    # each of the 6!/2! ordered draws of 4 of 6 images, as 2 batches of 2: the mean over all is the expectation
    gradients = np.random.default_rng(0).standard_normal((6, 3)) + 1.5
    orders = np.array(list(itertools.permutations(range(6), 4)))
    batches = gradients[orders].reshape(len(orders), 2, 2, 3).mean(axis=2)
    small, big = (batches**2).sum(axis=2).mean(axis=1), (batches.mean(axis=1) ** 2).sum(axis=1)
    result = make(
        np.zeros((1, 360)), np.zeros((1, 360)), small=2, big=4, num_images=6,
        small_squares=small[None], big_squares=big[None],
    )  # fmt: skip
    trace = gradients.var(axis=0, ddof=1).sum()
    assert result.traces.mean() == pytest.approx(trace, rel=1e-12)
    square = (gradients.mean(axis=0) ** 2).sum()
    assert result.squares.mean() == pytest.approx(square - trace / 6, rel=1e-12)
    assert result.of_these_images(0)[0] == pytest.approx(trace / square, rel=1e-12)


def test_noise_scale_divides_means_and_is_no_mean_of_ratios():
    squares, traces = draws(spread=0.6, count=40)
    result = make(squares, traces)
    scale = result.measures()[0]
    assert scale.values == pytest.approx(traces.mean(axis=1) / squares.mean(axis=1), rel=1e-9)
    assert abs((traces / squares).mean(axis=1) / scale.values - 1).min() > 0.05  # else either would do
    assert result.squares == pytest.approx(squares, rel=1e-9)
    assert result.traces == pytest.approx(traces, rel=1e-9)


def test_interval_holds_the_value_and_is_that_of_the_reciprocal():
    result = make(*draws())
    scale, signal = result.measures()[0], result.measures()[3]
    for i in range(2):
        value, low, high = scale.interval(i)
        assert low < value < high and (1 / high, 1 / low) == pytest.approx(signal.interval(i)[1:])
        # 20 draws that vary by 0.3 around 1: a standard error of 7 %, and 2.09 of them
        assert np.log(high / low) == pytest.approx(2 * 2.09 * 0.3 / 20**0.5, rel=0.3)


@pytest.mark.parametrize(("signal", "bound"), [(0.05, True), (0.0, True), (-2.0, False)])
def test_noise_scale_has_no_upper_end_where_the_gradient_cannot_be_told_from_zero(signal, bound):
    squares, traces = draws(signal=signal, m=2)
    squares[1] += 1 - signal  # the other network can be told
    result = make(squares, traces)
    scale, square = result.measures()[:2]
    assert square.interval(0)[1] < 0
    value, low, high = scale.interval(0)
    assert np.isnan(value) and np.isinf(high) and np.isfinite(low) == bound
    assert np.isfinite(scale.interval(1)).all() and np.isnan(scale.difference(0, 1)).all()
    assert np.isnan(result.ratio(0, 1)).all()
    line = result.describe()[5]
    shown = "no noise scale: |G|² is estimated to be below 0"
    if bound:
        shown = f"at least {format_number(low)} images, without an upper end: |G|² cannot be told from 0"
    assert shown in line and "are all there are" not in line
    assert not any("over baseline" in line for line in result.describe())


def test_differences_and_ratios_are_paired_over_the_draws():
    squares, traces = draws()
    squares[1], traces[1] = 0.5 * squares[0], traces[0]  # of the same draws: exactly twice the noise scale
    result = make(squares, traces)
    assert result.ratio(0, 1) == pytest.approx((2, 2, 2), rel=1e-9)
    scale = result.measures()[0]
    assert scale.difference(0, 1)[0] == pytest.approx(scale.values[0])
    assert any("RALR over baseline: 2 [2, 2] times" in line for line in result.describe())
    apart = make(*draws())
    value, low, high = apart.ratio(0, 1)
    assert low < value < high and high / low > 1.2
    back = apart.ratio(1, 0)
    assert back == pytest.approx((1 / value, 1 / high, 1 / low))


@settings(max_examples=40, deadline=None)
@given(
    factor=st.floats(1e-6, 1e6),
    seed=st.integers(0, 1000),
    count=st.integers(2, 12),
    signal=st.sampled_from([0.0, 0.2, 1.0]),
)
def test_noise_scale_does_not_depend_on_the_unit_of_the_loss_and_is_below_n_of_these_images(
    factor, seed, count, signal
):
    rng = np.random.default_rng(seed)
    squares = signal + 0.3 * rng.standard_normal((1, count))
    traces = 900 + rng.random((1, count))
    result, other = make(squares, traces), make(factor * squares, factor * traces)
    mine, theirs = (r.measures()[0].interval(0) for r in (result, other))
    assert mine == pytest.approx(theirs, rel=1e-6, nan_ok=True)
    value, low, high = result.measures()[0].interval(0)
    assert np.isnan(value) == np.isinf(high) and (np.isnan(value) or low <= value <= high)
    finite = result.of_these_images(0)
    assert np.isnan(value) == np.isnan(finite[0])
    assert np.isnan(value) or (finite[0] < value and finite[0] < finite[2] < result.num_images)


def test_noise_scale_of_a_network_without_a_gradient_is_not_defined():
    zero = np.zeros((2, 20))
    result = make(zero, zero)
    assert np.isnan(result.measures()[0].interval(0)).all()
    assert result.describe()[5].startswith("baseline: noise scale not defined; trained with")
    assert result.describe()[5].endswith("batches of 128")


def test_describe_sets_the_batch_of_training_beside_the_noise_scale():
    squares, traces = draws(spread=0.1)
    said = [make(squares, traces, recipe_batch=(batch, None)).describe() for batch in (16, 128, 900, 20_000)]
    ends = [lines[5].partition("batches of ")[2] for lines in said]
    assert ends == [
        "16: a step is almost all noise",
        "128: a step has more noise than signal",
        "900",
        "20000: a step has more signal than noise",
    ]
    assert "trained" not in said[0][6]
    assert "where these 10,000 images are all there are" in said[0][5]
    assert (
        "20 disjoint draws of 128 of 10,000 images, each of 16 batches of 8, the same for all" in said[0][-2]
    )


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"small": 128}, "`big` is 128, must be above the 128 of `small`"),
        ({"big_squares": np.full((2, 20), np.nan)}, "`big_squares` holds 40 values that are not finite"),
        ({"big_squares": np.full((2, 20), -1.0)}, "`big_squares` holds -1.0"),
        ({"recipe_batch": (0, None)}, "`recipe_batch` holds 0"),
    ],
)
def test_noise_scale_result_refuses_what_cannot_be(changes, match):
    with pytest.raises(ValueError, match=match):
        make(*draws(), **changes)
