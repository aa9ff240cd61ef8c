import fcntl
import json
import os

import pytest

from ralr_viz.study.attempt import read_attempts
from ralr_viz.study.state import is_locked, last_record, run_state
from ralr_viz.train import lock


@pytest.fixture
def run(tmp_path):
    directory = tmp_path / "ralr" / "seed0"
    directory.mkdir(parents=True)
    (directory / "recipe.toml").write_text('recipe = "x"\n')
    return directory


def test_run_state_of_a_missing_or_prepared_run_is_pending(run, tmp_path):
    assert run_state(tmp_path / "none").status == "pending"
    assert run_state(run).status == "pending"


def test_run_state_follows_a_run_to_its_end(run):
    (run / "metrics.jsonl").write_text("")
    assert run_state(run).status == "pending"
    (run / "metrics.jsonl").write_text('{"epoch": 1}\n')
    assert run_state(run).status == "stopped"
    (run / "result.json").write_text(json.dumps({"status": "finished", "epochs": 1}))
    assert run_state(run).status == "finished"
    assert run_state(run).result["epochs"] == 1


def test_run_state_of_a_part_of_the_first_epoch_is_stopped(run):
    (run / "checkpoints").mkdir()
    (run / "checkpoints" / "last.pt").write_bytes(b"x")
    assert run_state(run).status == "stopped"


def test_run_state_calls_a_divergence_a_result(run):
    (run / "result.json").write_text(json.dumps({"status": "diverged", "message": "epoch 3"}))
    state = run_state(run)
    assert (state.status, state.message) == ("diverged", "epoch 3")


def test_run_state_is_failed_by_the_last_attempt_only(run):
    (run / "attempts.jsonl").write_text('{"outcome": "failed", "error": "ValueError: no"}\n')
    assert (run_state(run).status, run_state(run).message) == ("failed", "ValueError: no")
    with (run / "attempts.jsonl").open("a") as file:
        file.write('{"outcome": "killed"}\n{"outcome": "fai')  # half a line
    assert run_state(run).status == "pending"


def test_run_state_of_a_damaged_result_is_failed_and_says_why(run):
    (run / "result.json").write_text("{")
    state = run_state(run)
    assert state.status == "failed"
    assert "is damaged" in state.message


def test_run_state_sees_who_works_on_it_and_lets_it_start(run):
    descriptor = os.open(run / "run.lock", os.O_RDWR | os.O_CREAT)
    assert not is_locked(run)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert run_state(run).status == "running"
    os.close(descriptor)
    assert run_state(run).status == "pending"
    other = os.open(run / "run.lock", os.O_RDWR)
    fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)  # asking has left no lock behind
    os.close(other)


def test_last_record_reads_the_end_of_a_long_log(run):
    lines = "".join(json.dumps({"epoch": e, "note": "x" * 50}) + "\n" for e in range(1, 500))
    (run / "metrics.jsonl").write_text(lines + '{"epoch": 500, "no')
    assert last_record(run)["epoch"] == 499
    assert last_record(run.parent) is None


def test_damaged_lines_are_no_attempts(run):
    (run / "attempts.jsonl").write_bytes(b"\xff\xfe\n[1]\n" + b"[" * 100_000)
    assert read_attempts(run) == []
    assert run_state(run).status == "pending"


def test_run_that_starts_while_somebody_asks_for_its_state_waits_for_the_answer(run, monkeypatch):
    asking = os.open(run / "run.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(asking, fcntl.LOCK_SH)  # as `is_locked` has it for an instant
    monkeypatch.setattr(lock.time, "sleep", lambda seconds: fcntl.flock(asking, fcntl.LOCK_UN))
    own = lock.lock_folder(run)
    monkeypatch.undo()
    assert is_locked(run)
    os.close(own)
    os.close(asking)
