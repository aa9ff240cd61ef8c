"""MatchedRALR: Σ LR of every piece is RALR's, the scatter is gone; and RALR whose first draws are masked."""

from __future__ import annotations

import copy
import io
import itertools
import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim import SGD
from torch.optim import lr_scheduler as lrs

from ralr_viz.errors import InputError
from ralr_viz.schedule import RALR, MatchedRALR, amplification_factors, find_decays, matched_factors

EPOCHS = 12
LAW = {"seed": 9, "low": 1.5, "high": 4.0, "probability": 0.6}


def lrs_of(scheduler, epochs=EPOCHS):
    """LR of each group in each epoch, (epochs, groups)."""
    found = []
    for _ in range(epochs):
        found.append([float(group["lr"]) for group in scheduler.optimizer.param_groups])
        scheduler.optimizer.step()
        scheduler.step()
    return np.array(found)


def multistep(optimizer):
    return lrs.MultiStepLR(optimizer, [5, 9])


@pytest.mark.parametrize("interval", [1, 2])
@pytest.mark.parametrize("amplify_from", [0, 3, 6])
def test_matched_keeps_the_sum_of_every_piece_and_no_scatter(new_sgd, interval, amplify_from):
    options = LAW | {"interval": interval, "amplify_from": amplify_from}
    plain = lrs_of(multistep(new_sgd()))
    ralr = lrs_of(RALR(multistep(new_sgd()), **options))
    matched = lrs_of(MatchedRALR(multistep(new_sgd()), EPOCHS, **options))
    edges = sorted({0, amplify_from, 5, 9, EPOCHS})
    for first, stop in itertools.pairwise(edges):
        piece = slice(first, stop)
        np.testing.assert_allclose(matched[piece].sum(0), ralr[piece].sum(0), rtol=1e-14)
        factors = matched[piece] / plain[piece]
        np.testing.assert_allclose(factors, factors[0, 0], rtol=1e-14)
        if stop <= amplify_from:
            np.testing.assert_array_equal(matched[piece], plain[piece])
        elif first >= amplify_from:  # the base is constant here: the mean factor
            expected = (ralr[piece] / plain[piece]).mean(0)
            np.testing.assert_allclose(factors[0], expected, rtol=1e-14)
    assert (matched**2).sum() < (ralr**2).sum()


@pytest.mark.parametrize(
    "name", ["linear", "warm-restarts", "onecycle", "cyclic", "exponential", "multiplicative"]
)
def test_matched_takes_a_smooth_base_as_one_piece(bases, new_sgd, name):
    plain, ralr = lrs_of(bases[name](new_sgd())), lrs_of(RALR(bases[name](new_sgd()), **LAW))
    matched = lrs_of(MatchedRALR(bases[name](new_sgd()), EPOCHS, **LAW))
    np.testing.assert_allclose(matched.sum(0), ralr.sum(0), rtol=1e-13)
    np.testing.assert_allclose(matched / plain, matched[0, 0] / plain[0, 0], rtol=1e-12)
    # weighted by the LR: the plain mean of the factors would leave another sum
    mean = (ralr / plain).mean()
    assert not np.isclose(matched[0, 0] / plain[0, 0], mean, rtol=1e-3)


def test_matched_sums_over_batches_where_the_base_moves_each(new_sgd):
    """A cosine that is stepped four times an epoch, under draws that last an epoch."""
    steps = 4 * EPOCHS

    def base():
        return lrs.CosineAnnealingLR(new_sgd(), T_max=steps)

    ralr = lrs_of(RALR(base(), **LAW, interval=4), steps)
    matched = lrs_of(MatchedRALR(base(), steps, **LAW, interval=4), steps)
    np.testing.assert_allclose(matched.sum(0), ralr.sum(0), rtol=1e-13)


def test_matched_leaves_its_base_as_it_was(base, new_sgd):
    """For every scheduler of torch: the look ahead changes nothing, and one that waits for a metric is refused."""
    scheduler = base(new_sgd())
    before = copy.deepcopy((scheduler.state_dict(), scheduler.optimizer.param_groups))
    try:
        matched = MatchedRALR(scheduler, EPOCHS, **LAW)
    except InputError as error:
        assert isinstance(scheduler, lrs.ReduceLROnPlateau) or "different schedules" in str(error)
        assert scheduler.state_dict() == before[0]
        return
    assert scheduler.state_dict() == before[0]
    np.testing.assert_allclose(matched.base_lr, [group["lr"] for group in before[1]], rtol=0)
    twin = base(new_sgd())
    for _ in range(EPOCHS - 1):
        for each in (matched, twin):
            each.optimizer.step()
            each.step()
        np.testing.assert_array_equal(matched.base_lr, twin.get_last_lr())


