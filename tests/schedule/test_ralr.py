"""RALR around every scheduler of torch: exact LRs, no leak, no trace left elsewhere."""

from __future__ import annotations

import copy
import inspect
import math
import pickle
import random
import struct
import warnings
from hashlib import blake2b

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.optim import SGD
from torch.optim import lr_scheduler as lrs

from ralr_viz.schedule import RALR, MatchedRALR, amplification_factors, mean_factor

LAWS = [
    {"seed": 0},
    {"seed": 1, "low": 2.0, "high": 5.0, "probability": 0.3},
    {"seed": 2, "low": 1.7, "high": 1.7, "probability": 1.0},
    {"seed": 3, "probability": 1.0, "draw": "integer"},
    {"seed": 4, "low": 0.5, "probability": 0.8},
]


def amplified_twin(plain, factors):
    """What the optimizer should hold: the base's LRs times the factor, the base's momenta as they are."""
    return [
        ([lr if factor == 1 else lr * factor for lr in rates], momenta)
        for (rates, momenta), factor in zip(plain, factors, strict=True)
    ]


@pytest.mark.filterwarnings("ignore:Detected call of")
def test_bases_are_all_that_torch_ships(bases):
    def classes(scheduler):
        yield type(scheduler)
        for inner in getattr(scheduler, "_schedulers", ()):
            yield from classes(inner)

    groups = [{"params": [torch.zeros(1, requires_grad=True)], "lr": 0.1} for _ in range(3)]
    tested = {cls for base in bases.values() for cls in classes(base(SGD(groups, momentum=0.9)))}
    shipped = {
        cls
        for _, cls in inspect.getmembers(lrs, inspect.isclass)
        if issubclass(cls, lrs.LRScheduler) and cls.__name__ not in ("LRScheduler", "_LRScheduler")
    }
    assert shipped <= tested


@pytest.mark.parametrize("neutral", [{"probability": 0.0}, {"low": 1.0, "high": 1.0}])
def test_ralr_without_amplification_is_bit_equal_to_base(base, new_optimizer, trace, neutral):
    assert trace(RALR(base(new_optimizer()), **neutral)) == trace(base(new_optimizer()))


@pytest.mark.filterwarnings("ignore:`low` is 0.5")
@pytest.mark.parametrize("law", LAWS)
def test_ralr_multiplies_each_epoch_afresh_by_its_factor(base, new_optimizer, trace, law):
    plain = trace(base(new_optimizer()))
    factors = amplification_factors(n=len(plain), **law)
    assert np.any(factors != 1)
    assert trace(RALR(base(new_optimizer()), **law)) == amplified_twin(plain, factors)


def test_ralr_tells_what_is_in_use(base, new_optimizer, trace, advance):
    plain = trace(base(new_optimizer()))
    factors = amplification_factors(5, len(plain), low=2.0)
    scheduler = RALR(base(new_optimizer()), low=2.0, seed=5)
    for epoch, ((rates, _), factor) in enumerate(zip(plain, factors, strict=True)):
        in_use = [group["lr"] for group in scheduler.optimizer.param_groups]
        assert scheduler.base_lr == rates
        assert scheduler.factor == factor
        assert scheduler.amplified == (factor != 1)
        assert scheduler.get_last_lr() == scheduler.get_lr() == in_use
        assert scheduler.last_epoch == epoch
        if epoch < len(plain) - 1:
            advance(scheduler, epoch)


def test_ralr_keeps_ratios_of_groups(new_sgd, trace):
    for rates, _ in trace(RALR(lrs.ExponentialLR(new_sgd(), 0.9), probability=1.0)):
        np.testing.assert_allclose(np.array(rates) / rates[0], [1.0, 0.2, 0.03], rtol=1e-14)


@pytest.mark.parametrize("interval", [1, 2, 5])
def test_ralr_interval_is_step_calls_per_draw(new_sgd, trace, interval):
    scheduler = RALR(lrs.LambdaLR(new_sgd(), lambda _: 1.0), seed=1, probability=1.0, interval=interval)
    factors = amplification_factors(1, 13, probability=1.0).repeat(interval)[:13]
    assert [rates[0] for rates, _ in trace(scheduler)] == [0.1 * factor for factor in factors]


