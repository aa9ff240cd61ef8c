"""``ralr-viz study``: from a TOML file to a table, on real trainings of a blink."""

import json
from pathlib import Path

import pytest

from ralr_viz.errors import InputError
from ralr_viz.study import ray_engine
from ralr_viz.study.grid_file import study_names

STUDY = """
title = "Squares"
seeds = [0, 1]

[base]
recipe = "digits-resnet20"
dataset = "squares"
epochs = 1
batch = 16
milestones = []
keep = []
precision = "fp32"

[table]
rows = ["Rate"]
columns = ["Method"]
reference = { Method = "Baseline" }

[[axes]]
name = "Rate"
values = [{ label = "low", lr = 0.01 }, { label = "high", lr = 0.05 }]

[[axes]]
name = "Method"
values = [{ label = "Baseline", method = "baseline" }, { label = "RALR", method = "ralr" }]
"""


@pytest.fixture
def study(tmp_path):
    file = tmp_path / "squares.toml"
    file.write_text(STUDY)
    return file


def test_study_list_names_the_tables_and_their_size(cli):
    lines = cli("study", "list").succeeded().lines
    assert len(lines) == len(study_names()) >= 15
    assert lines[0].startswith("decide          11 cells,  53 runs")
    assert lines[1].split()[:3] == ["planted", "4", "cells,"]
    assert lines[2].split()[:3] == ["table1", "20", "cells,"]
    rows = json.loads(cli("study", "list", "--json").succeeded().out)
    assert {row["name"]: row["cells"] for row in rows}["table8"] == 10


def test_study_plan_dry_run_writes_nothing(cli, study, squares_root, tmp_path):
    out = (
        cli("study", "plan", study, "--dry-run", "--runs", tmp_path / "r", "--data", squares_root)
        .succeeded()
        .out
    )
    assert "low   Baseline  2 pending  unknown" in out
    assert "8 runs: 8 pending" in out
    assert "8 runs of unknown speed (measure it: study plan --pilot)" in out
    assert not (tmp_path / "r").exists()


def test_study_plan_prepares_and_pilot_measures(cli, study, squares_root, tmp_path):
    done = cli(
        "study", "plan", study, "--pilot", "--runs", tmp_path / "r", "--data", squares_root, "--device", "cpu"
    ).succeeded()
    assert "8 run directories are prepared" in done.err
    assert "speed of resnet20 on squares, batch 16:" in done.out
    assert "unknown" not in done.out
    assert len(list((tmp_path / "r").glob("*/*/seed*/recipe.toml"))) == 8


def test_study_plan_refuses_an_unknown_network_where_it_is_asked_for(cli, study, squares_root, tmp_path):
    options = ("--set", "model=resnet21", "--runs", tmp_path / "r", "--data", squares_root)
    outcome = cli("study", "plan", study, *options)
    assert (outcome.code, outcome.err.count("\n")) == (2, 1)
    assert "unknown model `resnet21`: did you mean" in outcome.err
    assert not list(tmp_path.glob("r/*"))


def test_study_plan_says_which_data_are_missing(cli, tmp_path):
    out = cli("study", "plan", "table2", "--dry-run", "--runs", tmp_path, "--data", tmp_path).succeeded().out
    assert "data set cifar100 is not there: run `ralr-viz data download cifar100`" in out


def test_study_commands_prints_a_line_for_each_run_that_is_not_done(cli, study, squares_root, tmp_path):
    runs = tmp_path / "my runs"
    options = ("--runs", runs, "--data", squares_root, "--seeds", "0", "--only", "Rate=low")
    lines = cli("study", "commands", study, *options).succeeded().lines
    assert len(lines) == 2
    assert all(line.startswith("ralr-viz run '") for line in lines)  # the space is quoted
    assert all(line.endswith(f"--data {squares_root}") for line in lines)
    directory = Path(lines[0].split("'")[1])
    assert (directory / "recipe.toml").is_file()
    (directory / "result.json").write_text('{"status": "finished"}')
    again = cli("study", "commands", study, *options, "--compile", "--device", "cpu").succeeded()
    assert again.lines == [f"{lines[1]} --device cpu --compile"]
    fast = cli("study", "commands", study, *options, "--fast").succeeded()
    assert fast.lines == [f"{lines[1]} --fast"]
    assert again.err == "left out: 1 finished\n"


def test_study_commands_leaves_out_what_failed_and_says_which_data_are_missing(cli, tmp_path):
    options = ("--runs", tmp_path / "r", "--data", tmp_path, "--seeds", "0")
    done = cli("study", "commands", "table8-laptop", *options).succeeded()
    assert len(done.lines) == 5
    assert "data set cifar10 is not there: run `ralr-viz data download cifar10`" in done.err
    failed = Path(done.lines[1].split()[2])
    (failed / "attempts.jsonl").write_text('{"attempt": 1, "outcome": "failed"}\n')
    assert len(cli("study", "commands", "table8-laptop", *options).succeeded().lines) == 4
    assert len(cli("study", "commands", "table8-laptop", *options, "--retry-failed").succeeded().lines) == 5


