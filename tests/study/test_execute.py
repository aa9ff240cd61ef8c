"""How a child process ends and what is kept of it, with children that speak the protocol but import no torch."""

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from ralr_viz.errors import (
    DivergedError,
    InputError,
    InterruptedRunError,
    RalrVizError,
    RunLockedError,
    StorageError,
)
from ralr_viz.runtime.ranks import PeerError
from ralr_viz.study import execute
from ralr_viz.study.attempt import (
    Attempt,
    classify_end,
    describe_end,
    read_attempts,
    record_attempt,
)
from ralr_viz.study.execute import Children, ExecuteOptions, execute_run, is_taken, record_own_end
from ralr_viz.study.state import is_locked, run_state
from ralr_viz.train.lock import lock_folder

SAY = "import json, os, signal, sys; directory = sys.argv[1]\n"
REPLY = "print('noise'); print(json.dumps({'directory': directory, 'status': '%s', 'error': '%s'}));"


@pytest.fixture
def run_child(monkeypatch, tmp_path):
    """``run_child("code")``: the attempt of a child that is Python code instead of a training."""

    def run(code, options=None, children=None):
        monkeypatch.setattr(
            execute, "_command", lambda directory, _: [sys.executable, "-c", SAY + code, str(directory)]
        )
        return execute_run(tmp_path, options, children)

    return run


def wait_for(condition):
    for _ in range(6000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("waited a minute in vain")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (None, "finished"),
        (DivergedError("x"), "diverged"),
        (RunLockedError("x"), "locked"),
        (StorageError("x"), "storage"),
        (OSError(errno.ENOSPC, "No space left on device"), "storage"),
        (OSError(errno.EACCES, "Permission denied"), "failed"),
        (InterruptedRunError("x", 15), "interrupted"),
        (KeyboardInterrupt(), "interrupted"),
        (InputError("x"), "failed"),
        (ValueError("x"), "failed"),
    ],
)
def test_describe_end_says_the_status_of_each_error(error, status):
    assert describe_end(error)[0] == status


def test_describe_end_is_one_short_line_with_the_class_of_the_unexpected():
    assert describe_end(ValueError("two\nlines")) == ("failed", "ValueError: two lines")
    assert describe_end(InputError("`x\n` must be 1")) == ("failed", r"`x\n` must be 1")
    assert describe_end(MemoryError()) == ("failed", "MemoryError")
    assert len(describe_end(ValueError("x" * 10_000))[1]) == 500


@pytest.mark.parametrize(
    ("code", "status", "error", "expected"),
    [
        (1, "failed", "ValueError: no", ("failed", None, "ValueError: no")),
        (2, "failed", "no data set", ("failed", None, "no data set")),
        (1, "storage", "no space left", ("storage", None, "no space left")),
        (2, "locked", "in use", ("locked", None, "in use")),
        (130, "interrupted", "stopped", ("interrupted", None, "stopped")),
        (143, "interrupted", "stopped", ("interrupted", None, "stopped")),
        (143, None, "", ("interrupted", None, "stopped by SIGTERM")),
        (-15, None, "", ("interrupted", 15, "stopped by SIGTERM")),
        (-11, None, "", ("killed", 11, "died by SIGSEGV")),
        (-9, None, "", ("killed", 9, "died by SIGKILL (out of memory, or somebody's kill -9)")),
        (137, None, "", ("killed", 9, "died by SIGKILL (out of memory, or somebody's kill -9)")),
        (1, "failed", "cuda:0 is out of memory at `batch` = 8", ("killed", None, "cuda:0 is out of memory at `batch` = 8")),
        (1, "failed", "MemoryError", ("killed", None, "MemoryError")),
        (1, None, "ImportError: no torch", ("failed", None, "ImportError: no torch")),
        (0, "finished", "", ("failed", None, "ended with code 0 and left no result.json")),
    ],
)  # fmt: skip
def test_classify_end_without_a_result(code, status, error, expected):
    reply = None if status is None else {"status": status, "error": error}
    assert classify_end(code, reply, None, error) == expected


def test_classify_end_believes_the_result_however_the_child_ended():
    assert classify_end(-11, None, {"status": "finished"}) == ("finished", None, "")
    assert classify_end(1, None, {"status": "diverged", "message": "NaN"}) == ("diverged", None, "NaN")


def test_record_attempt_begins_a_line_of_its_own_after_a_torn_one(tmp_path):
    first, second = Attempt(1, "killed", None, 9, "died", 1.5), Attempt(2, "finished", 0)
    (tmp_path / "attempts.jsonl").touch()
    record_attempt(tmp_path, first)
    assert (tmp_path / "attempts.jsonl").read_text().count("\n") == 1
    with (tmp_path / "attempts.jsonl").open("a") as file:
        file.write('{"attempt": 2, "outc')
    record_attempt(tmp_path, second)
    assert read_attempts(tmp_path) == [first, second]


