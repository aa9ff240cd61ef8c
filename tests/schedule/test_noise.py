"""LR noise: the law of timm's rule in draws of our own, with the guarantees that RALR has."""

from __future__ import annotations

import math
import random
import struct
from hashlib import blake2b

import numpy as np
import pytest
from scipy import stats
from scipy.special import ndtr, ndtri
from torch.optim import lr_scheduler as lrs

from ralr_viz.errors import InputError
from ralr_viz.schedule import RALR, LRNoise
from ralr_viz.schedule.factors import Noise

EPOCHS = 12


def timm_noise(pct, rng):
    """``Scheduler._calculate_noise`` of timm with ``noise_type="normal"``, on any source of normal numbers."""
    while True:
        noise = rng.gauss(0, 1)
        if abs(noise) < pct:
            return noise


def twin(seed, index, pct):
    """The definition by other routines: the hash, and SciPy's normal distribution."""
    text = f"ralr-viz/noise/1 seed={seed:x} index={index:x}"
    _, word = struct.unpack("<QQ", blake2b(text.encode("ascii"), digest_size=16).digest())
    u = (word // 2**11) / 2**53
    return 1 + ndtri(ndtr(-pct) + u * (ndtr(pct) - ndtr(-pct)))


@pytest.mark.parametrize("pct", [0.1, 0.67, 0.99])
def test_noise_is_a_normal_number_drawn_until_it_is_within_the_bound(pct):
    law, rng = Noise(pct), random.Random(5)
    factors = np.array([law.at(3, i).factor for i in range(8000)])
    assert stats.kstest(factors - 1, stats.truncnorm(-pct, pct).cdf).pvalue > 0.01
    timms = [timm_noise(pct, rng) for _ in range(8000)]
    assert stats.ks_2samp(factors - 1, timms).pvalue > 0.01
    assert np.abs(factors - 1).max() < pct
    assert abs(factors.mean() - 1) < 4 * factors.std() / math.sqrt(8000)


def test_noise_matches_its_definition():
    for seed in (0, 7, 2**64):
        found = [Noise(0.67).at(seed, i).factor for i in range(100)]
        np.testing.assert_allclose(found[1:], [twin(seed, i, 0.67) for i in range(1, 100)], rtol=1e-12)


def test_noise_spares_the_first_epoch_as_timms_scheduler_does():
    """timm sets the base values when it is made; noise comes with the first `step`, whatever range it has."""
    for start in (0, 1):
        for seed in range(50):
            assert Noise(start=start).at(seed, 0) == (False, 1.0)
            assert Noise(start=start).at(seed, 1).amplified


def test_noise_of_seed_0_is_pinned():
    # Published runs depend on these: if this fails, the change breaks them.
    np.testing.assert_allclose([Noise().at(0, i).factor for i in range(4)], [1.0, *GOLDEN[1:]], rtol=1e-12)


def test_noise_shares_nothing_with_the_amplification_or_its_neighbours():
    from ralr_viz.schedule.factors import Amplification

    noise = np.array([[Noise().at(s, i).factor for i in range(2000)] for s in (0, 1)])
    amplified = np.array([Amplification(probability=1.0).at(0, i).factor for i in range(2000)])
    # timm's seed + t would make the second the first, shifted by one
    for other in (noise[1], np.roll(noise[1], 1), amplified):
        assert abs(np.corrcoef(noise[0], other)[0, 1]) < 4 / math.sqrt(2000)


def test_lr_noise_is_drawn_between_start_and_stop_only(new_sgd, advance):
    scheduler = LRNoise(lrs.MultiStepLR(new_sgd(), [6]), start=3, stop=8, seed=1)
    for epoch in range(EPOCHS):
        base = [lr * (0.1 if epoch >= 6 else 1) for lr in (0.1, 0.02, 0.003)]
        factor = Noise(0.67).at(1, epoch).factor if 3 <= epoch < 8 else 1.0
        assert scheduler.factor == factor
        assert scheduler.amplified == (3 <= epoch < 8)
        assert scheduler.base_lr == pytest.approx(base)
        assert scheduler.get_last_lr() == pytest.approx([lr * factor for lr in base])
        advance(scheduler, epoch)


def test_lr_noise_leaves_no_trace_in_the_base(base, new_sgd, advance):
    alone, noisy = base(new_sgd()), LRNoise(base(new_sgd()), seed=2)
    for epoch in range(EPOCHS):
        expected = [group["lr"] for group in alone.optimizer.param_groups]
        assert noisy.base_lr == expected
        assert noisy.get_last_lr() == [lr * noisy.factor for lr in expected]
        advance(alone, epoch)
        advance(noisy, epoch)


def test_lr_noise_resumes_the_exact_trace(base, new_sgd, advance, trace):
    expected = trace(LRNoise(base(new_sgd()), start=1, stop=10, seed=4))
    running = LRNoise(base(new_sgd()), start=1, stop=10, seed=4)
    for epoch in range(EPOCHS):
        if epoch in (1, 6):
            resumed = LRNoise(base(new_sgd()), start=1, stop=10, seed=4)
            resumed.load_state_dict(running.state_dict())
            assert trace(resumed, epoch) == expected[epoch:]
        advance(running, epoch)


def test_lr_noise_refuses_another_state(new_sgd):
    state = LRNoise(lrs.StepLR(new_sgd(), 1), seed=1).state_dict()
    with pytest.raises(InputError, match="`seed` is 2 but 1 in `state_dict`: .* build LRNoise as it was"):
        LRNoise(lrs.StepLR(new_sgd(), 1), seed=2).load_state_dict(state)
    ralr = RALR(lrs.StepLR(new_sgd(), 1), seed=1).state_dict()
    with pytest.raises(InputError, match="`pct` is not in `state_dict`: it must be what LRNoise"):
        LRNoise(lrs.StepLR(new_sgd(), 1), seed=1).load_state_dict(ralr)
    with pytest.raises(InputError, match="`low` is not in `state_dict`: it must be what RALR"):
        RALR(lrs.StepLR(new_sgd(), 1), seed=1).load_state_dict(state)


def test_factors_do_not_nest(new_sgd):
    with pytest.raises(InputError, match="contains a LRNoise: two factors would multiply; RALR must be"):
        RALR(LRNoise(lrs.StepLR(new_sgd(), 1)))
    with pytest.raises(InputError, match="contains a RALR: two factors would multiply; LRNoise must be"):
        LRNoise(RALR(lrs.StepLR(new_sgd(), 1)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pct": 0}, r"`pct` is 0.0: it must be in \(0, 1\)"),
        ({"pct": 1.0}, r"`pct` is 1.0: it must be in \(0, 1\)"),
        ({"pct": math.nan}, "`pct` is nan: it must be finite"),
        ({"start": -1}, "`start` is -1: it must be an integer >= 0"),
        ({"start": 4, "stop": 3}, "`stop` is 3: it must be an integer >= 4"),
        ({"seed": 0.5}, "`seed` is 0.5: it must be an integer >= 0"),
    ],
)
def test_lr_noise_refuses_bad_arguments_in_one_line(new_sgd, options, message):
    with pytest.raises(InputError, match=message) as caught:
        LRNoise(lrs.StepLR(new_sgd(), 1), **options)
    assert "\n" not in str(caught.value)


GOLDEN = [1.5778952476195651, 1.1885171445866158, 0.8041098323273191, 1.3829410823654404]
