"""How well maps point at boxes: closed forms, slow twins and the baselines."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ralr_viz.results import box_metrics
from ralr_viz.results.box_metrics import (
    box_area,
    box_overlap,
    centre_box_overlap,
    centre_energy_in_box,
    centre_pointing_accuracy,
    centre_rank_accuracy,
    clip_boxes,
    energy_in_box,
    map_box,
    map_box_overlap,
    pointing_accuracy,
    rank_accuracy,
)

NO_BOXES = np.array(
    [[-1, -1, -1, -1], [-9, 2, -1, 9], [3, 20, 8, 29], [16, 0, 19, 5], [0, 0, 15, 15]], np.int16
)


@pytest.mark.parametrize(
    ("box", "inside", "area"),
    [
        ((-3, 10, 50, 50), (0, 10, 50, 50), 0.5105),
        ((10, 10, 64, 50), (10, 10, 63, 50), 0.5405),
        ((10, 10, 70, 70), (10, 10, 63, 63), 0.7119),
        ((-5, -5, 99, 99), (0, 0, 63, 63), 1.0),
        ((7, 7, 7, 7), (7, 7, 7, 7), 1 / 4096),  # ends are inclusive: one pixel
        ((64, 0, 70, 5), (-1, -1, -1, -1), np.nan),
    ],
)
def test_boxes_are_clipped_to_the_image_in_every_number(box: tuple, inside: tuple, area: float) -> None:
    """A box that reaches beyond the image counts as the part of it that can be seen."""
    boxes, clipped, size = np.array([box], np.int16), np.array([inside], np.int16), (64, 64)
    np.testing.assert_array_equal(clip_boxes(boxes, size), clipped)
    assert box_area(boxes, size)[0] == pytest.approx(area, abs=5e-5, nan_ok=True)
    raw = np.random.default_rng(4).standard_normal((1, 8, 8)).astype(np.float32)
    for number in (energy_in_box, rank_accuracy, pointing_accuracy):
        np.testing.assert_array_equal(number(raw, boxes, size), number(raw, clipped, size))
    for blind in (centre_energy_in_box, centre_rank_accuracy, centre_pointing_accuracy):
        np.testing.assert_array_equal(blind(boxes, size), blind(clipped, size))
    thresholds = np.array([0.3, 0.6])
    np.testing.assert_array_equal(
        map_box_overlap(raw, boxes, size, thresholds), map_box_overlap(raw, clipped, size, thresholds)
    )
    np.testing.assert_array_equal(
        centre_box_overlap(boxes, size, thresholds), centre_box_overlap(clipped, size, thresholds)
    )


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
    np.testing.assert_array_equal(box_area(NO_BOXES, (16, 16)), [np.nan, np.nan, np.nan, np.nan, 1.0])
    energy = energy_in_box(np.ones((5, 2, 2), np.float32), NO_BOXES, (16, 16))
    np.testing.assert_array_equal(np.isnan(energy), [True, True, True, True, False])


def test_rank_accuracy_counts_the_highest_pixels_in_the_box() -> None:
    """A 2×3 map at its own resolution, and the box of its two columns at the left."""
    raw = np.array([[[6.0, 1.0, 5.0], [4.0, 2.0, 3.0]]], np.float32)
    left = np.array([[0, 0, 1, 1]])  # 6, 1, 4, 2: of the four highest 6, 5, 4, 3 two are inside
    assert rank_accuracy(raw, left, (2, 3)) == pytest.approx([2 / 4])
    assert rank_accuracy(-raw, left, (2, 3)) == pytest.approx([3 / 4])  # 1, 2, 3, 4 without the 3
    assert rank_accuracy(raw, np.array([[0, 0, 2, 1]]), (2, 3)) == pytest.approx([1])
    # signed: below zero the order counts, where the energy sees nothing
    assert rank_accuracy(raw - 10, left, (2, 3)) == rank_accuracy(raw, left, (2, 3))


def test_rank_accuracy_of_ties_is_the_expected_value() -> None:
    raw = np.array([[[9.0, 5.0, 5.0], [5.0, 0.0, 5.0], [0.0, 0.0, 0.0]]], np.float32)
    box = np.array([[0, 0, 1, 1]])  # 9, 5, 5, 0: after the 9, three of four fives, two of which are inside
    assert rank_accuracy(raw, box, (3, 3)) == pytest.approx([(1 + 3 * 2 / 4) / 4])


def drawn_at_random(pixels: np.ndarray, inside: np.ndarray) -> float:
    """Mean over all orders of the ties of a literal ranking."""
    shares = []
    for order in itertools.permutations(range(pixels.size)):
        by_value = sorted(order, key=lambda i: -pixels.flat[i])  # stable: ties stay in the order drawn
        shares.append(np.mean([inside.flat[i] for i in by_value[: inside.sum()]]))
    return float(np.mean(shares))


@given(values=st.lists(st.integers(-1, 1), min_size=6, max_size=6), x=st.integers(0, 1))
def test_rank_accuracy_equals_all_orders_of_the_ties(values: list[int], x: int) -> None:
    raw = np.array(values, np.float32).reshape(1, 2, 3)
    inside = np.zeros((2, 3), bool)
    inside[:, x : x + 2] = True
    found = rank_accuracy(raw, np.array([[x, 0, x + 1, 1]]), (2, 3))
    assert found == pytest.approx([drawn_at_random(raw[0], inside)])


@given(seed=st.integers(0, 500), h=st.integers(1, 9), w=st.integers(1, 9))
def test_rank_accuracy_equals_a_sort_of_torchs_pixels(seed: int, h: int, w: int) -> None:
    rng = np.random.default_rng(seed)
    raw = rng.standard_normal((3, h, w)).astype(np.float32)
    corner = rng.integers(0, [10, 14], (3, 2))
    boxes = np.hstack([corner, corner + rng.integers(1, 6, (3, 2))])
    pixels = torch.nn.functional.interpolate(
        torch.from_numpy(raw)[:, None].double(), (20, 16), mode="bilinear", align_corners=False
    )[:, 0]
    found = rank_accuracy(raw, boxes, (20, 16))
    for i, (x0, y0, x1, y1) in enumerate(boxes.tolist()):
        count = (x1 - x0 + 1) * (y1 - y0 + 1)
        inside = torch.zeros(20, 16)
        inside[y0 : y1 + 1, x0 : x1 + 1] = 1
        # torch rounds equal pixels apart, so the highest are bounded from both sides
        last = pixels[i].flatten().sort(descending=True).values[count - 1]
        sure, maybe = pixels[i] > last + 1e-9, pixels[i] >= last - 1e-9
        low = (inside * sure).sum() / count
        high = low + min(count - sure.sum(), (inside * (maybe & ~sure)).sum()) / count
        assert low - 1e-6 <= found[i] <= high + 1e-6
        if maybe.sum() == count:  # no ties at the last place
            assert found[i] == pytest.approx(float((inside * maybe).sum() / count))


def test_rank_accuracy_of_a_constant_map_is_the_area_and_of_the_box_itself_one() -> None:
    boxes = np.array([[2, 3, 9, 12], [0, 0, 7, 7], [1, 5, 2, 6]])
    for value in (0.0, 0.1, -3.3):
        flat = np.full((3, 7, 5), value, np.float32)
        np.testing.assert_allclose(rank_accuracy(flat, boxes, (20, 16)), box_area(boxes, (20, 16)))
    mask = np.zeros((1, 20, 16), np.float32)
    mask[0, 3:13, 2:10] = 1
    assert rank_accuracy(mask, boxes[:1], (20, 16)) == pytest.approx([1])
    assert rank_accuracy(-mask, boxes[:1], (20, 16)) == pytest.approx([0])


def test_rank_accuracy_does_not_depend_on_scale_or_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    raw = rng.standard_normal((7, 4, 4)).astype(np.float32)
    boxes = np.tile([[1, 2, 9, 11]], (7, 1))
    whole = rank_accuracy(raw, boxes, (16, 16))
    np.testing.assert_array_equal(rank_accuracy(4 * raw, boxes, (16, 16)), whole)
    centre = centre_rank_accuracy(boxes, (16, 16))
    monkeypatch.setattr(box_metrics, "_PIXELS", 3 * 16 * 16)
    np.testing.assert_array_equal(rank_accuracy(raw, boxes, (16, 16)), whole)
    np.testing.assert_array_equal(centre_rank_accuracy(boxes, (16, 16)), centre)
    assert rank_accuracy(raw[:0], boxes[:0], (16, 16)).shape == (0,)


@pytest.mark.parametrize("size", [(20, 20), (20, 16)])
def test_centre_baselines_are_the_numbers_of_a_drawn_gaussian(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    corner = rng.integers(0, 10, (40, 2))
    boxes = np.hstack([corner, corner + rng.integers(1, 6, (40, 2))])
    y, x = (((np.arange(n) - (n - 1) / 2) / (n / 4)) ** 2 for n in size)
    gaussian = np.exp(-(y[:, None] + x) / 2)
    maps = np.tile(gaussian.round(12), (40, 1, 1))  # equal by symmetry, but for rounding
    np.testing.assert_allclose(centre_energy_in_box(boxes, size), energy_in_box(maps, boxes, size), rtol=1e-6)
    np.testing.assert_allclose(centre_rank_accuracy(boxes, size), rank_accuracy(maps, boxes, size))


def test_centre_energy_is_the_normal_distribution() -> None:
    """A box of ±1 σ along both axes holds erf(1/√2)², but for the edge of the image at ±2 σ."""
    box = np.array([[250, 250, 749, 749]])
    one, two = 0.682689492, 0.954499736
    assert centre_energy_in_box(box, (1000, 1000)) == pytest.approx([(one / two) ** 2], abs=1e-5)


def test_centre_rank_accuracy_of_a_small_centred_box_ranks_by_distance() -> None:
    """6×6 image: the 8 nearest to the centre are the middle 4 and the ring's 8 that share 4 places."""
    box = np.array([[1, 2, 4, 3]])  # two rows of four in the middle: the middle 4, and 4 of the ring's 8
    assert centre_rank_accuracy(box, (6, 6)) == pytest.approx([(4 + 4 * 4 / 8) / 8])


