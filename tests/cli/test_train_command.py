import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ralr_viz.recipe import recipe_names


def read_result(directory):
    return json.loads((directory / "result.json").read_text())


@pytest.fixture
def train(cli, recipe_file, squares_root, tmp_path):
    """``train("--seed", 3)``: one epoch of RALR into ``tmp_path/runs``."""

    def run(*arguments, method="ralr", command="train"):
        chosen = ["--method", method] if command == "train" else []
        where = ["--data", squares_root, "--runs", tmp_path / "runs", "--device", "cpu"]
        return cli(command, recipe_file, *chosen, *where, *arguments)

    return run


def test_recipes_lists_the_packaged_ones(cli):
    lines = cli("recipes").succeeded().lines
    assert [line.split()[0] for line in lines] == list(recipe_names())
    rows = json.loads(cli("recipes", "--json").succeeded().out)
    assert [row["name"] for row in rows] == list(recipe_names())
    assert all(row["epochs"] for row in rows)


def test_train_prints_the_run_directory_on_stdout_and_progress_on_stderr(train, tmp_path):
    outcome = train("--seed", 3).succeeded()
    (directory,) = (tmp_path / "runs").glob("*/ralr/seed3")
    assert outcome.out == f"{directory}\n"
    assert directory.parents[1].name.startswith("squares-")  # with the key of what no packaged recipe has
    assert f"training {directory}" in outcome.err
    assert "epoch 1/1" in outcome.err and "images/s" in outcome.err
    assert read_result(directory)["status"] == "finished"


def test_train_again_says_that_it_is_finished_and_does_nothing(train, tmp_path, read_files):
    train("-q")
    before = read_files(tmp_path)
    outcome = train().succeeded()
    assert outcome.err.count("\n") == 1 and "is finished already: 1 epochs, test accuracy" in outcome.err
    assert read_files(tmp_path) == before


def test_quiet_train_prints_nothing_on_stderr(train):
    assert train("-q").succeeded().err == ""


def test_seeds_train_each_once_in_order(train):
    lines = train("--seeds", "4,2-3,3", "-q").succeeded().lines
    assert [line.rpartition("/")[2] for line in lines] == ["seed4", "seed2", "seed3"]


def test_pair_trains_the_arms_and_the_control(train):
    lines = train("--control", "-q", command="pair").succeeded().lines
    assert [line.split("/")[-2] for line in lines] == ["baseline", "ralr", "scaled"]


def test_set_overrides_the_recipe_and_changes_the_folder(train, tmp_path):
    plain, changed = (
        train(*extra, "--prepare").succeeded().out
        for extra in ((), ("--set", "lr=0.01", "--set", "flip=false"))
    )
    assert plain != changed
    text = (tmp_path / changed.strip() / "recipe.toml").read_text()
    assert "lr = 0.01\n" in text and "flip = false\n" in text


def test_prepare_writes_what_run_executes(train, cli, squares_root, tmp_path):
    directory = train("--prepare").succeeded().lines[0]
    assert [file.name for file in Path(directory).iterdir()] == ["recipe.toml"]
    outcome = cli("run", directory, "--data", squares_root, "--device", "cpu", "-q").succeeded()
    assert outcome.lines == [directory]
    outcome = cli("run", directory, "--data", squares_root).succeeded()
    assert "is finished already" in outcome.err


@pytest.mark.parametrize("model", ["resnet21", "torchvision:resnet19"])
def test_prepare_refuses_an_unknown_network_where_it_is_typed(train, tmp_path, read_files, model):
    train("--set", f"model={model}", "--prepare").failed(2, f"`{model.split(':')[-1]}`: did you mean")
    assert read_files(tmp_path) == {}


def test_force_deletes_nothing_for_an_unknown_network(cli, recipe_file, tmp_path, read_files):
    recipe = tmp_path / "own.toml"
    recipe.write_text(recipe_file.read_text())
    prepare = ("train", recipe, "--method", "ralr", "--runs", tmp_path / "runs", "--prepare")
    cli(*prepare).succeeded()
    recipe.write_text(recipe_file.read_text().replace('"resnet20"', '"resnet21"'))
    before = read_files(tmp_path)
    cli(*prepare, "--force").failed(2, "unknown model `resnet21`")
    assert read_files(tmp_path) == before


def test_resume_starts_afresh_where_there_is_nothing(train):
    assert train("--resume", "-q").succeeded().err == ""


