"""Average precision against closed forms, a literal twin of the devkit, and images that are copied by hand."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ralr_viz.errors import InputError
from ralr_viz.results.average_precision import (
    Detected,
    FoundBoxes,
    Points,
    TrueBoxes,
    compare_precision,
    match_boxes,
    mean_precision,
    rank_detections,
)
from ralr_viz.results.uncertainty import bootstrap_counts

BOX = {name: (0.3 * i, 0.0, 0.3 * i + 0.2, 0.2) for i, name in enumerate("ABCDE")}


def scene(objects, detections, *, classes: int = 1, images: int = 1, **options) -> Detected:
    """Of (box, difficult[, label[, image]]) and of boxes [, label[, image]], the surest first."""
    rows = [(*o, *(0, 0)[len(o) - 2 :]) for o in objects]
    truth = TrueBoxes(
        np.array([r[3] for r in rows], np.int64),
        np.array([r[2] for r in rows], np.int64),
        np.array([r[0] for r in rows], float).reshape(-1, 4),
        np.array([r[1] for r in rows], bool),
    )
    found = FoundBoxes(
        np.zeros(len(detections), np.int64),
        np.zeros(len(detections), np.int64),
        np.array(detections, float).reshape(-1, 4),
        np.arange(len(detections), 0, -1.0),
    )
    return rank_detections(truth, found, match_boxes(truth, found, **options), classes=classes, images=images)


def precision(detected: Detected, points: Points) -> float:
    return float(detected.average_precision(points)[0])


def test_average_precision_of_the_closed_form() -> None:
    """A, B and D are easy, C is difficult; found: A, C, C, A again, B, nothing, D."""
    objects = [(BOX["A"], False), (BOX["B"], False), (BOX["C"], True), (BOX["D"], False)]
    found = [BOX["A"], BOX["C"], BOX["C"], BOX["A"], BOX["B"], BOX["E"], BOX["D"]]
    detected = scene(objects, found)
    assert precision(detected, "all") == pytest.approx((1 + 2 / 3 + 3 / 5) / 3, abs=1e-12)  # .755556
    assert precision(detected, "11") == pytest.approx((4 + 3 * 2 / 3 + 4 * 3 / 5) / 11, abs=1e-12)  # .763636
    recall, values = detected.curve(0)
    assert recall.tolist() == pytest.approx([1 / 3, 1 / 3, 2 / 3, 2 / 3, 1])
    assert values.tolist() == pytest.approx([1, 1 / 2, 2 / 3, 2 / 4, 3 / 5])


def test_detection_that_overlaps_a_taken_object_most_takes_no_other() -> None:
    """COCO gives it the other one and has 1.0."""
    first, second = (0.0, 0.0, 1.0, 1.0), (0.0, 0.0, 1.0, 0.7)
    detected = scene([(first, False), (second, False)], [first, (0.0, 0.0, 1.0, 0.9)])
    assert precision(detected, "all") == 0.5


def test_small_box_inside_a_difficult_object_is_false() -> None:
    """COCO ignores it and has 1.0."""
    detected = scene([((0, 0, 1, 1), True), (BOX["E"], False)], [(0.1, 0.1, 0.3, 0.3), BOX["E"]])
    assert precision(detected, "all") == precision(detected, "11") == 0.5


def test_eleven_points_are_counted_in_integers() -> None:
    """3 of 10 objects reach the recall .3, which in floats is above 3 / 10."""
    boxes = [(i, 0.0, i + 1.0, 1.0) for i in range(10)]
    detected = scene([(box, False) for box in boxes], boxes[:3])
    assert precision(detected, "11") == pytest.approx(4 / 11, abs=1e-12)


def test_overlap_at_the_threshold_is_true_for_the_devkit_and_false_for_the_reference() -> None:
    objects, found = [((0, 0, 2, 1), False)], [(0, 0, 1, 1)]
    assert precision(scene(objects, found), "all") == 1
    assert precision(scene(objects, found, strictly=True), "all") == 0


def test_class_without_objects_is_left_out_of_the_mean() -> None:
    objects = [(BOX["A"], False, 0), (BOX["B"], True, 1)]
    each = scene(objects, [BOX["A"]], classes=3).average_precision()
    assert each[0] == 1
    assert np.isnan(each[1:]).all()
    assert mean_precision(each) == 1
    assert math.isnan(mean_precision(np.full(2, np.nan)))


def test_nothing_found_is_no_precision_and_nothing_there_is_none() -> None:
    assert precision(scene([(BOX["A"], False)], []), "11") == 0
    assert precision(scene([(BOX["A"], False)], []), "all") == 0
    assert math.isnan(precision(scene([], [BOX["A"]]), "all"))


def test_bad_input_is_said() -> None:
    with pytest.raises(InputError, match="`label` is 3: there are 1, from 0"):
        scene([(BOX["A"], False, 3)], [])
    truth = TrueBoxes(np.zeros(0, int), np.zeros(0, int), np.zeros((0, 4)), np.zeros(0, bool))
    found = FoundBoxes(np.zeros(1, int), np.zeros(1, int), np.zeros((1, 4)), np.array([np.nan]))
    with pytest.raises(InputError, match="score is not finite"):
        match_boxes(truth, found)
    with pytest.raises(InputError, match="different images or objects"):
        compare_precision(scene([(BOX["A"], False)], []), scene([], []))


IMAGES, CLASSES = 6, 3


def draw_truth(rng: np.random.Generator) -> TrueBoxes:
    m = int(rng.integers(1, 20))
    corner = rng.integers(0, 6, (m, 2))
    return TrueBoxes(
        rng.integers(0, IMAGES, m),
        rng.integers(0, CLASSES, m),
        np.concatenate([corner, corner + rng.integers(1, 5, (m, 2))], 1).astype(float),
        rng.random(m) < 0.2,
    )


def draw_found(rng: np.random.Generator, truth: TrueBoxes) -> FoundBoxes:
    """Objects, moved or not, several times, and boxes of nothing; many scores are equal."""
    d = int(rng.integers(0, 40))
    of = rng.integers(0, len(truth.image), d)
    moved = truth.box[of] + rng.integers(-1, 2, (d, 4)) * (rng.random((d, 1)) < 0.5)
    moved[:, 2:] = np.maximum(moved[:, 2:], moved[:, :2] + 1)
    label = np.where(rng.random(d) < 0.8, truth.label[of], rng.integers(0, CLASSES, d))
    image = np.where(rng.random(d) < 0.8, truth.image[of], rng.integers(0, IMAGES, d))
    return FoundBoxes(image, label, moved, rng.integers(0, 12, d) / 12)


def literal_precision(truth: TrueBoxes, found: FoundBoxes, label: int, points: Points) -> float:
    """The devkit's loop."""
    taken = np.zeros(len(truth.image), bool)
    total = int(((truth.label == label) & ~truth.difficult).sum())
    if not total:
        return math.nan
    hits, misses, curve = 0, 0, []
    for d in sorted(
        (d for d in range(len(found.image)) if found.label[d] == label), key=lambda d: -found.score[d]
    ):
        most, best = -1.0, -1
        for m in range(len(truth.image)):
            if truth.image[m] != found.image[d] or truth.label[m] != label:
                continue
            a, b = found.box[d], truth.box[m]
            width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
            if width <= 0 or height <= 0:
                continue
            areas = [(c[2] - c[0]) * (c[3] - c[1]) for c in (a, b)]
            overlap = width * height / (sum(areas) - width * height)
            if overlap > most:
                most, best = overlap, m
        if most >= 0.5:
            if truth.difficult[best]:
                continue
            hits += not taken[best]
            misses += taken[best]
            taken[best] = True
        else:
            misses += 1
        curve.append((hits, hits / (hits + misses)))
    if points == "11":
        return sum(max((p for h, p in curve if 10 * h >= k * total), default=0) for k in range(11)) / 11
    return sum(max((p for h, p in curve if h >= k), default=0) for k in range(1, total + 1)) / total


