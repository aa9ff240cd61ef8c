"""Localisation of networks on images with boxes: predictions, maps and both checks in one call."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from ralr_viz.analysis import predictions as analysis_predictions
from ralr_viz.analysis.cam import network_maps
from ralr_viz.analysis.localisation import compute_localisation
from ralr_viz.analysis.localisation import sanity as sanity_module
from ralr_viz.analysis.localisation.faithfulness import measure_faithfulness
from ralr_viz.analysis.localisation.sanity import randomise_cascade
from ralr_viz.analysis.localisation.scores import score_maps
from ralr_viz.analysis.predictions import compute_predictions
from ralr_viz.comparison import Comparison, compare
from ralr_viz.errors import InputError


def network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    parts = [nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3)]
    return nn.Sequential(*parts)


@pytest.fixture
def pair() -> Comparison:
    rng = np.random.default_rng(0)
    corner = rng.integers(0, 4, (20, 2))
    return compare(
        {"a": network(0), "b": network(1)},
        images=rng.integers(0, 256, (20, 8, 8, 3), dtype=np.uint8),
        labels=np.arange(20) % 3,
        boxes=np.hstack([corner, corner + 3]),
        mean=(0.5,) * 3,
        std=(0.25,) * 3,
        device="cpu",
    )


def test_localisation_joins_the_maps_of_the_true_class_and_both_checks(pair: Comparison) -> None:
    seen: list[str] = []
    found = compute_localisation(
        pair,
        sanity=5,
        faithfulness=2,
        resamples=9,
        seed=3,
        progress=lambda done, total, what: seen.append(what),
    )
    predictions = compute_predictions(pair)
    few, two = pair.take(np.array([0, 4, 8, 12, 16])), np.array([0, 10])
    assert found == score_maps(
        predictions,
        pair.samples.boxes,
        (8, 8),
        sanity=[randomise_cascade(few, i, seed=3) for i in (0, 1)],
        faithfulness=[
            measure_faithfulness(pair.take(two), i, predictions[i].true_maps[two], seed=3) for i in (0, 1)
        ],
        resamples=9,
        seed=3,
    )
    assert (found.models, found.sanity_images, found.faithfulness_images) == (("a", "b"), 5, 2)
    parts = ("predictions", "random weights", "faithfulness")
    assert list(dict.fromkeys(seen)) == [f"{part} of {name}" for part in parts for name in "ab"] + ["boxes"]


def test_localisation_without_checks_runs_none(pair: Comparison) -> None:
    found = compute_localisation(pair, sanity=0, resamples=9)
    assert found.sanity.shape == (2, 0, 3) and np.isnan(found.faithfulness).all()


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({"boxes": None}, {}, "the images have no bounding boxes: pass `boxes` to `compare`"),
        (
            {"boxes": None, "dataset": "squares"},
            {},
            "`squares` has no bounding boxes: localisation needs data such",
        ),
        ({"boxes": np.full((20, 4), -1)}, {}, "0 of 20 images have a proper box"),
        ({}, {"resamples": 1}, "`resamples` = 1 must be 2 or more"),
        ({}, {"sanity": -1}, "`sanity` = -1 must be 0 or more"),
    ],
)
def test_localisation_refuses_before_the_work(
    pair: Comparison, changes: dict, options: dict, message: str
) -> None:
    pair = dataclasses.replace(pair, samples=dataclasses.replace(pair.samples, **changes))
    with pytest.raises(InputError, match=message):
        compute_localisation(pair, **options)
    assert not pair.memory


def test_localisation_refuses_images_without_label(pair: Comparison) -> None:
    unknown = dataclasses.replace(pair.samples, labels=np.full(20, -1))
    with pytest.raises(InputError, match="images without label"):
        compute_localisation(dataclasses.replace(pair, samples=unknown))


def test_localisation_of_gradcam_is_that_of_the_closed_form_where_there_is_one(
    pair: Comparison, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = compute_localisation(pair, sanity=4, resamples=9)
    for module in (analysis_predictions, sanity_module):
        monkeypatch.setattr(module, "find_cam_head", lambda model, probe: None)
    monkeypatch.setattr(network_maps, "find_cam_head", lambda model, probe: None)
    found = compute_localisation(dataclasses.replace(pair), sanity=4, resamples=9)
    for name in ("rank", "energy", "overlap", "values", "thresholds"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found.sanity, expected.sanity, atol=0.05)
    assert any("Grad-CAM at layer" in note for note in found.notes)


def test_localisation_takes_networks_of_several_linear_layers(pair: Comparison) -> None:
    torch.manual_seed(0)
    parts = [nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 6)]
    deep = nn.Sequential(*parts, nn.ReLU(), nn.Linear(6, 3))
    samples = pair.samples
    given = {"images": samples.images, "labels": samples.labels, "boxes": samples.boxes}
    compared = compare(
        {"deep": deep, "a": network(0)}, **given, mean=(0.5,) * 3, std=(0.25,) * 3, device="cpu"
    )
    seen: list[str] = []
    found = compute_localisation(
        compared, sanity=3, faithfulness=2, resamples=9, progress=lambda done, total, what: seen.append(what)
    )
    assert found.map_sizes == ((8, 8), (8, 8)) and "Grad-CAM of deep" in seen
    assert np.isfinite(found.rank).all() and found.sanity.shape[:2] == (2, 3)
