"""What is kept of each example: a by-product of the step and of the evaluation, the same after a stop and in two ranks."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from ralr_viz.data import load_dataset
from ralr_viz.data.augment import BatchLoader, pad_images, plan_epoch
from ralr_viz.data.split import split_train
from ralr_viz.errors import InputError
from ralr_viz.models import build_model
from ralr_viz.results.examples import Examples, examples_path, read_examples
from ralr_viz.train.loop import train_run
from ralr_viz.train.methods import Ended
from ralr_viz.train.run import RunWriter

ALL = "train,val,test"


class StoppedError(Exception):
    """In the place of a power cut."""


@pytest.fixture
def train(prepare: Callable[..., Path], squares_root: Path) -> Callable[..., dict[str, Examples]]:
    """The records of a training, by set."""

    def run(**settings: Any) -> dict[str, Examples]:
        directory = prepare(**({"examples": ALL} | settings))
        train_run(directory, squares_root, device="cpu")
        names = settings.get("examples", ALL).split(",")
        found = {name: read_examples(examples_path(directory, name)) for name in names}
        records = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
        for name, examples in found.items():  # what the log has is their mean
            for epoch, right, losses in zip(examples.epochs, examples.right, examples.losses, strict=True):
                record = records[epoch - 1]
                assert np.nanmean(losses) == pytest.approx(record[f"{name}_loss"], rel=1e-3)
                seen = ~np.isnan(losses)
                assert 100 * right[seen].mean() == pytest.approx(record[f"{name}_acc"])
        return found

    return run


def test_records_are_the_parts_of_what_the_log_has(train: Callable[..., Any], squares_root: Path) -> None:
    found = train(epochs=2)
    data = load_dataset("squares", squares_root)
    trained, held = split_train(data.train.labels, validation=0.25)
    assert found["train"].places.tolist() == trained.tolist()
    assert found["val"].places.tolist() == held.tolist()
    assert len(found["test"].places) == len(data.test)
    for examples in found.values():
        assert examples.epochs.tolist() == [1, 2] and examples.seen.all()
        assert examples.facts["content_hash"] == data.content_hash


def test_each_example_has_its_own_loss(train: Callable[..., Any], squares_root: Path) -> None:
    """Weights that do not move: a literal forward pass of each batch."""
    found = train(epochs=1, lr=1e-30, examples="train", flip=False, crop_padding=0, milestones=())["train"]
    data = load_dataset("squares", squares_root)
    trained, _ = split_train(data.train.labels, validation=0.25)
    plan = plan_epoch(0, 0, len(trained), padding=0, flip=False, size=(16, 16), batch=16)
    images = torch.from_numpy(np.array(data.train.images[trained]))
    labels = torch.from_numpy(data.train.labels[trained].astype(np.int64))
    mean, std = torch.tensor(data.mean), torch.tensor(data.std)
    loader = BatchLoader(pad_images(images, 0), labels, mean, std, 4, 0)
    torch.manual_seed(0)
    model = build_model("resnet20", 4)
    for start in range(0, len(trained), 16):
        rows = plan.order[start : start + 16]
        x, y, _ = loader.load(plan, start, min(start + 16, len(trained)))
        with torch.no_grad():
            logits = model(x)
        assert torch.equal(y, labels[rows])
        expected = torch.nn.functional.cross_entropy(logits, y, reduction="none")
        np.testing.assert_allclose(found.losses[0, rows], expected, rtol=2e-3)
        assert found.right[0, rows].tolist() == (logits.argmax(1) == y).tolist()


def test_examples_of_a_batch_that_is_left_out_are_not_seen(train: Callable[..., Any]) -> None:
    found = train(epochs=2, drop_last=True, batch=13, examples="train")["train"]
    assert (found.seen.sum(1) == len(found.places) // 13 * 13).all()
    assert not found.right[~found.seen].any()


def test_epochs_without_an_evaluation_have_no_record(train: Callable[..., Any]) -> None:
    found = train(epochs=8, evaluate_every=2, examples="val,train", milestones=())
    assert found["val"].epochs.tolist() == [2, 4, 5, 6, 7, 8]
    assert found["train"].epochs.tolist() == list(range(1, 9))


def test_weights_do_not_know_that_they_are_watched(prepare: Callable[..., Path], squares_root: Path) -> None:
    states = []
    for seed_folder, examples in (("a", ALL), ("b", "")):
        directory = prepare(epochs=2, examples=examples, name=seed_folder)
        train_run(directory, squares_root, device="cpu")
        states.append(torch.load(directory / "checkpoints" / "last.pt", weights_only=True)["model"])
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


@pytest.mark.parametrize("name", ["mixed", "smoothed"])
def test_losses_are_those_of_the_own_label(
    prepare: Callable[..., Path], squares_root: Path, name: str
) -> None:
    changes = {"mixed": {"mixup": 1.0}, "smoothed": {"label_smoothing": 0.5}}[name]
    directory = prepare(epochs=1, examples="train", milestones=(), **changes)
    train_run(directory, squares_root, device="cpu")
    found = read_examples(examples_path(directory, "train"))
    record = json.loads((directory / "metrics.jsonl").read_text())
    assert 100 * found.right.mean() == pytest.approx(record["train_acc"])
    assert found.losses.mean() != pytest.approx(record["train_loss"], rel=1e-3)


@pytest.mark.parametrize("examples", ["train,val", "val", ""])
def test_price_of_the_record_is_in_the_log_the_result_and_the_last_line(
    prepare: Callable[..., Path], squares_root: Path, monkeypatch: pytest.MonkeyPatch, examples: str
) -> None:
    """By a clock that is a second ahead whenever it is looked at a second time."""
    ticks = itertools.count()
    clock = SimpleNamespace(perf_counter=lambda: float(next(ticks)))
    monkeypatch.setattr("ralr_viz.train.examples.time", clock)
    directory = prepare(epochs=3, examples=examples, milestones=())
    result = train_run(directory, squares_root, device="cpu")
    records = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    told = Ended(directory, result, False).describe()
    if not examples:
        assert not any("examples" in key for key in (*records[0], *result)) and "for the record" not in told
        return
    data = load_dataset("squares", squares_root)
    trained, _ = split_train(data.train.labels, validation=0.25)
    steps = -(-len(trained) // 16) if "train" in examples else 0
    # each step, the gathering, and from the second epoch on the writing of the one before
    prices = [record["examples_seconds"] for record in records]
    assert prices == [steps + 1, steps + 2, steps + 2]
    assert result["examples_seconds"] == sum(prices)
    assert result["examples_share"] == pytest.approx(100 * sum(prices) / result["seconds"])
    assert told.endswith("% of that for the record of each example")


def test_what_is_not_there_is_refused_before_training(
    prepare: Callable[..., Path], squares_root: Path
) -> None:
    directory = prepare(validation=0.0, examples="train,val")
    with pytest.raises(InputError, match="there are no `val` examples"):
        train_run(directory, squares_root, device="cpu")
    with pytest.raises(InputError, match="`examples` = 'all' must be empty, or of train, val, test"):
        prepare(examples="all")
    with pytest.raises(InputError, match="there are no `test` examples"):
        train_run(prepare(evaluate_test="end", examples="test"), squares_root, device="cpu")


def test_own_loop_writes_the_same(tmp_path: Path) -> None:
    with RunWriter(tmp_path / "mine", arch="resnet20", num_classes=3) as run:
        with pytest.raises(InputError, match="call `log` before it"):
            run.log_examples("val", right=np.ones(3, bool), losses=np.ones(3))
        for epoch in (1, 2):
            run.log(epoch=epoch, val_loss=1.0)
            run.log_examples("val", right=np.arange(3) < epoch, losses=np.full(3, 0.5))
        with pytest.raises(InputError, match="set of examples"):
            run.log_examples("vals", right=np.ones(3, bool), losses=np.ones(3))
    found = read_examples(examples_path(tmp_path / "mine", "val"))
    assert found.right.sum(1).tolist() == [1, 2] and found.places.tolist() == [0, 1, 2]
