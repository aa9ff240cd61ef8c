"""Which images and detections are shown, from which score, and what a map is of."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ralr_viz.analysis.detect import compute_detect
from ralr_viz.analysis.detect.instance_map import Wanted, find_prior, make_instance_map, map_layer_of
from ralr_viz.analysis.objects import find_operating, open_objects
from ralr_viz.comparison import compare
from ralr_viz.errors import InputError, UnknownNameError
from ralr_viz.results.average_precision import FoundBoxes, TrueBoxes
from ralr_viz.tasks.detection.boxes import decode_boxes
from ralr_viz.tasks.detection.decode import find_detections
from ralr_viz.tasks.opening import open_task


def open_pair(make_detector, blobs_root, **changes):
    task = open_task(make_detector(**changes), blobs_root)
    torch.manual_seed(0)
    return compare({"a": task.build(), "b": task.build()}, task=task)


@pytest.fixture(scope="module")
def pair(make_detector, blobs_root):
    return open_pair(make_detector, blobs_root, validation=0.25)


def rows(count, difficult=()):
    boxes = np.array([(0.1 * i, 0.0, 0.1 * i + 0.1, 0.1) for i in range(count)])
    zeros = np.zeros(count, int)
    return TrueBoxes(zeros, zeros, boxes, np.isin(np.arange(count), list(difficult)))


def test_score_of_the_highest_f1_is_that_of_the_closed_form():
    truth = rows(3)
    miss = np.array([[0.0, 0.5, 0.1, 0.6]])
    zeros = np.zeros(5, int)
    found = FoundBoxes(
        zeros,
        zeros,
        np.concatenate([truth.box[:2], miss, truth.box[2:], miss]),
        np.array([0.9, 0.8, 0.7, 0.6, 0.5]),
    )
    # F1 from each score on: .5, .8, .667, .857, .75
    score, f1 = find_operating(truth, found)
    assert score == 0.6 and f1 == pytest.approx(6 / 7)
    # of equal scores all are above a threshold or none: a true one at .6 stays beside the false one
    tied = FoundBoxes(zeros, zeros, found.box, np.array([0.9, 0.8, 0.6, 0.6, 0.6]))
    score, f1 = find_operating(truth, tied)
    assert score == 0.8 and f1 == pytest.approx(0.8)
    # difficult objects neither count nor harm
    assert find_operating(rows(3, [2]), found) == (0.8, 1.0)
    nothing = FoundBoxes(zeros[:1], zeros[:1], miss, np.array([0.9]))
    assert find_operating(truth, nothing) == (1.0, 0.0)


def test_scores_are_judged_on_images_that_are_not_tested(pair, make_detector, blobs_root, monkeypatch):
    assert open_objects(pair).judged == "val"
    assert open_objects(pair.on("val")).judged == "train"
    assert open_objects(open_pair(make_detector, blobs_root)).judged == "train"
    asked = []
    objects = open_objects(pair)
    monkeypatch.setattr(type(objects), "_measure", lambda self, i, places: asked.append(places) or {}[0])
    with pytest.raises(KeyError):
        objects.judge(0)
    assert list(asked[0]) == ["val"]
    np.testing.assert_array_equal(asked[0]["val"], pair.task.split()["val"])


def test_detect_shows_what_counts_of_the_images_that_a_rule_chooses(pair):
    result = compute_detect(pair, count=3, score=0.2)
    assert result.thresholds == (0.2, 0.2) and np.isnan(result.f1).all()
    assert (result.found_score >= 0.2).all() and len(result.indices) == 3
    truth = pair.task.splits["test"].truth(result.indices)
    np.testing.assert_array_equal(result.truth_box, truth.box)
    np.testing.assert_array_equal(result.truth_image, truth.image)
    for image, place in enumerate(result.indices):
        np.testing.assert_array_equal(result.picture(image), pair.task.splits["test"].images[int(place)])
    found = result.found_object[result.found_true]
    assert (result.truth_image[found] == result.found_image[result.found_true]).all()
    assert (result.found_object[~result.found_true] == -1).all()
    assert compute_detect(pair, count=3, score=0.2) == result


def finds(pair, monkeypatch, counts):
    """Of each image the first network finds no object, the second ``counts`` of the first ones."""
    from ralr_viz.analysis.objects import Objects

    real = Objects.measure

    def measure(self, i):
        measured, truth = real(self, i), self.truth
        place = np.concatenate([np.arange((truth.image == image).sum()) for image in range(10)])
        kept = (place < np.array(counts)[truth.image]) & (i == 1)
        found = FoundBoxes(truth.image[kept], truth.label[kept], truth.box[kept], np.ones(int(kept.sum())))
        return type(measured)(measured.loss, found, measured.detected)

    monkeypatch.setattr(Objects, "measure", measure)


def test_gain_and_loss_choose_where_the_second_finds_more_or_fewer(pair, monkeypatch):
    truth = pair.task.splits["test"].truth(np.arange(10))
    easy = np.bincount(truth.image[~truth.difficult], minlength=10)
    two, one = int(np.flatnonzero(easy == 2)[-1]), int(np.flatnonzero(easy == 1)[0])
    counts = np.zeros(10, int)
    counts[[two, one]] = 2, 1
    finds(pair, monkeypatch, counts)
    result = compute_detect(pair, rows="gain", count=5, score=0.5)
    assert result.indices.tolist() == [two, one]
    assert "2 of 10 blobs test images where b finds more objects than a" in result.selection
    assert "chosen by outcome" in result.selection
    assert result.changes.tolist() == [[0, 0], [3, 0]] and result.total == 10
    with pytest.raises(
        InputError, match="in none of the 10 blobs test images does b find fewer objects than a"
    ):
        compute_detect(pair, rows="loss", score=0.5)


def test_detect_refuses_rules_that_it_cannot_follow(pair):
    single = compare({"a": pair.build(0)}, task=pair.task)
    with pytest.raises(InputError, match="`--rows gain` compares the first two checkpoints, got 1"):
        compute_detect(single, rows="gain")
    with pytest.raises(UnknownNameError, match="unknown rows `best`"):
        compute_detect(single, rows="best")


@pytest.fixture(scope="module")
def detection(pair):
    """A network in float64, an image and its surest detection."""
    task, model = pair.task, pair.build(0).double()
    image = task.batch("test", np.array([3])).images.double()
    with torch.no_grad():
        (found,) = find_detections(*model(image), task.priors)
    return (
        model,
        image,
        task.priors,
        Wanted(found.boxes[0].numpy().astype(float), int(found.labels[0]) - 1, float(found.scores[0])),
    )


def test_prior_of_a_detection_is_the_one_it_came_from(detection):
    model, image, priors, wanted = detection
    with torch.no_grad():
        outputs = model(image)
    prior = find_prior(outputs, priors, wanted)
    np.testing.assert_allclose(decode_boxes(outputs.offsets[0, prior], priors[prior]), wanted.box, atol=1e-5)
    assert outputs.logits[0, prior].softmax(-1)[wanted.label + 1].item() == pytest.approx(
        wanted.score, abs=1e-6
    )


def test_instance_map_is_how_the_logit_follows_the_activation(detection):
    """Position by position: the derivative of the logit with respect to a factor of the activation there."""
    model, image, priors, wanted = detection
    made = make_instance_map(model, image, priors, wanted)
    assert made.dtype == np.float32 and made.shape == (8, 8)
    layer = dict(model.named_modules())[map_layer_of(model)]
    with torch.no_grad():
        prior = find_prior(model(image), priors, wanted)
        for y, x in ((0, 0), (3, 4), (7, 2)):
            logits = []
            for step in (-1e-6, 1e-6):

                def scale(module, given, output, step=step, y=y, x=x):
                    changed = output.clone()
                    changed[:, :, y, x] *= 1 + step
                    return changed

                handle = layer.register_forward_hook(scale)
                logits.append(model(image).logits[0, prior, wanted.label + 1].item())
                handle.remove()
            assert made[y, x] == pytest.approx((logits[1] - logits[0]) / 2e-6, rel=1e-4, abs=1e-6)
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())
    assert not make_instance_map(model, image, priors, None).any()


def test_detect_maps_have_an_energy_that_is_a_share(pair):
    result = compute_detect(pair, count=2, score=0.15, maps=True)
    assert result.maps is not None and result.layers == ("stages.0", "stages.0")
    for model in (0, 1):
        energy, area = result.energy_in_box(model), result.box_area(model)
        assert ((energy >= 0) & (energy <= 1) & (area > 0))[result.mapped[model] >= 0].all()


def test_images_of_a_large_split_are_made_when_they_are_asked_for(pair, monkeypatch):
    from ralr_viz.tasks.batches import MadeWhenAsked

    whole = pair.task.read(None).batches
    monkeypatch.setattr("ralr_viz.tasks.detection.task._RESIDENT", 1)
    lazy = pair.task.read(None).batches
    assert isinstance(lazy, MadeWhenAsked) and len(lazy) == len(whole)
    for ours, theirs in zip(lazy, whole, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
