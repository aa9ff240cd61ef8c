"""The loss between two networks."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from ralr_viz.analysis.barrier import compute_barrier, measure_barrier
from ralr_viz.analysis.objective import Objective, classification_objective
from ralr_viz.comparison import compare
from ralr_viz.errors import InputError, UnknownNameError
from ralr_viz.runtime.device import resolve_runtime

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
RUNTIME = resolve_runtime("cpu", "fp32")
RNG = np.random.default_rng(0)
IMAGES, LABELS = RNG.integers(0, 256, (24, 8, 8, 3), dtype=np.uint8), RNG.integers(0, 3, 24)


def network(seed: int = 0, width: int = 6) -> nn.Module:
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(3, width, 3),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(width, 3),
    )
    with torch.no_grad():  # running statistics that belong to other images, as augmented training's do
        model[1].running_mean.normal_()
        model[1].running_var.uniform_(0.5, 2)
        for p in model.parameters():
            p.mul_(2)
    return model.eval()


def permuted(model: nn.Module) -> nn.Module:
    """The same function with its hidden units in another order."""
    other, order = copy.deepcopy(model), torch.tensor([3, 0, 5, 1, 2, 4])
    with torch.no_grad():
        for tensor in (
            other[0].weight,
            other[0].bias,
            other[1].weight,
            other[1].bias,
            other[1].running_mean,
            other[1].running_var,
        ):
            tensor.copy_(tensor[order])
        other[5].weight.copy_(other[5].weight[:, order])
    return other


def compute(pairs, **options):
    return compute_barrier(side_by_side(pairs), **options)


def side_by_side(pairs, labels=LABELS):
    ends = [end for pair in pairs for end in pair]
    return compare(ends, images=IMAGES, labels=labels, mean=MEAN, std=STD, device="cpu", batch=12)


def values(result, name: str) -> np.ndarray:
    return next(m for m in result.measures() if m.name == name).values


def inputs() -> torch.Tensor:
    x = torch.from_numpy(IMAGES).float() / 255
    return ((x - torch.tensor(MEAN)) / torch.tensor(STD)).permute(0, 3, 1, 2)


@pytest.mark.parametrize("statistics", ["recomputed", "interpolated"])
def test_barrier_of_a_network_with_itself_is_zero(statistics):
    model = network()
    result = compute([(model, copy.deepcopy(model))], statistics=statistics)
    assert values(result, "barrier") == pytest.approx(0, abs=1e-12)  # (1 − α)L + αL rounds
    assert values(result, "middle_rise") == pytest.approx(0, abs=1e-12)
    assert values(result, "distance") == 0
    assert (result.losses == result.losses[:, :1]).all()


def test_barrier_of_permuted_units_is_positive_though_the_function_is_the_same():
    model = network()
    with torch.no_grad():
        model[5].weight.mul_(50)
    objective = classification_objective(model, IMAGES, LABELS, mean=MEAN, std=STD, runtime=RUNTIME, batch=12)
    objective.recompute_statistics()
    with torch.no_grad():  # a network that tells the images apart and is right, as trained ones are
        logits = objective.model(inputs())
        model[5].bias.sub_(logits.mean(0))
        own = (logits - logits.mean(0)).argmax(1).numpy()
    assert len(set(own)) == 3
    pairs = [(model, permuted(model))]
    result = compute_barrier(side_by_side(pairs, own))
    np.testing.assert_allclose(result.losses[0, 0], result.losses[0, -1], rtol=1e-3, atol=1e-5)
    assert values(result, "barrier")[0] > 0.005
    assert values(result, "distance")[0] > 1


@pytest.mark.parametrize("statistics", ["recomputed", "interpolated"])
def test_barrier_losses_are_a_literal_twins(statistics):
    first, second = network(0), network(1)
    result = compute([(first, second)], points=5, statistics=statistics)
    x, y = inputs(), torch.from_numpy(LABELS)
    for j, alpha in enumerate((0, 0.25, 0.5, 0.75, 1)):
        twin = copy.deepcopy(first)
        state = second.state_dict()
        mixed = {
            k: (1 - alpha) * v + alpha * state[k] if v.is_floating_point() else v
            for k, v in first.state_dict().items()
        }
        twin.load_state_dict(mixed)
        with torch.no_grad():
            if statistics == "recomputed":
                maps = [twin[0](part) for part in x.split(12)]
                twin[1].running_mean.copy_(torch.stack([m.mean((0, 2, 3)) for m in maps]).mean(0))
                twin[1].running_var.copy_(torch.stack([m.var((0, 2, 3)) for m in maps]).mean(0))
            logits = twin.eval()(x)
            losses = nn.functional.cross_entropy(logits, y, reduction="none")
        np.testing.assert_allclose(result.losses[0, j], losses.numpy(), atol=2e-5)
        np.testing.assert_array_equal(result.correct[0, j], (logits.argmax(1) == y).numpy())
    assert result.statistics == statistics


def test_barrier_of_a_convex_loss_is_zero():
    def linear(seed):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Flatten(), nn.Linear(192, 3))

    result = compute([(linear(0), linear(1))])
    assert values(result, "barrier") == 0 and values(result, "middle_rise")[0] < -1e-4
    assert result.statistics == ""
    squares = sum(
        ((a - b) ** 2).sum() for a, b in zip(linear(0).parameters(), linear(1).parameters(), strict=True)
    )
    assert values(result, "distance")[0] == pytest.approx(squares.sqrt().item(), rel=1e-5)


def test_barrier_recomputes_statistics_at_the_ends_too():
    first, second = network(0), network(1)
    recomputed = compute([(first, second)])
    frozen = compute([(first, second)], statistics="interpolated")
    assert abs(recomputed.loss[0, 0] - frozen.loss[0, 0]) > 1e-3
    assert abs(recomputed.loss[0, -1] - frozen.loss[0, -1]) > 1e-3


def test_measure_barrier_is_one_pair_of_compute_barrier():
    first, second = network(0), network(1)
    objective = classification_objective(first, IMAGES, LABELS, mean=MEAN, std=STD, runtime=RUNTIME, batch=12)
    one = measure_barrier(objective, first, second)
    result = compute([(second, first), (first, second)])
    np.testing.assert_array_equal(one.losses, result.losses[1])
    assert one.barrier == values(result, "barrier")[1]
    np.testing.assert_allclose(result.losses[0], one.losses[::-1], atol=1e-5)  # the line the other way


def test_barrier_reports_progress_over_all_pairs():
    seen: list[tuple[int, int, str]] = []
    compute([(network(), network(1))] * 2, points=3, progress=lambda *at: seen.append(at))
    assert seen == [(i, 6, "points of the line") for i in range(1, 7)]


def test_barrier_leaves_the_networks_alone_also_after_an_error(monkeypatch):
    first, second = network(0).train(), network(1)
    second[0].weight.requires_grad_(False)
    before = [copy.deepcopy(m.state_dict()) for m in (first, second)]

    def check():
        for model, state in zip((first, second), before, strict=True):
            assert all(torch.equal(state[k], v) for k, v in model.state_dict().items())
            assert all(p.grad is None for p in model.parameters())
            assert not any(m._forward_hooks for m in model.modules())
        assert first.training and not second.training and not second[0].weight.requires_grad

    compute([(first, second)])
    check()
    monkeypatch.setattr(Objective, "recompute_statistics", lambda self: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        compute([(first, second)])
    check()


def test_barrier_refuses_what_it_cannot_compare():
    model = network()
    with pytest.raises(InputError, match="every pair takes two networks, 3 make none"):
        compute([(model, model), (model,)])
    with pytest.raises(InputError, match="one architecture"):
        compute([(model, network(width=5))])
    with pytest.raises(InputError, match="`points` = 4"):
        compute([(model, model)], points=4)
    with pytest.raises(UnknownNameError, match="recomputed"):
        compute([(model, model)], statistics="recomputd")
    broken = network()
    with torch.no_grad():
        broken[5].weight.fill_(torch.nan)
    with pytest.raises(InputError, match="diverged"):
        compute([(model, broken)])
