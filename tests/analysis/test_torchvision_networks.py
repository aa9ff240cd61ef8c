"""Small networks of torchvision's families: which layers are looked at, and that everything that looks at images does."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models import ConvNeXt, VisionTransformer
from torchvision.models.convnext import CNBlockConfig

from ralr_viz.analysis.activations import compute_activations
from ralr_viz.analysis.cam import compute_cam
from ralr_viz.analysis.predictions import compute_predictions
from ralr_viz.analysis.similarity import compute_similarity
from ralr_viz.comparison import Comparison, compare
from ralr_viz.models import build_model

TOKENS = [f"encoder.layers.encoder_layer_{i}" for i in (1, 3, 5, 7)]
FAMILIES: dict[str, tuple[Callable[[], nn.Module], str, tuple[int, int], list[str], str]] = {
    "vit": (
        lambda: VisionTransformer(64, 8, 8, 2, 16, 32, num_classes=5),
        "encoder.layers.encoder_layer_7.ln_1", (8, 8), TOKENS, "heads.head",
    ),
    "convnext": (
        lambda: ConvNeXt([CNBlockConfig(8, 16, 1), CNBlockConfig(16, None, 1)], num_classes=5),
        "features", (8, 8), ["features.1", "features"], "classifier.2",
    ),
    "mobilenet": (
        lambda: build_model("torchvision:mobilenet_v3_small", 5),
        "features", (2, 2), ["features.0", "features.1", "features.3", "features.8", "features"], "classifier.3",
    ),
}  # fmt: skip


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> tuple[str, Comparison]:
    torch.manual_seed(0)
    model = FAMILIES[request.param][0]()
    head = model.get_submodule(FAMILIES[request.param][4])
    assert isinstance(head, nn.Linear)
    nn.init.normal_(head.weight)  # a transformer's starts at zero, and then nothing says anything
    images = np.random.default_rng(0).integers(0, 256, (6, 64, 64, 3), dtype=np.uint8)
    given = {"labels": np.arange(6) % 5, "mean": (0.5,) * 3, "std": (0.25,) * 3, "device": "cpu"}
    return request.param, compare([model, model], images=images, **given)  # type: ignore[arg-type]


def test_the_last_map_explains(family: tuple[str, Comparison]) -> None:
    name, pair = family
    _, layer, size, _, _ = FAMILIES[name]
    result = compute_cam(pair, verify=True)
    assert set(result.layers) == {layer} and set(result.map_sizes) == {size}
    assert all(np.ptp(image_map) > 0 for image_map in result.raw_maps(0))


def test_activations_are_of_the_ends_of_stages(family: tuple[str, Comparison]) -> None:
    name, pair = family
    result = compute_activations(pair)
    assert list(result.layers[0]) == FAMILIES[name][3]
    assert all(len(shape) == 3 for shape in result.shapes[0])


def test_features_are_what_the_classifier_reads(family: tuple[str, Comparison]) -> None:
    name, pair = family
    assert compute_predictions(pair)[0].feature_layer == FAMILIES[name][4]


def test_similarity_takes_blocks(family: tuple[str, Comparison]) -> None:
    assert len(compute_similarity(family[1], minibatch=6).layers) >= 2