@pytest.mark.parametrize("number", [centre_energy_in_box, centre_rank_accuracy])
def test_centre_baselines_are_nan_without_a_proper_box(number) -> None:
    np.testing.assert_array_equal(np.isnan(number(NO_BOXES, (16, 16))), [True] * 4 + [False])
    assert number(NO_BOXES[4:], (16, 16)) == pytest.approx([1])


def test_rank_accuracy_is_nan_without_a_proper_box() -> None:
    found = rank_accuracy(np.ones((5, 2, 2), np.float32), NO_BOXES, (16, 16))
    np.testing.assert_array_equal(np.isnan(found), [True] * 4 + [False])


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        # half-open [0, 10) × [0, 10) and [2, 12) × [4, 14): 8·6 / (200 − 48)
        ([0, 0, 9, 9], [2, 4, 11, 13], 48 / 152),
        ([0, 0, 3, 4], [1, 1, 3, 4], 12 / 20),
        ([0, 0, 1, 3], [2, 0, 4, 3], 0),  # sides that touch
        ([3, 3, 3, 3], [3, 3, 3, 3], 1),  # one pixel is a box of one pixel
        ([0, 0, 5, 4], [1, 1, 4, 2], 8 / 30),
    ],
)
def test_box_overlap_by_hand(a, b, expected) -> None:
    assert box_overlap(np.array(a), np.array(b)) == pytest.approx(expected)
    assert box_overlap(np.array(b), np.array(a)) == pytest.approx(expected)


