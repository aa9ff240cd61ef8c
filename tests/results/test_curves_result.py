"""Curves of several runs: axes, best epochs and summaries against slow, literal twins."""

from __future__ import annotations

import datetime
import math
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ralr_viz.analysis.curves import compute_curves
from ralr_viz.errors import InputError
from ralr_viz.results.bundle import load_result, save_result
from ralr_viz.results.curves import CurvesResult
from ralr_viz.results.run import RunRecord

NAN = math.nan


def record(method: str = "ralr", seed: int | None = 0, epochs: Any = None, **metrics: Any) -> RunRecord:
    options = {
        name: metrics.pop(name) for name in ("recipe_name", "result", "recipe", "env") if name in metrics
    }
    length = len(next(iter(metrics.values())))
    return RunRecord(
        options.pop("recipe_name", "demo"),
        method,
        seed,
        np.arange(1, length + 1) if epochs is None else np.array(epochs),
        {name: np.array(values, dtype=float) for name, values in metrics.items()},
        **options,
    )


def test_compute_curves_puts_runs_on_one_axis() -> None:
    result = compute_curves(
        [
            record("baseline", epochs=[1, 2], val_acc=[10, 20], lr=[0.1, 0.1]),
            record("ralr", epochs=[2, 5], val_acc=[30, math.inf], mine=[1, 2]),
        ]
    )
    assert result.epoch.tolist() == [1, 2, 5]
    np.testing.assert_array_equal(result.val_acc, [[10, 20, NAN], [NAN, 30, NAN]])
    np.testing.assert_array_equal(result.lr, [[0.1, 0.1, NAN], [NAN, NAN, NAN]])
    assert result.run == ("demo/baseline/seed0", "demo/ralr/seed0")
    assert result.split == "validation"
    assert result.acc is result.val_acc


def test_compute_curves_tells_equal_labels_apart() -> None:
    result = compute_curves([record(val_acc=[1]), record(val_acc=[2]), record(seed=1, val_acc=[3])])
    assert result.run == ("demo/ralr/seed0", "demo/ralr/seed0 (2)", "demo/ralr/seed1")


def best_twin(epochs: list[int], losses: list[float]) -> int:
    """Algorithm 1, lines 9–12: keep the epoch whenever L <= L*."""
    best, lowest = 0, math.inf
    for epoch, loss in zip(epochs, losses, strict=True):
        if loss <= lowest:
            best, lowest = epoch, loss
    return best


@given(st.lists(st.sampled_from([0.5, 0.6, 0.7, NAN]), min_size=1, max_size=12))
def test_compute_curves_finds_the_later_best_epoch(losses: list[float]) -> None:
    epochs = list(range(1, len(losses) + 1))
    assert compute_curves([record(val_loss=losses)]).best_epoch[0] == best_twin(epochs, losses)
    assert compute_curves([record(train_loss=losses)]).best_epoch[0] == best_twin(epochs, losses)


def test_compute_curves_never_selects_on_the_test_set() -> None:
    both = compute_curves([record(val_loss=[2, 1, 3], train_loss=[3, 2, 1], test_loss=[1, 2, 3])])
    assert (both.best_epoch[0], both.best_by) == (2, ("val_loss",))
    train = compute_curves([record(train_loss=[3, 2, 1], test_loss=[1, 2, 3])])
    assert (train.best_epoch[0], train.best_by, train.split) == (3, ("train_loss",), "test")
    only_test = compute_curves([record(test_loss=[1, 2, 3])])
    assert (only_test.best_epoch[0], only_test.best_by) == (0, ("",))


def test_compute_curves_draws_one_split_for_all() -> None:
    validated, tested = {"val_loss": [1.0], "test_loss": [1.0]}, {"val_loss": [NAN], "test_loss": [1.0]}
    nothing = {"train_loss": [1.0]}
    assert compute_curves([record(**validated), record(**validated)]).has_validation
    mixed = compute_curves([record(**validated), record(**tested), record(**nothing)])
    assert (mixed.split, mixed.has_validation) == ("test", False)
    assert compute_curves([record(**nothing)]).split == ""
    only_val = {"val_acc": [1.0]}
    assert compute_curves([record(**only_val), record(**nothing)]).split == "validation"
    with pytest.raises(
        InputError, match="`demo/b/seed0` has no validation values and `demo/a/seed0` no test"
    ):
        compute_curves([record("a", **only_val), record("b", **tested)])


