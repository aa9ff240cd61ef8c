"""Annealed forks: what is left of a factor at low rates, the barrier between the ends, and seeds as the units."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from ralr_viz.analysis.fork import branches as branches_module
from ralr_viz.analysis.fork import compute_fork as compute_opened
from ralr_viz.analysis.fork.branch_probe import BranchProbe
from ralr_viz.analysis.fork.point import open_state, read_fork_point
from ralr_viz.errors import InputError
from ralr_viz.own_code import allow_code
from ralr_viz.recipe import load_recipe
from ralr_viz.results.bundle import load_result, save_result
from ralr_viz.results.fork import ForkResult
from ralr_viz.results.uncertainty import student_interval
from ralr_viz.runtime.device import Runtime
from ralr_viz.tasks.opening import open_task
from ralr_viz.train.checkpoint import read_checkpoint
from ralr_viz.train.loop import train_run
from ralr_viz.train.prepare import prepare_run
from ralr_viz.train.training import Training

COMMON = 'dataset = "points"\nprecision = "fp32"\nthreads = 1\nkeep_every = 1\nepochs = 6\nlr = 0.05\nvalidation = 0.25\n'
LINE = COMMON + 'task = "line_task:Line"\nmodel = "mlp8"\nbatch = 20\nmilestones = [3, 5]\n'
BOWL = COMMON + (
    'task = "bowl_task:Bowl"\nmodel = "bowl"\nbatch = 3\nmilestones = [6]\nmomentum = 0.0\nnesterov = false\n'
    "weight_decay = 0.0\n"
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Iterator[dict[str, list[Path]]]:
    """Baselines of three seeds of each task, all states kept; their code is allowed while the tests run."""
    folder = tmp_path_factory.mktemp("anneal")
    with pytest.MonkeyPatch.context() as patch, allow_code(["line_task:Line", "bowl_task:Bowl"]):
        patch.syspath_prepend(str(Path(__file__).parents[1] / "tasks"))
        found: dict[str, list[Path]] = {}
        for name, text in (("line", LINE), ("bowl", BOWL)):
            (folder / f"{name}.toml").write_text(text)
            recipe = load_recipe(str(folder / f"{name}.toml"))
            found[name] = [prepare_run(recipe, "baseline", seed, folder / "runs") for seed in range(3)]
            for run in found[name]:
                train_run(run, Path(), device="cpu")
        yield found


def compute_fork(*checkpoints: str, **options) -> ForkResult:
    states = [open_state(checkpoint, device="cpu") for checkpoint in checkpoints]
    return compute_opened(states, **({"probe_images": 0} | options))


def test_factor_one_annealed_is_the_run_that_decays_there_bit_for_bit(runs):
    """The recipe decays after epochs 3 and 5, as the branch of epoch 2 does by itself."""
    run = runs["line"][0]
    result = compute_fork(f"{run}@2", factors=(1, 2), anneal=(2, 1))
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    row = result.row(1.0)
    assert result.lr[row, 1:].tolist() == [r["lr"] for r in records[2:]]
    assert result.base_lr.tolist() == [r["base_lr"] for r in records[2:]]
    assert result.train_loss[row].tolist() == [r["train_loss_eval"] for r in records[1:]]
    assert result.test_acc[row].tolist() == [r["test_mae"] for r in records[1:]]
    assert result.reproduction == "reproduced" and "epoch 3 and its weights" in result.reproduction_note
    other = result.row(2.0)
    assert result.lr[other, 1] == 2 * result.lr[row, 1] and (result.lr[other, 2:] == result.lr[row, 2:]).all()
    assert result.train_loss[other, -1] != result.train_loss[row, -1]


def test_annealed_fork_of_a_quadratic_has_its_closed_form(runs):
    run, steps = runs["bowl"][0], 3  # 9 samples are trained on, 3 a step
    result = compute_fork(f"{run}@1", factors=(1, 1.5, 3), anneal=(2, 1))
    place = read_checkpoint(run / "checkpoints" / "epoch_0001.pt")["model"]["place"].double().numpy()
    h = np.array(importlib.import_module("bowl_task").CURVATURES)
    for factor in (1, 1.5, 3):
        w = place.copy()
        for rate, epochs in ((0.05 * factor, 1), (0.005, 2), (0.0005, 1)):
            w = w * (1 - h * rate) ** (steps * epochs)
        row = result.row(factor)
        assert result.train_loss[row, -1] == pytest.approx((h * w**2).sum() / 2, rel=1e-5)
        assert result.distance[row, -1] == pytest.approx(np.linalg.norm(w - place), rel=1e-4)
    assert result.decays == (1, 3)


def test_child_barrier_of_a_convex_loss_is_zero(runs):
    result = compute_fork(f"{runs['bowl'][0]}@1", factors=(1, 3), anneal=(1,), repeats=2, probe_images=9)
    assert result.child_barrier.tolist() == [0.0] * 4
    rows = {(r["quantity"], r["factor"]): r for r in result.summary()}
    assert rows["child_barrier", 3.0]["difference"] == 0
    assert any(line.startswith("child_barrier: between annealed ends") for line in result.describe())


def test_barrier_between_a_network_and_its_permuted_units_is_more_than_zero(runs):
    point = read_fork_point(Path(runs["line"][0]) / "checkpoints" / "last.pt")
    training = Training(open_task(point.recipe, Path()), "baseline", 0, Runtime(torch.device("cpu"), "fp32"))
    probe, state = BranchProbe(training, point.state["model"], 100), point.state["model"]
    order = torch.arange(8).roll(3)
    permuted = {
        name: tensor[:, order]
        if name == "3.weight"
        else tensor[order]
        if tensor.shape[:1] == (8,)
        else tensor
        for name, tensor in state.items()
    }
    assert probe.barrier(state, state) == 0
    assert probe.barrier(permuted, state) > 0.01


def test_children_are_paired_in_one_order_and_those_of_factor_one_in_two(runs, monkeypatch):
    seen = []

    def barrier(self, state, other=None):
        if other is not None:
            seen.append((state, other))
        return float(len(seen))

    monkeypatch.setattr(BranchProbe, "barrier", barrier)
    result = compute_fork(f"{runs['line'][0]}@2", factors=(1, 2), anneal=(1,), repeats=3, probe_images=20)
    assert len(seen) == 6  # three of factor 2, three pairs of factor 1
    assert result.child_barrier.tolist() == [1, 2, 3, 4, 5, 6]
    two = compute_fork(f"{runs['line'][0]}@2", factors=(1,), anneal=(1,), repeats=2, probe_images=20)
    assert two.child_barrier[0] == two.child_barrier[1]  # the same pair
    one = compute_fork(f"{runs['line'][0]}@2", factors=(1, 2), anneal=(1,), probe_images=20)
    assert np.isnan(one.child_barrier[one.row(1.0)]) and one.child_barrier[one.row(2.0)] > 0


def test_kept_ends_are_found_again(runs, tmp_path, monkeypatch):
    options = {"factors": (1, 2), "anneal": (1,), "repeats": 2, "probe_images": 20, "work": tmp_path / "work"}
    first = compute_fork(f"{runs['line'][0]}@2", **options)
    monkeypatch.setattr(branches_module, "train_branch", lambda *_: pytest.fail("trained again"))
    again = compute_fork(f"{runs['line'][0]}@2", **options)
    np.testing.assert_array_equal(again.child_barrier, first.child_barrier)
    save_result(first, tmp_path / "fork")
    assert load_result(tmp_path / "fork") == first


def test_seeds_are_the_units_of_several_states(runs):
    checkpoints = [f"{run}@2" for run in runs["line"]]
    result = compute_fork(*checkpoints, factors=(1, 2), anneal=(1,), repeats=2)
    assert (result.states, result.repeats, result.units) == (3, 2, (3, "seeds"))
    assert result.run == "baseline, seeds 0, 1, 2, epoch 2"
    ends = result.outcome("train_loss")[..., -1]
    assert ends.shape == (2, 3)
    alone = compute_fork(checkpoints[1], factors=(1, 2), anneal=(1,), repeats=2)
    np.testing.assert_array_equal(ends[:, 1], alone.outcome("train_loss")[..., -1].mean(axis=1))
    (row,) = (
        r
        for r in result.summary()
        if (r["quantity"], r["at"], r["factor"]) == ("train_loss", "at the end", 2)
    )
    assert (row["low"], row["high"]) == pytest.approx(student_interval(ends[1] - ends[0]))
    assert any("factor 2" in line and line.endswith("over 3 seeds") for line in result.describe())
    assert result.reproduction == "reproduced" and "seed 2: " in result.reproduction_note


@pytest.mark.parametrize(
    ("states", "options", "message"),
    [
        ((), {}, "a fork has no checkpoint"),
        ((0, 0), {}, "of seed 0 again: seeds are the units"),
        ((0,), {"anneal": (0,)}, "`--anneal 0` must be whole numbers of epochs from 1 on, such as 5,5"),
    ],
)
def test_annealed_fork_refuses_in_one_line(runs, states, options, message):
    with pytest.raises(InputError, match=message) as caught:
        compute_fork(*(f"{runs['line'][s]}@2" for s in states), **options)
    assert "\n" not in str(caught.value)


def test_states_of_two_epochs_are_refused(runs):
    with pytest.raises(InputError, match="has another epoch than"):
        compute_fork(f"{runs['line'][0]}@2", f"{runs['line'][1]}@3")
