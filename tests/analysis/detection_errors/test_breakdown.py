"""Kinds of errors against closed cases, a slow literal twin and, where it is there, the tidecv package."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ralr_viz.analysis.detection_errors.breakdown import break_down, cost_errors
from ralr_viz.results.average_precision import FoundBoxes, TrueBoxes, match_boxes
from ralr_viz.results.detection_errors import ERRORS

A, B = (0.0, 0.0, 0.4, 0.4), (0.5, 0.5, 0.9, 0.9)
NEAR_B = (0.5, 0.5, 0.9, 0.66)  # overlap .4
FAR = (0.0, 0.6, 0.2, 0.8)
TRUTH = [(0, 0, A), (0, 0, B)]


def scene(objects, detections, difficult=()):
    """Of (image, class, box) and (image, class, box, score)."""
    truth = TrueBoxes(
        np.array([o[0] for o in objects], int), np.array([o[1] for o in objects], int),
        np.array([o[2] for o in objects], float).reshape(-1, 4),
        np.isin(np.arange(len(objects)), list(difficult)),
    )  # fmt: skip
    found = FoundBoxes(
        np.array([d[0] for d in detections], int), np.array([d[1] for d in detections], int),
        np.array([d[2] for d in detections], float).reshape(-1, 4), np.array([d[3] for d in detections], float),
    )  # fmt: skip
    return truth, found


def count(objects, detections, **more) -> dict[str, int]:
    counts = break_down(*scene(objects, detections, **more)).counts
    return {name: n for name, n in zip(ERRORS, counts.tolist(), strict=True) if n}


SURE = (0, 0, A, 0.9)
CASES = [
    ("nothing is wrong", [SURE, (0, 0, B, 0.8)], {}, 0),
    ("missed", [SURE], {"missed": 1}, 5 / 11),
    ("location", [SURE, (0, 0, NEAR_B, 0.8)], {"location": 1}, 5 / 11),
    (
        "location twice is put right once",
        [SURE, (0, 0, NEAR_B, 0.8), (0, 0, NEAR_B, 0.7)],
        {"location": 2},
        5 / 11,
    ),
    ("duplicate", [SURE, (0, 0, A, 0.8), (0, 0, B, 0.7)], {"duplicate": 1}, 5 / 33),
    ("background", [SURE, (0, 0, FAR, 0.8), (0, 0, B, 0.7)], {"background": 1}, 5 / 33),
    ("both", [SURE, (0, 1, NEAR_B, 0.8)], {"both": 1, "missed": 1}, None),
    ("in an image without objects", [SURE, (0, 0, B, 0.8), (1, 1, A, 0.3)], {"background": 1}, None),
]


@pytest.mark.parametrize(("name", "detections", "counts", "cost"), CASES, ids=[case[0] for case in CASES])
def test_kinds_and_costs_of_closed_cases(name, detections, counts, cost):
    assert count(TRUTH, detections) == counts
    if cost is None:
        return
    truth, found = scene(TRUTH, detections)
    costs = cost_errors(truth, found, break_down(truth, found), classes=1, images=2)
    expected = np.zeros(6)
    for error in counts:
        expected[ERRORS.index(error)] = cost
    np.testing.assert_allclose(costs, expected, atol=1e-12)


def test_wrong_class_is_put_right_in_the_class_of_the_object():
    objects = [(0, 0, A), (0, 1, B)]
    detections = [(0, 0, A, 0.9), (0, 0, B, 0.8)]
    assert count(objects, detections) == {"class": 1}
    truth, found = scene(objects, detections)
    errors = break_down(truth, found)
    # class 0: 1 either way, since the error comes after; class 1: from 0 to 1
    costs = cost_errors(truth, found, errors, classes=2, images=1)
    np.testing.assert_allclose(costs, [0.5, 0, 0, 0, 0, 0], atol=1e-12)
    assert errors.object.tolist() == [0, 1]


def test_detection_takes_the_next_object_as_coco_has_it_where_voc_does_not():
    first, second = (0.0, 0.0, 1.0, 1.0), (0.0, 0.0, 1.0, 0.7)
    objects, detections = [(0, 0, first), (0, 0, second)], [(0, 0, first, 0.9), (0, 0, (0, 0, 1.0, 0.9), 0.8)]
    assert count(objects, detections) == {}
    assert (match_boxes(*scene(objects, detections)).state == [1, -1]).all()


def test_difficult_objects_and_their_detections_do_not_count():
    truth, found = scene(TRUTH, [SURE, (0, 0, B, 0.8)], difficult=[1])
    ignored = match_boxes(truth, found).state == 0
    assert ignored.tolist() == [False, True]
    errors = break_down(truth, found, ignored=ignored)
    assert errors.counts.sum() == 0 and not errors.missed.any()
    assert cost_errors(truth, found, errors, classes=1, images=1).sum() == 0


def overlap(a, b) -> float:
    wide, high = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if wide <= 0 or high <= 0:
        return 0.0
    area = [(c[2] - c[0]) * (c[3] - c[1]) for c in (a, b)]
    return wide * high / (sum(area) - wide * high)


def literal(objects, detections) -> list[int]:
    """TIDE in the words of the paper's section 2.2, a detection at a time."""
    counts, taken, usable = dict.fromkeys(ERRORS, 0), set(), set()
    false = []
    for d in sorted(range(len(detections)), key=lambda d: -detections[d][3]):
        image, label, box, _ = detections[d]
        free = [o for o in range(len(objects)) if objects[o][:2] == (image, label) and o not in taken]
        best = max(free, key=lambda o: overlap(objects[o][2], box), default=None)
        if best is not None and overlap(objects[best][2], box) >= 0.5:
            taken.add(best)
        else:
            false.append(d)
    for d in false:
        image, label, box, _ = detections[d]
        here = [o for o in range(len(objects)) if objects[o][0] == image]
        of_class = {o: overlap(objects[o][2], box) for o in here if objects[o][1] == label}
        of_other = {o: overlap(objects[o][2], box) for o in here if objects[o][1] != label}
        near = max(of_class.values(), default=0)
        if not here:
            counts["background"] += 1
        elif 0.1 <= near <= 0.5:
            counts["location"] += 1
            usable.add(max(of_class, key=of_class.__getitem__))
        elif max(of_other.values(), default=0) >= 0.5:
            counts["class"] += 1
            usable.add(max(of_other, key=of_other.__getitem__))
        elif max((v for o, v in of_class.items() if o in taken), default=0) >= 0.5:
            counts["duplicate"] += 1
        elif max([near, *of_other.values()]) <= 0.1:
            counts["background"] += 1
        else:
            counts["both"] += 1
    counts["missed"] = sum(o not in taken and o not in usable for o in range(len(objects)))
    return list(counts.values())


