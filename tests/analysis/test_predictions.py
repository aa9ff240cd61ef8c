"""Predictions against separate forward passes, and what a network without a linear head gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from ralr_viz.analysis.cam.network_maps import explain
from ralr_viz.analysis.predictions import compute_predictions
from ralr_viz.comparison import Progress, compare
from ralr_viz.errors import InputError
from ralr_viz.models import build_model
from ralr_viz.results.predictions import PredictionsResult

MEAN, STD = (0.5, 0.45, 0.4), (0.25, 0.2, 0.3)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (10, 32, 24, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def labels() -> np.ndarray:
    return np.array([0, 1, 2, 3, 4, 0, 1, 2, 3, -1])


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    return build_model("resnet20", 5)


def predict(
    model: nn.Module,
    images: np.ndarray,
    labels: np.ndarray | None = None,
    *,
    progress: Progress | None = None,
    **given,
) -> PredictionsResult:
    (found,) = compute_predictions(
        compare({"mine": model}, images=images, labels=labels, **({"mean": MEAN, "std": STD} | given)),
        progress,
    )
    return found


def normalised(images: np.ndarray) -> torch.Tensor:
    x = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
    return (x - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]


def test_compute_predictions_equals_separate_passes(
    network: nn.Module, images: np.ndarray, labels: np.ndarray
) -> None:
    done: list[tuple[int, int, str]] = []
    found = predict(network, images, labels, batch=4, progress=lambda *step: done.append(step))
    assert done == [(n, 10, "predictions of mine") for n in (4, 8, 10)]
    network.eval()
    with torch.no_grad():
        logits = network(normalised(images))
        weight, bias = network.linear.weight, network.linear.bias
        # the features are what the classifier reads
        torch.testing.assert_close(
            nn.functional.linear(torch.from_numpy(found.features.copy()), weight, bias),
            logits,
            rtol=1e-4,
            atol=1e-4,
        )
    np.testing.assert_allclose(found.logits, logits.numpy(), rtol=1e-4, atol=1e-4)
    assert (found.feature_layer, found.map_layer, found.model) == ("linear", "layer3", "mine")
    true = explain(network, images, mean=MEAN, std=STD, targets=labels)
    predicted = explain(network, images, mean=MEAN, std=STD)
    np.testing.assert_allclose(found.true_maps, true.raw, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found.predicted_maps, predicted.raw, rtol=1e-4, atol=1e-4)
    assert found.predicted.tolist() == predicted.prediction.tolist()
    np.testing.assert_allclose(found.true_probability[:9], true.target_probability[:9], rtol=1e-4, atol=1e-6)
    assert np.isnan(found.true_probability[9])
    known = labels >= 0
    assert found.accuracy == pytest.approx(100 * (logits.argmax(1).numpy() == labels)[known].mean())
    np.testing.assert_allclose(
        found.loss[:9],
        nn.functional.cross_entropy(logits[:9], torch.from_numpy(labels[:9]), reduction="none"),
        rtol=1e-4,
        atol=1e-6,
    )


@pytest.mark.parametrize(
    ("head", "layer", "width", "has_maps"),
    [
        (lambda: nn.Sequential(nn.Flatten(), nn.Linear(4 * 7 * 7, 9), nn.ReLU(), nn.Linear(9, 3)), "2.3", 9, False),
        (lambda: nn.Sequential(nn.Conv2d(4, 3, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()), "2.0", 3, False),
        (lambda: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)), "2.2", 4, True),
    ],
    ids=["two linear layers", "a convolution as classifier", "pooling and a linear layer"],
)  # fmt: skip
def test_compute_predictions_finds_the_features_of_any_head(head, layer, width, has_maps) -> None:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Conv2d(3, 4, 2), nn.ReLU(), head())
    pictures = np.random.default_rng(2).integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)
    found = predict(model, pictures)
    assert (found.feature_layer, found.features.shape, found.has_maps) == (layer, (6, width), has_maps)
    assert found.notes == ((f"features are the mean of the map of `{layer}`",) if layer == "2.0" else ())
    with torch.no_grad():
        x = model[:2](normalised(pictures))
        expected = {
            "2.3": lambda: model[2][:3](x),
            "2.0": lambda: model[2][0](x).mean((2, 3)),
            "2.2": lambda: x.mean((2, 3)),
        }[layer]()
    np.testing.assert_allclose(found.features, expected, rtol=1e-5, atol=1e-6)


def test_compute_predictions_leaves_no_trace_also_when_it_fails(
    network: nn.Module, images: np.ndarray
) -> None:
    network.train()
    network.layer2.eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    predict(network, images)
    with pytest.raises(RuntimeError, match="stop"):
        predict(network, images, progress=_stop)
    assert network.training and not network.layer2.training and network.layer3.training
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert all(not module._forward_hooks for module in network.modules())
    assert all(p.grad is None and p.requires_grad for p in network.parameters())


def _stop(done: int, total: int, what: str) -> None:
    raise RuntimeError("stop")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": np.zeros((2, 8, 8), np.uint8)}, "takes uint8 RGB images"),
        ({"labels": np.array([0, 5] * 5)}, "target class 5 is outside the network's 5 classes"),
        ({"std": (0.1, 0.0, 0.1)}, "`std` = (0.1, 0.0, 0.1) must be three positive numbers"),
        ({"batch": 0}, "`batch` = 0 must be at least 1"),
    ],
)
def test_compute_predictions_refuses_bad_input(network, images, changes, message) -> None:
    with pytest.raises(InputError) as error:
        predict(network, **({"images": images} | changes))
    assert message in str(error.value)


def test_compute_predictions_refuses_networks_without_features_or_finite_outputs(images: np.ndarray) -> None:
    class Bare(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.mean((2, 3))

    with pytest.raises(InputError, match="ends in no `nn.Linear` and has no feature map"):
        predict(Bare(), images)
    broken = nn.Sequential(nn.Conv2d(3, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2))
    nn.init.constant_(broken[0].weight, torch.inf)
    with pytest.raises(InputError, match="not finite on 10 of 10 images"):
        predict(broken, images)
    nn.init.constant_(broken[0].weight, 1e30)
    nn.init.constant_(broken[3].weight, 1e-30)
    with pytest.raises(InputError, match=r"the features reach \d.*e\+3\d, whose squares overflow float32"):
        predict(broken, images)


def test_compute_predictions_takes_pictures_of_one_size_in_a_list(images: np.ndarray) -> None:
    network = nn.Sequential(nn.Conv2d(3, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2))
    whole = predict(network, images)
    np.testing.assert_array_equal(predict(network, list(images)).logits, whole.logits)
    with pytest.raises(InputError, match="`images` are of several sizes"):
        predict(network, [images[0], images[1, :5]])  # type: ignore[arg-type]


def test_a_comparison_remembers_predictions_of_the_network_as_it_was(images: np.ndarray) -> None:
    network = nn.Sequential(nn.Conv2d(3, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2))
    pair = compare({"mine": network}, images=images, mean=MEAN, std=STD)
    steps: list[int] = []
    (first,) = compute_predictions(pair, lambda done, total, what: steps.append(done))
    nn.init.zeros_(network[3].weight)  # of the caller's own: the comparison has what it was
    (second,) = compute_predictions(pair, lambda done, total, what: steps.append(done))
    assert steps == [10]
    np.testing.assert_array_equal(first.logits, second.logits)
    assert not np.allclose(first.logits, predict(network, images).logits)
