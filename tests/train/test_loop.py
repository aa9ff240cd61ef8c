"""The loop against a literal twin, and what it promises about pairs and records."""

import json
import math
import os
import signal

import numpy as np
import pytest
import torch

from ralr_viz.data import load_dataset
from ralr_viz.data.augment import plan_epoch
from ralr_viz.data.split import split_train
from ralr_viz.errors import (
    CheckpointError,
    DataError,
    DivergedError,
    InputError,
    InterruptedRunError,
    RalrVizError,
)
from ralr_viz.models import build_model
from ralr_viz.results.examples import examples_path
from ralr_viz.schedule import amplification_factors
from ralr_viz.tasks.classification import conclude
from ralr_viz.tasks.classification.evaluate import evaluate
from ralr_viz.tasks.classification.task import ImageEvaluator
from ralr_viz.train.checkpoint import load_checkpoint, read_checkpoint
from ralr_viz.train.loop import train_run
from ralr_viz.train.prepare import finished_result, read_prepared_run


def read_metrics(directory):
    return [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


def weights_of(directory, name="last"):
    return read_checkpoint(directory / "checkpoints" / f"{name}.pt")["model"]


def assert_same(a, b):
    assert a.keys() == b.keys()
    assert all(torch.equal(a[k], b[k]) for k in a)


def train_literally(directory, root):
    """What a user would write: per-image augmentation in NumPy, an LR set by hand, torch's plain SGD."""
    recipe, _, seed = read_prepared_run(directory)
    data = load_dataset("squares", root)
    train, _ = split_train(data.train.labels, validation=recipe.validation)
    mean, std = np.array(data.mean), np.array(data.std)
    factors = amplification_factors(seed, recipe.epochs)
    torch.manual_seed(seed)
    model = build_model("resnet20", 4)
    optimizer = torch.optim.SGD(model.parameters(), recipe.lr, momentum=0.9, nesterov=True, weight_decay=1e-4)
    p = recipe.crop_padding
    for epoch in range(recipe.epochs):
        base = recipe.lr * recipe.gamma ** sum(epoch >= m for m in recipe.milestone_epochs)
        optimizer.param_groups[0]["lr"] = base * factors[epoch]
        plan = plan_epoch(seed, epoch, len(train), padding=p, flip=recipe.flip)
        shown = []
        for i, top, left, flip in zip(
            *(t.tolist() for t in (plan.order, plan.top, plan.left, plan.flip)), strict=True
        ):
            image = np.pad(np.asarray(data.train.images[train[i]]), ((p, p), (p, p), (0, 0)))
            image = image[top : top + 16, left : left + 16]
            shown.append(((image[:, ::-1] if flip else image) / 255 - mean) / std)
        labels = torch.from_numpy(data.train.labels[train].astype(np.int64))[plan.order]
        for start in range(0, len(train), recipe.batch):
            x = torch.tensor(np.stack(shown[start : start + recipe.batch]), dtype=torch.float32).permute(
                0, 3, 1, 2
            )
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(x), labels[start : start + recipe.batch]).backward()
            optimizer.step()
    return model.state_dict()


def test_train_run_equals_a_literal_loop(prepare, squares_root):
    directory = prepare("ralr", seed=2, epochs=2, milestones=(1,), lr=0.01)  # seed 2 amplifies both epochs
    train_run(directory, squares_root, device="cpu")
    ours, twin = weights_of(directory), train_literally(directory, squares_root)
    torch.manual_seed(2)
    start = build_model("resnet20", 4).state_dict()
    moved = math.sqrt(sum(float(((twin[k] - start[k]) ** 2).sum()) for k in start))
    apart = math.sqrt(sum(float(((twin[k] - ours[k]) ** 2).sum()) for k in start))
    # the same arithmetic in another order: fp32 rounding, grown by 10 steps; a wrong LR is 10 % and more
    assert apart < 0.01 * moved


