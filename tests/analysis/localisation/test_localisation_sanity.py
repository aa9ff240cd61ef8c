"""Weight randomisation: what it must find, and that it leaves the network alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import nn

from ralr_viz.analysis.localisation import sanity
from ralr_viz.analysis.localisation.sanity import find_stages, map_correlation, randomise, randomise_cascade
from ralr_viz.comparison import Comparison, compare
from ralr_viz.errors import InputError
from ralr_viz.models.registry import build_model

MEAN, STD = (0.5, 0.5, 0.5), (0.2, 0.2, 0.2)


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (12, 16, 16, 3), dtype=np.uint8)


def state(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def seen_by(model, images, labels, batch=None) -> Comparison:
    settings = {"mean": MEAN, "std": STD, "device": "cpu", "batch": batch}
    return compare({"net": model}, images=images, labels=labels, **settings)


def test_map_correlation_equals_scipys():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 5, 4, 3)).round(1)
    expected = [spearmanr(x.ravel(), y.ravel()).statistic for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(map_correlation(a, b), expected)
    np.testing.assert_allclose(map_correlation(a, 3 * a + 1), 1)
    np.testing.assert_allclose(map_correlation(a, -a), -1)
    np.testing.assert_array_equal(map_correlation(a, np.ones_like(a)), 0)


def test_randomise_cascade_goes_from_the_head_to_the_stem_and_loses_the_maps(images):
    model = build_model("resnet20", 4).eval()
    labels = np.arange(12) % 4
    seen = []
    compared = seen_by(model, images, labels)
    found = randomise_cascade(compared, 0, progress=lambda *step: seen.append(step))
    assert found.stages == ("linear", "layer3", "layer2", "layer1", "bn1", "conv1")
    assert found.spearman.shape == (6, 12) and seen[-1] == (6, 6, "random weights of net")
    summary = found.summarise()
    assert summary.shape == (6, 3)
    assert (summary[:, 1] <= summary[:, 0]).all() and (summary[:, 0] <= summary[:, 2]).all()
    assert np.abs(summary[:, 0]).max() < 0.9  # the network's own maps correlate by 1
    again = randomise_cascade(seen_by(model, images, labels, batch=5), 0)
    np.testing.assert_allclose(again.spearman, found.spearman, atol=0.02)  # but for rounding among near ties
    other = randomise_cascade(compared, 0, seed=1)
    assert np.abs(other.spearman - found.spearman).max() > 0.1


def test_randomise_cascade_compares_each_map_with_its_own(images, monkeypatch):
    monkeypatch.setattr(sanity, "randomise", lambda module: None)
    compared = seen_by(build_model("resnet20", 4), images, np.arange(12) % 4, batch=5)
    found = randomise_cascade(compared, 0)
    np.testing.assert_allclose(found.spearman, 1)


@pytest.mark.parametrize("broken", [False, True])
def test_randomise_cascade_leaves_no_trace(images, broken, monkeypatch):
    theirs = build_model("resnet20", 4).train()
    theirs.bn1.eval()
    next(theirs.parameters()).requires_grad_(False)
    compared = seen_by(theirs, images, np.zeros(12, int))
    model = compared.networks[0].source
    before, modes = state(model), [module.training for module in model.modules()]
    drawn = torch.random.get_rng_state()
    if broken:

        def fail(*arguments):
            raise RuntimeError("stop")

        monkeypatch.setattr(sanity, "map_correlation", fail)
        with pytest.raises(RuntimeError, match="stop"):
            randomise_cascade(compared, 0)
    else:
        randomise_cascade(compared, 0)
    assert all(torch.equal(tensor, before[name]) for name, tensor in state(model).items())
    assert [module.training for module in model.modules()] == modes
    assert not any(module._forward_hooks for module in model.modules())
    assert [p.requires_grad for p in model.parameters()][:2] == [False, True]
    assert all(p.grad is None for p in model.parameters())
    assert torch.equal(torch.random.get_rng_state(), drawn)


def test_randomise_shuffles_what_has_no_rule_of_its_own():
    class Scale(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.arange(50.0))

    part = Scale()
    randomise(part)
    assert not torch.equal(part.weight, torch.arange(50.0))
    assert torch.equal(part.weight.sort().values, torch.arange(50.0))


def test_find_stages_goes_deeper_where_there_are_few():
    wrapped = nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3)), nn.Linear(4, 2))
    assert find_stages(wrapped) == ["1", "0.2", "0.0"]
    assert find_stages(nn.Sequential(nn.Linear(3, 3))) == ["0"]


def test_randomise_cascade_takes_gradcam_where_there_is_no_closed_form(images):
    parts = [nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 6), nn.ReLU()]
    model = nn.Sequential(*parts, nn.Linear(6, 4))
    found = randomise_cascade(seen_by(model, images, np.arange(12) % 4), 0)
    assert found.stages == ("6", "4", "0") and found.spearman.shape == (3, 12)
    assert np.isfinite(found.spearman).all() and found.spearman[-1].mean() < 0.9


def test_randomise_cascade_refuses_a_network_without_a_map(images):
    model = nn.Sequential(nn.Flatten(), nn.Linear(768, 8), nn.ReLU(), nn.Linear(8, 4))
    with pytest.raises(InputError, match="has no module that returns a map of more than one position"):
        randomise_cascade(seen_by(model, images, np.zeros(12, int)), 0)
