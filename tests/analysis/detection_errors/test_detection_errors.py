"""Precision and errors of detectors, on blobs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ralr_viz.analysis.detection_errors import compute_detection_errors
from ralr_viz.analysis.detection_errors.detection_errors import _envelope
from ralr_viz.comparison import compare
from ralr_viz.errors import InputError
from ralr_viz.results.average_precision import FoundBoxes, mean_precision
from ralr_viz.results.detection_errors import RECALLS
from ralr_viz.tasks.opening import open_task


@pytest.fixture
def pair(make_detector, blobs_root):
    """Two networks that have not learned, whose detections are then replaced."""
    task = open_task(make_detector(validation=0.25), blobs_root)
    torch.manual_seed(0)
    return compare({"a": task.build(), "b": task.build()}, task=task)


def perfect(truth) -> FoundBoxes:
    return FoundBoxes(truth.image, truth.label, truth.box, np.ones(len(truth.label)))


def test_errors_of_a_perfect_network_and_of_one_that_finds_nothing(pair, monkeypatch):
    from ralr_viz.tasks.detection import evaluate

    real, left = evaluate.join_detections, [0]

    def join(found):
        boxes = real(found)
        left[0] += 1
        task, split = pair.task, pair.task.split()
        name = "test" if len(found) == len(split["test"]) else "val"
        truth = task.splits["test" if name == "test" else "train"].truth(split[name])
        if left[0] <= 2:
            return perfect(truth)
        empty = np.zeros(len(boxes.score), bool)
        return FoundBoxes(boxes.image[empty], boxes.label[empty], boxes.box[empty], boxes.score[empty])

    monkeypatch.setattr(evaluate, "join_detections", join)
    result = compute_detection_errors(pair, resamples=20)
    assert result.mean_precision.tolist() == [1, 0]
    assert result.counts[0].tolist() == [0] * 6
    assert result.counts[1].tolist() == [0] * 5 + [result.objects.sum()]
    assert (result.curves[0] == 1).all() and (result.curves[1] == 0).all()
    assert result.thresholds == (1.0, 1.0) and result.judged == "val"
    np.testing.assert_array_equal(result.operating[0], np.ones((2, 2)))
    assert np.isnan(result.operating[1]).all()
    np.testing.assert_array_equal(result.difference[1, :, 0], [-1, -1, -1])
    assert np.isnan(result.difference[1, :, 1:]).all()  # of ten images there is no interval


def test_errors_are_of_the_same_precision_as_the_log(pair):
    result = compute_detection_errors(pair, resamples=20)
    record = pair.task.evaluator(pair.runtime)(pair.build(0))
    assert 100 * result.mean_precision[0] == pytest.approx(record["test_map50"])
    assert 100 * mean_precision(result.area)[0] == pytest.approx(record["test_map50_area"])
    assert result.objects.sum() == (~pair.task.splits["test"].truth(np.arange(10)).difficult).sum()


def test_envelope_is_the_largest_precision_at_a_recall_or_more():
    recall, precision = np.array([0.0, 0.3, 0.3, 0.6]), np.array([0.0, 0.5, 1 / 3, 0.4])
    curve = _envelope(recall, precision)
    assert len(curve) == RECALLS
    for at in range(RECALLS):
        reached = precision[recall >= at / 100 - 1e-9]
        assert curve[at] == (reached.max() if len(reached) else 0)


def test_errors_are_of_detectors_only(squares_root, make_recipe):
    task = open_task(make_recipe(), squares_root)
    with pytest.raises(InputError, match="`a` is no detector: give runs of a recipe with task = detection"):
        compute_detection_errors(compare({"a": task.build()}, data="squares", root=squares_root))
