"""Training on mixed images and smoothed labels, and under noise: against loops, and after a stop."""

import json
import math
import os
import signal

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from ralr_viz.data import load_dataset
from ralr_viz.data.augment import plan_epoch
from ralr_viz.data.split import split_train
from ralr_viz.errors import InterruptedRunError
from ralr_viz.models import build_model
from ralr_viz.runtime.device import Runtime
from ralr_viz.schedule.factors import Noise
from ralr_viz.train import training
from ralr_viz.train.checkpoint import read_checkpoint
from ralr_viz.train.loop import train_run
from ralr_viz.train.prepare import read_prepared_run
from ralr_viz.train.step import Totals, train_step

CPU = Runtime(torch.device("cpu"), "fp32")
OPTIONS = {
    "cutout and smoothing": {"cutout": 6, "label_smoothing": 0.1},
    "mixup": {"mixup": 1.0},
    "cutmix and cutout": {"cutmix": 0.7, "cutout": 4},
}


def weights_of(directory, name="last"):
    return read_checkpoint(directory / "checkpoints" / f"{name}.pt")["model"]


def records_of(directory):
    return [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


def assert_same(a, b):
    assert a.keys() == b.keys()
    assert all(torch.equal(a[k], b[k]) for k in a)


def smooth_literally(target, epsilon):
    return [(1 - epsilon) * t + epsilon / len(target) for t in target]


def train_literally(directory, root):
    """An epoch as a user would write it: one image at a time in NumPy, and the loss by its definition."""
    recipe, _, seed = read_prepared_run(directory)
    data = load_dataset("squares", root)
    train, _ = split_train(data.train.labels, validation=recipe.validation)
    mean, std, n, p = np.array(data.mean), np.array(data.std), len(train), recipe.crop_padding
    options = {name: getattr(recipe, name) for name in ("flip", "batch", "cutout", "mixup", "cutmix")}
    plan = plan_epoch(seed, 0, n, padding=p, size=(16, 16), **options)

    def show(position):
        index = train[int(plan.order[position])]
        top, left = int(plan.top[position]), int(plan.left[position])
        image = np.pad(np.asarray(data.train.images[index]), ((p, p), (p, p), (0, 0)))
        image = image[top : top + 16, left : left + 16]
        image = ((image[:, ::-1] if plan.flip[position] else image) / 255 - mean) / std
        if plan.hole is not None:
            first_row, first_column, last_row, last_column = plan.hole[position].tolist()
            image = image.copy()
            image[max(first_row, 0) : max(last_row, 0), max(first_column, 0) : max(last_column, 0)] = 0
        return image, int(data.train.labels[index])

    torch.manual_seed(seed)
    model = build_model("resnet20", 4)
    optimizer = torch.optim.SGD(model.parameters(), recipe.lr, momentum=0.9, nesterov=True, weight_decay=1e-4)
    losses, hits = [], []
    for start in range(0, n, recipe.batch):
        images, targets, labels = [], [], []
        for position in range(start, min(start + recipe.batch, n)):
            image, label = show(position)
            target = [float(c == label) for c in range(4)]
            if plan.mixing is not None:
                other, its_label = show(int(plan.mixing.partner[position]))
                share = float(plan.mixing.share[position])
                if plan.mixing.box is None:
                    image = share * image + (1 - share) * other
                else:
                    top, left, bottom, right = plan.mixing.box[position].tolist()
                    image = image.copy()
                    image[top:bottom, left:right] = other[top:bottom, left:right]
                target = [share * (c == label) + (1 - share) * (c == its_label) for c in range(4)]
            images.append(image)
            targets.append(smooth_literally(target, recipe.label_smoothing))
            labels.append(label)
        x = torch.tensor(np.stack(images), dtype=torch.float32).permute(0, 3, 1, 2)
        optimizer.zero_grad()
        logits = model(x)
        loss = -(torch.tensor(targets) * logits.log_softmax(1)).sum(1)
        loss.mean().backward()
        optimizer.step()
        losses += loss.tolist()
        hits += (logits.argmax(1) == torch.tensor(labels)).tolist()
    return model.state_dict(), np.mean(losses), 100 * np.mean(hits)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_train_run_on_mixed_images_equals_a_literal_loop(prepare, squares_root, options):
    directory = prepare(epochs=1, milestones=(), lr=0.01, **options)
    train_run(directory, squares_root, device="cpu")
    ours, (twin, loss, accuracy) = weights_of(directory), train_literally(directory, squares_root)
    torch.manual_seed(0)
    start = build_model("resnet20", 4).state_dict()
    moved = math.sqrt(sum(float(((twin[k] - start[k]) ** 2).sum()) for k in start))
    apart = math.sqrt(sum(float(((twin[k] - ours[k]) ** 2).sum()) for k in start))
    assert apart < 0.01 * moved  # fp32 rounding; see test_loop
    (record,) = records_of(directory)
    assert record["train_loss"] == pytest.approx(loss, rel=1e-3)  # of the mixed and smoothed labels
    assert record["train_acc"] == pytest.approx(accuracy, abs=100 / 72 + 1e-6)  # of each image's own


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_stopped_within_an_epoch_the_weights_are_bit_identical(prepare, squares_root, monkeypatch, options):
    settings = {"epochs": 2, "milestones": (), **options}
    whole, stopped = (prepare("noise", folder=folder, **settings) for folder in ("whole", "stopped"))
    train_run(whole, squares_root, device="cpu")
    real, steps = training.train_step, []

    def interrupted(*arguments):
        real(*arguments)
        steps.append(1)
        if len(steps) in (3, 7):  # five steps an epoch: within the first and within the second
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(training, "train_step", interrupted)
        for _ in range(2):
            with pytest.raises(InterruptedRunError):
                train_run(stopped, squares_root, device="cpu")
    assert len(steps) == 7
    train_run(stopped, squares_root, device="cpu")
    assert_same(weights_of(stopped), weights_of(whole))
    timing = {"seconds", "images_per_second", "examples_seconds"}
    ours, theirs = (
        [{k: v for k, v in r.items() if k not in timing} for r in records_of(d)] for d in (stopped, whole)
    )
    assert ours == theirs


def test_arms_share_all_draws_until_the_first_amplified_epoch(prepare, squares_root):
    arms = [prepare(m, epochs=2, milestones=(), cutmix=1.0, cutout=4) for m in ("baseline", "ralr")]
    for directory in arms:  # seed 0 amplifies neither epoch
        train_run(directory, squares_root, device="cpu")
    assert_same(*(weights_of(d) for d in arms))


def test_noise_run_records_its_factors(prepare, squares_root):
    directory = prepare("noise", seed=3, noise_range=(0.3, 1.0))
    train_run(directory, squares_root, device="cpu")
    factors = [1.0, *(Noise().at(3, e).factor for e in (1, 2))]
    records = records_of(directory)
    assert [r["factor"] for r in records] == factors
    assert [r["lr"] for r in records] == pytest.approx(np.multiply(factors, [0.05, 0.05, 0.005]))


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
@pytest.mark.parametrize("mixed", [False, True])
def test_train_step_has_the_loss_of_its_definition(make_task, smoothing, mixed):
    model = build_model("resnet20", 4).train()
    optimizer = torch.optim.SGD(model.parameters(), 0.0)
    x, y = torch.randn(8, 3, 16, 16), torch.arange(8) % 4
    target = torch.rand(8, 4).softmax(1) if mixed else None
    logits = model(x).detach().double()
    expected, norm = 0.0, logits.exp().sum(1).log()
    for row in range(8):
        whole = [float(c == y[row]) for c in range(4)] if target is None else target[row].tolist()
        for c, weight in enumerate(smooth_literally(whole, smoothing)):
            expected += weight * float(norm[row] - logits[row, c])
    totals = Totals.zero(1, CPU.device)
    train_step(model, optimizer, make_task(label_smoothing=smoothing), [(x, y, target)], totals, CPU)
    assert float(totals.own[0]) == pytest.approx(expected, rel=1e-4)
    assert float(totals.own[1]) == int(
        (logits.argmax(1) == y).sum()
    )  # the image's own label, also where mixed


def test_train_step_without_options_is_the_plain_one_to_the_bit(make_task):
    ends = []
    for plain in (True, False):
        torch.manual_seed(0)
        model = build_model("resnet20", 4).train()
        optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
        x, y, totals = torch.randn(8, 3, 16, 16), torch.arange(8) % 4, Totals.zero(1, CPU.device)
        for _ in range(2):
            if plain:  # as it was written before there were options
                loss = nn.functional.cross_entropy(model(x).float(), y)
                loss.backward()
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            else:
                train_step(model, optimizer, make_task(), [(x, y, None)], totals, CPU)
        ends.append(model.state_dict())
    assert_same(*ends)


def test_train_step_has_no_operator_that_waits_for_the_device(make_task):
    waits = []

    class Recorder(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            name = func.overloadpacket.__name__
            mask = name == "index" and any(i is not None and i.dtype == torch.bool for i in args[1])
            if name in ("_local_scalar_dense", "nonzero", "masked_select") or mask:
                waits.append(name)
            return func(*args, **(kwargs or {}))

    model = build_model("resnet20", 4).train()
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, nesterov=True, fused=True)
    totals, x, y = Totals.zero(1, CPU.device), torch.randn(8, 3, 16, 16), torch.arange(8) % 4
    task, soft = make_task(label_smoothing=0.1), torch.rand(8, 4).softmax(1)
    with Recorder():
        train_step(model, optimizer, task, [(x, y, soft)], totals, CPU)
        train_step(model, optimizer, task, [(x, y, None), (x, y, soft)], totals, CPU, clip=1.0)
    assert waits == []
    with Recorder():
        totals.own[0].item()
    assert waits == ["_local_scalar_dense"]
