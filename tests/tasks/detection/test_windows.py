"""Windows of images: expand, crop, mirror and warp as one rectangle."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ralr_viz.tasks.detection.pictures import Colours, render_window
from ralr_viz.tasks.detection.windows import Window, draw_window, place_boxes, whole_window

FILL = np.array([10, 20, 30], np.uint8)
BOXES = np.array([[4.0, 6.0, 30.0, 40.0], [50.0, 10.0, 58.0, 20.0]])


@given(st.integers(0, 3), st.integers(0, 50), st.integers(0, 9999))
def test_crop_shows_the_centre_of_an_object_and_lies_on_the_canvas(seed, epoch, sample):
    window = draw_window(seed, epoch, sample, (48, 64), BOXES, expand=3.0)
    width, height = window.right - window.left, window.bottom - window.top
    assert 1 <= width <= 3 * 64 and 1 <= height <= 3 * 48
    assert window.left >= -2 * 64 and window.right <= 3 * 64
    placed, kept = place_boxes(window, BOXES, 10_000)
    assert kept.any() and (placed >= 0).all() and (placed <= 1).all()
    assert (placed[:, 2:] > placed[:, :2]).all()


def test_draws_are_the_samples_own_and_of_all_kinds():
    drawn = [draw_window(0, 0, sample, (48, 64), BOXES, expand=3.0) for sample in range(300)]
    assert drawn[7] == draw_window(0, 0, 7, (48, 64), BOXES, expand=3.0)
    assert drawn[7] != draw_window(0, 1, 7, (48, 64), BOXES, expand=3.0) or drawn[8] != draw_window(
        0, 1, 8, (48, 64), BOXES, expand=3.0
    )
    mirrored = sum(window.mirrored for window in drawn)
    outside = sum(window.left < 0 or window.right > 64 for window in drawn)
    inside = sum(window[:4] != (0, 0, 64, 48) and window.left >= 0 and window.right <= 64 for window in drawn)
    assert 110 < mirrored < 190 and outside > 60 and inside > 60
    assert sum(window[:4] == (0, 0, 64, 48) for window in drawn) > 10


def test_without_objects_there_is_no_crop_and_without_flip_no_mirror():
    none = np.empty((0, 4))
    for sample in range(50):
        assert draw_window(0, 0, sample, (48, 64), none, expand=1, flip=False) == whole_window(48, 64)


def test_boxes_are_cut_at_the_window_and_small_rests_left_out():
    window = Window(10, 0, 30, 20, False)
    given_ = np.array([[0.0, 0.0, 22.0, 10.0], [0.0, 0.0, 19.0, 10.0], [12.0, 4.0, 12.4, 8.0]])
    placed, kept = place_boxes(window, given_, 20)
    assert kept.tolist() == [
        True,
        False,
        False,
    ]  # the second's centre is outside, the third is .4 pixels wide
    np.testing.assert_allclose(placed, [[0, 0, 0.6, 0.5]])
    mirrored, _ = place_boxes(window._replace(mirrored=True), given_, 20)
    np.testing.assert_allclose(mirrored, [[0.4, 0, 1, 0.5]], atol=1e-7)


@pytest.mark.parametrize("mirrored", [False, True])
def test_box_stays_on_its_object_where_the_window_goes(mirrored):
    image = np.full((48, 64, 3), 200, np.uint8)
    image[10:30, 20:50] = (255, 0, 0)
    box = np.array([[20.0, 10.0, 50.0, 30.0]])
    for window in (Window(-32, -24, 96, 72, mirrored), Window(8, 4, 60, 40, mirrored)):
        shown = render_window(image, window, 96, FILL)
        placed, _ = place_boxes(window, box, 96)
        red = (shown[..., 0].astype(int) - shown[..., 1]) > 128
        rows, columns = np.flatnonzero(red.any(1)), np.flatnonzero(red.any(0))
        found = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
        np.testing.assert_allclose(found, placed[0] * 96, atol=1.0)


def test_outside_of_the_image_is_the_mean_colour_whatever_the_colours():
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    window = Window(-64, -48, 64, 48, False)
    changed = [render_window(image, window, 64, FILL, Colours(0, 0, sample)) for sample in range(12)]
    plain = render_window(image, window, 64, FILL)
    assert all((shown[:31, :31] == FILL).all() for shown in changed)
    assert len({shown.tobytes() for shown in (*changed, plain)}) > 8
    assert any((shown == plain).all() for shown in changed) or len(changed) == 12


def test_colours_of_grey_stay_grey_but_for_brightness():
    grey = np.repeat(np.arange(0, 250, 10, dtype=np.uint8)[:, None], 3, axis=1)[None]
    for sample in range(20):
        shown = Colours(1, 2, sample)(grey).astype(int)
        assert np.ptp(shown, axis=2).max() <= 1