def test_arms_are_bit_identical_until_the_first_amplified_epoch(device, prepare, squares_root):
    factors = amplification_factors(0, 4)  # 1, 1, 2.65, 2.64
    assert factors[:2].tolist() == [1, 1]
    assert factors[2] > 1
    arms = {m: prepare(m, epochs=4, keep_every=1) for m in ("baseline", "ralr")}
    for directory in arms.values():
        train_run(directory, squares_root, device=device, deterministic=device == "cuda")
    for epoch in (1, 2):
        assert_same(*(weights_of(d, f"epoch_{epoch:04d}") for d in arms.values()))
    after = [weights_of(d, "epoch_0003")["conv1.weight"] for d in arms.values()]
    assert not torch.equal(*after)


def test_arms_share_initial_weights_but_seeds_do_not(prepare, squares_root):
    first = [prepare(m, seed=s, epochs=1) for m, s in (("baseline", 0), ("scaled", 0), ("baseline", 1))]
    for directory in first:
        train_run(directory, squares_root, device="cpu")
    moved = [read_metrics(d)[0]["step_length"] for d in first]
    assert len(set(moved)) == 3
    init = [read_metrics(d)[0] for d in first]
    # after one epoch the distance from the start is the length of the one step
    assert all(r["distance_from_init"] == r["step_length"] for r in init)


def test_scaled_arm_uses_the_mean_factor_in_every_epoch(prepare, squares_root):
    directory = prepare("scaled")
    train_run(directory, squares_root, device="cpu")
    records = read_metrics(directory)
    assert [r["factor"] for r in records] == [1.5] * 3
    assert [r["base_lr"] for r in records] == pytest.approx([0.05, 0.05, 0.005])
    assert [r["lr"] for r in records] == pytest.approx([0.075, 0.075, 0.0075])


def test_masked_arms_are_the_baseline_before_and_keep_their_sum_after(prepare, squares_root):
    """`amplify_from` and `matched` through the loop: bits before the first draw that counts, Σ LR after it."""
    settings = {"epochs": 6, "milestones": (4,), "amplify_from": 1 / 3, "keep_every": 1}
    arms = {m: prepare(m, seed=2, **settings) for m in ("baseline", "ralr", "matched", "scaled")}
    for directory in arms.values():
        train_run(directory, squares_root, device="cpu")
    drawn = amplification_factors(2, 6, amplify_from=2)
    assert amplification_factors(2, 6)[:2].min() > 1  # which were masked
    factors = {m: np.array([r["factor"] for r in read_metrics(d)]) for m, d in arms.items()}
    np.testing.assert_array_equal(factors["ralr"], drawn)
    np.testing.assert_array_equal(factors["scaled"], [1, 1, 1.5, 1.5, 1.5, 1.5])
    np.testing.assert_allclose(factors["matched"], [1, 1, *[drawn[2:4].mean()] * 2, *[drawn[4:].mean()] * 2])
    for directory in arms.values():
        assert_same(*(weights_of(d, "epoch_0002") for d in (arms["baseline"], directory)))
    results = {m: finished_result(d) for m, d in arms.items()}
    assert results["matched"]["sum_lr"] == pytest.approx(results["ralr"]["sum_lr"], rel=1e-14)
    squares = {m: math.fsum(r["lr"] ** 2 for r in read_metrics(d)) for m, d in arms.items()}
    assert {m: r["sum_lr_squared"] for m, r in results.items()} == pytest.approx(squares)
    assert squares["matched"] < squares["ralr"]


def test_what_is_left_for_the_end_is_scored_once_in_fp32(prepare, squares_root, monkeypatch):
    """Test and unused images: not in any epoch's record, then once, as evaluating the last state by hand gives."""
    settings = {"subset": 40, "evaluate_test": "end", "evaluate_unused": "end", "precision": "bf16"}
    directory = prepare("ralr", **settings)
    seen = []
    monkeypatch.setattr(conclude, "evaluate", lambda *a, **k: seen.append(len(a[1])) or evaluate(*a, **k))
    result = train_run(directory, squares_root, device="cpu")
    assert [(r["test_acc"], r["test_loss"]) for r in read_metrics(directory)] == [(None, None)] * 3
    assert seen == [24, 56]
    data, final = load_dataset("squares", squares_root), result["final"]
    train, held = split_train(data.train.labels, validation=0.25, subset=40)
    unused = sorted(set(range(96)) - set(train.tolist()) - set(held.tolist()))
    assert (final["precision"], final["test"]["n"], final["unused"]["n"]) == ("fp32", 24, 56)
    model = load_checkpoint(directory).build()
    for name, split, indices in (("test", data.test, range(24)), ("unused", data.train, unused)):
        x = (np.asarray(split.images[list(indices)]) / 255 - np.array(data.mean)) / np.array(data.std)
        logits = model(torch.tensor(x, dtype=torch.float32).permute(0, 3, 1, 2)).detach()
        y = torch.tensor(np.asarray(split.labels[list(indices)], dtype=np.int64))
        assert final[name]["loss"] == pytest.approx(
            float(torch.nn.functional.cross_entropy(logits, y)), rel=1e-4
        )
        assert final[name]["acc"] == pytest.approx(100 * float((logits.argmax(1) == y).float().mean()))
    assert result["last"]["test_acc"] == final["test"]["acc"]
    assert result["median_last5"]["test_acc"] is None
    assert result["median_last5"]["val_acc"] is not None


