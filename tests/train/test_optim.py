import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler as lrs

from ralr_viz.errors import InputError, UnknownNameError
from ralr_viz.recipe import METHODS, load_recipe
from ralr_viz.schedule import amplification_factors
from ralr_viz.schedule.factors import Noise
from ralr_viz.train.optim import build_optimizer, build_scheduler, hold_factor, preview_lr


def optimizer_of(recipe, model):
    return build_optimizer(recipe, [{"params": list(model.parameters())}], torch.device("cpu"))


@pytest.mark.parametrize("name", ["cifar10-resnet110", "cifar100-resnet20-short"])
def test_preview_lr_is_the_paper_schedule_times_the_pure_factors(name):
    recipe = load_recipe(name)
    base, factor = preview_lr(recipe, "ralr", 7)
    expected = [0.1 * 0.1 ** sum(e >= m for m in recipe.milestone_epochs) for e in range(recipe.epochs)]
    np.testing.assert_allclose(base, expected, rtol=1e-12)
    np.testing.assert_array_equal(factor, amplification_factors(7, recipe.epochs))


def test_first_epoch_at_the_lower_rate_is_the_one_after_the_milestone():
    base, _ = preview_lr(load_recipe("cifar10-resnet110"), "baseline", 0)
    assert base[149] == pytest.approx(0.1)  # the 150th epoch
    assert base[150] == pytest.approx(0.01)
    assert base[225] == pytest.approx(0.001)


def test_controls_have_a_constant_factor():
    recipe = load_recipe("cifar10-resnet110", ["high=5", "probability=0.25"])
    assert set(preview_lr(recipe, "baseline", 3)[1]) == {1.0}
    assert set(preview_lr(recipe, "scaled", 3)[1]) == {1 + 0.25 * (3 - 1)}


def test_interval_draws_every_n_epochs():
    _, factor = preview_lr(load_recipe("cifar10-resnet20", ["interval=5"]), "ralr", 1)
    np.testing.assert_array_equal(factor.reshape(-1, 5)[:, 0], amplification_factors(1, 60))
    assert (factor.reshape(-1, 5) == factor.reshape(-1, 5)[:, :1]).all()


@pytest.mark.parametrize(
    ("schedule", "last"), [("constant", 0.1), ("cosine", 0.1 * (1 + np.cos(np.pi * 0.9)) / 2)]
)
def test_other_base_schedules(schedule, last):
    base, _ = preview_lr(
        load_recipe("cifar10-resnet20", [f"schedule={schedule}", "epochs=10"]), "baseline", 0
    )
    assert base[0] == pytest.approx(0.1)
    assert base[-1] == pytest.approx(last)


@pytest.mark.parametrize(
    ("name", "kind"), [("sgd", torch.optim.SGD), ("adam", torch.optim.Adam), ("adagrad", torch.optim.Adagrad)]
)
def test_build_optimizer_has_the_recipes_numbers(name, kind):
    recipe = load_recipe("cifar10-resnet20", [f"optimizer={name}"])
    optimizer = optimizer_of(recipe, nn.Linear(2, 2))
    assert type(optimizer) is kind
    group = optimizer.param_groups[0]
    assert (group["lr"], group["weight_decay"]) == (0.1, 1e-4)
    if name == "sgd":
        assert (group["momentum"], group["nesterov"]) == (0.9, True)


def test_build_scheduler_refuses_an_unknown_method():
    recipe = load_recipe("cifar10-resnet20")
    with pytest.raises(UnknownNameError, match="unknown method `rarl`: did you mean `ralr`"):
        build_scheduler(recipe, "rarl", 0, optimizer_of(recipe, nn.Linear(2, 2)))


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_hold_factor_goes_on_with_the_base_schedule(make_recipe, factor):
    """Against the base LRs by hand: neither the old factor nor the new one leaks into them."""
    model = nn.Linear(2, 2)
    recipe = make_recipe(epochs=6, milestones=(3, 4), lr=0.8)
    optimizer = optimizer_of(recipe, model)
    scheduler = build_scheduler(recipe, "ralr", 2, optimizer)  # seed 2 amplifies its first epochs
    assert scheduler.factor > 1
    optimizer.step()
    scheduler.step()
    base = [0.8, 0.8, 0.08, 0.008]  # of epochs 1 … 4
    for epoch in range(1, 5):
        if epoch in (1, 3):
            scheduler = hold_factor(scheduler, factor if epoch == 1 else 1.0)
        now = factor if epoch < 3 else 1.0
        assert scheduler.factor == now
        assert scheduler.base_lr == pytest.approx([base[epoch - 1]])
        assert optimizer.param_groups[0]["lr"] == pytest.approx(base[epoch - 1] * now)
        scheduler.step()
    with pytest.raises(InputError):
        hold_factor(scheduler, 0.0)


def one_step_on(optimizer, scheduler):
    optimizer.step()
    scheduler.step()
    return scheduler


