"""The draws: against a twin written from their definition, and against the laws they should follow."""

from __future__ import annotations

import math
import struct
import subprocess
import sys
from fractions import Fraction
from hashlib import blake2b

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from ralr_viz.errors import InputError
from ralr_viz.schedule import amplification_factors, mean_factor
from ralr_viz.schedule import factors as factors_module

SEEDS = st.integers(min_value=0, max_value=2**200)
N = 20_000


def twin(seed, index, low=1.0, high=3.0, probability=0.5):
    """The definition in exact arithmetic: (amplified, λ)."""
    text = f"ralr-viz/amplification/1 seed={seed:x} index={index:x}"
    words = struct.unpack("<QQ", blake2b(text.encode("ascii"), digest_size=16).digest())
    p_e, u = (Fraction(word // 2**11, 2**53) for word in words)
    return p_e < Fraction(probability), Fraction(low) + u * (Fraction(high) - Fraction(low))


def test_amplification_factors_match_exact_twin():
    for seed in (0, 1, 41, 2**64, 10**40):
        for index, factor in enumerate(amplification_factors(seed, 200, low=1.5, high=4.0, probability=0.7)):
            amplified, rate = twin(seed, index, 1.5, 4.0, 0.7)
            assert factor == (pytest.approx(float(rate), rel=4e-16) if amplified else 1.0)


def test_amplification_factors_of_seed_0_are_pinned():
    # Published runs depend on these: if this fails, the change breaks them.
    assert amplification_factors(0, 12).tolist() == GOLDEN
    assert amplification_factors(0, 8, probability=1.0, draw="integer").tolist() == GOLDEN_INTEGER
    assert amplification_factors(2**64, 4, probability=1.0).tolist() == GOLDEN_LARGE_SEED


@given(seed=SEEDS, start=st.integers(0, 2**40), n=st.integers(0, 20), cut=st.integers(0, 20))
@settings(max_examples=60, deadline=None)
def test_amplification_factors_slice_consistently(seed, start, n, cut):
    cut = min(cut, n)
    whole = amplification_factors(seed, n, start=start)
    assert whole.shape == (n,)
    assert whole.dtype == np.float64
    parts = (
        amplification_factors(seed, cut, start=start),
        amplification_factors(seed, n - cut, start=start + cut),
    )
    np.testing.assert_array_equal(np.concatenate(parts), whole)


@given(
    seed=SEEDS,
    bounds=st.tuples(*[st.floats(min_value=1e-300, max_value=1e300)] * 2).map(sorted),
    probability=st.floats(0, 1),
)
@settings(max_examples=100, deadline=None)
def test_amplification_factors_are_one_or_within_bounds(seed, bounds, probability):
    low, high = bounds
    factors = amplification_factors(seed, 16, low=low, high=high, probability=probability)
    assert np.all((factors == 1) | ((factors >= low) & (factors <= high)))


@given(seed=SEEDS, probabilities=st.tuples(st.floats(0, 1), st.floats(0, 1)).map(sorted))
@settings(max_examples=60, deadline=None)
def test_amplification_factors_of_larger_probability_contain_those_of_smaller(seed, probabilities):
    # Both numbers come from every hash, so changing p neither moves nor rescales an amplification.
    few, many = (amplification_factors(seed, 50, low=2.0, probability=p) for p in probabilities)
    np.testing.assert_array_equal(few[few != 1], many[few != 1])


@given(seed=SEEDS)
@settings(max_examples=30, deadline=None)
def test_amplification_factors_never_at_probability_0_always_at_1(seed):
    assert np.all(amplification_factors(seed, 50, low=2.0, probability=0) == 1)
    assert np.all(amplification_factors(seed, 50, low=2.0, probability=1) >= 2)


def test_amplification_factors_of_equal_bounds_are_that_bound():
    np.testing.assert_array_equal(amplification_factors(3, 20, low=0.1, high=0.1, probability=1), 0.1)


@given(bounds=st.tuples(*[st.floats(min_value=0, max_value=1e308, exclude_min=True)] * 2).map(sorted))
@settings(max_examples=300, deadline=None)
def test_amplification_factors_stay_within_bounds_at_the_extreme_draws(bounds):
    low, high = bounds
    with pytest.MonkeyPatch.context() as patch:
        for u in (0.0, 1 - 2.0**-53):
            patch.setattr(factors_module, "_uniforms", lambda *_, u=u: (0.0, u))
            assert low <= amplification_factors(0, 1, low=low, high=high)[0] <= high
            if math.ceil(low) <= math.floor(high):
                (rate,) = amplification_factors(0, 1, low=low, high=high, draw="integer")
                assert rate == (math.ceil(low) if u == 0 else pytest.approx(math.floor(high), rel=1e-15))
                assert low <= rate <= high


@pytest.mark.parametrize(
    ("p_e", "p_r", "factor"), [(0.0, 0.0, 1.0), (0.5, 0.5, 1.0), (1 - 2.0**-53, 1.0, 2.0)]
)
def test_amplification_factors_amplify_below_probability_not_at_it(monkeypatch, p_e, p_r, factor):
    monkeypatch.setattr(factors_module, "_uniforms", lambda *_: (p_e, 0.5))
    assert amplification_factors(0, 1, probability=p_r).tolist() == [factor]


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.9])
def test_amplification_factors_amplify_the_given_share(probability):
    hits = int(np.sum(amplification_factors(7, N, low=2.0, probability=probability) != 1))
    assert stats.binomtest(hits, N, probability).pvalue > 0.01