def test_line_of_an_outcome_alone_is_an_attempt_for_all_who_read(tmp_path):
    lines = [
        '{"outcome": "killed", "later": 1}',
        '{"attempt": 9}',
        "[1]",
        '{"outcome": "failed", "error": null}',
    ]
    (tmp_path / "attempts.jsonl").write_text("\n".join(lines) + "\n")
    assert read_attempts(tmp_path) == [Attempt(1, "killed"), Attempt(2, "failed")]
    assert run_state(tmp_path).status == "failed"


def test_execute_run_keeps_the_attempt_and_the_traceback(run_child, tmp_path):
    first = run_child("raise ValueError('bad weights')")
    assert (first.attempt, first.outcome, first.code) == (1, "failed", 1)
    assert first.error == "ValueError: bad weights"
    second = run_child(REPLY % ("failed", "no data") + "sys.exit(2)")
    assert (second.attempt, second.error, second.code) == (2, "no data", 2)
    assert read_attempts(tmp_path) == [first, second]
    assert first.seconds > 0
    output = (tmp_path / "output.txt").read_text()
    assert output.startswith("--- attempt 1\nTraceback") and output.endswith("--- attempt 2\n")


def test_execute_run_gives_the_child_its_environment_and_a_session_of_its_own(run_child, tmp_path):
    code = (
        "open(directory + '/seen', 'w').write(os.environ['CUDA_VISIBLE_DEVICES'] + ' ' + str(os.getsid(0)))"
    )
    run_child(code, ExecuteOptions(environment={"CUDA_VISIBLE_DEVICES": "3"}))
    gpu, session = (tmp_path / "seen").read_text().split()
    assert gpu == "3" and int(session) != os.getsid(0)


def test_execute_run_under_torchrun_hides_its_ranks_from_the_child(run_child, monkeypatch, tmp_path):
    ranks = ["RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK", "GROUP_WORLD_SIZE", "ROLE_RANK",
             "ROLE_WORLD_SIZE", "ROLE_NAME", "MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RUN_ID"]  # fmt: skip
    for name in [*ranks, "NOT_RANK", "MASTER"]:
        monkeypatch.setenv(name, "2")
    run_child(
        "open(directory + '/seen', 'w').write(json.dumps(dict(os.environ)))",
        ExecuteOptions(environment={"MASTER_PORT": "1"}),
    )
    seen = json.loads((tmp_path / "seen").read_text())
    assert [name for name in ranks if name in seen] == ["MASTER_PORT"] and seen["MASTER_PORT"] == "1"
    assert seen["NOT_RANK"] == seen["MASTER"] == "2" and seen["PATH"] == os.environ["PATH"]


def test_execute_run_of_a_done_or_locked_run_starts_no_child(run_child, tmp_path):
    lock = lock_folder(tmp_path)
    assert run_child("raise ValueError").outcome == "locked"
    os.close(lock)
    (tmp_path / "result.json").write_text('{"status": "diverged", "message": "NaN"}')
    assert run_child("raise ValueError") == Attempt(0, "diverged", 0, error="NaN")
    assert read_attempts(tmp_path) == [] and not (tmp_path / "output.txt").exists()


def test_execute_run_of_a_run_that_another_driver_has_just_started_starts_no_child(run_child, tmp_path):
    code = """import pathlib
from ralr_viz.study.execute import execute_run, is_taken
assert not (pathlib.Path(directory) / 'run.lock').exists()  # as while a child imports torch
seen = execute_run(pathlib.Path(directory)).outcome + ' ' + str(is_taken(pathlib.Path(directory)))
open(directory + '/seen', 'w').write(seen)"""
    run_child(code)
    assert (tmp_path / "seen").read_text() == "locked True"
    assert not is_taken(tmp_path)


def test_execute_run_of_a_child_that_finds_the_run_locked_keeps_no_attempt(run_child, tmp_path):
    assert run_child(REPLY % ("locked", "in use") + "sys.exit(2)").outcome == "locked"
    assert read_attempts(tmp_path) == []


def test_execute_run_in_a_folder_that_cannot_be_written_is_a_storage_outcome(run_child, tmp_path):
    (tmp_path / "output.txt").mkdir()
    attempt = run_child("raise ValueError")
    assert attempt.outcome == "storage" and "output.txt" in attempt.error


def test_execute_run_that_cannot_start_a_child_fails_with_a_traceback(monkeypatch, tmp_path):
    monkeypatch.setattr(execute, "_command", lambda *_: ["/nonexistent/python"])
    attempt = execute_run(tmp_path)
    assert attempt.outcome == "failed" and attempt.error.startswith("FileNotFoundError")
    assert "Traceback" in (tmp_path / "output.txt").read_text()


