"""``ralr-viz run DIR --json``: one object on stdout, whatever the end; exit codes and stderr are as without it."""

import json
import os

import pytest

from ralr_viz.cli.app import main
from ralr_viz.errors import InterruptedRunError, StorageError
from ralr_viz.runtime import stop
from ralr_viz.study.attempt import read_attempts
from ralr_viz.study.state import run_state
from ralr_viz.train import loop
from ralr_viz.train.lock import lock_folder
from ralr_viz.train.prepare import prepare_run


@pytest.fixture
def prepare(make_recipe, tmp_path):
    def make(**changes):
        return prepare_run(make_recipe(epochs=1, milestones=(), **changes), "baseline", 0, tmp_path / "runs")

    return make


@pytest.fixture
def run(cli, squares_root):
    return lambda directory, *options: cli(
        "run", directory, "--data", squares_root, "--device", "cpu", *options
    )


def reply(outcome, directory):
    (line,) = outcome.lines
    said = json.loads(line)
    assert list(said) == ["directory", "status", "error"] and said["directory"] == str(directory)
    return said["status"], said["error"]


def test_finished_run_is_one_object_and_so_is_one_that_is_done(run, prepare):
    directory = prepare()
    assert reply(run(directory, "--json", "-q").succeeded(), directory) == ("finished", "")
    again = run(directory, "--json").succeeded()
    assert reply(again, directory) == ("finished", "") and "is finished already" in again.err
    assert run(directory).succeeded().out == f"{directory}\n"


def test_diverged_run_is_a_status_and_exit_code_1(run, prepare):
    directory = prepare(lr=1e6)
    for _ in range(2):  # the second time from its result
        outcome = run(directory, "--json", "-q")
        status, error = reply(outcome, directory)
        assert (outcome.code, status) == (1, "diverged") and "the loss is not finite" in error
        assert outcome.err == f"ralr-viz: {error}\n"


def test_locked_run_is_a_status_of_its_own(run, prepare):
    directory = prepare()
    lock = lock_folder(directory)
    outcome = run(directory, "--json", "-q")
    os.close(lock)
    assert (outcome.code, reply(outcome, directory)[0]) == (2, "locked")


def test_folder_that_is_no_run_has_failed(run, tmp_path):
    outcome = run(tmp_path, "--json")
    assert outcome.code == 2
    assert reply(outcome, tmp_path) == ("failed", outcome.err.removeprefix("ralr-viz: ").rstrip("\n"))


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (InterruptedRunError("stopped", 15), "interrupted", 143),
        (InterruptedRunError("stopped", 2), "interrupted", 130),
        (KeyboardInterrupt(), "interrupted", 130),
        (StorageError("no space left"), "storage", 1),
        (OSError(28, "No space left on device"), "storage", 1),
        (MemoryError(), "failed", 1),
    ],
)
def test_each_end_has_its_status_and_its_exit_code(run, prepare, monkeypatch, error, status, code):
    def fail(*arguments, **options):
        raise error

    monkeypatch.setattr(loop, "train_run", fail)
    directory = prepare()
    outcome = run(directory, "--json", "-q")
    assert (outcome.code, reply(outcome, directory)[0]) == (code, status)
    assert outcome.err.count("\n") == 1


def test_unexpected_error_is_a_status_and_keeps_its_traceback(prepare, squares_root, monkeypatch, capsys):
    def fail(*arguments, **options):
        raise ValueError("two\nlines")

    monkeypatch.setattr(loop, "train_run", fail)
    directory = prepare()
    arguments = ["run", directory, "--data", squares_root, "--device", "cpu", "--json"]
    monkeypatch.setattr("sys.argv", ["ralr-viz", *map(str, arguments)])
    with pytest.raises(ValueError):  # as Python prints it, with exit code 1
        main()
    said = json.loads(capsys.readouterr().out)
    assert said == {"directory": str(directory), "status": "failed", "error": "ValueError: two lines"}


def test_failure_by_hand_leaves_a_trace_and_one_under_a_driver_is_left_to_it(
    run, prepare, monkeypatch, squares_root
):
    def fail(*arguments, **options):
        raise ValueError("bad weights")

    monkeypatch.setattr(stop, "watch_stdin", lambda: None)
    monkeypatch.setattr(loop, "train_run", fail)
    directory = prepare()
    for option in ("--stop-at-eof", "-q"):
        assert read_attempts(directory) == [] and run_state(directory).status == "pending"
        with pytest.raises(ValueError):
            run(directory, option)
    (attempt,) = read_attempts(directory)
    assert (attempt.outcome, attempt.code, attempt.error) == ("failed", 1, "ValueError: bad weights")
    assert run_state(directory).status == "failed"
    assert "Traceback" in (directory / "output.txt").read_text()


def test_expected_error_by_hand_leaves_a_trace_unless_it_speaks_for_another_rank(run, prepare, monkeypatch):
    directory = prepare()
    monkeypatch.setenv("RANK", "1")
    run(directory, "--device", "cuda:99").failed(2)
    assert read_attempts(directory) == []
    monkeypatch.delenv("RANK")
    outcome = run(directory, "--device", "cuda:99").failed(2)
    (attempt,) = read_attempts(directory)
    assert (attempt.outcome, attempt.code) == ("failed", 2) and attempt.error in outcome.err
