import numpy as np
import pytest
import torch
from torch import nn

from ralr_viz.errors import InputError, UnknownNameError
from ralr_viz.schedule import amplification_factors
from ralr_viz.train.optim import build_optimizer, build_scheduler, hold_factor, preview_lr
from ralr_viz.train.recipe import load_recipe


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
    optimizer = build_optimizer(recipe, nn.Linear(2, 2))
    assert type(optimizer) is kind
    group = optimizer.param_groups[0]
    assert (group["lr"], group["weight_decay"]) == (0.1, 1e-4)
    if name == "sgd":
        assert (group["momentum"], group["nesterov"]) == (0.9, True)


def test_build_scheduler_refuses_an_unknown_method():
    recipe = load_recipe("cifar10-resnet20")
    with pytest.raises(UnknownNameError, match="unknown method `rarl`: did you mean `ralr`"):
        build_scheduler(recipe, "rarl", 0, build_optimizer(recipe, nn.Linear(2, 2)))


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_hold_factor_goes_on_with_the_base_schedule(make_recipe, factor):
    """Against the base LRs by hand: neither the old factor nor the new one leaks into them."""
    model = nn.Linear(2, 2)
    recipe = make_recipe(epochs=6, milestones=(3, 4), lr=0.8)
    optimizer = build_optimizer(recipe, model)
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