def test_unfinished_run_is_not_touched_without_resume_or_force(train, tmp_path, read_files):
    directory = tmp_path / train("-q").lines[0]
    (directory / "result.json").unlink()
    before = read_files(tmp_path)
    train("-q").failed(2, "holds an unfinished run: pass --resume to go on or --force to restart")
    assert read_files(tmp_path) == before
    train("--resume", "-q").succeeded()
    assert read_result(directory)["epochs"] == 1


def test_force_trains_anew(train, tmp_path):
    directory = tmp_path / train("-q").lines[0]
    (directory / "recipe.toml").write_bytes(b"\xff damaged")
    (directory / "mark").touch()
    train("--force", "-q").succeeded()
    assert read_result(directory)["status"] == "finished"
    assert not (directory / "mark").exists()


@pytest.mark.parametrize("extra", [["--device", "nonsense"], ["--set", "dataset=squarez"]])
def test_force_deletes_nothing_before_it_is_known_that_training_can_start(train, tmp_path, read_files, extra):
    train("-q")
    before = read_files(tmp_path)
    train("--force", "-q", *extra).failed(2, "unknown")
    assert read_files(tmp_path) == before


def test_diverged_run_is_one_line_with_its_remedy_and_the_other_arm_still_runs(train, tmp_path):
    hot = ["--set", "lr=1e6", "-q"]
    outcome = train(*hot, command="pair")
    assert (outcome.code, len(outcome.lines)) == (1, 2)
    assert outcome.err.count("\n") == 1
    assert outcome.err.count("diverged: the loss is not finite in epoch 1 at factor") == 2
    assert "lower --set lr" in outcome.err
    assert all(read_result(tmp_path / line)["status"] == "diverged" for line in outcome.lines)
    again = train(*hot)
    assert again.code == 1
    assert "diverged before: the loss is not finite" in again.err


def test_run_of_changed_settings_does_not_go_on_with_the_old_weights(train, cli, squares_root, tmp_path):
    directory = tmp_path / train("-q").lines[0]
    (directory / "result.json").unlink()
    recipe = directory / "recipe.toml"
    recipe.write_text(recipe.read_text().replace("epochs = 1\n", "epochs = 4\n"))
    train("--resume", "-q").failed(2, "was trained with other settings")
    cli("run", directory, "--data", squares_root, "-q").failed(2, "has `epochs` = 1, not 4")


def test_resume_refuses_data_that_have_changed(train, squares_root, tmp_path, cli):
    directory = tmp_path / train("-q").lines[0]
    (directory / "result.json").unlink()
    root = tmp_path / "root"
    shutil.copytree(squares_root / "squares", root / "squares")
    manifest = root / "squares" / "store.json"
    content = json.loads(manifest.read_text()) | {"content_hash": "0" * 64}
    manifest.write_text(json.dumps(content))
    cli("run", directory, "--data", root, "-q").failed(2, "`content_hash`", f"not {'0' * 64}")


@pytest.mark.parametrize(
    "content",
    ["", '{"status": "fin', "[]", '{"status": 3}', b"\xff\xfe", "[" * 100_000],
    ids=["empty", "half", "list", "number", "binary", "deep"],
)
def test_damaged_result_is_one_line(train, tmp_path, content):
    directory = tmp_path / train("-q").lines[0]
    data = content if isinstance(content, bytes) else content.encode()
    (directory / "result.json").write_bytes(data)
    train("-q").failed(2, "result.json`", "delete it and resume the run")


def test_result_of_somebody_elses_loop_may_hold_little(train, tmp_path):
    directory = tmp_path / train("-q").lines[0]
    for content in ({"status": "finished"}, {"status": "finished", "last": 3, "best": {"val_acc": "high"}}):
        (directory / "result.json").write_text(json.dumps(content))
        assert "is finished already" in train().succeeded().err


def test_damaged_metrics_are_written_again_from_the_checkpoint(train, tmp_path):
    directory = tmp_path / train("-q").lines[0]
    (directory / "result.json").unlink()
    metrics = directory / "metrics.jsonl"
    whole = metrics.read_bytes()
    metrics.write_bytes(whole[:-20])
    train("--resume", "-q").succeeded()
    assert metrics.read_bytes() == whole


def test_damaged_checkpoints_are_one_line_and_kept(train, tmp_path, read_files):
    directory = tmp_path / train("-q").lines[0]
    (directory / "result.json").unlink()
    for file in (directory / "checkpoints").iterdir():
        file.write_bytes(b"junk")
    before = read_files(directory / "checkpoints")
    train("--resume", "-q").failed(2, "neither last.pt nor prev.pt", "move the run directory away")
    assert read_files(directory / "checkpoints") == before


