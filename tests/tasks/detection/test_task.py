"""The task of detection on the protocol: what it shows, weighs, measures and records."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from ralr_viz.data import scenes
from ralr_viz.errors import DivergedError, InputError
from ralr_viz.recipe import load_recipe, recipe_from_dict
from ralr_viz.recipe.settings import to_epoch
from ralr_viz.results.average_precision import FoundBoxes, match_boxes, mean_precision, rank_detections
from ralr_viz.runtime.device import Runtime
from ralr_viz.runtime.ranks import ALONE
from ralr_viz.runtime.stop import StopSignal
from ralr_viz.schedule import amplification_factors
from ralr_viz.tasks.detection.samples import Draw, Painter
from ralr_viz.tasks.opening import open_task
from ralr_viz.train.distributed import ProcessRanks
from ralr_viz.train.loop import train_run
from ralr_viz.train.prepare import prepare_run
from ralr_viz.train.training import Training

CPU = Runtime(torch.device("cpu"), "fp32")


@pytest.fixture(scope="module")
def task(make_detector, blobs_root):
    return open_task(make_detector(), blobs_root)


def make(task, places, threads=1, draw=Draw(3, 5)):  # noqa: B008
    painter = Painter(task.splits, task.recipe, task.painter.fill, threads)
    return painter.make("train", np.asarray(places), draw)


def test_images_are_byte_equal_in_any_batch_and_number_of_threads(task):
    places = np.arange(24)
    one = make(task, places)
    for threads, parts in ((4, 1), (1, 24), (4, 3)):
        several = [make(task, part, threads) for part in np.split(places[::-1], parts)]
        for field, whole in zip(range(3), one, strict=True):
            joined = torch.cat([pictures[field] for pictures in several]).flip(0)
            assert torch.equal(joined, whole)
    other = make(task, places, draw=Draw(3, 6))
    assert not torch.equal(other.images, one.images)


def test_bytes_do_not_depend_on_torchs_threads(blobs_root, make_detector):
    large = open_task(make_detector(input_size=320), blobs_root)  # large enough for torch to divide
    before, made = torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            made.append(make(large, np.arange(12)).images)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*made)


def test_steps_that_ranks_share_are_that_of_one(task):
    feed = task.feed(CPU, ALONE)
    plan = feed.plan(1, 2)
    (whole,) = feed.load(plan, 1, ALONE)
    parts, weights = [], []
    for rank in range(2):
        ranks = ProcessRanks(rank, 2, "cpu")
        ranks.sum = lambda values: values  # of its own alone
        (part,) = task.feed(CPU, ALONE).load(plan, 1, ranks)
        parts.append(part)
        weights.append(task.weigh(part))
    for field, tensor in enumerate(whole):
        assert torch.equal(torch.cat([part[field] for part in parts]), tensor)
    assert sum(weights) == task.weigh(whole)


def test_step_after_a_stop_is_the_same(task):
    plan = task.feed(CPU, ALONE).plan(0, 3)
    feed = task.feed(CPU, ALONE)
    through = [feed.load(plan, step, ALONE)[0] for step in range(plan.steps)]
    (resumed,) = task.feed(CPU, ALONE).load(plan, plan.steps - 1, ALONE)
    assert all(torch.equal(a, b) for a, b in zip(resumed, through[-1], strict=True))
    assert plan.shown(plan.steps) == 24


def test_rates_of_weights_and_biases_are_amplified_alike(make_detector, blobs_root):
    seed = next(s for s in range(50) if amplification_factors(s, 4)[0] > 1.5)
    training = Training(open_task(make_detector(), blobs_root), "ralr", seed, CPU)
    weights, biases = training.optimizer.param_groups
    factor = amplification_factors(seed, 4)[0]
    assert weights["lr"] == pytest.approx(0.01 * factor)
    assert biases["lr"] == pytest.approx(0.02 * factor)
    assert all(p.ndim == 1 for p in biases["params"])
    record = training.next_epoch(StopSignal())
    assert record["lr"] == pytest.approx(0.01 * factor)


def test_record_has_both_parts_of_the_loss_and_the_score(make_detector, blobs_root):
    training = Training(open_task(make_detector(validation=0.25), blobs_root), "baseline", 0, CPU)
    record = training.next_epoch(StopSignal())
    assert record["train_loss"] == pytest.approx(record["train_loc_loss"] + record["train_conf_loss"])
    assert record["positives"] > 20 and record["grad_norm_max"] > 0
    for name in ("val_loss", "val_map50", "val_map50_area", "test_loss", "test_map50", "train_loss_eval"):
        assert np.isfinite(record[name]), name


def test_score_is_perfect_of_the_truth_and_ignores_what_is_difficult(task):
    places = np.arange(10)
    truth = task.splits["test"].truth(places)
    assert 0 < truth.difficult.sum() < len(truth.label) and (truth.box <= 1).all()
    easy = ~truth.difficult
    for chosen in (easy, np.ones_like(easy)):
        found = FoundBoxes(
            truth.image[chosen], truth.label[chosen], truth.box[chosen], np.ones(int(chosen.sum()))
        )
        ranked = rank_detections(truth, found, match_boxes(truth, found), classes=2, images=10)
        assert mean_precision(ranked.average_precision()) == 1


def test_image_without_objects_adds_nothing_to_the_loss(task):
    lonely = int(np.flatnonzero(task.splits["train"].boxes.counts == 0)[0])
    torch.manual_seed(0)
    model = task.build().eval()
    total, weight = task.loss(model, task.batch("train", np.array([lonely])))
    assert total.item() == 0 and weight.item() == 0
    part = task.train_loss(model, task.batch("train", np.array([lonely])), CPU)
    part.mean.backward()
    assert part.mean.item() == 0 and all(
        p.grad is None or torch.isfinite(p.grad).all() for p in model.parameters()
    )


def test_loss_that_grows_a_hundredfold_ends_as_diverged_though_finite(make_detector, blobs_root, tmp_path):
    recipe = make_detector(lr=0.4, clip_norm=0.0, epochs=30)
    run = prepare_run(recipe, "baseline", 0, tmp_path)
    with pytest.raises(DivergedError, match=r"the loss is .* times the first look's, in epoch"):
        train_run(run, blobs_root, device="cpu")
    assert json.loads((run / "result.json").read_text())["status"] == "diverged"
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert records and all(np.isfinite(record["train_loss"]) for record in records)


def test_data_without_objects_are_refused(make_detector, squares_root):
    with pytest.raises(InputError, match="dataset `squares` has no objects to detect"):
        open_task(make_detector(dataset="squares"), squares_root)


@pytest.mark.parametrize(
    ("setting", "message"),
    [({"input_size": 96, "model": "ssd300"}, "`input_size` = 96 must be 300"), ({"model": "resnet20"}, "`model` = "),
     ({"loc_loss": "l2"}, "one of l1, smooth_l1"), ({"weights": "x.pt"}, "`weights` = ")],
)  # fmt: skip
def test_recipe_refuses_what_does_not_hold(make_detector, setting, message):
    with pytest.raises(InputError, match=message):
        make_detector(**setting)


def test_recipe_of_the_reference_is_its(make_detector):
    recipe = load_recipe("voc-ssd300")
    steps = -(-16_551 // recipe.batch)
    assert (recipe.epochs, steps, [to_epoch(m, recipe.epochs) for m in recipe.milestones]) == (
        232, 2069, [154, 193],
    )  # fmt: skip
    assert (recipe.lr, recipe.bias_lr, recipe.loc_loss, recipe.clip_norm) == (0.001, 2.0, "l1", 0.0)
    assert recipe_from_dict(recipe.to_dict(), "again") == recipe


def test_recipe_without_a_file_is_trained_on_scenes(tmp_path, monkeypatch):
    monkeypatch.setattr(scenes, "TRAIN", 40)
    monkeypatch.setattr(scenes, "TEST", 8)
    task = open_task(load_recipe("digit-scenes-ssd-small"), tmp_path)
    assert {name: len(places) for name, places in task.split().items()} == {"train": 36, "val": 4, "test": 8}
    assert task.batch("test", np.arange(3)).images.shape == (3, 3, 96, 96)
