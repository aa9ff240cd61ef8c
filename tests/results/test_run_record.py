"""Reading run directories, whole, in progress and damaged."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ralr_viz.errors import InputError
from ralr_viz.results.run import find_runs, load_run


def write_run(folder: Path, records: list[dict[str, Any]], *, method: str = "ralr", seed: int = 0) -> Path:
    folder.mkdir(parents=True)
    (folder / "recipe.toml").write_text(f'recipe = "demo"\nmethod = "{method}"\nseed = {seed}\nlr = 0.1\n')
    (folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return folder


def epoch(number: int, **values: Any) -> dict[str, Any]:
    return {"epoch": number, "lr": 0.1, "train_loss": 1 / number, "val_loss": None, **values}


def test_load_run_reads_a_finished_run(tmp_path: Path) -> None:
    run = write_run(tmp_path / "r", [epoch(1), epoch(2, val_loss=0.5, mine=7, note="x")])
    (run / "result.json").write_text('{"status": "finished"}')
    (run / "env.json").write_text('{"torch": "2.10"}')
    record = load_run(run)
    assert (record.recipe_name, record.method, record.seed) == ("demo", "ralr", 0)
    assert (record.label, record.status) == ("demo/ralr/seed0", "finished")
    assert record.epoch.tolist() == [1, 2]
    assert record.epoch.dtype == np.int64
    assert record.metrics["train_loss"].tolist() == [1.0, 0.5]
    assert record.recipe["lr"] == 0.1
    assert record.env == {"torch": "2.10"}
    np.testing.assert_array_equal(record.metrics["val_loss"], [math.nan, 0.5])
    np.testing.assert_array_equal(record.metrics["mine"], [math.nan, 7])  # a key of the user's own is kept
    assert "note" not in record.metrics  # but text is not a curve
    assert np.isnan(record.values("test_acc")).all()


def test_load_run_takes_what_was_measured_once_at_the_end(tmp_path: Path) -> None:
    run = write_run(tmp_path / "r", [epoch(1, test_acc=None), epoch(2, test_acc=None, val_acc=60.0)])
    last = {"epoch": 2, "test_acc": 71.5, "val_acc": 99.0, "val_loss": None, "unknown": 3.0}
    (run / "result.json").write_text(json.dumps({"status": "finished", "last": last}))
    record = load_run(run)
    np.testing.assert_array_equal(record.values("test_acc"), [math.nan, 71.5])
    assert (
        record.values("val_acc")[-1] == 60.0 and "unknown" not in record.metrics
    )  # the record itself counts
    (run / "result.json").write_text(json.dumps({"status": "running", "last": last | {"epoch": 1}}))
    assert np.isnan(load_run(run).values("test_acc")).all()  # of a run that has gone on since


def test_load_run_reads_what_run_writer_writes(tmp_path: Path) -> None:
    train = pytest.importorskip("ralr_viz.train")
    with train.RunWriter(tmp_path / "r", method="ralr", seed=3, recipe={"name": "mine", "lr": 0.1}) as run:
        run.log(epoch=1, lr=0.1, train_loss=float("nan"))
        run.log(epoch=2, lr=0.3, train_loss=0.25)
        assert load_run(tmp_path / "r").status == "running"
    record = load_run(tmp_path / "r")
    assert (record.label, record.status) == ("mine/ralr/seed3", "finished")
    np.testing.assert_array_equal(record.metrics["train_loss"], [math.nan, 0.25])


@pytest.mark.parametrize("tail", ['{"epoch": 3, "lr"', "{", '{"epoch": 3, "lr": 0.1, "train_loss": 0.'])
def test_load_run_leaves_out_a_half_written_line(tmp_path: Path, tail: str) -> None:
    run = write_run(tmp_path / "r", [epoch(1), epoch(2)])
    with (run / "metrics.jsonl").open("a") as file:
        file.write(tail)
    record = load_run(run)
    assert record.epoch.tolist() == [1, 2]
    assert record.status == "running"


def test_load_run_survives_a_cut_at_every_byte(tmp_path: Path) -> None:
    run = write_run(tmp_path / "r", [epoch(1, note="é"), epoch(2)])
    data = (run / "metrics.jsonl").read_bytes()
    first = data.index(b"\n")
    for size in range(first, len(data)):
        (run / "metrics.jsonl").write_bytes(data[:size])
        assert len(load_run(run).epoch) == (2 if size == len(data) - 1 else 1)
    for size in range(first):
        (run / "metrics.jsonl").write_bytes(data[:size])
        with pytest.raises(InputError, match="no finished epoch"):
            load_run(run)


def test_load_run_takes_the_later_record_of_an_epoch(tmp_path: Path) -> None:
    run = write_run(tmp_path / "r", [epoch(2, lr=1), epoch(1, lr=2), epoch(2, lr=3)])
    record = load_run(run)
    assert record.metrics["lr"].tolist() == [2, 3]
    assert record.notes == ("epoch 2 is logged more than once: the last record counts",)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("not json", "line 2: is not JSON"),
        ("[1]", "line 2: is not a JSON object"),
        ('{"lr": 1}', "line 2: `epoch` is None"),
        ('{"epoch": 0}', "line 2: `epoch` is 0"),
        ('{"epoch": true}', "line 2: `epoch` is True"),
        ('{"epoch": 2, "val_acc": "high"}', "line 2: `val_acc` is 'high'"),
        ('{"epoch": 2, "lr": [1]}', r"line 2: `lr` is \[1\]"),
        ("[" * 100_000, "line 2: is not JSON"),
        ('{"epoch": 2, "note": ' + "[" * 500 + "]" * 500 + "}", "line 2: is not JSON"),
        (
            '{"epoch": 9223372036854775808}',
            "line 2: `epoch` is 9223372036854775808, must be an integer below",
        ),
        ('{"epoch": 2, "lr": -1' + "0" * 400 + "}", "line 2: `lr` is -1000.*…, must be an integer below"),
        ('{"epoch": 2, "mine": 1' + "0" * 400 + "}", "line 2: `mine` is 1000.*…, must be an integer below"),
        ('{"epoch": 1' + "0" * 5000 + "}", "line 2: is not JSON"),
        ("\x00\xff", "line 2: is not JSON"),
    ],
)
def test_load_run_names_the_bad_line(tmp_path: Path, line: str, message: str) -> None:
    run = write_run(tmp_path / "r", [epoch(1)])
    with (run / "metrics.jsonl").open("a", encoding="latin-1") as file:
        file.write(line + "\n" + json.dumps(epoch(3)) + "\n")
    with pytest.raises(InputError, match=message) as caught:
        load_run(run)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400 + len(str(tmp_path))


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (None, r"is no run directory: expects recipe.toml .* \.csv"),
        ("recipe = ", "cannot be read"),
        ('recipe = "a"\nseed = 0', "lacks `method`"),
        ('recipe = "a"\nmethod = "b"\nseed = "0"', "lacks `seed`"),
        ('recipe = "a"\nmethod = "b"\nseed = true', "lacks `seed`"),
        (
            'recipe = "a"\nmethod = "b"\nseed = 9223372036854775808',
            "`seed` = 9223372036854775808 must be an int",
        ),
        ('recipe = "a"\nmethod = "b"\nseed = 0\nx = ' + "[" * 5000 + "]" * 5000, "cannot be read: it nests"),
    ],
)
def test_load_run_explains_a_bad_recipe(tmp_path: Path, recipe: str | None, message: str) -> None:
    run = write_run(tmp_path / "r", [epoch(1)])
    (run / "recipe.toml").unlink()
    if recipe is not None:
        (run / "recipe.toml").write_text(recipe)
    with pytest.raises(InputError, match=message):
        load_run(run)


@pytest.mark.parametrize("name", ["result.json", "env.json"])
@pytest.mark.parametrize("text", ["{", "[]", '{"a":' * 100_000, '{"a":' * 500 + "1" + "}" * 500])
def test_load_run_explains_damaged_json(tmp_path: Path, name: str, text: str) -> None:
    run = write_run(tmp_path / "r", [epoch(1)])
    (run / name).write_text(text)
    with pytest.raises(InputError, match=name):
        load_run(run)


def test_load_run_says_what_it_expects(tmp_path: Path) -> None:
    (tmp_path / "file.csv").write_text("")
    (tmp_path / "empty").mkdir()
    prepared = write_run(tmp_path / "prepared", [])
    (prepared / "metrics.jsonl").unlink()
    for path, message in [
        (tmp_path / "missing", "does not exist"),
        (tmp_path / "file.csv", "is a file"),
        (tmp_path / "empty", "is no run directory: expects metrics.jsonl"),
        (prepared, "has no finished epoch yet"),
    ]:
        for function in (load_run, find_runs):
            with pytest.raises(InputError, match=message):
                function(path)


def test_find_runs_finds_seeds_methods_and_recipes(tmp_path: Path) -> None:
    for method in ("ralr", "baseline"):
        for seed in (10, 2):
            write_run(tmp_path / f"runs/demo/{method}/seed{seed}", [epoch(1)], method=method, seed=seed)
    write_run(tmp_path / "runs/demo/ralr/seed3", [])  # no finished epoch: not there yet
    write_run(tmp_path / "runs/other/a/b/c/seed0", [epoch(1)])  # too deep
    expected = ["baseline/seed2", "baseline/seed10", "ralr/seed2", "ralr/seed10"]
    recipe = tmp_path / "runs/demo"
    assert [run.relative_to(recipe).as_posix() for run in find_runs(recipe)] == expected
    assert [run.relative_to(recipe).as_posix() for run in find_runs(tmp_path / "runs")] == expected
    assert find_runs(recipe / "ralr") == [recipe / "ralr/seed2", recipe / "ralr/seed10"]
    assert find_runs(recipe / "ralr/seed2") == [recipe / "ralr/seed2"]