def test_ralr_is_algorithm_1_of_the_paper():
    """Section 4.2, Algorithm 1, lines 1–15, with its line numbers; the weights must be bit-equal."""
    epochs, decrease, gamma, low, high, p_r = 12, {5, 9}, 0.1, 1.0, 3.0, 0.5
    data = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))

    def draw(i):
        text = f"ralr-viz/amplification/1 seed=3 index={i - 1:x}"
        words = struct.unpack("<QQ", blake2b(text.encode(), digest_size=16).digest())
        p_i, u = ((word // 2**11) / 2**53 for word in words)
        return p_i, low + u * (high - low)

    def train_one_epoch(weight, optimizer):
        for batch in data.split(4):
            optimizer.zero_grad()
            (batch @ weight).square().sum().backward()
            optimizer.step()

    theta = torch.nn.Parameter(torch.ones(4))
    sgd = SGD([theta], lr=0.01, momentum=0.9, weight_decay=1e-4, nesterov=True)
    eta_0, paper = 0.01, []
    for i in range(1, epochs + 1):  # 1
        if i in decrease:  # 2
            eta_0 *= gamma  # 3
        p_i, random_rate = draw(i)  # 5
        eta = eta_0  # 12
        if p_i <= p_r:  # 6
            eta = eta_0 * random_rate  # 7, 8
        sgd.param_groups[0]["lr"] = eta
        train_one_epoch(theta, sgd)  # 9, 13
        paper.append((eta, theta.detach().clone()))

    theta = torch.nn.Parameter(torch.ones(4))
    sgd = SGD([theta], lr=0.01, momentum=0.9, weight_decay=1e-4, nesterov=True)
    # Algorithm 1 decreases before epoch i, counted from 1: after i − 1 epochs.
    base = lrs.MultiStepLR(sgd, [i - 1 for i in decrease], gamma)
    scheduler = RALR(base, low, high, p_r, seed=3)
    for eta, weight in paper:
        assert scheduler.get_last_lr() == [eta]
        train_one_epoch(theta, sgd)
        assert torch.equal(theta.detach(), weight)
        scheduler.step()


def test_ralr_run_equals_baseline_until_first_amplified_epoch():
    def weights(scheduled):
        theta = torch.nn.Parameter(torch.ones(4))
        sgd = SGD([theta], lr=0.01, momentum=0.9)
        scheduler = scheduled(lrs.ExponentialLR(sgd, 0.9))
        for _ in range(8):
            sgd.zero_grad()
            theta.square().sum().backward()
            sgd.step()
            scheduler.step()
            yield theta.detach().clone()

    first = int(np.argmax(amplification_factors(0, 8) != 1))
    assert first == 2
    equal = [
        torch.equal(a, b)
        for a, b in zip(weights(lambda s: s), weights(lambda s: RALR(s, seed=0)), strict=True)
    ]
    assert equal == [True] * first + [False] * (8 - first)


def test_ralr_mean_lr_tends_to_scaled_control(new_sgd):
    scheduler = RALR(lrs.LambdaLR(new_sgd(), lambda _: 1.0), seed=6)
    total = 0.0
    for _ in range(3000):
        total += scheduler.get_last_lr()[0]
        scheduler.optimizer.step()
        scheduler.step()
    assert total / 3000 == pytest.approx(0.1 * mean_factor(), rel=0.03)


@given(
    seed=st.integers(0, 2**70),
    probability=st.floats(0, 1),
    bounds=st.tuples(st.floats(1.0, 9.0), st.floats(1.0, 9.0)).map(sorted),
    interval=st.integers(1, 4),
    gammas=st.lists(st.floats(0.1, 2.0), min_size=1, max_size=9),
)
@settings(max_examples=60, deadline=None)
def test_ralr_never_leaks_into_a_chainable_base(seed, probability, bounds, interval, gammas):
    def build():
        sgd = SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
        sgd.step()
        return lrs.MultiplicativeLR(sgd, lambda epoch: gammas[epoch - 1])

    plain, law = build(), {"low": bounds[0], "high": bounds[1], "probability": probability}
    scheduler = RALR(build(), seed=seed, interval=interval, **law)
    for epoch in range(len(gammas)):
        plain.optimizer.step()
        scheduler.optimizer.step()
        plain.step()
        scheduler.step()
        assert scheduler.base_lr == plain.get_last_lr()
        (factor,) = amplification_factors(seed, 1, start=(epoch + 1) // interval, **law)
        assert scheduler.get_last_lr() == [plain.get_last_lr()[0] * factor]


def test_ralr_passes_arguments_to_base(new_sgd):
    plain, scheduler = (
        wrap(lrs.CosineAnnealingWarmRestarts(new_sgd(), T_0=5)) for wrap in (lambda s: s, RALR)
    )
    for at in (0.5, 3.25, 7.0):
        plain.step(at)
        scheduler.step(at)
        assert scheduler.base_lr == plain.get_last_lr()
    plateau = RALR(lrs.ReduceLROnPlateau(new_sgd(), patience=0, factor=0.5))
    plateau.step(metrics=torch.tensor(1.0))
    plateau.step(metrics=2.0)
    assert plateau.base_lr == [0.05, 0.01, 0.0015]


def test_ralr_leaves_global_random_generators_alone(new_sgd, trace):
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()
    trace(RALR(lrs.StepLR(new_sgd(), 3)))
    assert random.getstate() == before[0]
    assert all(np.array_equal(a, b) for a, b in zip(np.random.get_state(), before[1], strict=True))
    assert torch.equal(torch.get_rng_state(), before[2])


def test_ralr_warns_of_nothing_in_right_order(base, new_optimizer, trace):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", ".* draws at each `step`", UserWarning)  # asked for below
        trace(RALR(base(new_optimizer())))


@pytest.mark.parametrize(
    "make", [RALR, lambda base, **k: MatchedRALR(base, 12, **k)], ids=["ralr", "matched"]
)
def test_ralr_around_a_scheduler_of_batches_warns_that_it_draws_at_each_step(bases, new_sgd, make):
    """A draw for each batch averages out within an epoch: that is `scaled`, not RALR."""

    def messages(name, **options):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            make(bases[name](new_sgd()), **options)
        return [(str(w.message), w.filename) for w in caught if "draws at each" in str(w.message)]

    for name in ("onecycle", "onecycle-three-phase", "cyclic", "cyclic-scale-fn"):
        ((message, where),) = messages(name)
        assert "pass interval=len(loader)" in message
        assert where == __file__
        assert not messages(name, interval=4)
    for name in ("step", "multistep", "warm-restarts", "exponential"):
        assert not messages(name)


def test_ralr_warns_around_a_batch_scheduler_inside_another(new_sgd):
    optimizer = new_sgd()
    inner = lrs.OneCycleLR(optimizer, 0.1, total_steps=20, cycle_momentum=False)
    with pytest.warns(UserWarning, match="around OneCycleLR draws at each"):
        RALR(lrs.ChainedScheduler([inner]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        RALR(
            lrs.OneCycleLR(new_sgd(), 0.1, total_steps=20, cycle_momentum=False), 2.0, 2.0, 1.0
        )  # nothing is drawn


def test_ralr_warns_as_its_base_where_optimizer_was_not_stepped(base, new_sgd):
    def messages(scheduler):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for _ in range(2):
                scheduler.step(*([1.0] if "Plateau" in type(base(new_sgd())).__name__ else []))
        return [str(warning.message) for warning in caught]

    assert messages(RALR(base(new_sgd()))) == messages(base(new_sgd()))


def test_ralr_survives_steps_skipped_by_grad_scaler(new_sgd):
    optimizer = new_sgd()
    scheduler = RALR(lrs.StepLR(optimizer, 2), seed=1)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    factors = amplification_factors(1, 6)
    weights = [group["params"][0] for group in optimizer.param_groups]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for epoch in range(6):
            optimizer.zero_grad()
            before = [weight.detach().clone() for weight in weights]
            loss = torch.stack([weight.sum() for weight in weights]).sum()
            scaler.scale(loss * (float("inf") if epoch in (2, 3) else 1.0)).backward()
            scaler.step(optimizer)
            scaler.update()
            skipped = [torch.equal(a, b) for a, b in zip(before, weights, strict=True)]
            assert skipped == [epoch in (2, 3)] * 3
            assert scheduler.factor == factors[epoch]
            scheduler.step()
    assert scheduler.base_lr[0] == pytest.approx(1e-4)


def test_ralr_leaves_nan_of_base_to_the_training_loop(new_sgd):
    scheduler = RALR(lrs.LambdaLR(new_sgd(), lambda epoch: math.nan if epoch else 1.0))
    for _ in range(2):
        scheduler.optimizer.step()
        scheduler.step()
        assert np.isnan(scheduler.get_last_lr()).all()


def test_ralr_keeps_lrs_in_use_when_base_fails(new_sgd):
    scheduler = RALR(lrs.ReduceLROnPlateau(new_sgd()), probability=1.0)
    before = scheduler.get_last_lr()
    with pytest.raises(TypeError, match="metrics"):
        scheduler.step()
    assert scheduler.get_last_lr() == before
    assert scheduler.last_epoch == 0


def test_ralr_deep_copy_goes_on_alone(base, new_sgd, trace, advance):
    scheduler = RALR(base(new_sgd()), low=2.0)
    for epoch in range(3):
        advance(scheduler, epoch)
    twin = copy.deepcopy(scheduler)
    assert twin.optimizer is not scheduler.optimizer
    assert twin.optimizer is twin.base_scheduler.optimizer
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch drops its mark of a stepped optimizer in copies
        assert trace(twin, first=3) == trace(scheduler, first=3)


def test_ralr_pickles_with_its_optimizer(new_sgd, trace, advance):
    scheduler = RALR(lrs.CosineAnnealingLR(new_sgd(), T_max=5), low=2.0)
    for epoch in range(3):
        advance(scheduler, epoch)
    twin = pickle.loads(pickle.dumps(scheduler))
    assert trace(twin, first=3) == trace(scheduler, first=3)