def test_study_status_counts_and_prints_json(cli, study, squares_root, tmp_path):
    options = ("--runs", tmp_path / "r", "--data", squares_root)
    first = cli("study", "commands", study, *options).succeeded().lines[0].split()[2]
    (Path(first) / "metrics.jsonl").write_text('{"epoch": 1}\n')
    assert "8 runs: 1 stopped, 7 pending" in cli("study", "status", study, *options).succeeded().out
    found = json.loads(cli("study", "status", study, *options, "--json").succeeded().out)
    assert found["counts"] == {"stopped": 1, "pending": 7}
    assert found["runs"][0]["directory"] == first
    assert found["runs"][0]["labels"] == {"Rate": "low", "Method": "Baseline"}


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        (("plan", "tabel1"), "unknown study `tabel1`: did you mean `table1`"),
        (("plan", "nothing.toml"), "`nothing.toml` cannot be read"),
        (("plan", "table1", "--set", "epoch=3"), "unknown recipe setting `epoch`: did you mean `epochs`"),
        (("plan", "table1", "--seeds", "x"), "`--seeds x` must be a range"),
        (("status", "table1", "--only", "Modell=x"), "unknown axis `Modell`: did you mean `Model`"),
        (("commands", "table1", "--only", "Model"), "has no `=`"),
    ],
)
def test_study_refuses_in_one_line(cli, tmp_path, arguments, fragment):
    cli("study", *arguments, "--runs", tmp_path / "r", "--data", tmp_path).failed(2, fragment)
    assert not (tmp_path / "r").exists()


def test_study_run_trains_what_is_missing_and_goes_on_after_a_run_that_fails(
    cli, study, squares_root, tmp_path
):
    """A damaged checkpoint is an error that would come again; a learning rate beyond measure diverges."""
    study.write_text(
        STUDY.replace(
            '{ label = "high", lr = 0.05 }',
            '{ label = "damaged", lr = 0.02 }, { label = "beyond", lr = 1e30 }',
        ).replace(', { label = "RALR", method = "ralr" }', "")
    )
    options = ("--runs", tmp_path / "r", "--data", squares_root, "--seeds", "0", "--device", "cpu")
    lines = cli("study", "commands", study, *options).succeeded().lines
    low, damaged, beyond = (Path(line.split()[2]) for line in lines)
    (damaged / "checkpoints").mkdir()
    for name in ("last.pt", "prev.pt"):
        (damaged / "checkpoints" / name).write_bytes(b"no checkpoint")

    done = cli("study", "run", study, *options, "--jobs", "2")
    assert done.code == 1
    last = done.err.splitlines()[-1]
    assert last.startswith(f"ralr-viz: 1 of 3 runs have no result; `{damaged}` failed:")
    assert "--retry-failed" in last
    assert "1 finished, 1 diverged, 1 failed" in done.err
    assert done.err.count("test accuracy") == 1
    assert str(low) in done.lines and (low / "result.json").is_file()
    assert json.loads((beyond / "result.json").read_text())["status"] == "diverged"

    again = cli("study", "run", study, *options, "--only", "Rate=low").succeeded()
    assert (again.out, again.err.splitlines()) == ("", ["1 runs: 1 finished"])


@pytest.mark.parametrize(
    ("options", "fragment"),
    [
        (("--engine", "slurm"), "unknown engine `slurm`: known: local, ray"),
        (("--address", "auto"), "add --engine ray"),
        (("--cpus-per-run", "2"), "`--jobs N` divides the machine's cores"),
        (("--gpus-per-run", "2"), "`--gpus-per-run 2` must be"),
        (("--device", "cuda"), "torch sees no CUDA device"),
        (("--device", "cpu", "--gpus-per-run", "0.5"), "leave it out"),
    ],
)
def test_study_run_refuses_in_one_line(cli, study, squares_root, tmp_path, options, fragment):
    cli("study", "run", study, "--runs", tmp_path / "r", "--data", squares_root, *options).failed(2, fragment)