def test_box_overlap_equals_the_sets_of_pixels() -> None:
    rng = np.random.default_rng(0)
    corner = rng.integers(0, 8, (2, 50, 2))
    boxes = np.concatenate([corner, corner + rng.integers(0, 8, (2, 50, 2))], axis=2)
    for a, b, found in zip(*boxes, box_overlap(*boxes), strict=True):
        pixels = [set(itertools.product(range(x0, x1 + 1), range(y0, y1 + 1))) for x0, y0, x1, y1 in (a, b)]
        assert found == pytest.approx(len(pixels[0] & pixels[1]) / len(pixels[0] | pixels[1]))


def test_map_box_is_that_of_the_largest_part() -> None:
    pixels = np.zeros((6, 8))
    pixels[1:3, 1:3] = 0.8  # four pixels
    pixels[3, 3] = 0.8  # touches them by a corner only
    pixels[4:6, 4:8] = 0.6  # eight pixels, lower
    pixels[0, 7] = 1.0
    assert map_box(pixels, 0.7) == (1, 1, 2, 2)
    assert map_box(pixels, 0.6) == (4, 4, 7, 5)
    assert map_box(pixels, 1.0) == (7, 0, 7, 0)
    assert map_box(pixels - 3, 0.7) == (1, 1, 2, 2)  # the scale is the map's own
    assert map_box(np.full((6, 8), 2.0), 0.5) == (0, 0, 7, 5)


