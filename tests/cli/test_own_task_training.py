"""A task of somebody's own (``tests/tasks/line_task.py``), trained, resumed, paired, tabled and looked at by name."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch

import ralr_viz as rv
from ralr_viz.own_code import allow_code
from ralr_viz.recipe import load_recipe
from ralr_viz.results.run import load_run
from ralr_viz.train.checkpoint import read_checkpoint
from ralr_viz.train.loop import train_run
from ralr_viz.train.prepare import prepare_run

RECIPE = """
task = "line_task:Line"
dataset = "points"
model = "mlp8"
epochs = 12
batch = 16
lr = 0.02
optimizer = "torch.optim:AdamW"
milestones = [0.5]
validation = 0.2
precision = "fp32"
threads = 1
keep_every = 1
clip_norm = 1.0

["line_task:Line"]
noise = 0.05
"""
STUDY = """
title = "Points"
seeds = [0, 1]
[base]
recipe = "line.toml"
[[axes]]
name = "Method"
values = [{label = "Baseline", method = "baseline"}, {label = "RALR", method = "ralr"}]
[table]
rows = []
columns = ["Method"]
reference = {Method = "Baseline"}
"""
ALLOW = ("--allow", "line_task:Line", "--allow", "torch.optim:AdamW")
HERE = Path(__file__).parents[1] / "tasks" / "line_task.py"


def make_folder(folder: Path) -> Path:
    shutil.copy(HERE, folder / "line_task.py")
    (folder / "line.toml").write_text(RECIPE)
    (folder / "points.toml").write_text(STUDY)
    return folder


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working directory with the task's code, its recipe and a study of it."""
    monkeypatch.chdir(make_folder(tmp_path))
    return tmp_path


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The same, trained; the last run by ``study run``, whose child is told what it may import."""
    folder = make_folder(tmp_path_factory.mktemp("points"))
    with pytest.MonkeyPatch.context() as patch, allow_code(ALLOW):
        patch.chdir(folder)
        recipe = load_recipe("line.toml")
        runs = [prepare_run(recipe, m, s, Path("runs")) for m in ("baseline", "ralr") for s in (0, 1)]
        for run in runs[:-1]:
            train_run(run, Path(), device="cpu")
    command = [sys.executable, "-m", "ralr_viz", "study", "run", "points.toml", *ALLOW, "--device", "cpu"]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_a_file_alone_has_no_code_imported(here, cli):
    for command in (["train", "line.toml", "--method", "ralr"], ["study", "plan", "points.toml"]):
        cli(*command).failed(
            2, "`task` = `line_task:Line` is code of somebody's own", "--allow line_task:Line"
        )
    train = ("train", "line.toml", "--method", "ralr", "--allow", "line_task:Line")
    cli(*train).failed(2, "`optimizer` = `torch.optim:AdamW`", "--allow torch.optim:AdamW")
    assert not (here / "runs").exists()


def test_run_needs_what_it_names_on_its_own_command_line(here, cli):
    cli("train", "line.toml", "--method", "ralr", "--prepare", *ALLOW).succeeded()
    (run,) = (here / "runs").glob("*/ralr/seed0")
    cli("run", run).failed(2, "--allow line_task:Line")
    cli("run", run, *ALLOW, "--device", "cpu").succeeded()
    assert load_run(run).status == "finished"


def test_code_that_is_not_there_is_one_line(here, cli):
    set_to = ("--set", "dataset=points", "--set", "model=my.module:net", "--set", "optimizer=sgd")
    (here / "images.toml").write_text(RECIPE.split("clip_norm")[0].replace('task = "line_task:Line"', ""))
    cli("train", "images.toml", "--method", "ralr", *set_to, "--data", here).failed(2, "`points`")
    cli("train", "line.toml", "--method", "ralr", "--set", "task=my.module:Task").failed(
        2, "`my.module:Task` cannot be imported: ModuleNotFoundError"
    )
    assert not (here / "runs").exists()


def test_names_that_are_set_on_the_command_line_are_allowed(here, cli):
    (here / "plain.toml").write_text(RECIPE.replace('"torch.optim:AdamW"', '"sgd"'))
    done = cli(
        "train", "plain.toml", "--method", "baseline", "--set", "task=line_task:Line", "--set", "epochs=1",
        "--set", "noise=0.2", "--device", "cpu",
    ).succeeded()  # fmt: skip
    assert "points/s" in done.err and "val 0." in done.err
    (run,) = (here / "runs").glob("*/baseline/seed0")
    assert load_run(run).recipe["noise"] == 0.2


def test_records_and_results_have_the_tasks_own_score(trained):
    for path in (trained / "runs").glob("*/*/seed*"):
        run = load_run(path)
        assert run.about.score.title == "mean absolute error" and run.about.samples == "points"
        assert np.isfinite(run.values("val_mae")).all() and "val_acc" not in run.metrics
        assert (run.values("grad_norm_max") >= run.values("grad_norm")).all()
        result = json.loads((path / "result.json").read_text())
        assert result["last"]["test_mae"] == run.values("test_mae")[-1]
        assert "samples_per_second" in result


def test_study_table_is_of_the_score(trained, cli, monkeypatch):
    monkeypatch.chdir(trained)
    table = cli("study", "table", "points.toml", *ALLOW).succeeded().out
    assert "Test mean absolute error (m) after the last epoch" in table and "Lower is better" in table
    cli("study", "table", "points.toml", *ALLOW, "--out", "table").succeeded()
    assert (trained / "table" / "points.pdf").exists()


def test_eval_gives_the_numbers_of_the_record(trained, cli, monkeypatch):
    monkeypatch.chdir(trained)
    run = runs_of(trained) / "ralr" / "seed0"
    found = json.loads(cli("eval", "--ckpt", run, *ALLOW, "--device", "cpu", "--json").succeeded().out)
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    for name in ("test_mae", "test_loss", "val_mae", "train_loss_eval"):
        assert found[name] == pytest.approx(last[name], rel=1e-6), name
    assert "test_mae 0." in cli("eval", "--ckpt", run, *ALLOW, "--device", "cpu").succeeded().out


CRASH = textwrap.dedent(
    """
    import os, signal, sys
    from pathlib import Path
    from ralr_viz.own_code import allow_code
    from ralr_viz.train import loop, training
    real, left = training.train_step, int(sys.argv[2])
    def step(*given):
        global left
        real(*given)
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
    training.train_step = step
    with allow_code(["line_task:Line", "torch.optim:AdamW"]):
        loop.train_run(Path(sys.argv[1]), Path("."), device="cpu")
    """
)


@pytest.mark.slow
def test_killed_run_ends_with_the_same_bits(here, cli):
    ends = []
    for kill in (False, True):
        given = ("train", "line.toml", "--method", "ralr", "--runs", f"runs{kill}", *ALLOW)
        cli(*given, "--prepare").succeeded()
        (run,) = (here / f"runs{kill}").glob("*/ralr/seed0")
        if kill:  # in the midst of an epoch
            done = subprocess.run([sys.executable, "-c", CRASH, run, "41"], cwd=here, check=False)
            assert done.returncode == -9 and not (run / "result.json").exists()
        cli(*given, "--resume", "--device", "cpu").succeeded()
        ends.append(read_checkpoint(run / "checkpoints" / "last.pt"))
    assert ends[0]["model"].keys() == ends[1]["model"].keys()
    for name, value in ends[0]["model"].items():
        assert torch.equal(value, ends[1]["model"][name]), name
    times = {"seconds", "samples_per_second"}
    logs = [[{k: v for k, v in r.items() if k not in times} for r in end["history"]] for end in ends]
    assert logs[0] == logs[1]


def runs_of(folder):
    (recipe,) = (path for path in (folder / "runs").iterdir() if path.is_dir())
    return recipe


NAMED = (
    "barrier",
    "sharpness",
    "spectrum",
    "noise-scale",
    "landscape",
    "movement",
    "effect",
    "curves",
    "fork",
)
QUICK = ("sharpness", "movement", "curves")
OPTIONS = {
    "sharpness": ("--directions", "2", "--radii", "0.1"),
    "barrier": ("--points", "3"),
    "spectrum": ("--steps", "4", "--probes", "2"),
    "noise-scale": ("--small", "1", "--big", "3", "--draws", "3"),
    "landscape": ("--points", "3"),
    "effect": ("--resamples", "99"),
    "fork": ("--epochs", "1", "--repeats", "1", "--factors", "1,2", "--probe-images", "20"),
}


@pytest.mark.parametrize(
    "noun", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in NAMED]
)
def test_every_diagnostic_of_weights_and_records_takes_the_runs(trained, cli, monkeypatch, tmp_path, noun):
    monkeypatch.chdir(trained)
    recipe = runs_of(trained)
    arms = [str(recipe / arm / "seed0") for arm in ("baseline", "ralr")]
    if noun in ("movement", "effect", "curves"):
        given = (
            ["--run", str(recipe / "ralr")] if noun == "effect" else [w for a in arms for w in ("--run", a)]
        )
    elif noun == "fork":
        given = ["--ckpt", f"{arms[1]}@2", "--data", "."]
    else:
        given = [word for arm in arms for word in ("--ckpt", arm)]
    allow = () if noun in ("effect", "curves") else ALLOW
    done = cli(noun, *given, *allow, *OPTIONS.get(noun, ()), "--out", tmp_path / "out").succeeded()
    (manifest,) = (tmp_path / "out").rglob("manifest.json")
    result = rv.load_result(manifest.parent)
    if noun != "movement":
        assert result.loss_unit == "m²" and "nats" not in done.out, done.out
        assert "accuracy" not in done.out
    if noun == "fork":
        assert result.reproduction == "reproduced", result.reproduction_note
        assert result.score_name == "mean absolute error"


def test_what_needs_images_refuses_the_runs_in_one_line(trained, cli, monkeypatch, tmp_path):
    monkeypatch.chdir(trained)
    run = runs_of(trained) / "ralr" / "seed0"
    for noun in ("cam", "calibration", "embed", "activations", "similarity"):
        words = [
            noun,
            "--ckpt",
            run,
            "--ckpt",
            runs_of(trained) / "baseline" / "seed0",
            "--out",
            tmp_path / noun,
        ]
        cli(*words).failed(2, "a task of somebody's own: barrier, sharpness", "what needs images does not")


@pytest.mark.slow
def test_why_measures_what_the_task_allows(trained, cli, monkeypatch, tmp_path):
    monkeypatch.chdir(trained)
    recipe = runs_of(trained)
    words = [
        "why",
        "--a",
        recipe / "baseline",
        "--b",
        recipe / "ralr",
        "--only",
        "sharpness",
        "--only",
        "movement",
    ]
    done = cli(*words, *ALLOW, "--out", tmp_path / "out").succeeded()
    assert "sharpness" in done.out
    assert rv.load_result(tmp_path / "out" / "seed0" / "sharpness").loss_unit == "m²"


def test_networks_are_compared_from_a_notebook(trained, monkeypatch):
    monkeypatch.chdir(trained)
    recipe = runs_of(trained)
    with allow_code(["line_task:Line"]):
        pair = rv.compare([recipe / "baseline" / "seed0", recipe / "ralr" / "seed0"], split="train")
        found = rv.compute_sharpness(pair, radii=(0.1,), directions=2)
    assert pair.samples.dataset == "points" and sum(len(y) for _, y in pair.samples.batches) == 192
    assert found.samples_name == "points" and found.score_better == "lower"
