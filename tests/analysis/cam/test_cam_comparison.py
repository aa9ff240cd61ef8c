"""Maps of several networks on the same images, of the same classes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from ralr_viz.analysis.cam import check as cam_check
from ralr_viz.analysis.cam import compute_cam
from ralr_viz.analysis.cam.network_maps import explain
from ralr_viz.comparison import Comparison, compare
from ralr_viz.errors import InputError, RalrVizError, UnknownNameError
from ralr_viz.models.wrn import WideResNet

SCALE = {"mean": (0.5, 0.45, 0.4), "std": (0.25, 0.2, 0.3)}
IMAGES = np.random.default_rng(0).integers(0, 256, (6, 32, 24, 3), dtype=np.uint8)
LABELS = np.array([0, 3, 6, 2, 1, 5])


@pytest.fixture(scope="module")
def networks() -> dict[str, nn.Module]:
    torch.manual_seed(0)
    narrow = nn.Sequential(nn.Conv2d(3, 2, 3, 5), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 7))
    return {"wide": WideResNet(10, 1, 7), "narrow": narrow}


def pair(networks: dict[str, nn.Module], **given) -> Comparison:
    return compare(networks, images=IMAGES, device="cpu", **(SCALE | given))


def test_compute_cam_keeps_the_maps_of_each_network(networks: dict[str, nn.Module]) -> None:
    boxes = np.tile([1, 2, 9, 9], (6, 1))
    result = compute_cam(
        pair(networks, labels=LABELS, boxes=boxes, class_names=tuple("abcdefg")), difference=True
    )
    assert (result.models, result.methods, result.layers) == (
        ("wide", "narrow"),
        ("cam", "cam"),
        ("relu", "0"),
    )
    assert result.map_sizes == ((8, 6), (6, 5))
    assert result.difference and result.checks == ()
    for i, model in enumerate(networks.values()):
        cam = explain(model, IMAGES, targets=LABELS, **SCALE)
        np.testing.assert_array_equal(result.raw_maps(i), cam.raw)
        np.testing.assert_array_equal(result.predictions[i], cam.prediction)
        np.testing.assert_array_equal(result.target_probabilities[i], cam.target_probability)
    assert result.targets.tolist() == [LABELS.tolist()] * 2
    wide, narrow = ([n for n in result.notes if n.startswith(name)] for name in ("wide: ", "narrow: "))
    assert result.remarks() == ["wide: cam at `relu`", *wide, "narrow: cam at `0`", *narrow]
    assert narrow[0].startswith("narrow: the map has 6×5 positions")
    assert result.describe()[0].startswith("wide: energy in box ")
    assert [c["name"] for c in result.provenance["checkpoints"]] == ["wide", "narrow"]
    assert (result.provenance["device"], result.provenance["precision"]) == ("cpu", "fp32")


def test_compute_cam_explains_one_class_in_every_row(networks: dict[str, nn.Module]) -> None:
    """What is asked for, else the true class, else the first network's prediction."""
    unknown = compute_cam(pair(networks))
    assert unknown.targets.tolist() == [unknown.predictions[0].tolist()] * 2
    assert unknown.predictions[0].tolist() != unknown.predictions[1].tolist()
    labels = np.array([0, -1, 6, -1, 1, 5])
    some = compute_cam(pair(networks, labels=labels))
    assert some.targets[1].tolist() == np.where(labels < 0, unknown.predictions[0], labels).tolist()
    asked = compute_cam(pair(networks, labels=labels), targets=np.array([2, 2, -1, -1, 2, 2]))
    expected = [2, 2, 6, unknown.predictions[0][3], 2, 2]
    assert asked.targets.tolist() == [expected] * 2


def test_compute_cam_of_networks_of_different_normalisation_uses_each_ones_own(
    networks: dict[str, nn.Module],
) -> None:
    both = pair({"a": networks["wide"], "b": networks["wide"]}, labels=LABELS)
    other = replace(both.networks[1], mean=(0.1, 0.2, 0.3))
    result = compute_cam(replace(both, networks=(both.networks[0], other)))
    expected = explain(networks["wide"], IMAGES, targets=LABELS, mean=(0.1, 0.2, 0.3), std=SCALE["std"])
    np.testing.assert_array_equal(result.raw_maps(1), expected.raw)
    assert abs(result.raw_maps(0) - result.raw_maps(1)).max() > 1e-3


def test_compute_cam_says_how_far_the_methods_that_take_minutes_are(networks: dict[str, nn.Module]) -> None:
    one = pair({"wide": networks["wide"]})
    for method, expected in (("gradcam", []), ("ablationcam", [(i, 6, "wide") for i in range(1, 7)])):
        said: list[tuple[int, int, str]] = []
        compute_cam(one, method=method, progress=lambda *what, said=said: said.append(what))
        assert said == expected


def test_compute_cam_keeps_what_it_verified(
    networks: dict[str, nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    two = pair(networks)
    result = compute_cam(two, verify=True)
    np.testing.assert_array_equal(result.maps, compute_cam(two).maps)
    assert result.describe() == list(result.checks)
    assert result.checks[1].startswith("narrow: CAM at `0` drawn as grad-cam's Grad-CAM within ")
    monkeypatch.setattr(cam_check, "normalise_cam", lambda raw, size: np.zeros((len(raw), *size)))
    with pytest.raises(RalrVizError, match="wide: the drawn maps differ from those of grad-cam by 1.0e"):
        compute_cam(two, verify=True)


def test_compute_cam_refuses_bad_options(networks: dict[str, nn.Module]) -> None:
    one = pair({"wide": networks["wide"]})
    with pytest.raises(UnknownNameError, match="unknown CAM method `grad-cam`: did you mean `gradcam`"):
        compute_cam(one, method="grad-cam")
    with pytest.raises(InputError, match="subtracts the first checkpoint's maps, got 1"):
        compute_cam(one, difference=True)
    with pytest.raises(InputError, match="one integer for each of the 6 images"):
        compute_cam(one, targets=np.array([0]))
    with pytest.raises(UnknownNameError, match="unknown layer `layer9`"):
        compute_cam(one, layer="layer9")