def test_map_box_overlap_is_of_the_interpolated_maps() -> None:
    raw = np.zeros((2, 4, 4), np.float32)
    raw[0, 0, 0], raw[1] = 1, 1
    boxes = np.array([[0, 0, 3, 3], [0, 0, 7, 15]])
    # the corner's cell keeps its value on two pixels of four; linear from there to the next cell's middle
    found = map_box_overlap(raw, boxes, (16, 16), np.array([0.99, 0.01]))
    np.testing.assert_allclose(found, [[4 / 16, 16 / 36], [0.5, 0.5]])


def test_centre_box_overlap_by_hand() -> None:
    boxes = np.array([[2, 2, 5, 5], [0, 0, 3, 7]])
    found = centre_box_overlap(boxes, (8, 8), np.array([0.5, 1.0]))
    np.testing.assert_allclose(found, [[1, 16 / 64], [8 / 40, 0.5]])


def test_pointing_accuracy_shares_ties() -> None:
    raw = np.zeros((4, 2, 2), np.float32)
    raw[0, 0, 0], raw[1, 1, 1], raw[2, 0] = 1, 1, 1
    boxes = np.array([[0, 0, 3, 3]] * 4)
    # nearest edge pixels repeat the corner's value on 2×2; the upper row's on 2 rows of 8; zeros everywhere
    np.testing.assert_allclose(pointing_accuracy(raw, boxes, (8, 8)), [1, 0, 0.5, 0.25])


def test_pointing_accuracy_equals_its_twin_and_is_nan_without_a_proper_box(monkeypatch) -> None:
    monkeypatch.setattr(box_metrics, "_PIXELS", 3 * 16 * 16)
    rng = np.random.default_rng(0)
    raw = rng.standard_normal((20, 4, 4)).astype(np.float32)
    corner = rng.integers(0, 8, (20, 2))
    boxes = np.hstack([corner, corner + rng.integers(1, 8, (20, 2))])
    found = pointing_accuracy(raw, boxes, (16, 16))
    up = torch.nn.functional.interpolate(
        torch.from_numpy(raw).double()[:, None], (16, 16), mode="bilinear", align_corners=False
    )[:, 0].numpy()
    for cam, (x0, y0, x1, y1), value in zip(up, boxes, found, strict=True):
        rows, columns = np.nonzero(cam >= cam.max() - 1e-12)
        inside = (rows >= y0) & (rows <= y1) & (columns >= x0) & (columns <= x1)
        assert value == pytest.approx(inside.mean())
    found = pointing_accuracy(np.ones((5, 2, 2), np.float32), NO_BOXES, (16, 16))
    np.testing.assert_array_equal(np.isnan(found), [True] * 4 + [False])


def test_centre_pointing_accuracy_of_even_and_odd_sides() -> None:
    boxes = np.array([[0, 0, 3, 3], [0, 0, 4, 4], [5, 5, 7, 7], [0, 0, 3, 7]])
    np.testing.assert_allclose(centre_pointing_accuracy(boxes, (8, 8)), [0.25, 1, 0, 0.5])
    np.testing.assert_allclose(centre_pointing_accuracy(boxes[:2], (7, 7)), [1, 1])