def test_scoring_at_the_end_changes_no_bit_of_the_training(prepare, squares_root):
    arms = [
        prepare("ralr", folder=str(i), subset=40, evaluate_test=when)
        for i, when in enumerate(("epoch", "end"))
    ]
    for directory in arms:
        train_run(directory, squares_root, device="cpu")
    assert_same(*map(weights_of, arms))
    assert arms[0].relative_to(arms[0].parents[2]) == arms[1].relative_to(arms[1].parents[2])  # one key
    assert "final" not in finished_result(arms[0])


def test_run_killed_before_its_last_score_is_scored_by_the_next(prepare, squares_root, monkeypatch):
    directory = prepare("ralr", evaluate_test="end")
    with monkeypatch.context() as patch:
        patch.setattr(conclude, "evaluate", lambda *a, **k: (_ for _ in ()).throw(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            train_run(directory, squares_root, device="cpu")
    assert finished_result(directory) is None
    assert len(read_metrics(directory)) == 3
    assert train_run(directory, squares_root, device="cpu")["final"]["test"]["n"] == 24


def test_recipe_pins_the_threads(prepare, squares_root):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        directory = prepare(threads=1)
        train_run(directory, squares_root, device="cpu")
        assert json.loads((directory / "env.json").read_text())["threads"] == 1
    finally:
        torch.set_num_threads(before)


def test_record_holds_what_the_checkpoint_gives(prepare, squares_root):
    """Every number of the last record, recomputed in NumPy from the saved weights."""
    directory = prepare("ralr", seed=2, keep_every=1, train_sample=40)
    result = train_run(directory, squares_root, device="cpu")
    data, last = load_dataset("squares", squares_root), read_metrics(directory)[-1]
    train, held = split_train(data.train.labels, validation=0.25)
    sample = train[[len(train) * i // 40 for i in range(40)]]
    model = load_checkpoint(directory).build()
    for name, split, indices in (
        ("train", data.train, sample),
        ("val", data.train, held),
        ("test", data.test, np.arange(24)),
    ):
        x = (np.asarray(split.images[indices]) / 255 - np.array(data.mean)) / np.array(data.std)
        logits = model(torch.tensor(x, dtype=torch.float32).permute(0, 3, 1, 2)).detach().double().numpy()
        y = np.asarray(split.labels[indices])
        loss = np.mean(np.log(np.exp(logits).sum(1)) - logits[np.arange(len(y)), y])
        assert last["train_loss_eval" if name == "train" else f"{name}_loss"] == pytest.approx(loss, rel=1e-4)
        if name != "train":
            assert last[f"{name}_acc"] == pytest.approx(100 * np.mean(logits.argmax(1) == y))
    torch.manual_seed(2)
    start = dict(build_model("resnet20", 4).named_parameters())
    before, after = (weights_of(directory, f"epoch_000{e}") for e in (2, 3))
    length = math.sqrt(sum(float(((after[k] - before[k]) ** 2).sum()) for k in start))
    distance = math.sqrt(sum(float(((after[k] - start[k].detach()) ** 2).sum()) for k in start))
    norm = math.sqrt(sum(float((after[k] ** 2).sum()) for k in start))
    assert last["step_length"] == pytest.approx(length, rel=1e-4)
    assert last["distance_from_init"] == pytest.approx(distance, rel=1e-4)
    assert last["weight_norm"] == pytest.approx(norm, rel=1e-4)
    factors = amplification_factors(2, 3)
    assert [r["factor"] for r in read_metrics(directory)] == factors.tolist()
    assert result["final_factor"] == factors[-1]
    assert result["sum_lr"] == pytest.approx(np.dot(factors, [0.05, 0.05, 0.005]))
    assert result["last"]["test_acc"] == last["test_acc"]


def test_drop_last_leaves_out_the_smaller_batch(prepare, squares_root):
    seen = {}
    for drop in (True, False):
        reports = []
        train_run(
            prepare(epochs=1, batch=20, drop_last=drop), squares_root, device="cpu", report=reports.append
        )
        seen[drop] = reports[-1].steps
    assert seen == {True: 3, False: 4}  # 72 training images


def test_train_run_stops_as_diverged_and_keeps_the_last_finite_state(prepare, squares_root):
    directory = prepare("ralr", epochs=5, lr=1e6, milestones=())
    with pytest.raises(DivergedError, match=r"not finite in epoch \d at factor") as caught:
        train_run(directory, squares_root, device="cpu")
    assert "\n" not in str(caught.value)
    result = json.loads((directory / "result.json").read_text())
    assert result["status"] == "diverged"
    assert "factor" in result["message"]
    for record in read_metrics(directory):
        assert record["train_loss"] is None or math.isfinite(record["train_loss"])
    assert "diverged" in (directory / "log.txt").read_text()


def test_diverged_run_does_not_replace_the_checkpoint_before(prepare, squares_root, monkeypatch):
    from ralr_viz.train import training

    directory = prepare(epochs=3, keep_every=1)
    real, calls = training.train_step, []

    def poisoned(network, optimizer, task, batches, totals, *rest):
        calls.append(1)
        real(network, optimizer, task, batches, totals, *rest)
        if len(calls) == 7:  # in the second epoch
            totals.own[0] = torch.nan

    monkeypatch.setattr(training, "train_step", poisoned)
    with pytest.raises(DivergedError, match="epoch 2 at factor 1 .* after epoch 1 is kept"):
        train_run(directory, squares_root, device="cpu")
    assert_same(weights_of(directory), weights_of(directory, "epoch_0001"))


@pytest.mark.parametrize("missing", ["optimizer", "scheduler", "rng"])
def test_resume_names_a_checkpoint_that_lacks_its_state(prepare, squares_root, missing):
    directory = prepare(epochs=1)
    train_run(directory, squares_root, device="cpu")
    (directory / "result.json").unlink()
    for name in ("last", "best"):
        file = directory / "checkpoints" / f"{name}.pt"
        state = read_checkpoint(file)
        del state[missing]
        file.unlink()
        torch.save(state, file)
    with pytest.raises(
        CheckpointError, match="lacks what training needs to go on .* train again with --force"
    ):
        train_run(directory, squares_root, device="cpu")


def test_train_run_refuses_a_channel_that_never_changes(prepare, squares_root, monkeypatch):
    from dataclasses import replace

    from ralr_viz.tasks.classification import task

    flat = replace(load_dataset("squares", squares_root), std=(0.2, 0.0, 0.2))
    monkeypatch.setattr(task, "load_dataset", lambda name, root: flat)
    with pytest.raises(DataError, match="a colour channel of `squares` never changes"):
        train_run(prepare(), squares_root, device="cpu")


def test_out_of_memory_is_one_line(prepare, squares_root, monkeypatch):
    from ralr_viz.train import training

    def exhaust(*arguments):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate\nlots")

    monkeypatch.setattr(training, "train_step", exhaust)
    with pytest.raises(
        RalrVizError, match="out of memory at `batch` = 16: lower it by --set batch"
    ) as caught:
        train_run(prepare(), squares_root, device="cpu")
    assert "\n" not in str(caught.value)
    monkeypatch.undo()
    monkeypatch.setattr(ImageEvaluator, "__call__", exhaust)  # of which a smaller batch is no remedy
    with pytest.raises(RalrVizError, match="out of memory in an evaluation, which `batch` does not change"):
        train_run(prepare(folder="other"), squares_root, device="cpu")


@pytest.mark.parametrize("optimizer", ["adam", "adagrad"])
def test_other_optimizers_train(prepare, squares_root, optimizer):
    directory = prepare("ralr", epochs=2, optimizer=optimizer, momentum=0.0, nesterov=False, lr=0.01)
    result = train_run(directory, squares_root, device="cpu")
    assert math.isfinite(result["last"]["test_loss"])


def test_train_run_refuses_a_batch_larger_than_the_data(prepare, squares_root):
    with pytest.raises(InputError, match="`batch` = 500 is more than the 72 training images"):
        train_run(prepare(batch=500, drop_last=True), squares_root, device="cpu")


def test_train_run_learns(prepare, squares_root):
    result = train_run(prepare(epochs=8, milestones=(5,)), squares_root, device="cpu")
    assert result["last"]["test_acc"] > 80  # colour tells the classes; chance is 25 %


def test_resumed_run_keeps_its_precision_on_every_machine_and_says_so(prepare, squares_root, monkeypatch):
    from ralr_viz.runtime import device
    from ralr_viz.train import training

    directory = prepare(epochs=3, precision="auto")
    used = []
    step = training.train_step

    def stop_after_an_epoch(report):
        if report.record is not None:
            raise KeyboardInterrupt

    monkeypatch.setattr(training, "train_step", lambda *a, **k: used.append(a[5].precision) or step(*a, **k))
    for has_bf16 in (True, False, False):
        monkeypatch.setattr(device, "_has_fast_bf16", lambda where, has=has_bf16: has)
        with pytest.raises(KeyboardInterrupt):
            train_run(directory, squares_root, device="cpu", report=stop_after_an_epoch)
        assert set(used) == {"bf16"}
        assert read_checkpoint(directory / "checkpoints" / "last.pt")["header"]["precision"] == "bf16"
        assert json.loads((directory / "env.json").read_text())["precision"] == "bf16"


def test_warm_run_stopped_within_the_rise_goes_on_to_the_bit(prepare, squares_root, monkeypatch):
    from ralr_viz.train import training

    given = {"warmup_steps": 8, "schedule": "inverse_sqrt", "epochs": 3, "examples": "train,val"}
    whole, stopped = prepare("ralr", folder="whole", **given), prepare("ralr", folder="stopped", **given)
    train_run(whole, squares_root, device="cpu")
    real, steps = training.train_step, []

    def interrupted(*arguments, **named):
        parts = real(*arguments, **named)
        steps.append(1)
        if len(steps) == 7:
            os.kill(os.getpid(), signal.SIGINT)
        return parts

    with monkeypatch.context() as patch:
        patch.setattr(training, "train_step", interrupted)
        with pytest.raises(InterruptedRunError):
            train_run(stopped, squares_root, device="cpu")
    train_run(stopped, squares_root, device="cpu")
    assert_same(weights_of(stopped), weights_of(whole))
    for name in ("train", "val"):
        assert examples_path(stopped, name).read_bytes() == examples_path(whole, name).read_bytes()
    for one, other in zip(read_metrics(stopped), read_metrics(whole), strict=True):
        assert {k: one[k] for k in ("base_lr", "lr", "factor", "train_loss")} == {
            k: other[k] for k in ("base_lr", "lr", "factor", "train_loss")
        }
        assert one["lr"] == one["base_lr"] * one["factor"]
    rising = [min((s + 1) / 8, (8 / (s + 1)) ** 0.5) for s in range(5)]
    assert read_metrics(whole)[0]["base_lr"] == pytest.approx(0.05 * sum(rising) / 5)


def test_states_of_a_finished_run_may_leave_the_optimizer_out(prepare, squares_root):
    whole, slim = (prepare("ralr", folder=str(k), keep_every=1, keep_optimizer=k) for k in (True, False))
    for run in (whole, slim):
        train_run(run, squares_root, device="cpu")
    assert_same(weights_of(slim), weights_of(whole))
    sizes = [(run / "checkpoints" / "last.pt").stat().st_size for run in (whole, slim)]
    assert sizes[1] < 0.6 * sizes[0]
    assert not (slim / "checkpoints" / "prev.pt").exists()
    assert read_checkpoint(slim / "checkpoints" / "epoch_0002.pt")["optimizer"] is None
    assert load_checkpoint(f"{slim}@2").epoch == 2
    assert finished_result(slim)["status"] == "finished"