def test_execute_run_does_not_wait_for_a_grandchild_that_holds_the_output(run_child, tmp_path):
    code = """import subprocess
pid = subprocess.Popen(['sleep', '600']).pid
open(directory + '/pid', 'w').write(str(pid))
os.kill(os.getpid(), signal.SIGKILL)"""
    assert run_child(code).signal == signal.SIGKILL
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)  # it is still there


@pytest.fixture
def without_flock(monkeypatch):
    def refuse(descriptor, kind):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)


def test_file_system_without_flock_is_an_error_and_no_lock(run_child, without_flock, tmp_path):
    message = f"`{tmp_path}` is on a file system without flock (no locks available): choose another --runs"
    attempt = run_child("raise ValueError")
    assert attempt.outcome == "storage" and message in attempt.error
    assert not (tmp_path / "output.txt").exists()
    (tmp_path / "run.lock").touch()
    assert not is_locked(tmp_path)
    for ask in (is_taken, lock_folder):
        with pytest.raises(StorageError) as error:
            ask(tmp_path)
        assert message in str(error.value)


@pytest.mark.parametrize("number", [errno.EWOULDBLOCK, errno.EACCES])
def test_lock_that_somebody_has_is_taken(monkeypatch, tmp_path, number):
    def refuse(descriptor, kind):
        raise OSError(number, os.strerror(number))

    (tmp_path / "run.lock").touch()
    monkeypatch.setattr(fcntl, "flock", refuse)
    assert is_locked(tmp_path) and is_taken(tmp_path)


def raised(error):
    """The same error, with a traceback."""
    try:
        raise error
    except BaseException as error:
        return error


@pytest.mark.parametrize(
    ("error", "outcome", "code", "kept"),
    [
        (ValueError("bad\nweights"), "failed", 1, "ValueError: bad\nweights\n"),
        (InputError("no data set"), "failed", 2, "--- attempt 2\nno data set\n"),
        (MemoryError(), "killed", 1, "MemoryError\n"),
        (PeerError("another process ended"), "killed", 1, "ended\n"),
        (InterruptedRunError("saved", 15), "interrupted", 143, "saved\n"),
        (KeyboardInterrupt(), "interrupted", 130, "began\n"),
        (StorageError("no space left"), "storage", 1, "left\n"),
    ],
)
def test_record_own_end_keeps_an_end_without_a_result(tmp_path, error, outcome, code, kept):
    (tmp_path / "recipe.toml").touch()
    record_attempt(tmp_path, Attempt(1, "killed"))
    record_own_end(tmp_path, raised(error), 1.23456)
    last = read_attempts(tmp_path)[-1]
    assert (last.attempt, last.outcome, last.code, last.seconds) == (2, outcome, code, 1.235)
    assert last.error == describe_end(error)[1]
    output = (tmp_path / "output.txt").read_text()
    assert output.startswith("--- attempt 2\n") and output.endswith(kept)
    unexpected = isinstance(error, (ValueError, MemoryError)) and not isinstance(error, RalrVizError)
    assert ("Traceback" in output) == unexpected


def test_record_own_end_leaves_alone_what_is_no_run_done_or_of_somebody_else(tmp_path):
    record_own_end(tmp_path, ValueError())
    assert list(tmp_path.iterdir()) == []  # not prepared
    record_own_end(tmp_path / ("x" * 300), ValueError())  # nor can it be

    (tmp_path / "recipe.toml").touch()
    record_own_end(tmp_path, RunLockedError("in use"))
    lock = lock_folder(tmp_path)
    record_own_end(tmp_path, ValueError())
    os.close(lock)
    with execute._claim(tmp_path):  # of a driver whose child still imports torch
        record_own_end(tmp_path, ValueError())
    (tmp_path / "result.json").write_text('{"status": "diverged"}')
    record_own_end(tmp_path, DivergedError("NaN"))
    assert read_attempts(tmp_path) == [] and not (tmp_path / "output.txt").exists()

    (tmp_path / "result.json").unlink()
    (tmp_path / "attempts.jsonl").unlink()
    (tmp_path / "attempts.jsonl").mkdir()
    record_own_end(tmp_path, ValueError())  # raises nothing of its own


WATCHED = textwrap.dedent(
    """
    import pathlib, time
    from ralr_viz.runtime.stop import watch_stdin
    from ralr_viz.train.lock import lock_folder
    lock = lock_folder(pathlib.Path(directory))
    def save(number, frame):
        open(directory + '/signals', 'a').write(str(number) + ' ')
        if '--deaf' not in sys.argv:
            time.sleep(0.2)  # a second signal would find us here
            sys.exit(143)
    signal.signal(signal.SIGTERM, save)
    watch_stdin()
    open(directory + '/ready', 'w').close()
    while True:
        time.sleep(60)
    """
)