@pytest.mark.parametrize(
    ("options", "needs"),
    [
        ((), {"gpus_per_run": 1.0, "cpus_per_run": 1, "jobs": None}),
        (("--gpus-per-run", "0.5", "--jobs", "6"), {"gpus_per_run": 0.5, "cpus_per_run": 1, "jobs": 6}),
        (("--device", "cpu", "--cpus-per-run", "8"), {"gpus_per_run": 0.0, "cpus_per_run": 8, "jobs": None}),
    ],
)
def test_study_run_asks_ray_for_what_a_run_needs(
    cli, study, squares_root, tmp_path, monkeypatch, options, needs
):
    def asked(address, **given):
        assert (address, given) == ("here:1", needs)
        raise InputError("asked")

    monkeypatch.setattr(ray_engine, "RayExecutor", asked)
    where = ("--runs", tmp_path / "r", "--data", squares_root, "--engine", "ray", "--address", "here:1")
    cli("study", "run", study, *where, *options).failed(2, "asked")


def test_study_run_refuses_where_data_are_missing(cli, tmp_path):
    done = cli("study", "run", "table2", "--runs", tmp_path / "r", "--data", tmp_path)
    done.failed(2, "data set `cifar100` is not there: run `ralr-viz data download cifar100`")
    assert not (tmp_path / "r").exists()


@pytest.fixture
def finished(study, squares_root, tmp_path, cli):
    """Options of a study whose runs have finished, but for one, with accuracies that are easy to check."""
    options = ("--runs", tmp_path / "r")
    lines = cli("study", "commands", study, *options, "--data", squares_root).succeeded().lines
    for i, line in enumerate(lines[:-1]):
        record = {"test_acc": 70.0 + i}
        result = {"status": "finished", "epochs": 1, "last": record, "best": record, "median_last5": record}
        (Path(line.split()[2]) / "result.json").write_text(json.dumps(result))
    return options


@pytest.mark.parametrize(
    ("format", "fragment"),
    [
        ("md", "| low | 70.50 ± 0.71 |"),
        ("latex", "\\toprule"),
        ("csv", "low,Baseline"),
        ("html", "<table"),
    ],
)
def test_study_table_prints_each_format(cli, study, finished, format, fragment):
    out = cli("study", "table", study, *finished, "--format", format).succeeded().out
    assert fragment in out
    assert "(1/2)" in out or format == "csv"


def test_study_table_saves_what_draw_draws_again(cli, study, finished, tmp_path):
    out = tmp_path / "out"
    paths = cli("study", "table", study, *finished, "--out", out).succeeded().lines
    assert {Path(p).name for p in paths} == {
        "squares",
        *(f"squares.{s}" for s in ("md", "tex", "html", "pdf", "png", "csv", "caption.txt", "caption.tex")),
    }
    assert "7 of 8 runs have finished" in (out / "squares.md").read_text()
    again = cli("draw", out / "squares", "--out", tmp_path / "again").succeeded()
    assert (tmp_path / "again" / "squares.csv").read_bytes() == (out / "squares.csv").read_bytes(), again.err
    cli("study", "table", study, *finished, "--out", out).failed(2, "pass --force to overwrite it")


def test_study_table_compares_with_another_label(cli, study, finished):
    out = (
        cli("study", "table", study, *finished, "--reference", "Method=RALR", "--format", "csv")
        .succeeded()
        .out
    )
    assert "Difference from RALR" in cli("study", "table", study, *finished, "--reference", "Method=RALR").out
    rows = [line.split(",") for line in out.splitlines()]
    assert len(rows) == 1 + 4 * 3


def test_study_table_renders_before_anything_has_run(cli, study, tmp_path):
    assert "0 of 8 runs have finished" in cli("study", "table", study, "--runs", tmp_path).succeeded().out


def test_study_table_refuses_in_one_line(cli, study, tmp_path):
    cli("study", "table", study, "--runs", tmp_path, "--format", "pdf").failed(2, "unknown format `pdf`")
    cli("study", "table", study, "--runs", tmp_path, "--metric", "worst").failed(2, "unknown metric `worst`")


def test_table_of_a_study_that_decides_prints_its_rule_and_withholds_the_rest(cli, tmp_path):
    """Not one finished run: rule and progress in every format, and a figure of the progress."""
    where = ["--runs", tmp_path / "runs"]
    text = "\n".join(cli("study", "table", "decide", *where).succeeded().lines)
    assert "RALR from 0.1 − Baseline; then, only if that rejects, RALR from 0.1 − Matched from 0.1" in text
    assert "0 of 32 runs that decide and 0 of 21 exploratory ones are done" in text
    out = tmp_path / "out"
    cli("study", "table", "decide", *where, "--out", out).succeeded()
    assert {p.name for p in out.iterdir()} == {
        "decide",
        *(f"decide.{s}" for s in ("caption.tex", "caption.txt", "csv", "html", "md", "pdf", "png", "tex")),
    }
    for wrong in (["--metric", "best"], ["--reference", "Arm=RALR"]):
        cli("study", "table", "decide", *where, *wrong).failed(2, "is judged by its own rule")
    cli("study", "table", "decide", *where, "--seeds", "100").failed(2, "leave out --only and --seeds")