def test_checkpoint_with_a_damaged_history_is_left_for_the_one_before(train, tmp_path):
    directory = tmp_path / train("-q", "--set", "epochs=2").lines[0]
    (directory / "result.json").unlink()
    last = directory / "checkpoints" / "last.pt"
    content = torch.load(last, weights_only=True)
    last.unlink()
    torch.save(content | {"history": [{"no": "epoch"}]}, last)
    train("--resume", "-q", "--set", "epochs=2").succeeded()
    assert "resuming from prev.pt" in (directory / "log.txt").read_text()


def test_names_in_any_script_work(train, tmp_path):
    outcome = train("--runs", tmp_path / "прогоны 実行 ✓", "--set", "description=ünïcode", "-q").succeeded()
    assert read_result(tmp_path / outcome.lines[0])["status"] == "finished"


@pytest.mark.parametrize("name", ["nothing", "."])
def test_run_of_no_run_directory_is_one_line(cli, tmp_path, name):
    cli("run", tmp_path / name).failed(2, "is no prepared run", "train --prepare")


def test_run_of_a_file_is_one_line(cli, recipe_file):
    cli("run", recipe_file).failed(2, "is no prepared run")


@pytest.mark.parametrize(
    ("old", "new", "fragment"),
    [
        ('method = "ralr"', 'method = "rallr"', "unknown method `rallr`: did you mean `ralr`?"),
        ("seed = 0\n", "seed = -7\n", "`seed` = -7 must be in [0, 2^63)"),
        ("epochs = 1\n", "epoch = 1\n", "unknown recipe setting `epoch`: did you mean `epochs`"),
        ("lr = ", "lr == ", "recipe.toml` cannot be read"),
    ],
)
def test_run_of_an_edited_recipe_is_one_line(train, cli, squares_root, tmp_path, old, new, fragment):
    directory = tmp_path / train("--prepare").lines[0]
    recipe = directory / "recipe.toml"
    text = recipe.read_text()
    assert old in text
    recipe.write_text(text.replace(old, new, 1))
    cli("run", directory, "--data", squares_root).failed(2, fragment)


def test_second_process_is_refused(train, tmp_path):
    from ralr_viz.train.lock import lock_folder

    directory = tmp_path / train("--prepare").lines[0]
    descriptor = lock_folder(directory)
    try:
        train("-q").failed(2, "is in use by another ralr-viz process")
        train("-q", "--force").failed(2, "is in use by another ralr-viz process")
    finally:
        os.close(descriptor)
    train("-q").succeeded()


def test_progress_bar_is_drawn_on_a_terminal(train, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("COLUMNS", "80")
    outcome = train().succeeded()
    assert "ralr/seed0  epoch 1/1" in outcome.err
    # 80 columns: what a waiting user looks for must not be cut off
    (facts,) = {line for line in outcome.err.splitlines() if line.startswith("LR ") and "test" in line}
    assert facts.endswith("images/s")
    assert "0:00:00" in outcome.err and "left" in outcome.err


@pytest.mark.skipif(os.name == "nt", reason="no SIGINT to send")
def test_ctrl_c_saves_and_exits_130(recipe_file, squares_root, tmp_path, cli):
    command = ["train", str(recipe_file), "--method", "ralr", "--set", "epochs=50", "--device", "cpu"]
    command += ["--data", str(squares_root), "--runs", str(tmp_path)]
    process = subprocess.Popen(
        [sys.executable, "-m", "ralr_viz", *command],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert process.stderr is not None
    seen = [process.stderr.readline() for _ in range(2)]
    assert seen[1].startswith("epoch 1/50"), seen
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    last = err.splitlines()[-1]
    assert last.startswith("ralr-viz: stopped in epoch ") and "the state is saved: --resume goes on" in last
    assert "Traceback" not in err
    (saved,) = tmp_path.rglob("last.pt")
    assert cli("eval", "--ckpt", saved, "--data", squares_root, "--json").succeeded()
    cli(*command, "-q").failed(2, "holds an unfinished run: pass --resume")


@pytest.mark.parametrize(
    ("option", "expected"), [((), True), (("--fast",), False), (("--deterministic",), True)]
)
def test_what_trains_is_deterministic_unless_fast(train, monkeypatch, option, expected):
    asked = []

    def note(*_, deterministic=True, **__):
        asked.append(deterministic)
        return {"status": "finished"}

    monkeypatch.setattr("ralr_viz.train.loop.train_run", note)
    train(*option).succeeded()
    train(*option, command="pair").succeeded()
    assert asked == [expected] * 3