def rank(truth: TrueBoxes, found: FoundBoxes, images: int = IMAGES) -> Detected:
    return rank_detections(truth, found, match_boxes(truth, found), classes=CLASSES, images=images)


@given(st.integers(0, 10**9), st.sampled_from(["11", "all"]))
@settings(max_examples=60)
def test_average_precision_is_the_devkits(seed: int, points: Points) -> None:
    rng = np.random.default_rng(seed)
    truth = draw_truth(rng)
    found = draw_found(rng, truth)
    expected = [literal_precision(truth, found, label, points) for label in range(CLASSES)]
    np.testing.assert_allclose(rank(truth, found).average_precision(points), expected, rtol=0, atol=1e-12)


def copy_images(boxes, counts: np.ndarray):
    """The boxes of each image as often as it counts, each copy an image of its own."""
    names = [name for name in ("image", "label", "box", "score", "difficult") if hasattr(boxes, name)]
    parts: dict[str, list[np.ndarray]] = {name: [] for name in names}
    starts = np.concatenate([[0], np.cumsum(counts)])
    rows = [(i, c) for i in range(len(boxes.image)) for c in range(counts[boxes.image[i]])]
    for i, copy in rows:
        for name in names:
            value = getattr(boxes, name)[i]
            parts[name].append(starts[boxes.image[i]] + copy if name == "image" else value)
    arrays = {name: np.array(values) for name, values in parts.items()}
    arrays["box"] = arrays["box"].reshape(-1, 4).astype(float)
    arrays = {k: v.astype(np.int64) if k in ("image", "label") else v for k, v in arrays.items()}
    if "difficult" in arrays:
        arrays["difficult"] = arrays["difficult"].astype(bool)
    return type(boxes)(**arrays)


