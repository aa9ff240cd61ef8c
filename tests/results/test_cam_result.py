"""The numbers behind a picture of class activation maps, and their saved form."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from ralr_viz.results.bundle import load_result, save_result
from ralr_viz.results.cam import (
    CamResult,
    distinct_parts,
    normalise_cam,
    unit_mass_maps,
)
from ralr_viz.results.interpolation import interpolate_maps


@pytest.fixture
def result() -> CamResult:
    """Two models with maps of different sizes on three images."""
    rng = np.random.default_rng(0)
    return CamResult(
        images=rng.integers(0, 256, (3, 16, 12, 3), dtype=np.uint8),
        indices=np.array([7, 1, 4]),
        labels=np.array([1, -1, 0]),
        boxes=np.array([[0, 0, 5, 7], [-1, -1, -1, -1], [-9, 3, -2, 9]], dtype=np.int16),
        class_names=("cat", "dog"),
        models=("baseline", "ralr"),
        methods=("cam", "gradcam"),
        layers=("layer3", "features.8"),
        map_sizes=((8, 6), (2, 3)),
        maps=rng.standard_normal(3 * (48 + 6)).astype(np.float32),
        targets=np.zeros((2, 3), np.int64),
        target_probabilities=np.full((2, 3), 0.5, np.float32),
        predictions=np.zeros((2, 3), np.int64),
        prediction_probabilities=np.full((2, 3), 0.5, np.float32),
        selection="3 of 10 test images, random, seed 0",
        dataset="pets",
        split="test",
        notes=("ralr: Grad-CAM at layer `features.8`",),
        provenance={"seed": 0},
    )


def naive_display(cam: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """One image, with OpenCV, step by step as `grad-cam` does it."""
    cam = np.maximum(cam / cam.size, 0)
    for resize in (True, False):
        cam = cam - cam.min()
        cam = cam / (1e-7 + cam.max())
        if resize:
            cam = cv2.resize(np.float32(cam), size[::-1])
    return cam


@pytest.mark.parametrize("scale", [1.0, 1e-5, 1e-12])
def test_normalise_cam_equals_a_naive_twin(scale: float) -> None:
    raw = (scale * np.random.default_rng(1).standard_normal((6, 5, 7))).astype(np.float32)
    raw[2] = -abs(raw[2])
    maps = normalise_cam(raw, (30, 50))
    assert (maps.shape, maps.dtype) == ((6, 30, 50), np.float32)
    expected = np.stack([naive_display(cam, (30, 50)) for cam in raw])
    np.testing.assert_allclose(maps, expected, atol=2e-6)
    assert (maps[2] == 0).all()
    assert maps.min() == 0
    assert maps.max() <= 1


def test_normalise_cam_of_a_constant_map_is_zero() -> None:
    """Min-max hides an offset: a map that is the same everywhere has nothing to show."""
    assert (normalise_cam(np.full((1, 4, 4), 3.0, np.float32), (8, 8)) == 0).all()


def test_cam_result_reads_each_models_maps(result: CamResult) -> None:
    assert result.raw_maps(0).shape == (3, 8, 6)
    assert result.raw_maps(1).shape == (3, 2, 3)
    np.testing.assert_array_equal(
        np.concatenate([result.raw_maps(0).ravel(), result.raw_maps(1).ravel()]), result.maps
    )
    assert result.display_maps(1).shape == (3, 16, 12)
    for numbers in (
        result.energy_in_box(0),
        result.rank_accuracy(1),
        result.centre_energy_in_box(),
        result.centre_rank_accuracy(),
    ):
        np.testing.assert_array_equal(np.isnan(numbers), [False, True, True])
    np.testing.assert_allclose(result.box_area()[0], 48 / 192)


def test_unit_mass_maps_are_the_positive_part_over_its_sum() -> None:
    raw = np.array([[[1.0, -3.0], [2.0, 1.0]], [[-1.0, -1.0], [0.0, -2.0]]], np.float32)
    np.testing.assert_allclose(unit_mass_maps(raw, (2, 2))[0], [[0.25, 0], [0.5, 0.25]])
    np.testing.assert_array_equal(unit_mass_maps(raw, (2, 4))[1], np.full((2, 4), 1 / 8))  # uniform
    # the ReLU comes before the interpolation: the other order loses mass between positions of unlike signs
    pixels = np.maximum(raw[:1], 0).astype(float)
    np.testing.assert_allclose(
        unit_mass_maps(raw, (5, 7))[0],
        interpolate_maps(pixels, (5, 7))[0] / interpolate_maps(pixels, (5, 7)).sum(),
    )


def test_difference_maps_are_what_a_model_has_more_of_than_the_first(result: CamResult) -> None:
    difference = result.difference_maps(1)
    size = result.image_size
    expected = unit_mass_maps(result.raw_maps(1), size) - unit_mass_maps(result.raw_maps(0), size)
    np.testing.assert_array_equal(difference, expected)
    np.testing.assert_allclose(difference.sum((1, 2)), 0, atol=1e-12)
    assert (result.difference_maps(0) == 0).all()
    # what it has more inside the box is the difference of the energies
    np.testing.assert_allclose(
        difference[0, :8, :6].sum(), (result.energy_in_box(1) - result.energy_in_box(0))[0], atol=1e-6
    )


def test_moved_mass_is_one_between_disjoint_maps_and_zero_between_scaled_ones(result: CamResult) -> None:
    left, right = np.zeros((3, 16, 12), np.float32), np.zeros((3, 16, 12), np.float32)
    left[:, :, :6], right[:, :, 6:] = 3, 0.1
    left[2] = right[2] * 7
    same = replace(result, map_sizes=((16, 12),) * 2, maps=np.concatenate([left.ravel(), right.ravel()]))
    np.testing.assert_allclose(same.moved_mass(1), [1, 1, 0], atol=1e-7)
    assert (same.moved_mass(0) == 0).all()


@pytest.mark.parametrize(
    ("a", "b", "parts"),
    [
        ("baseline", "ralr", ("baseline", "ralr")),
        ("baseline, seed 0, epoch 20", "ralr, seed 0, epoch 20", ("baseline", "ralr")),
        ("ralr, seed 0, epoch 13", "ralr, seed 0, epoch 20", ("epoch 13", "epoch 20")),
        ("ralr, seed 0, epoch 13", "scaled, seed 0, epoch 20", ("ralr, epoch 13", "scaled, epoch 20")),
        ("ralr", "ralr, seed 1", ("ralr", "ralr, seed 1")),
        ("x", "x", ("x", "x")),
    ],
)
def test_distinct_parts_leaves_out_what_two_names_share(a: str, b: str, parts: tuple[str, str]) -> None:
    assert distinct_parts(a, b) == parts


def test_cam_result_without_boxes_has_no_energy(result: CamResult) -> None:
    bare = replace(result, boxes=None)
    assert np.isnan(bare.energy_in_box(1)).all()
    assert np.isnan(bare.box_area()).all()
    assert np.isnan(bare.rank_accuracy(0)).all()


def test_cam_result_names_a_class_without_a_name_by_its_number(result: CamResult) -> None:
    assert [result.class_name(i) for i in (0, 1, 2)] == ["cat", "dog", "2"]


def test_load_result_reads_results_from_before_differences(result: CamResult, tmp_path: Path) -> None:
    saved = save_result(result, tmp_path / "cam")
    manifest = saved / "manifest.json"
    text = manifest.read_text()
    assert '"difference": false' in text
    manifest.write_text(text.replace(',\n    "difference": false', ""))
    assert "difference" not in manifest.read_text()
    assert load_result(saved) == result


@pytest.mark.parametrize("boxes", [True, False])
def test_cam_result_survives_saving(result: CamResult, boxes: bool, tmp_path: Path) -> None:
    result = result if boxes else replace(result, boxes=None)
    assert load_result(save_result(result, tmp_path / "cam")) == result