def test_amplification_factors_are_uniform_between_bounds():
    factors = amplification_factors(7, N, low=2.0, high=5.0)
    assert stats.kstest(factors[factors != 1], stats.uniform(2.0, 3.0).cdf).pvalue > 0.01


def test_amplification_factors_uniform_over_seeds_at_each_index():
    for index in range(5):
        factors = [amplification_factors(s, 1, low=2.0, probability=1, start=index)[0] for s in range(2000)]
        assert stats.kstest(factors, stats.uniform(2.0, 1.0).cdf).pvalue > 0.01


def test_amplification_factors_integer_draw_is_uniform_on_integers():
    factors = amplification_factors(7, N, low=1.5, high=6.5, probability=1, draw="integer")
    values, counts = np.unique(factors, return_counts=True)
    assert values.tolist() == [2, 3, 4, 5, 6]
    assert stats.chisquare(counts).pvalue > 0.01


def test_amplification_factors_do_not_depend_on_previous_draws():
    factors = amplification_factors(7, N)
    for lag in range(1, 20):
        assert abs(np.corrcoef(factors[:-lag], factors[lag:])[0, 1]) < 4.5 / math.sqrt(N)


def test_amplification_factors_rate_does_not_depend_on_the_decision_to_amplify():
    rates = amplification_factors(7, N, low=2.0, probability=1)
    amplified = amplification_factors(7, N, low=2.0, probability=0.5) != 1
    assert stats.ks_2samp(rates[amplified], rates[~amplified]).pvalue > 0.01


