"""The fork against the training loop itself: its branches are the run, bit for bit, where they must be."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from ralr_viz.analysis.barrier import compute_barrier
from ralr_viz.analysis.fork import branches as branches_module
from ralr_viz.analysis.fork import compute_fork as compute_opened
from ralr_viz.analysis.fork.branch import (
    Branch,
    BranchOutcome,
    derive_seed,
    digest_state,
    load_branch,
    save_branch,
    train_branch,
)
from ralr_viz.analysis.fork.point import open_state, read_fork_point
from ralr_viz.analysis.sharpness import compute_sharpness
from ralr_viz.comparison import compare
from ralr_viz.data import load_dataset
from ralr_viz.data.augment import augment_once
from ralr_viz.data.split import split_train
from ralr_viz.errors import CheckpointError, DataError, InputError, InterruptedRunError
from ralr_viz.models import build_model
from ralr_viz.results.bundle import load_result, save_result
from ralr_viz.runtime.device import Runtime
from ralr_viz.runtime.stop import StopSignal
from ralr_viz.tasks.classification import task as task_module
from ralr_viz.tasks.opening import open_task
from ralr_viz.train import training as training_module
from ralr_viz.train.checkpoint import export_checkpoint, load_checkpoint, read_checkpoint
from ralr_viz.train.loop import train_run
from ralr_viz.train.prepare import prepare_run
from ralr_viz.train.training import Training

CPU = Runtime(torch.device("cpu"), "fp32")


def compute_fork(checkpoint, root, **options):
    state = open_state(checkpoint, root=root, device="cpu")
    return compute_opened(state, **({"probe_images": 0} | options))


@pytest.fixture(scope="module")
def trained(tmp_path_factory, make_recipe, squares_root):
    """``baseline/seed0`` and ``ralr/seed2`` (which amplifies its epochs), two steps an epoch, all epochs kept."""
    recipe = make_recipe(epochs=4, milestones=(3,), keep_every=1, train_sample=20, subset=48, batch=18)
    folder = tmp_path_factory.mktemp("fork")
    found = {}
    for method, seed in (("baseline", 0), ("ralr", 2)):
        found[method] = prepare_run(recipe, method, seed, folder)
        train_run(found[method], squares_root, device="cpu")
    return found


@pytest.fixture(scope="module")
def ralr_fork(trained, squares_root):
    """After epoch 1 of the RALR run, one epoch at factors 1 and 2 and one at factor 1, in two orders."""
    return compute_fork(f"{trained['ralr']}@1", squares_root, factors=(2, 1), epochs=1, repeats=2)


def metrics(directory):
    return [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


def folder_hash(folder: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            digest.update(
                f"{file.relative_to(folder)} {file.stat().st_mtime_ns}".encode() + file.read_bytes()
            )
    return digest.hexdigest()


def test_factor_one_is_the_resumed_baseline_bit_for_bit(trained, squares_root):
    torch.backends.cudnn.benchmark = False
    result = compute_fork(f"{trained['baseline']}@2", squares_root, factors=(1,), epochs=1)
    assert not torch.backends.cudnn.benchmark  # which the training has had on
    assert result.reproduction == "reproduced"
    assert "epochs 3 to 4 and the weights of 2 of them" in result.reproduction_note
    assert len(result.factor) == 1 and "replays it" in result.notes[0]  # the recorded branch is this one
    records = metrics(trained["baseline"])
    for name, column in (
        ("train_loss", "train_loss_eval"),
        ("val_loss",) * 2,
        ("test_acc",) * 2,
        ("lr",) * 2,
    ):
        first = [] if name == "lr" else [records[1][column]]
        expected = [*first, records[2][column], records[3][column]]
        assert getattr(result, name)[0].tolist()[name == "lr" :] == expected
    assert result.base_lr.tolist() == [0.05, pytest.approx(0.005)]  # the decay after epoch 3 goes on
    assert result.decays == (1,)


def test_recorded_branch_is_the_ralr_run_bit_for_bit(trained, ralr_fork):
    assert ralr_fork.reproduction == "reproduced"
    row = ralr_fork.row(None)
    records = metrics(trained["ralr"])
    assert records[1]["factor"] > 1
    assert ralr_fork.lr[row, 1:].tolist() == [records[1]["lr"], records[2]["lr"]]
    assert ralr_fork.val_loss[row].tolist() == [r["val_loss"] for r in records[:3]]
    assert ralr_fork.step_length[row, 1:].tolist() == [r["step_length"] for r in records[1:3]]
    a, b = (read_checkpoint(trained["ralr"] / f"checkpoints/epoch_000{e}.pt")["model"] for e in (1, 3))
    names = dict(build_model("resnet20", 4).named_parameters())
    distance = sum(float(((b[k] - a[k]) ** 2).sum()) for k in names) ** 0.5
    assert ralr_fork.distance[row, 2] == pytest.approx(distance, rel=1e-5)


def test_recorded_branch_ends_with_the_run(trained, squares_root):
    result = compute_fork(f"{trained['ralr']}@3", squares_root, factors=(1,), epochs=1)
    row = result.row(None)
    assert np.isfinite(result.val_loss[row]).tolist() == [True, True, False]
    assert result.reproduction == "reproduced" and "epoch 4" in result.reproduction_note
    assert any("The recipe of the run ends 1 epoch before" in note for note in result.notes)


def test_a_changed_run_is_not_called_reproduced(trained, squares_root, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(trained["ralr"], copy)
    lines = (copy / "metrics.jsonl").read_text().splitlines()
    changed = json.loads(lines[2])
    changed["val_loss"] = np.nextafter(changed["val_loss"], 9)
    lines[2] = json.dumps(changed)
    (copy / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    options = {"factors": (1,), "epochs": 1, "work": tmp_path / "work"}
    result = compute_fork(f"{copy}@1", squares_root, **options)
    assert result.reproduction == "differs"
    assert "`val_loss` of epoch 3" in result.reproduction_note
    env = json.loads((copy / "env.json").read_text())
    assert env["deterministic"] is False  # as before there was the choice, on the CPU
    (copy / "env.json").write_text(json.dumps(env | {"deterministic": True}))  # of --deterministic then
    assert compute_fork(f"{copy}@1", squares_root, **options).reproduction == "differs"
    (copy / "env.json").write_text(json.dumps(env | {"torch": "1.0", "compile": True}))
    result = compute_fork(f"{copy}@1", squares_root, **options)
    assert result.reproduction == "not comparable"
    assert f"torch {torch.__version__}, not 1.0, compile False, not True" in result.reproduction_note
    # the weights are looked at too
    (copy / "metrics.jsonl").write_text((trained["ralr"] / "metrics.jsonl").read_text())
    (copy / "env.json").write_text(json.dumps(env))
    shutil.copy(copy / "checkpoints/epoch_0001.pt", copy / "checkpoints/other.pt")
    (copy / "checkpoints/epoch_0003.pt").unlink()
    shutil.copy(copy / "checkpoints/epoch_0002.pt", copy / "checkpoints/epoch_0003.pt")
    result = compute_fork(f"{copy}@1", squares_root, **options)
    assert (result.reproduction, "weights after epoch 3" in result.reproduction_note) == ("differs", True)


def test_repeats_differ_but_share_their_order_over_the_factors(trained, squares_root, monkeypatch):
    orders = {}
    real = task_module.plan_epoch

    def plan(seed, epoch, n, **options):
        drawn = real(seed, epoch, n, **options)
        orders.setdefault((seed, epoch), []).append(drawn.order)
        return drawn

    monkeypatch.setattr(task_module, "plan_epoch", plan)
    result = compute_fork(f"{trained['baseline']}@1", squares_root, factors=(1, 2), epochs=1, repeats=3)
    assert result.repeats == 3
    seeds = [derive_seed(0, r) for r in range(3)]
    assert seeds[0] == 0 and len(set(seeds)) == 3
    used = {(s, e) for s in seeds for e in (1, 2)}
    assert set(orders) >= used  # the next epoch's is drawn ahead, too
    assert all(torch.equal(drawn[0], one) for drawn in orders.values() for one in drawn)  # of each factor
    assert len({tuple(orders[key][0].tolist()) for key in used}) == 6
    ends = result.outcome("val_loss")[..., -1]
    assert len(set(ends.ravel().tolist())) == 6


def test_derived_seeds_do_not_meet_those_of_other_trainings():
    seeds = {derive_seed(s, r) for s in range(20) for r in range(20)}
    assert len(seeds) == 400
    assert not {derive_seed(s, r) for s in range(20) for r in range(1, 20)} & set(range(100))


def test_a_branch_does_not_depend_on_those_before_it(trained, squares_root):
    point = read_fork_point(trained["ralr"] / "checkpoints/epoch_0001.pt")
    before = digest_state(point.state["model"])
    training = Training(open_task(point.recipe, squares_root), "ralr", 2, CPU)
    wanted = Branch(2.0, 0, 2, 1)
    alone = train_branch(training, point, wanted, StopSignal())
    for other in (Branch(None, 0, 1, 1), Branch(3.0, 4, 2, 1)):
        train_branch(training, point, other, StopSignal())
    again = train_branch(training, point, wanted, StopSignal())
    assert again.digests == alone.digests
    assert digest_state(point.state["model"]) == before
    assert [r["factor"] for r in alone.records] == [2, 1]
    assert list(alone.states) == [1, 2]


def test_sum_of_lr_and_factors(ralr_fork):
    assert ralr_fork.factors == (1.0, 2.0)
    one, two = ralr_fork.row(1.0), ralr_fork.row(2.0)
    np.testing.assert_allclose(ralr_fork.sum_lr[one], [0, 0.05, 0.1])
    np.testing.assert_allclose(ralr_fork.sum_lr[two], [0, 0.1, 0.15])
    np.testing.assert_array_equal(ralr_fork.planned_sum_lr(2.0), ralr_fork.sum_lr[two])


def test_run_directory_is_not_touched(trained, squares_root, tmp_path):
    before = folder_hash(trained["ralr"])
    compute_fork(f"{trained['ralr']}@2", squares_root, factors=(1,), work=tmp_path / "work", probe_images=4)
    assert folder_hash(trained["ralr"]) == before


def test_finished_branches_are_reused_only_under_the_same_key(trained, squares_root, tmp_path, monkeypatch):
    options = {"factors": (1, 2), "epochs": 1, "work": tmp_path / "work"}
    first = compute_fork(f"{trained['ralr']}@1", squares_root, **options)
    trained_anew = []
    real = branches_module.train_branch

    def count(training, point, branch, stop, progress):
        trained_anew.append((branch.factor, branch.repeat))
        return real(training, point, branch, stop, progress)

    monkeypatch.setattr(branches_module, "train_branch", count)
    done = []
    again = compute_fork(
        f"{trained['ralr']}@1", squares_root, **options, progress=lambda *at: done.append(at)
    )
    assert trained_anew == [] and done[-1] == (6, 6, "epochs of all branches")
    assert again == first
    more = compute_fork(f"{trained['ralr']}@1", squares_root, **(options | {"factors": (1, 2, 3)}))
    assert trained_anew == [(3.0, 0)]
    np.testing.assert_array_equal(more.val_loss[:2], first.val_loss[:2])
    compute_fork(f"{trained['ralr']}@2", squares_root, **options)  # another checkpoint
    assert len(trained_anew) == 4
    file = next((tmp_path / "work").glob("*.npz"))
    file.write_bytes(file.read_bytes()[:100])  # a damaged file is trained again
    compute_fork(f"{trained['ralr']}@1", squares_root, **options)
    compute_fork(f"{trained['ralr']}@2", squares_root, **options)
    assert load_branch(file, {}) is None
    assert len(trained_anew) in (4, 5)  # 4 where the damaged one is factor 3's


def test_a_kept_branch_with_a_flipped_bit_is_none(tmp_path):
    """Anywhere in the file: the sums of a zip archive leave out its directory, which says what is in it."""
    file, key = tmp_path / "b.npz", {"epochs": 1}
    save_branch(file, key, BranchOutcome(({"lr": 0.1},), ("ab",), "finished", {"sharpness": (0.5,)}))
    whole, found = file.read_bytes(), load_branch(file, key)
    assert found is not None and found.probes == {"sharpness": (0.5,)}
    for position in range(0, len(whole), 7):
        changed = bytearray(whole)
        changed[position] ^= 1 << position % 8
        file.write_bytes(changed)
        assert load_branch(file, key) is None, position


def test_a_kept_branch_of_an_earlier_version_is_taken(tmp_path):
    file, key = tmp_path / "b.npz", {"epochs": 1}
    save_branch(file, key, BranchOutcome(({"lr": 0.1},), ("ab",), "finished"))
    with np.load(file) as saved:
        np.savez(file, **saved)
    found = load_branch(file, key)
    assert found is not None and found.records == ({"lr": 0.1},)
    changed = bytearray(file.read_bytes())
    at = changed.index(b"PK\x01\x02")
    changed[at + 10] = 99  # a way of packing that there is not
    file.write_bytes(changed)
    assert load_branch(file, key) is None


def test_signal_keeps_the_finished_branches(trained, squares_root, tmp_path, monkeypatch):
    options = {"factors": (1, 2), "epochs": 1, "work": tmp_path / "work"}
    real, steps = training_module.train_step, []

    def interrupted(*arguments):
        real(*arguments)
        steps.append(1)
        if len(steps) == 7:  # two steps an epoch: in the second branch
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(training_module, "train_step", interrupted)
        with pytest.raises(InterruptedRunError, match="stopped after 1 of 3 branches; .* kept") as caught:
            compute_fork(f"{trained['ralr']}@1", squares_root, **options)
    assert caught.value.exit_code == 143
    assert len(list((tmp_path / "work").iterdir())) == 1
    steps.clear()
    monkeypatch.setattr(training_module, "train_step", lambda *a: (real(*a), steps.append(1)))
    resumed = compute_fork(f"{trained['ralr']}@1", squares_root, **options)
    assert len(steps) == 4 * 2  # two branches of two epochs of two steps
    assert resumed == compute_fork(f"{trained['ralr']}@1", squares_root, **(options | {"work": None}))


def test_diverged_branch_is_a_result(trained, squares_root):
    result = compute_fork(f"{trained['baseline']}@1", squares_root, factors=(1, 1e6), epochs=2)
    assert result.status == ("finished", "diverged")
    row = result.row(1e6)
    assert np.isnan(result.val_loss[row, 1:]).any() and np.isfinite(result.val_loss[row, 0])
    assert any("Diverged: factor 1e+06, repeat 0" in note for note in result.notes)
    rows = [r for r in result.summary() if r["factor"] == 1e6 and r["at"] == "at the end"]
    assert all(np.isnan(r["difference"]) for r in rows)


def test_result_survives_saving(ralr_fork, tmp_path):
    assert load_result(save_result(ralr_fork, tmp_path / "fork")) == ralr_fork


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"factors": (2, 3)}, "must contain 1"),
        ({"factors": (1, 0)}, "in \\(0, "),
        ({"factors": (1, float("nan"))}, "in \\(0, "),
        ({"factors": (1, 2, 2)}, "twice"),
        ({"epochs": 0}, "`epochs` = 0 must be 1 or more"),
        ({"repeats": 0}, "`repeats` = 0 must be 1 or more"),
        ({"probe_images": -1}, "`probe_images` = -1 must be 0 or more"),
    ],
)
def test_compute_fork_refuses_bad_settings(trained, squares_root, changes, message):
    with pytest.raises(InputError, match=message) as caught:
        compute_fork(f"{trained['ralr']}@1", squares_root, **changes)
    assert "\n" not in str(caught.value)


def test_compute_fork_refuses_weights_alone(trained, squares_root, tmp_path):
    export_checkpoint(f"{trained['ralr']}@1", tmp_path / "w.safetensors")
    with pytest.raises(CheckpointError, match="weights only.*--set keep_every=1 and give RUN@E"):
        compute_fork(tmp_path / "w.safetensors", squares_root)
    state = read_checkpoint(trained["ralr"] / "checkpoints/epoch_0001.pt")
    torch.save(state | {"optimizer": None}, tmp_path / "half.pt")
    with pytest.raises(CheckpointError, match="no state of the optimizer.*--set keep_every=1"):
        compute_fork(tmp_path / "half.pt", squares_root)
    torch.save(state | {"partial": {"step": 1}}, tmp_path / "midst.pt")
    with pytest.raises(CheckpointError, match="midst of an epoch: give RUN@prev"):
        compute_fork(tmp_path / "midst.pt", squares_root)
    state["header"]["recipe"] = {"mine": 1}
    torch.save(state, tmp_path / "mine.pt")
    with pytest.raises(CheckpointError, match="not of a training by `ralr-viz train`"):
        compute_fork(tmp_path / "mine.pt", squares_root)


def test_compute_fork_refuses_other_data_and_the_end_of_a_cosine(trained, squares_root, tmp_path):
    state = read_checkpoint(trained["ralr"] / "checkpoints/epoch_0003.pt")
    state["header"]["content_hash"] = "other"
    torch.save(state, tmp_path / "other.pt")
    with pytest.raises(DataError, match="trained on other images"):
        compute_fork(tmp_path / "other.pt", squares_root)
    state["header"]["content_hash"] = load_dataset("squares", squares_root).content_hash
    state["header"]["recipe"] |= {"schedule": "cosine"}
    torch.save(state, tmp_path / "cosine.pt")
    with pytest.raises(InputError, match="a cosine schedule ends with the run"):
        compute_fork(tmp_path / "cosine.pt", squares_root)
    state["header"]["recipe"] |= {"schedule": "onecycle", "epochs": 5}
    torch.save(state, tmp_path / "onecycle.pt")
    with pytest.raises(InputError, match="a onecycle schedule ends with the run"):
        compute_fork(tmp_path / "onecycle.pt", squares_root, epochs=3)


def test_a_file_outside_a_run_has_nothing_to_compare(trained, squares_root, tmp_path):
    file = tmp_path / "alone.pt"
    file.write_bytes((trained["ralr"] / "checkpoints/epoch_0001.pt").read_bytes())
    result = compute_fork(file, squares_root, factors=(1,))
    assert result.reproduction == "nothing to compare"
    assert result.row(None) is None


def test_compute_fork_of_a_name_finds_the_data_itself(trained, squares_root, monkeypatch):
    monkeypatch.setenv("RALR_VIZ_DATA", str(squares_root))
    result = compute_opened(f"{trained['baseline']}@3", factors=(1,), probe_images=0)
    assert result.dataset == "squares" and result.start_epoch == 3
    assert result.describe()[0].startswith(f"repeat 0 against the run: {result.reproduction} (")


@pytest.fixture(scope="module")
def probed(trained, squares_root, tmp_path_factory):
    work = tmp_path_factory.mktemp("probed")
    options = {"factors": (1, 3), "work": work, "probe_images": 16}
    first = compute_fork(f"{trained['ralr']}@3", squares_root, **options)
    return first, compute_fork(f"{trained['ralr']}@3", squares_root, **options)


def test_probes_do_not_change_the_training_and_are_kept(trained, squares_root, probed):
    first, again = probed
    assert again == first and len(first.probe) == 2
    plain = compute_fork(f"{trained['ralr']}@3", squares_root, factors=(1, 3))
    np.testing.assert_array_equal(plain.val_loss, first.val_loss)
    assert plain.sharpness.shape == (3, 0) and math.isnan(plain.start_sharpness) and not plain.probe


def test_probes_are_those_of_their_own_modules(trained, squares_root, probed):
    """The start's sharpness, and a barrier between two kept epochs, without the fork's plumbing."""
    result, _ = probed
    data = load_dataset("squares", squares_root)
    train, _ = split_train(data.train.labels, validation=0.25, subset=48)
    sample = train[len(train) * np.arange(20) // 20]
    chosen = sample[20 * np.arange(16) // 16]
    images, labels = np.asarray(data.train.images[chosen]), np.asarray(data.train.labels[chosen])
    scale = {"mean": data.mean, "std": data.std}
    images = augment_once(images, padding=2, flip=True)
    three, four = (load_checkpoint(f"{trained['ralr']}@{e}").build() for e in (3, 4))
    ends = compare([three, four], images=images, labels=labels, device="cpu", **scale)
    found = compute_sharpness(
        compare([three], images=images, labels=labels, device="cpu", **scale),
        radii=(0.2,), directions=4, worst_radii=(),
    )  # fmt: skip
    assert result.start_sharpness == pytest.approx(
        float(found.losses.mean() - found.centre_loss[0]), abs=1e-6
    )
    line = compute_barrier(ends, points=5)
    gap = line.losses[0].mean(axis=1) - np.interp(line.alphas, [0, 1], line.losses[0].mean(axis=1)[[0, -1]])
    recorded = result.row(None)
    assert result.barrier[recorded, 0] == pytest.approx(max(gap.max(), 0), abs=1e-6)
    assert np.isfinite(result.sharpness[recorded]).tolist() == [True, False]  # the run ended there
    assert np.isfinite(result.barrier[: len(result.barrier) - 1]).all()