# settings of a recipe of 40 epochs at 0.1, and the same as somebody would write it with torch
COMPARATORS = {
    "sgdr": (["schedule=sgdr"], lambda o: lrs.CosineAnnealingWarmRestarts(o, 10)),
    "sgdr of growing periods": (
        ["schedule=sgdr", "restart_epochs=4", "restart_factor=2"],
        lambda o: lrs.CosineAnnealingWarmRestarts(o, 4, T_mult=2),
    ),
    "cyclical": (
        ["schedule=cyclical"],
        lambda o: one_step_on(o, lrs.CyclicLR(o, 0.025, 0.1, step_size_up=5, cycle_momentum=False)),
    ),
    "cyclical of odd cycles": (
        ["schedule=cyclical", "cycle=7", "lr_floor=0.5"],
        lambda o: one_step_on(o, lrs.CyclicLR(o, 0.05, 0.1, step_size_up=3.5, cycle_momentum=False)),
    ),
    "onecycle": (
        ["schedule=onecycle"],
        lambda o: lrs.OneCycleLR(o, 0.1, total_steps=40, cycle_momentum=False),
    ),
}


def step_epochs(optimizer, scheduler):
    """LR and momentum of 40 epochs, (40, 2)."""
    found = []
    for _ in range(40):
        found.append((optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["momentum"]))
        optimizer.step()
        scheduler.step()
    return np.array(found)


@pytest.mark.parametrize(("settings", "build"), COMPARATORS.values(), ids=COMPARATORS)
@pytest.mark.parametrize("method", METHODS)
def test_comparator_schedule_is_torchs_under_every_method(settings, build, method):
    recipe = load_recipe("cifar10-resnet20", ["epochs=40", "keep=1.0", *settings])
    optimizer = torch.optim.SGD(nn.Linear(2, 2).parameters(), 0.1, momentum=0.9)
    alone = step_epochs(optimizer, build(optimizer))
    base, factor = preview_lr(recipe, method, 3)
    np.testing.assert_array_equal(base, alone[:, 0])
    ours = optimizer_of(recipe, nn.Linear(2, 2))
    used = step_epochs(ours, build_scheduler(recipe, method, 3, ours))
    np.testing.assert_array_equal(used[:, 0], base * factor)
    assert (used[:, 1] == 0.9).all()  # the momentum is not cycled
    drawn = amplification_factors(3, 40)
    factors = {
        "baseline": np.ones(40),
        "matched": np.full(40, math.fsum(base * drawn) / math.fsum(base)),  # a smooth base is one piece
        "ralr": amplification_factors(3, 40),
        "scaled": np.full(40, 1.5),
        "noise": [Noise().at(3, e).factor for e in range(40)],
    }
    np.testing.assert_array_equal(factor, factors[method])
    assert base.max() <= 0.1 * (1 + 1e-12)


def test_cyclical_rises_to_the_rate_and_ends_at_the_floor():
    recipe = load_recipe(
        "cifar10-resnet20", ["epochs=8", "keep=8", "schedule=cyclical", "cycle=1.0", "lr_floor=0.2"]
    )
    base, _ = preview_lr(recipe, "baseline", 0)
    np.testing.assert_allclose(base, [0.04, 0.06, 0.08, 0.1, 0.08, 0.06, 0.04, 0.02])


def test_noise_is_drawn_in_its_share_of_the_training():
    recipe = load_recipe(
        "cifar10-resnet20", ["epochs=20", "keep=20", "noise_range=0.25,0.6", "noise_pct=0.3"]
    )
    base, factor = preview_lr(recipe, "noise", 5)
    expected = [Noise(0.3).at(5, e).factor if 5 <= e < 12 else 1.0 for e in range(20)]
    np.testing.assert_array_equal(factor, expected)
    np.testing.assert_array_equal(base, preview_lr(recipe, "baseline", 0)[0])


def test_hold_factor_takes_over_a_noisy_schedule(make_recipe):
    recipe = make_recipe(epochs=6, milestones=(3,), lr=0.8)
    optimizer = optimizer_of(recipe, nn.Linear(2, 2))
    scheduler = build_scheduler(recipe, "noise", 2, optimizer)
    optimizer.step()
    scheduler.step()
    held = hold_factor(scheduler, 2.0)
    assert (held.factor, held.base_lr) == (2.0, [0.8])
    for _ in range(2):
        held.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.16)


@pytest.mark.parametrize("schedule", ["inverse_sqrt", "constant", "multistep"])
def test_warm_rate_moves_each_step_under_the_factor_of_its_epoch(make_recipe, schedule):
    steps, epochs = 5, 6
    recipe = make_recipe(
        epochs=epochs, milestones=(4,), schedule=schedule, warmup_steps=8, lr=0.4, low=2.0, high=3.0
    )
    model = nn.Linear(2, 2)
    groups = [{"params": [model.weight]}, {"params": [model.bias], "lr": 0.8}]
    optimizer = build_optimizer(recipe, groups, torch.device("cpu"))
    scheduler = build_scheduler(recipe, "ralr", 3, optimizer, steps)
    used = []
    for step in range(epochs * steps):
        used.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step() if step % steps == steps - 1 else scheduler.step_base()
    factors = np.repeat(amplification_factors(3, epochs, low=2.0, high=3.0), steps)
    assert len(set(factors)) > 1
    done = np.arange(1, epochs * steps + 1)
    base = np.minimum(done / 8, 1.0)
    if schedule == "inverse_sqrt":
        base = np.minimum(done / 8, np.sqrt(8 / done))
    if schedule == "multistep":
        base[4 * steps :] *= recipe.gamma
    np.testing.assert_allclose(used, (factors * base)[:, None] * [0.4, 0.8], rtol=1e-12)
    with pytest.raises(InputError, match="for which `matched` is not defined"):
        build_scheduler(recipe, "matched", 3, optimizer, steps)
    with pytest.raises(InputError, match="not known before the data are read"):
        preview_lr(recipe, "ralr", 3)