@pytest.mark.parametrize("seed", [0, 1, 42, 255, 2**32 - 1, 2**64 - 1])
def test_amplification_factors_of_neighbouring_seeds_are_unrelated_at_every_shift(seed):
    # A generator seeded with seed + index (timm) gives neighbouring seeds one sequence, shifted by one.
    n = 300
    one, other = (amplification_factors(s, n, low=2.0, probability=1) for s in (seed, seed + 1))
    assert not set(one) & set(other)
    for shift in range(-n // 2, n // 2):
        a, b = (one[shift:], other[: n - shift]) if shift >= 0 else (one[:shift], other[-shift:])
        assert abs(np.corrcoef(a, b)[0, 1]) < 4.5 / math.sqrt(len(a))


def test_amplification_factors_accept_seeds_of_any_size_and_numpy_integers():
    huge = 10**6000  # more digits than Python converts to decimal
    assert amplification_factors(huge, 3, probability=1).tolist() != GOLDEN_LARGE_SEED[:3]
    assert amplification_factors(np.int64(0), np.int32(12)).tolist() == GOLDEN


@pytest.mark.parametrize(
    ("law", "expected"),
    [
        ({}, 1.5),
        ({"probability": 0.0}, 1.0),
        ({"low": 2.0, "high": 2.0, "probability": 1.0}, 2.0),
        ({"low": 2.0, "high": 5.0, "probability": 0.25}, 1.625),
        ({"low": 1.5, "high": 4.9, "probability": 1.0, "draw": "integer"}, 3.0),
    ],
)
def test_mean_factor_is_the_mean_of_the_factors(law, expected):
    assert mean_factor(**law) == expected
    factors = amplification_factors(11, N, **law)
    assert abs(factors.mean() - expected) <= 4 * factors.std() / math.sqrt(N)


@pytest.mark.parametrize(
    ("name", "law"),
    [
        ("probability", {"probability": 1.1}),
        ("probability", {"probability": -0.1}),
        ("probability", {"probability": math.nan}),
        ("probability", {"probability": None}),
        ("low", {"low": 0.0}),
        ("low", {"low": -1}),
        ("low", {"low": 4.0}),
        ("low", {"low": math.nan}),
        ("low", {"low": "1"}),
        ("low", {"low": True}),
        ("high", {"high": math.inf}),
        ("high", {"high": 10**400}),
        ("draw", {"draw": "gaussian"}),
        ("draw", {"draw": "integer", "low": 1.2, "high": 1.8}),
    ],
)
def test_law_outside_its_rules_is_one_line_naming_it(name, law):
    for refuse in (lambda: amplification_factors(0, 3, **law), lambda: mean_factor(**law)):
        with pytest.raises(InputError) as error:
            refuse()
        assert "\n" not in str(error.value)
        assert str(error.value).startswith(f"`{name}`")
        assert ": it must " in str(error.value) or ": `low` must " in str(error.value)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("seed", {"seed": -1, "n": 3}),
        ("seed", {"seed": 1.0, "n": 3}),
        ("seed", {"seed": "1", "n": 3}),
        ("seed", {"seed": True, "n": 3}),
        ("n", {"seed": 0, "n": -1}),
        ("n", {"seed": 0, "n": 2.5}),
        ("start", {"seed": 0, "n": 3, "start": -1}),
    ],
)
def test_amplification_factors_count_that_is_none_is_refused(name, arguments):
    with pytest.raises(InputError, match=rf"^`{name}` is .*: it must be an integer >= 0; pass"):
        amplification_factors(**arguments)


def test_schedule_package_works_without_torch():
    code = (
        "import sys; import ralr_viz, ralr_viz.schedule; assert 'numpy' not in sys.modules;"
        "from ralr_viz import amplification_factors; from ralr_viz.schedule import mean_factor;"
        "print(amplification_factors(0, 3).sum(), mean_factor());"
        "assert 'torch' not in sys.modules and 'matplotlib' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(sum(GOLDEN[:3])), "1.5"]


def test_schedule_package_has_no_other_names():
    import ralr_viz.schedule

    with pytest.raises(AttributeError, match="no attribute `Ralr`"):
        _ = ralr_viz.schedule.Ralr


GOLDEN = [
    1.0,
    1.0,
    2.6506844577951036,
    2.644899571273901,
    2.20997122571228,
    2.6362989890058657,
    2.1719838776865608,
    1.0,
    1.0,
    1.0,
    2.855124068747825,
    1.2036444253561664,
]
GOLDEN_INTEGER = [2.0, 1.0, 3.0, 3.0, 2.0, 3.0, 2.0, 2.0]
GOLDEN_LARGE_SEED = [1.6839671214622174, 1.2969173788154302, 1.0314057513821313, 1.6527618879155381]
