"""What RALR refuses: wrong arguments, wrong nesting, LRs and groups changed behind its back."""

from __future__ import annotations

import math
import warnings

import pytest
import torch
from torch.optim import lr_scheduler as lrs

from ralr_viz.errors import InputError
from ralr_viz.schedule import RALR


def refused(call):
    """The message of the InputError that ``call`` raises, which must be one line."""
    with pytest.raises(InputError) as error:
        call()
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("probability", -0.01),
        ("probability", math.nan),
        ("low", 0),
        ("low", 3.5),
        ("high", math.inf),
        ("high", None),
        ("seed", -1),
        ("seed", 0.0),
        ("seed", "0"),
        ("interval", 0),
        ("interval", 1.5),
        ("draw", "normal"),
    ],
)
def test_ralr_refuses_argument_and_changes_nothing(new_sgd, argument, value):
    optimizer = new_sgd()
    base = lrs.StepLR(optimizer, 1)
    message = refused(lambda: RALR(base, **{"seed": 2, argument: value}))
    assert message.startswith(
        f"`{argument}` is {value!r}" if argument != "low" else f"`low` is {float(value)}"
    )
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 0.02, 0.003]


def test_ralr_refuses_what_is_no_scheduler(new_sgd):
    assert "`base_scheduler` is a SGD: it must be a torch LRScheduler" in refused(lambda: RALR(new_sgd()))


def test_ralr_warns_of_low_below_1_only(new_sgd):
    with pytest.warns(UserWarning, match="`low` is 0.9: below 1 the LR can also shrink") as caught:
        RALR(lrs.StepLR(new_sgd(), 1), low=0.9)
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        RALR(lrs.StepLR(new_sgd(), 1), low=1.0)


def test_ralr_refuses_ralr_as_base(new_sgd):
    base = lrs.StepLR(new_sgd(), 1)
    assert "RALR must be outermost" in refused(lambda: RALR(RALR(base)))
    assert "RALR must be outermost" in refused(lambda: RALR(lrs.ChainedScheduler([RALR(base)])))


@pytest.mark.parametrize("position", [0, 1])
def test_ralr_refuses_to_be_inside_sequential(new_sgd, position):
    optimizer = new_sgd()
    schedulers = [lrs.ExponentialLR(optimizer, 0.9)]
    schedulers.insert(position, RALR(lrs.StepLR(optimizer, 1)))
    message = refused(lambda: lrs.SequentialLR(optimizer, schedulers, milestones=[2]))
    assert message.startswith("`last_epoch`")
    assert "RALR must be outermost" in message


@pytest.mark.parametrize("position", [0, 1])
def test_ralr_refuses_to_share_a_chain(new_sgd, position):
    optimizer = new_sgd()
    schedulers = [lrs.ExponentialLR(optimizer, 0.9)]
    schedulers.insert(position, RALR(lrs.StepLR(optimizer, 1)))
    chain = lrs.ChainedScheduler(schedulers)
    optimizer.step()
    message = refused(lambda: (chain.step(), chain.step()))
    assert message.startswith("`lr` of parameter group 0 is ")
    assert "keep RALR outermost" in message


def test_ralr_last_epoch_is_read_only(new_sgd):
    scheduler = RALR(lrs.StepLR(new_sgd(), 1))
    assert "`last_epoch` of a RALR cannot be set" in refused(lambda: setattr(scheduler, "last_epoch", 3))
    assert scheduler.last_epoch == 0


def test_ralr_refuses_group_added_later(new_sgd):
    scheduler = RALR(lrs.StepLR(new_sgd(), 1))
    saved = scheduler.state_dict()
    scheduler.optimizer.add_param_group({"params": [torch.zeros(1, requires_grad=True)], "lr": 1.0})
    scheduler.optimizer.step()
    for call in (scheduler.step, lambda: scheduler.load_state_dict(saved)):
        assert "`optimizer.param_groups` are 4, RALR's are 3" in refused(call)
    assert [group["lr"] for group in scheduler.optimizer.param_groups] == [0.1, 0.02, 0.003, 1.0]


def test_ralr_refuses_lr_changed_by_somebody_else_until_told_to_go_on(new_sgd):
    scheduler = RALR(lrs.ConstantLR(new_sgd(), factor=1.0), probability=1.0)
    in_use = scheduler.get_last_lr()
    scheduler.optimizer.step()
    scheduler.optimizer.param_groups[1]["lr"] = 0.5
    message = refused(scheduler.step)
    assert message.startswith(f"`lr` of parameter group 1 is 0.5, RALR wrote {in_use[1]}")
    assert scheduler.last_epoch == 0
    scheduler.load_state_dict(scheduler.state_dict())  # the remedy that the message names
    assert scheduler.get_last_lr() == in_use
    scheduler.step()


def test_ralr_tells_that_its_state_was_not_loaded_with_the_optimizers(new_sgd):
    saved = RALR(lrs.StepLR(new_sgd(), 1), seed=1, probability=1.0)
    fresh = RALR(lrs.StepLR(new_sgd(), 1), seed=1, probability=1.0)
    saved.optimizer.step()
    saved.step()
    fresh.optimizer.load_state_dict(saved.optimizer.state_dict())
    fresh.optimizer.step()
    assert "load its state with the optimizer's" in refused(fresh.step)
    fresh.load_state_dict(saved.state_dict())
    fresh.step()
