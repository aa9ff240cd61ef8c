"""How well maps point at masks: a rectangle gives what its box gives, and slow twins the rest."""

from __future__ import annotations

import numpy as np
import pytest

from ralr_viz.results.box_metrics import (
    box_area,
    centre_energy_in_box,
    centre_pointing_accuracy,
    centre_rank_accuracy,
    energy_in_box,
    pointing_accuracy,
    rank_accuracy,
)
from ralr_viz.results.interpolation import interpolate_maps
from ralr_viz.results.mask_metrics import (
    centre_in_mask,
    energy_in_mask,
    mask_area,
    mask_boxes,
    pointing_in_mask,
    rank_in_mask,
)

SIZE = (12, 16)


def scene() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    start = rng.integers(0, 6, (30, 2))
    boxes = np.hstack([start, start + rng.integers(1, 6, (30, 2))]).astype(np.int16)
    masks = np.zeros((30, *SIZE), bool)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes, strict=True):
        mask[y0 : y1 + 1, x0 : x1 + 1] = True
    raw = np.round(rng.standard_normal((30, 3, 4)), 1).astype(np.float32)
    raw[0], raw[1] = 0, -1
    return boxes, masks, raw


def test_mask_of_a_rectangle_gives_what_its_box_gives():
    boxes, masks, raw = scene()
    np.testing.assert_array_equal(mask_boxes(masks), boxes)
    np.testing.assert_allclose(mask_area(masks), box_area(boxes, SIZE))
    np.testing.assert_array_equal(rank_in_mask(raw, masks), rank_accuracy(raw, boxes, SIZE))
    np.testing.assert_allclose(energy_in_mask(raw, masks), energy_in_box(raw, boxes, SIZE), rtol=1e-5)
    np.testing.assert_allclose(pointing_in_mask(raw, masks), pointing_accuracy(raw, boxes, SIZE))
    centre = centre_in_mask(masks)
    np.testing.assert_array_equal(centre["rank"], centre_rank_accuracy(boxes, SIZE))
    np.testing.assert_allclose(centre["energy"], centre_energy_in_box(boxes, SIZE))
    np.testing.assert_allclose(centre["pointing"], centre_pointing_accuracy(boxes, SIZE))


def test_mask_numbers_equal_slow_twins_of_any_shape():
    _, _, raw = scene()
    masks = np.random.default_rng(2).random((30, *SIZE)) < 0.3
    for cam, mask, rank, energy in zip(
        raw[2:], masks[2:], rank_in_mask(raw, masks)[2:], energy_in_mask(raw, masks)[2:], strict=True
    ):
        pixels, positive = (interpolate_maps(m, SIZE) for m in (cam, np.maximum(cam, 0)))
        assert energy == pytest.approx(positive[mask].sum() / positive.sum())
        order = np.argsort(-pixels.ravel(), kind="stable")
        cut = pixels.ravel()[order[mask.sum() - 1]]
        sure, tied = pixels > cut, pixels == cut
        expected = sure[mask].sum() + (mask.sum() - sure.sum()) * tied[mask].sum() / tied.sum()
        assert rank == pytest.approx(expected / mask.sum())


def test_empty_mask_has_no_number():
    raw, masks = np.ones((1, 3, 4), np.float32), np.zeros((1, *SIZE), bool)
    assert mask_boxes(masks).tolist() == [[-1] * 4] and np.isnan(mask_area(masks)).all()
    for number in (rank_in_mask, energy_in_mask, pointing_in_mask):
        assert np.isnan(number(raw, masks)).all()