SIDE = st.integers(1, 4)
PLACE = st.tuples(st.integers(0, 1), st.integers(0, 1), st.integers(0, 5), st.integers(0, 5), SIDE, SIDE)


def boxed(rows):
    return [(image, label, (x, y, x + w, y + h)) for image, label, x, y, w, h in rows]


@settings(max_examples=150)
@given(st.lists(PLACE, max_size=6), st.lists(PLACE, max_size=10))
def test_kinds_are_those_of_the_literal_twin(objects, detections):
    objects = boxed(objects)
    detections = [(*row, 1 - i / 20) for i, row in enumerate(boxed(detections))]
    truth, found = scene(objects, detections)
    errors = break_down(truth, found)
    assert errors.counts.tolist() == literal(objects, detections)
    costs = cost_errors(truth, found, errors, classes=2, images=2)
    assert (costs >= 0).all() and (costs <= 1).all()
    # an error that is not there costs nothing
    assert not costs[errors.counts == 0].any()


@settings(max_examples=40)
@given(st.lists(PLACE, min_size=1, max_size=6), st.lists(PLACE, max_size=10))
def test_kinds_are_those_of_tidecv(objects, detections):
    tidecv = pytest.importorskip("tidecv")
    objects, detections = boxed(objects), [(*row, 1 - i / 20) for i, row in enumerate(boxed(detections))]
    there, found = tidecv.Data("objects"), tidecv.Data("detections")
    corners = lambda box: [box[0], box[1], box[2] - box[0], box[3] - box[1]]  # noqa: E731
    for image in (0, 1):
        there.add_image(image, str(image))  # else it looks at none that has no object
    for image, label, box in objects:
        there.add_ground_truth(image, label, corners(box))
    for image, label, box, score in detections:
        found.add_detection(image, label, score, corners(box))
    run = tidecv.TIDE().evaluate(there, found, mode=tidecv.TIDE.BOX)
    counts = {kind.short_name: len(errors) for kind, errors in run.error_dict.items()}
    names = ("Cls", "Loc", "Both", "Dupe", "Bkg", "Miss")
    assert [counts[name] for name in names] == break_down(*scene(objects, detections)).counts.tolist()
