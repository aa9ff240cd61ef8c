"""Planes of the loss against literal evaluation, and the path's components against scikit-learn."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torch import nn

from ralr_viz.analysis.directions import random_direction
from ralr_viz.analysis.landscape import compute_landscape, principal_plane, random_walk_explained
from ralr_viz.comparison import compare
from ralr_viz.data.augment import normalise_batch
from ralr_viz.errors import InputError, UnknownNameError

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
N = 12


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 3),
    )
    nn.init.uniform_(model[1].running_var, 0.5, 1.5)
    return model.eval()


def images() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    return rng.integers(0, 256, (N, 6, 6, 3), dtype=np.uint8), rng.integers(0, 3, N)


def compute(*models: nn.Module, **options):
    x, y = images()
    networks = compare(list(models), images=x, labels=y, mean=MEAN, std=STD, device="cpu")
    return compute_landscape(networks, **({"points": 5} | options))


def loss_at(model: nn.Module, weights: list[torch.Tensor], *, train: bool) -> float:
    twin = copy.deepcopy(model).train(train)
    with torch.no_grad():
        for parameter, value in zip(twin.parameters(), weights, strict=True):
            parameter.copy_(value)
        x = normalise_batch(torch.from_numpy(images()[0]), torch.tensor(MEAN), torch.tensor(STD))
        return nn.functional.cross_entropy(twin(x), torch.from_numpy(images()[1])).item()


@pytest.mark.parametrize("batchnorm", ["batch", "frozen"])
def test_landscape_is_the_loss_at_steps_along_two_directions(batchnorm):
    model = network()
    result = compute(model, network(1), batchnorm=batchnorm, radius=0.5)
    assert result.losses.shape == (2, 5, 5) and result.x[2] == 0 and result.common
    start = [p.detach() for p in model.parameters()]
    d, e = random_direction(start, 0, 0), random_direction(start, 0, 1)
    for i, j in ((0, 0), (4, 1), (2, 2), (1, 3)):
        point = [w + result.x[i] * a + result.y[j] * b for w, a, b in zip(start, d, e, strict=True)]
        expected = loss_at(model, point, train=batchnorm == "batch")
        assert result.losses[0, j, i] == pytest.approx(expected, abs=1e-6)
    assert result.centre_loss[0] == result.losses[0, 2, 2]


def test_landscape_line_is_the_middle_row_of_the_plane():
    plane, line = compute(network()), compute(network(), line=True)
    assert line.losses.shape == (1, 1, 5) and np.array_equal(line.losses[0, 0], plane.losses[0, 2])


def walk(states: int = 5) -> list[nn.Module]:
    models = [network()]
    for i in range(states - 1):
        torch.manual_seed(10 + i)
        models.append(copy.deepcopy(models[-1]))
        with torch.no_grad():
            for p in models[-1].parameters():
                p += 0.1 * torch.randn_like(p)
    return models


def test_landscape_along_a_run_is_in_the_plane_of_its_principal_components():
    models = walk()
    result = compute(*models, epochs=[1, 2, 3, 5, 8])
    flat = np.stack([nn.utils.parameters_to_vector(m.parameters()).detach().double().numpy() for m in models])
    pca = PCA(2).fit(flat)
    assert result.explained == pytest.approx(pca.explained_variance_ratio_)
    places = pca.transform(flat)
    assert np.abs(result.path) == pytest.approx(np.abs(places - places[-1]), abs=1e-6)
    assert (result.path[0] <= 0).all() and result.path[-1] == pytest.approx([0, 0])
    for i, model in enumerate(models):  # true losses, not those of the places
        expected = loss_at(model, [p.detach() for p in model.parameters()], train=True)
        assert result.path_loss[i] == pytest.approx(expected, abs=1e-6)
    assert result.centre_loss[0] == pytest.approx(result.path_loss[-1], abs=1e-6)
    assert result.x.min() < result.path[:, 0].min() and result.x.max() > result.path[:, 0].max()
    # a point of the grid: the last state plus steps along the unit axes
    _, axes, _ = principal_plane(flat)
    assert np.allclose(axes @ axes.T, np.eye(2))
    vector = torch.from_numpy(flat[-1] + result.x[0] * axes[0] + result.y[1] * axes[1]).float()
    weights = [
        part.reshape(p.shape)
        for part, p in zip(
            vector.split([p.numel() for p in models[0].parameters()]), models[0].parameters(), strict=True
        )
    ]
    assert result.losses[0, 1, 0] == pytest.approx(loss_at(models[-1], weights, train=True), abs=1e-5)


def test_random_walk_has_most_variance_in_its_first_components():
    shares = random_walk_explained(30, 0)
    # Antognini and Sohl-Dickstein: 6/π² and a quarter of it, for many states
    assert shares == pytest.approx([6 / np.pi**2, 1.5 / np.pi**2], abs=0.02)
    assert np.array_equal(shares, random_walk_explained(30, 0))


@pytest.mark.parametrize("fails", [False, True])
def test_landscape_leaves_the_networks_alone(fails):
    models = walk(3)
    models[0].train()
    before = [copy.deepcopy(m.state_dict()) for m in models]

    def progress(done: int, total: int, what: str) -> None:
        if fails and done == 7:
            raise RuntimeError("stop")

    for epochs in (None, [1, 2, 3]):
        if fails:
            with pytest.raises(RuntimeError, match="stop"):
                compute(*models, epochs=epochs, progress=progress)
        else:
            compute(*models, epochs=epochs, progress=progress)
    for model, state in zip(models, before, strict=True):
        assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())
        assert all(p.grad is None and p.requires_grad for p in model.parameters())
        assert not any(m._forward_hooks for m in model.modules())
    assert models[0].training and not models[1].training


def test_landscape_progress_ends_at_its_total():
    for epochs, total in ((None, 75), ([1, 2, 3], 28)):
        seen: list[tuple[int, int, str]] = []
        compute(*walk(3), epochs=epochs, progress=lambda *at, seen=seen: seen.append(at))
        assert seen == [(i, total, "losses in the planes") for i in range(1, total + 1)]


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"points": 4}, InputError, "`points` = 4 must be odd"),
        ({"radius": 0.0}, InputError, "`radius` = 0 must be"),
        ({"batchnorm": "x"}, UnknownNameError, "BatchNorm mode"),
        ({"epochs": [1, 2]}, InputError, "`epochs` has 2 entries for 3"),
        ({"epochs": [1, 3, 2]}, InputError, "growing"),
        ({"epochs": [1, 2, 3], "line": True}, InputError, "`line`"),
    ],
)
def test_landscape_refuses_options_out_of_range(options, error, match):
    with pytest.raises(error, match=match):
        compute(*walk(3), **options)
