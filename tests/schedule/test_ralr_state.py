"""Saving and resuming: the exact trace, from every epoch, in every order of loading."""

from __future__ import annotations

import copy
import io
import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.optim import SGD
from torch.optim import lr_scheduler as lrs

from ralr_viz.errors import InputError
from ralr_viz.schedule import RALR

LAW = {"seed": 9, "low": 1.5, "high": 4.0, "probability": 0.6, "interval": 2}
EPOCHS = 12


def through_file(state):
    """``state`` as a checkpoint would give it back."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def resume(order, new_optimizer, base, saved, saved_optimizer):
    """A RALR on a new optimizer, with what was saved loaded in the given order."""
    optimizer = new_optimizer()
    if order in ("optimizer before base", "optimizer before base and last"):
        optimizer.load_state_dict(saved_optimizer)
    scheduler = RALR(base(optimizer), **LAW)
    if order == "optimizer first":
        optimizer.load_state_dict(saved_optimizer)
    scheduler.load_state_dict(saved)
    if order in ("optimizer last", "optimizer before base and last"):
        optimizer.load_state_dict(saved_optimizer)
    return scheduler


ORDERS = [
    "optimizer first",
    "optimizer last",
    "optimizer before base",
    "optimizer before base and last",
    "scheduler alone",
]


@pytest.mark.parametrize("order", ORDERS)
def test_ralr_resumes_exact_trace_from_every_epoch(base, new_optimizer, advance, trace, order):
    expected = trace(RALR(base(new_optimizer()), **LAW))
    running = RALR(base(new_optimizer()), **LAW)
    for epoch in range(EPOCHS):
        saved = through_file(running.state_dict()), through_file(running.optimizer.state_dict())
        resumed = resume(order, new_optimizer, base, *saved)
        assert (resumed.factor, resumed.amplified, resumed.base_lr, resumed.last_epoch) == (
            running.factor,
            running.amplified,
            running.base_lr,
            running.last_epoch,
        )
        assert trace(resumed, first=epoch) == expected[epoch:]
        advance(running, epoch)


def test_ralr_resume_of_weights_is_bit_exact():
    def build():
        theta = torch.nn.Parameter(torch.ones(4))
        sgd = SGD([theta], lr=0.01, momentum=0.9, nesterov=True)
        return theta, sgd, RALR(lrs.CosineAnnealingLR(sgd, T_max=10), seed=4)

    def train(theta, sgd, scheduler, epochs):
        for _ in range(epochs):
            sgd.zero_grad()
            theta.pow(4).sum().backward()
            sgd.step()
            scheduler.step()
        return theta.detach()

    whole = train(*build(), 10)
    for cut in range(10):
        first, second = build(), build()
        train(*first, cut)
        with torch.no_grad():
            second[0].copy_(first[0])
        for mine, saved in zip(second[1:], first[1:], strict=True):
            mine.load_state_dict(through_file(saved.state_dict()))
        assert torch.equal(train(*second, 10 - cut), whole)


def test_ralr_state_is_primitives_beside_that_of_base(base, new_optimizer, advance):
    scheduler = RALR(base(new_optimizer()), **LAW)
    for epoch in range(3):
        advance(scheduler, epoch)
    state = scheduler.state_dict()
    inner = state.pop("base")
    assert json.loads(json.dumps(state)) == state
    assert inner.keys() == scheduler.base_scheduler.state_dict().keys()


def test_ralr_state_is_a_snapshot_that_loading_leaves_alone(base, new_optimizer, advance):
    scheduler = RALR(base(new_optimizer()), **LAW)
    for epoch in range(3):
        advance(scheduler, epoch)
    state = scheduler.state_dict()
    before = copy.deepcopy(state)
    resumed = RALR(base(new_optimizer()), **LAW)
    resumed.load_state_dict(state)
    for epoch in range(3, 8):
        advance(resumed, epoch)
        advance(scheduler, epoch)
    assert state == before


def test_ralr_state_does_not_share_what_the_base_changes_in_place():
    class Remember:
        def __init__(self):
            self.epochs = []

        def __call__(self, epoch):
            self.epochs.append(epoch)
            return 0.5

    def build():
        sgd = SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
        sgd.step()
        return RALR(lrs.LambdaLR(sgd, Remember()))

    first, second = build(), build()
    first.optimizer.step()
    first.step()
    state = first.state_dict()
    second.load_state_dict(state)
    for scheduler in (first, second):
        scheduler.optimizer.step()
        scheduler.step()
    assert state["base"]["lr_lambdas"] == [{"epochs": [0, 1]}]


@given(cuts=st.lists(st.integers(0, EPOCHS), max_size=5).map(sorted), seed=st.integers(0, 2**2000))
@settings(max_examples=25, deadline=None)
def test_ralr_resumes_any_number_of_times(cuts, seed):
    def build():
        sgd = SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
        return RALR(lrs.CosineAnnealingLR(sgd, T_max=7), seed=seed)

    def lrs_of(scheduler, first, last):
        for _ in range(first, last):
            scheduler.optimizer.step()
            scheduler.step()
            yield scheduler.get_last_lr()

    expected = list(lrs_of(build(), 0, EPOCHS))
    found, scheduler = [], build()
    for first, last in zip([0, *cuts], [*cuts, EPOCHS], strict=True):
        found += lrs_of(scheduler, first, last)
        state = through_file(scheduler.state_dict())
        scheduler = build()
        scheduler.load_state_dict(state)
    assert found == expected


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("low", 1.0),
        ("high", 3.0),
        ("probability", 0.5),
        ("seed", 8),
        ("interval", 1),
        ("draw", "integer"),
    ],
)
def test_ralr_refuses_state_of_other_settings(new_sgd, name, other):
    state = RALR(lrs.StepLR(new_sgd(), 1), **LAW).state_dict()
    scheduler = RALR(lrs.StepLR(new_sgd(), 1), **{**LAW, name: other})
    before = scheduler.state_dict()
    with pytest.raises(InputError) as error:
        scheduler.load_state_dict(state)
    assert str(error.value).startswith(f"`{name}` is {other!r} but ")
    assert str(error.value).endswith("they must agree to resume; build RALR as it was when saved")
    assert scheduler.state_dict() == before


def test_ralr_refuses_state_that_is_not_its_own(new_sgd):
    scheduler = RALR(lrs.StepLR(new_sgd(), 1))
    with pytest.raises(InputError, match="`low` is not in `state_dict`: it must be what RALR"):
        scheduler.load_state_dict(scheduler.base_scheduler.state_dict())
    with pytest.raises(InputError, match="`base_scheduler` is 'StepLR' but 'ExponentialLR' in `state_dict`"):
        scheduler.load_state_dict(RALR(lrs.ExponentialLR(new_sgd(), 0.9)).state_dict())
    one_group = RALR(lrs.StepLR(SGD([torch.zeros(1, requires_grad=True)]), 1)).state_dict()
    with pytest.raises(InputError, match=r"`optimizer\.param_groups` are 3, RALR's are 1"):
        scheduler.load_state_dict(one_group)
    with pytest.raises(InputError, match="`steps` is -1"):
        scheduler.load_state_dict({**scheduler.state_dict(), "steps": -1})