def test_stop_asks_the_child_once_and_kill_ends_a_deaf_one(run_child, tmp_path):
    children, ready = Children(), tmp_path / "ready"

    def stop():
        wait_for(lambda: ready.exists())
        children.stop()
        children.stop()

    thread = threading.Thread(target=stop)
    thread.start()
    attempt = run_child(WATCHED, children=children)
    thread.join()
    assert (attempt.outcome, attempt.code) == ("interrupted", 143)
    assert (tmp_path / "signals").read_text() == "15 "

    assert (
        run_child(WATCHED, children=children).outcome == "interrupted"
    )  # one that comes too late is stopped

    ready.unlink()
    deaf = Children()

    def kill():
        wait_for(lambda: ready.exists())
        deaf.stop()
        deaf.kill()

    thread = threading.Thread(target=kill)
    thread.start()
    assert run_child("sys.argv.append('--deaf')\n" + WATCHED, children=deaf).signal == signal.SIGKILL
    thread.join()


PATIENT = """
import pathlib, time
from ralr_viz.runtime.stop import catch_stop_signals, watch_stdin
watch_stdin()
with catch_stop_signals() as stop:
    open(directory + '/ready', 'w').close()
    while stop.number is None:
        time.sleep(0.001)
    time.sleep(0.3)  # saves: what else comes finds it here
    open(directory + '/saved', 'w').close()
while not os.path.exists(directory + '/sent'):  # or here, as it says how it ended
    time.sleep(0.001)
sys.exit(128 + stop.number)
"""


@pytest.mark.parametrize("order", ["child first", "together", "driver first", "Ctrl-C, then both", "late"])
def test_child_that_is_signalled_beside_its_driver_saves(run_child, tmp_path, order):
    children, ready = Children(), tmp_path / "ready"

    def stop():
        wait_for(lambda: ready.exists())
        (child,) = children._alive
        if order == "driver first":
            children.stop()
            time.sleep(0.02)
        child.send_signal(signal.SIGINT if "Ctrl-C" in order else signal.SIGTERM)
        if order == "late":
            wait_for(lambda: (tmp_path / "saved").exists())
        if order != "together":
            time.sleep(0.02)
            child.send_signal(signal.SIGTERM)
        children.stop()
        (tmp_path / "sent").touch()

    thread = threading.Thread(target=stop)
    thread.start()
    attempt = run_child(PATIENT, children=children)
    thread.join()
    code = 130 if "Ctrl-C" in order else 143
    assert (attempt.outcome, attempt.code, attempt.signal) == ("interrupted", code, None)
    assert (tmp_path / "saved").exists()


def test_second_signal_of_a_process_without_a_driver_ends_it_at_once(tmp_path):
    code = SAY + PATIENT.replace("watch_stdin()\n", "").replace("time.sleep(0.3)", "time.sleep(600)")
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)])
    wait_for(lambda: (tmp_path / "ready").exists())

    def ended():
        process.send_signal(signal.SIGTERM)
        return process.poll() is not None

    wait_for(ended)
    assert process.returncode == -signal.SIGTERM and not (tmp_path / "saved").exists()


def test_child_stops_when_its_driver_is_killed(tmp_path):
    driver = textwrap.dedent(
        f"""
        import sys, threading
        from pathlib import Path
        from ralr_viz.study import execute
        execute._command = lambda directory, _: [sys.executable, "-c", {SAY + WATCHED!r}, str(directory)]
        thread = threading.Thread(target=execute.execute_run, args=(Path(sys.argv[1]),))  # as in an engine
        thread.start()
        """
    )
    process = subprocess.Popen([sys.executable, "-c", driver, str(tmp_path)], stdin=subprocess.DEVNULL)
    ready = tmp_path / "ready"
    wait_for(lambda: ready.exists())
    assert is_locked(tmp_path)
    process.kill()
    process.wait()
    wait_for(lambda: not is_locked(tmp_path))
    assert (tmp_path / "signals").read_text() == "15 "
    assert read_attempts(tmp_path) == []


def test_command_is_run_with_the_options(tmp_path):
    plain = execute._command(tmp_path, ExecuteOptions())
    assert plain[1:5] == ["-X", "faulthandler", "-m", "ralr_viz"]
    assert plain[5:] == ["run", str(tmp_path), "--json", "--stop-at-eof", "--quiet", "--device", "auto"]
    full = execute._command(tmp_path, ExecuteOptions(tmp_path / "data", "cuda", False, True))
    assert full[11:] == ["cuda", "--data", str(tmp_path / "data"), "--fast", "--compile"]


def test_importing_the_engine_loads_no_torch():
    code = "import sys, ralr_viz.study.engine, ralr_viz.study.ray_engine; print('torch' in sys.modules, 'ray' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.lower().replace(" ", ",").join("[]")) == [False, False]