@pytest.mark.parametrize("order", ["scheduler alone", "optimizer first", "optimizer last", "before the base"])
def test_matched_resumes_exactly_from_every_epoch(new_sgd, order):
    expected = lrs_of(MatchedRALR(multistep(new_sgd()), EPOCHS, **LAW))
    running = MatchedRALR(multistep(new_sgd()), EPOCHS, **LAW)
    for epoch in range(EPOCHS):
        file = io.BytesIO()
        torch.save((running.state_dict(), running.optimizer.state_dict()), file)
        file.seek(0)
        state, optimizer_state = torch.load(file, weights_only=True)
        optimizer = new_sgd()
        if order == "before the base":  # which then starts from a multiplied LR: the saved constants count
            optimizer.load_state_dict(optimizer_state)
        resumed = MatchedRALR(multistep(optimizer), EPOCHS, **LAW)
        if order == "optimizer first":
            optimizer.load_state_dict(optimizer_state)
        resumed.load_state_dict(state)
        if order == "optimizer last":
            optimizer.load_state_dict(optimizer_state)
        np.testing.assert_array_equal(lrs_of(resumed, EPOCHS - epoch), expected[epoch:])
        running.optimizer.step()
        running.step()


def test_matched_refuses_a_state_of_other_constants(new_sgd):
    scheduler = MatchedRALR(multistep(new_sgd()), EPOCHS, **LAW)
    good = scheduler.state_dict()
    for wrong in (
        {"pieces": None},
        {"pieces": [[1, 2.0]]},
        {"pieces": [[0, -1.0]]},
        {"pieces": [[0, 1.0], [0, 2.0]]},
    ):
        with pytest.raises(InputError, match="`pieces`"):
            scheduler.load_state_dict(good | wrong)
    with pytest.raises(InputError, match="`total_steps` is 12 but 13"):
        scheduler.load_state_dict(good | {"total_steps": 13})
    with pytest.raises(InputError, match="`pieces`"):
        scheduler.load_state_dict({k: v for k, v in good.items() if k != "pieces"})
    assert scheduler.state_dict() == good


def test_matched_refuses_what_it_cannot_know(new_sgd):
    with pytest.raises(InputError, match="ReduceLROnPlateau, whose LRs depend on the training"):
        MatchedRALR(lrs.ReduceLROnPlateau(new_sgd()), EPOCHS)
    with pytest.raises(InputError, match="follow different schedules"):
        MatchedRALR(lrs.LambdaLR(new_sgd(), [lambda e: 1, lambda e: 0.5**e, lambda e: 1]), EPOCHS)
    with pytest.raises(InputError, match="cannot be stepped 13 times beforehand"):
        MatchedRALR(lrs.OneCycleLR(SGD(new_sgd().param_groups, 0.1, momentum=0.9), 0.1, total_steps=11), 13)
    with pytest.raises(InputError, match="must be a torch LRScheduler"):
        MatchedRALR(new_sgd(), EPOCHS)
    with pytest.raises(InputError, match="`total_steps` is 0"):
        MatchedRALR(multistep(new_sgd()), 0)


def test_matched_ends_with_its_steps(new_sgd):
    scheduler = MatchedRALR(multistep(new_sgd()), 2)
    for _ in range(2):
        scheduler.optimizer.step()
        scheduler.step()
    with pytest.raises(InputError, match="`step` was called 3 times, `total_steps` is 2"):
        scheduler.step()


def test_matched_needs_no_memory_of_the_network():
    """The look ahead copies the schedule, not the weights."""
    weights = torch.nn.Parameter(torch.zeros(3))
    weights.__deepcopy__ = None  # a copy would fail
    scheduler = MatchedRALR(multistep(SGD([weights], 0.1)), EPOCHS)
    assert scheduler.optimizer.param_groups[0]["params"][0] is weights


