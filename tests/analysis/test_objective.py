"""The loss as a function of the weights."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from ralr_viz.analysis.objective import Objective, classification_objective
from ralr_viz.errors import InputError
from ralr_viz.runtime.device import resolve_runtime

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)


def _network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 3),
    )


def _images(n: int = 20) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    return rng.integers(0, 256, (n, 8, 8, 3), dtype=np.uint8), rng.integers(0, 3, n)


def _objective(model: nn.Module, *, batch: int = 10, n: int = 20, device: str = "cpu") -> Objective:
    images, labels = _images(n)
    runtime = resolve_runtime(device, "fp32")
    return classification_objective(model, images, labels, mean=MEAN, std=STD, runtime=runtime, batch=batch)


def _inputs(n: int = 20) -> torch.Tensor:
    x = torch.from_numpy(_images(n)[0]).float() / 255
    return ((x - torch.tensor(MEAN)) / torch.tensor(STD)).permute(0, 3, 1, 2)


def test_objective_is_the_mean_loss_whatever_the_batch(device):
    model = _network().eval()
    labels = torch.from_numpy(_images()[1])
    with torch.no_grad():
        logits = model(_inputs())
    expected = nn.functional.cross_entropy(logits, labels).item()
    for batch in (1, 7, 20, 500):
        loss, accuracy = _objective(model, batch=batch, device=device).evaluate()
        assert loss == pytest.approx(expected, abs=1e-6)
        assert accuracy == pytest.approx(100 * (logits.argmax(1) == labels).float().mean().item())


def test_objective_leaves_the_network_alone():
    model = _network().train()
    model[0].weight.requires_grad_(False)
    before = copy.deepcopy(model.state_dict())
    objective = _objective(model)
    objective.move_to([p + 1 for p in objective.start])
    objective.recompute_statistics()
    objective.evaluate()
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert model.training and not model[0].weight.requires_grad and model[5].weight.requires_grad
    assert all(p.grad is None for p in model.parameters())


def test_objective_recomputes_statistics_as_a_literal_twin():
    objective = _objective(_network())
    moved = [1.5 * p for p in objective.start]
    loss, _ = objective.evaluate_at(moved, recompute_statistics=True)
    twin = _network()
    with torch.no_grad():
        for parameter, value in zip(twin.parameters(), moved, strict=True):
            parameter.copy_(value)
        maps = [twin[0](x) for x in _inputs().split(10)]
        twin[1].running_mean.copy_(torch.stack([m.mean((0, 2, 3)) for m in maps]).mean(0))
        twin[1].running_var.copy_(torch.stack([m.var((0, 2, 3)) for m in maps]).mean(0))
        expected = nn.functional.cross_entropy(twin.eval()(_inputs()), torch.from_numpy(_images()[1]))
    assert loss == pytest.approx(expected.item(), abs=1e-6)
    frozen, _ = objective.evaluate_at(moved, recompute_statistics=False)
    assert abs(frozen - loss) > 1e-3


def test_objective_comes_back_to_its_start():
    objective = _objective(_network())
    first = objective.evaluate()
    objective.evaluate_at([2 * p for p in objective.start], recompute_statistics=True)
    assert objective.evaluate_at(objective.start, recompute_statistics=False) == first


def test_objective_without_batchnorm_has_no_statistics():
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 3))
    objective = _objective(model)
    assert not objective.has_statistics
    objective.recompute_statistics()


def test_objective_refuses_unknown_labels():
    images, labels = _images()
    labels[3] = -1
    with pytest.raises(InputError, match="class of every image"):
        classification_objective(
            _network(), images, labels, mean=MEAN, std=STD, runtime=resolve_runtime("cpu", "fp32")
        )