def test_compute_curves_reads_anybodys_log(tmp_path: Path) -> None:
    log, seen = tmp_path / "mine.csv", []
    log.write_text("epoch,score\n0,0.5\n1,0.75\n")
    columns = {"val_acc": "score"}
    result = compute_curves(
        [str(log), record(val_acc=[1])], columns=columns, progress=lambda *at: seen.append(at)
    )
    assert result.run[0] == "mine" and result.acc[0].tolist() == [50, 75]
    assert "mine: epochs are counted from 0 in the file, from 1 here" in result.notes
    assert result.describe()[0].startswith("mine: validation accuracy 75.00 % (last), ")
    assert seen == [(1, 2, "logs"), (2, 2, "logs")]
    assert compute_curves(log, columns=columns).notes == result.notes


def test_compute_curves_refuses_no_run() -> None:
    with pytest.raises(InputError, match="no run was given"):
        compute_curves([])


def test_curves_group_separates_recipes() -> None:
    one = compute_curves([record("ralr", val_acc=[1]), record("log", recipe_name="", val_acc=[1])])
    assert one.group == ("ralr", "log")
    runs = [record("ralr", recipe_name=name, val_acc=[1]) for name in ("a", "b")]
    two = compute_curves([*runs, record("log", recipe_name="", val_acc=[1])])
    assert two.group == ("a ralr", "b ralr", "log")


def test_curves_amplified_marks_only_random_amplification() -> None:
    factors = {"ralr": [1, 2.5, NAN, 1], "baseline": [1] * 4, "scaled": [1.5] * 4, "csv": [NAN] * 4}
    result = compute_curves(
        [record(name, factor=values, val_acc=[1] * 4) for name, values in factors.items()]
    )
    assert result.amplified.tolist() == [[False, True, False, False], *[[False] * 4] * 3]


def test_curves_summary_equals_a_slow_twin() -> None:
    rng = np.random.default_rng(0)
    metrics = {name: rng.uniform(0.1, 2, 20) for name in ("val_loss", "train_loss_eval", "lr", "factor")}
    acc = rng.uniform(0, 100, 20)
    result = compute_curves([record(val_acc=acc, **metrics), record(val_acc=[50, NAN], epochs=[1, 9])])
    row, short = result.summary()
    best = int(np.argmin(metrics["val_loss"]))
    assert row["epochs"] == 20
    assert row["last_acc"] == acc[-1]
    assert (row["best_epoch"], row["best_acc"]) == (best + 1, acc[best])
    assert row["median5_acc"] == statistics.median(acc[-5:])
    assert row["gap"] == metrics["val_loss"][-1] - metrics["train_loss_eval"][-1]
    assert row["gap_train_loss"] == metrics["train_loss_eval"][-1]
    assert f"nats at training loss {row['gap_train_loss']:.3f}" in result.describe()[0]
    assert row["final_factor"] == metrics["factor"][-1]
    assert row["sum_lr"] == pytest.approx(math.fsum(metrics["lr"]), rel=1e-14)
    assert (short["last_acc"], short["median5_acc"], short["best_epoch"]) == (50, 50, 0)
    assert all(math.isnan(short[name]) for name in ("best_acc", "gap", "final_factor", "sum_lr"))


def test_curves_summary_agrees_with_result_json(tmp_path: Path) -> None:
    summarise = pytest.importorskip("ralr_viz.train.summary").summarise_history
    rng = np.random.default_rng(1)
    names = ("lr", "factor", "val_loss", "val_acc", "test_acc", "train_loss_eval")
    metrics = {name: rng.uniform(0.1, 2, 9) for name in names}
    theirs = summarise([{"epoch": e + 1} | {n: float(v[e]) for n, v in metrics.items()} for e in range(9)])
    mine = compute_curves([record(**metrics)]).summary()[0]
    assert mine["last_acc"] == theirs["last"]["val_acc"]
    assert (mine["best_epoch"], mine["best_acc"]) == (theirs["best"]["epoch"], theirs["best"]["val_acc"])
    assert mine["median5_acc"] == theirs["median_last5"]["val_acc"]
    assert mine["final_factor"] == theirs["final_factor"]
    assert mine["sum_lr"] == pytest.approx(theirs["sum_lr"], rel=1e-14)


def test_curves_result_round_trips_with_its_provenance(tmp_path: Path) -> None:
    recipe = {"name": "demo", "day": datetime.date(2026, 1, 2), "milestones": [0.5, 0.75]}
    result = compute_curves(
        [record(val_acc=[1, NAN], recipe=recipe, env={"torch": "2.10"}, result={"status": "diverged"})]
    )
    loaded = load_result(save_result(result, tmp_path / "r"))
    assert isinstance(loaded, CurvesResult)
    assert loaded == result
    run = loaded.provenance["runs"][0]
    assert (run["run"], run["env"]["torch"], run["recipe"]["day"]) == (
        "demo/ralr/seed0",
        "2.10",
        "2026-01-02",
    )
    assert loaded.status == ("diverged",)