@given(st.integers(0, 10**9), st.sampled_from(["11", "all"]))
@settings(max_examples=40)
def test_weighted_images_are_copied_images(seed: int, points: Points) -> None:
    rng = np.random.default_rng(seed)
    truth = draw_truth(rng)
    found = draw_found(rng, truth)
    counts = next(bootstrap_counts(IMAGES, 3, seed))
    weighted = rank(truth, found).average_precision(points, counts)
    for row, expected in zip(counts, weighted, strict=True):
        copied = rank(copy_images(truth, row), copy_images(found, row))
        np.testing.assert_allclose(expected, copied.average_precision(points), rtol=0, atol=1e-12)


def test_compare_precision_is_the_bootstrap_of_the_differences() -> None:
    rng = np.random.default_rng(4)
    truth = draw_truth(rng)
    first, second = (rank(truth, draw_found(rng, truth)) for _ in range(2))
    difference = compare_precision(first, second, resamples=50, seed=3)
    each = [one.average_precision() for one in (first, second)]
    assert difference.value[-1] == pytest.approx(mean_precision(each[1]) - mean_precision(each[0]))
    np.testing.assert_allclose(difference.value[:-1], each[1] - each[0])
    counts = np.concatenate(list(bootstrap_counts(IMAGES, 50, 3)))
    draws = mean_precision(second.average_precision("11", counts)) - mean_precision(
        first.average_precision("11", counts)
    )
    half = (difference.high - difference.low)[-1] / 2
    draws = draws[~np.isnan(draws)]
    assert half / draws.std(ddof=1) == pytest.approx(
        2.5706, abs=1e-3
    )  # Student's t with 5 degrees of freedom
    same = compare_precision(first, first, resamples=50)
    np.testing.assert_array_equal(same.value, np.where([*np.isnan(each[0]), False], np.nan, 0))
    assert same.high[-1] == same.low[-1] == 0


def test_a_replicate_of_a_large_comparison_takes_milliseconds() -> None:
    rng = np.random.default_rng(0)
    n, d, m = 300, 30_000, 1500
    corner = rng.random((m, 2))
    truth = TrueBoxes(
        rng.integers(0, n, m),
        rng.integers(0, 20, m),
        np.concatenate([corner, corner + 0.2], 1),
        rng.random(m) < 0.1,
    )
    of = rng.integers(0, m, d)
    found = FoundBoxes(
        truth.image[of], truth.label[of], truth.box[of] + rng.normal(0, 0.03, (d, 1)), rng.random(d)
    )
    detected = rank_detections(truth, found, match_boxes(truth, found), classes=20, images=n)
    start = time.process_time()
    compare_precision(detected, detected, resamples=100)
    assert (time.process_time() - start) / 100 < 0.05
