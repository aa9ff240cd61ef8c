"""How far two networks are apart: against closed forms, a literal twin, and networks that are the same function."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ralr_viz.analysis import predictions as predicting
from ralr_viz.analysis.distance import compute_distance
from ralr_viz.comparison import compare
from ralr_viz.errors import InputError
from ralr_viz.results.distance import jensen_shannon

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
RNG = np.random.default_rng(0)
IMAGES, LABELS = RNG.integers(0, 256, (60, 8, 8, 3), dtype=np.uint8), RNG.integers(0, 3, 60)


def network(seed: int = 0, width: int = 6) -> nn.Sequential:
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(3, width, 3),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(width, 3),
    )
    with torch.no_grad():
        model[1].running_mean.normal_()
        model[1].running_var.uniform_(0.5, 2)
        model[5].weight.mul_(4)
    return model.eval()


def compute(*ends: nn.Module, labels=LABELS, **options):
    compared = compare(list(ends), images=IMAGES, labels=labels, mean=MEAN, std=STD, device="cpu")
    return compute_distance(compared, **options)


def values(result) -> dict[str, np.ndarray]:
    return {measure.name: measure.values for measure in result.measures()}


def log_probabilities(model: nn.Module) -> np.ndarray:
    x = ((torch.from_numpy(IMAGES).float() / 255 - torch.tensor(MEAN)) / torch.tensor(STD)).permute(
        0, 3, 1, 2
    )
    with torch.no_grad():
        return model(x).double().log_softmax(1).numpy()


def test_a_network_is_no_distance_from_itself():
    model = network()
    result = compute(model, copy.deepcopy(model))
    found = values(result)
    for name in ("distance", "relative_distance", "angle", "disagreement", "divergence"):
        assert found[name] == 0, name
    assert found["error_agreement"] == 100 and found["kappa"] == 1 and found["expected_agreement"] < 100
    assert not result.layer_distances.any() and not result.layer_angles.any()
    assert any(
        "no prediction of 60 differs, so that less than 4.9 % do" in line for line in result.describe()
    )


def test_the_scale_before_a_batchnorm_is_a_distance_of_the_weights_and_of_nothing_else():
    model = network()
    scaled = copy.deepcopy(model)
    with torch.no_grad():  # the same function: what a BatchNorm takes away
        scaled[1].eps *= 4
        for tensor in (scaled[0].weight, scaled[0].bias, scaled[1].running_mean):
            tensor.mul_(2)
        scaled[1].running_var.mul_(4)
    result = compute(model, scaled)
    found = values(result)
    assert found["disagreement"] == 0 and found["divergence"] == pytest.approx(0, abs=1e-9)
    assert found["distance"] > 0
    assert result.layers == ("0", "5")
    assert result.layer_relative[0] == pytest.approx([200 / 3, 0])  # ‖2w − w‖ over 1.5‖w‖
    assert result.layer_angles[0] == pytest.approx([0, 0], abs=1e-9)


def test_running_statistics_are_no_distance_of_weights_but_of_predictions():
    model = network()
    other = copy.deepcopy(model)
    with torch.no_grad():
        other[1].running_mean.add_(1)
    found = values(compute(model, other))
    assert found["distance"] == 0 and found["divergence"] > 1e-4


def test_distances_are_a_literal_twins():
    first, second = network(0), network(1)
    result = compute(first, second)
    a, b = (torch.cat([p.detach().double().ravel() for p in net.parameters()]) for net in (first, second))
    found = values(result)
    assert found["distance"] == pytest.approx((b - a).norm().item())
    assert found["relative_distance"] == pytest.approx(200 * ((b - a).norm() / (a.norm() + b.norm())).item())
    assert found["angle"] == pytest.approx(math.degrees(math.acos(a @ b / a.norm() / b.norm())))
    p, q = (log_probabilities(net) for net in (first, second))
    differ = together = right_p = right_q = 0
    divergence = []
    for row_p, row_q, label in zip(p, q, LABELS, strict=True):
        m = (np.exp(row_p) + np.exp(row_q)) / 2
        divergence.append(sum(0.5 * np.exp(row) @ (row - np.log(m)) for row in (row_p, row_q)))
        one, other = row_p.argmax(), row_q.argmax()
        differ += one != other
        together += (one == label) == (other == label)
        right_p += one == label
        right_q += other == label
    n = len(LABELS)
    np.testing.assert_allclose(result.divergence[0], divergence, rtol=1e-4, atol=1e-7)
    assert found["disagreement"] == pytest.approx(100 * differ / n)
    expected = right_p / n * right_q / n + (1 - right_p / n) * (1 - right_q / n)
    assert found["error_agreement"] == pytest.approx(100 * together / n)
    assert found["expected_agreement"] == pytest.approx(100 * expected)
    assert found["kappa"] == pytest.approx((together / n - expected) / (1 - expected))
    for measure in result.measures()[2:7]:
        low, high = measure.interval(0)[1:]
        assert low <= measure.values[0] <= high, measure.name


@given(st.lists(st.tuples(st.floats(-8, 8), st.floats(-8, 8), st.floats(-8, 8)), min_size=2, max_size=2))
def test_jensen_shannon_is_symmetric_and_between_zero_and_the_logarithm_of_two(rows):
    p, q = (torch.tensor([row], dtype=torch.float64).log_softmax(1).numpy() for row in rows)
    there, back = jensen_shannon(p, q), jensen_shannon(q, p)
    np.testing.assert_allclose(there, back, atol=1e-15)
    assert 0 <= there[0] <= math.log(2) and jensen_shannon(p, p) == 0


def test_jensen_shannon_of_disjoint_distributions_is_the_logarithm_of_two():
    apart = np.array([[0.0, -800.0]])
    assert jensen_shannon(apart, apart[:, ::-1]) == pytest.approx(math.log(2))


def test_errors_of_networks_without_errors_have_no_consistency():
    model = network()
    own = log_probabilities(model).argmax(1)
    found = values(compute(model, copy.deepcopy(model), labels=own))
    assert found["error_agreement"] == found["expected_agreement"] == 100 and np.isnan(found["kappa"]).all()


def test_a_network_of_several_pairs_is_run_once(monkeypatch):
    asked = []
    real = predicting._predict
    monkeypatch.setattr(predicting, "_predict", lambda c, n, p: asked.append(n.name) or real(c, n, p))
    first, second, third = network(0), network(1), network(2)
    result = compute(first, second, first, third, first, second, null_pairs=1)
    assert len(asked) == 3
    assert result.null == (False, False, True) and result.notes == ()
    np.testing.assert_array_equal(result.predicted[0], result.predicted[2])


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(InputError, match="has other weights than the first network"):
        compute(network(), network(width=4))
    with pytest.raises(InputError, match="every pair takes two"):
        compute(network())
    with pytest.raises(InputError, match="images without label"):
        compute(network(0), network(1), labels=None)
