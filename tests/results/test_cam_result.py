"""The numbers behind a picture of class activation maps, and their saved form."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ralr_viz.errors import InputError
from ralr_viz.results.bundle import load_result, save_result
from ralr_viz.results.cam import CamResult, bilinear_weights, box_area, energy_in_box, normalise_cam

sizes = st.integers(1, 20)


@pytest.fixture
def result() -> CamResult:
    """Two models with maps of different sizes on three images."""
    rng = np.random.default_rng(0)
    return CamResult(
        images=rng.integers(0, 256, (3, 16, 12, 3), dtype=np.uint8),
        indices=np.array([7, 1, 4]),
        labels=np.array([1, -1, 0]),
        boxes=np.array([[0, 0, 5, 7], [-1, -1, -1, -1], [3, 3, 3, 9]], dtype=np.int16),
        class_names=("cat", "dog"),
        models=("baseline", "ralr"),
        methods=("cam", "grad-cam"),
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


@given(n_in=sizes, n_out=sizes)
def test_bilinear_weights_equal_torch(n_in: int, n_out: int) -> None:
    identity = torch.eye(n_in)[:, None]  # each row a signal with one peak
    expected = torch.nn.functional.interpolate(identity, n_out, mode="linear", align_corners=False)[:, 0].T
    np.testing.assert_allclose(bilinear_weights(n_in, n_out), expected, atol=1e-5)


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


def naive_energy(cam: np.ndarray, box: np.ndarray, size: tuple[int, int]) -> float:
    pixels = torch.nn.functional.interpolate(
        torch.from_numpy(np.maximum(cam, 0)).double()[None, None], size, mode="bilinear", align_corners=False
    )[0, 0]
    x0, y0, x1, y1 = (int(v) for v in box)
    return float(pixels[y0 : y1 + 1, x0 : x1 + 1].sum() / pixels.sum())


@given(seed=st.integers(0, 1000), h=st.integers(1, 9), w=st.integers(1, 9))
def test_energy_in_box_equals_the_sum_over_pixels(seed: int, h: int, w: int) -> None:
    rng = np.random.default_rng(seed)
    raw = rng.standard_normal((5, h, w)).astype(np.float32) + 0.5
    corner = rng.integers(0, [10, 14], (5, 2))
    boxes = np.hstack([corner, corner + rng.integers(1, 6, (5, 2))])
    energy = energy_in_box(raw, boxes, (20, 16))
    for i in range(5):
        if (raw[i] > 0).any():
            assert energy[i] == pytest.approx(naive_energy(raw[i], boxes[i], (20, 16)), abs=1e-6)


def test_energy_in_box_of_a_uniform_or_zero_map_is_the_area() -> None:
    raw = np.stack([np.ones((4, 4)), np.zeros((4, 4)), -np.ones((4, 4))]).astype(np.float32)
    boxes = np.array([[2, 3, 9, 12]] * 3)
    area = 8 * 10 / (16 * 20)
    np.testing.assert_allclose(box_area(boxes, (20, 16)), area)
    np.testing.assert_allclose(energy_in_box(raw, boxes, (20, 16)), area, atol=1e-6)


def test_energy_in_box_of_the_whole_image_is_one_and_halves_add_up() -> None:
    raw = np.random.default_rng(0).standard_normal((1, 5, 5)).astype(np.float32)
    left, right, whole = ([0, 0, 5, 15], [6, 0, 15, 15], [0, 0, 15, 15])
    parts = [energy_in_box(raw, np.array([box]), (16, 16))[0] for box in (left, right, whole)]
    assert parts[2] == pytest.approx(1)
    assert parts[0] + parts[1] == pytest.approx(1)


def test_box_area_is_nan_without_a_proper_box() -> None:
    boxes = np.array([[-1, -1, -1, -1], [3, 2, 3, 9], [3, 9, 8, 9], [0, 0, 16, 5], [0, 0, 15, 15]], np.int16)
    np.testing.assert_array_equal(box_area(boxes, (16, 16)), [np.nan, np.nan, np.nan, np.nan, 1.0])
    energy = energy_in_box(np.ones((5, 2, 2), np.float32), boxes, (16, 16))
    np.testing.assert_array_equal(np.isnan(energy), [True, True, True, True, False])


def test_cam_result_reads_each_models_maps(result: CamResult) -> None:
    assert result.raw_maps(0).shape == (3, 8, 6)
    assert result.raw_maps(1).shape == (3, 2, 3)
    np.testing.assert_array_equal(
        np.concatenate([result.raw_maps(0).ravel(), result.raw_maps(1).ravel()]), result.maps
    )
    assert result.display_maps(1).shape == (3, 16, 12)
    np.testing.assert_array_equal(np.isnan(result.energy_in_box(0)), [False, True, True])
    np.testing.assert_allclose(result.box_area()[0], 48 / 192)


def test_cam_result_without_boxes_has_no_energy(result: CamResult) -> None:
    bare = replace(result, boxes=None)
    assert np.isnan(bare.energy_in_box(1)).all()
    assert np.isnan(bare.box_area()).all()


def test_cam_result_names_a_class_without_a_name_by_its_number(result: CamResult) -> None:
    assert [result.class_name(i) for i in (0, 1, 2)] == ["cat", "dog", "2"]


@pytest.mark.parametrize("boxes", [True, False])
def test_cam_result_survives_saving(result: CamResult, boxes: bool, tmp_path: Path) -> None:
    result = result if boxes else replace(result, boxes=None)
    assert load_result(save_result(result, tmp_path / "cam")) == result


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("indices", np.arange(2)),
        ("maps", np.zeros(7, np.float32)),
        ("targets", np.zeros((3, 2), np.int64)),
        ("boxes", np.zeros((3, 2), np.int16)),
        ("layers", ("layer3",)),
        ("models", ()),
        ("images", np.zeros((3, 16, 12), np.uint8)),
    ],
)
def test_cam_result_refuses_shapes_that_do_not_fit(result: CamResult, field: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"`{field}`"):
        replace(result, **{field: value})


def test_load_result_calls_a_cam_result_of_other_shapes_damaged(result: CamResult, tmp_path: Path) -> None:
    saved = save_result(result, tmp_path / "cam")
    manifest = saved / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"features.8"', '"a", "b"'))
    with pytest.raises(InputError, match="is damaged: `layers` has 3 entries for 2 models"):
        load_result(saved)