@given(
    st.lists(st.tuples(st.floats(0.001, 10), st.floats(0.1, 10)), min_size=1, max_size=30),
    st.integers(0, 30),
    st.sets(st.integers(1, 29)),
)
def test_matched_factors_keep_every_sum(steps, amplify_from, decays):
    base, factors = (np.array(column) for column in zip(*steps, strict=True))
    n = len(base)
    start, cuts = min(amplify_from, n), {t for t in decays if t < n}
    matched = matched_factors(base, factors, amplify_from=start, decays=cuts)
    assert (matched[:start] == 1).all()
    edges = sorted({start, n} | {t for t in cuts if t > start})
    for first, stop in itertools.pairwise(edges):
        piece = slice(first, stop)
        assert np.ptp(matched[piece]) == 0
        assert math.isclose((base * matched)[piece].sum(), (base * factors)[piece].sum(), rel_tol=1e-12)


def test_matched_factors_refuse_bad_numbers():
    for arguments, message in (
        (([0.1, math.nan], [1, 1]), "`base_lr`"),
        (([0.1, -0.1], [1, 1]), "`base_lr`"),
        (([0.1, 0.1], [1]), "`factors` must be 2"),
        (([0.1, 0.1], [1, 0]), "`factors` must be 2"),
    ):
        with pytest.raises(InputError, match=message):
            matched_factors(*arguments)
    with pytest.raises(InputError, match="`decays` has 2"):
        matched_factors([0.1, 0.1], [1, 1], decays=[2])
    with pytest.raises(InputError, match="`amplify_from` is 3"):
        matched_factors([0.1, 0.1], [1, 1], amplify_from=3)
    assert matched_factors([0.0, 0.0], [1.0, 3.0]).tolist() == [2.0, 2.0]  # at LR 0 any factor will do


@pytest.mark.parametrize(
    ("base", "decays"),
    [
        ([0.1] * 4, ()),
        ([0.1, 0.1, 0.01, 0.01, 0.001], (2, 4)),
        ([0.02, 0.05, 0.1, 0.1, 0.01, 0.01], (4,)),  # a warm-up belongs to the first plateau
        ([0.1, 0.09, 0.08, 0.07], ()),
        ([0.2, 0.8, 0.8, 0.2, 0.2, 0.8], (3,)),
        ([0.2, 0.5, 0.8, 0.8, 0.5, 0.2], ()),  # the flat top of a triangle is no plateau that decays
        ([0.1, 0.1, 0.1 * (1 + 1e-15), 0.01, 0.01], (3,)),  # computed anew each step
        ([], ()),
    ],
)
def test_find_decays_finds_plateaus_that_fall(base, decays):
    assert find_decays(base) == decays


@pytest.mark.parametrize("interval", [1, 3])
@pytest.mark.parametrize("amplify_from", [0, 1, 5, EPOCHS, 100])
def test_ralr_masks_early_draws_and_keeps_all_later_ones(base, new_sgd, trace, interval, amplify_from):
    options = LAW | {"interval": interval}
    plain = trace(RALR(base(new_sgd()), **options | {"probability": 0}))
    whole = trace(RALR(base(new_sgd()), **options))
    masked = trace(RALR(base(new_sgd()), **options, amplify_from=amplify_from))
    assert masked == plain[:amplify_from] + whole[amplify_from:]


def test_ralr_reads_a_state_from_before_it_could_mask(new_sgd):
    running = RALR(multistep(new_sgd()), **LAW)
    running.optimizer.step()
    running.step()
    old = {k: v for k, v in running.state_dict().items() if k != "amplify_from"}
    resumed = RALR(multistep(new_sgd()), **LAW)
    resumed.load_state_dict(old)
    assert resumed.state_dict() == running.state_dict()
    with pytest.raises(InputError, match="`amplify_from` is 2 but 0 in"):
        RALR(multistep(new_sgd()), **LAW, amplify_from=2).load_state_dict(old)


def test_amplification_factors_mask_by_the_absolute_index():
    whole = amplification_factors(2, 20)
    expected = np.where(np.arange(20) < 7, 1.0, whole)
    np.testing.assert_array_equal(amplification_factors(2, 20, amplify_from=7), expected)
    np.testing.assert_array_equal(amplification_factors(2, 15, start=5, amplify_from=7), expected[5:])


def test_building_a_schedule_warns_of_nothing(new_sgd):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        MatchedRALR(multistep(new_sgd()), EPOCHS)
