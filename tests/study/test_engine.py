"""What is retried, what is left alone and how it stops: with made-up outcomes, then with real trainings."""

import errno
import fcntl
import json
import os
import pickle
import resource
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from concurrent.futures import BrokenExecutor, Executor, ThreadPoolExecutor

import pytest
import torch

from ralr_viz.errors import InputError, InterruptedRunError, RalrVizError, StorageError
from ralr_viz.study import execute
from ralr_viz.study.attempt import Attempt, read_attempts, record_attempt
from ralr_viz.study.engine import Outcome, run_all
from ralr_viz.study.execute import ExecuteOptions, execute_run
from ralr_viz.study.slots import LocalExecutor, Slot, find_slots, make_slots
from ralr_viz.study.state import is_locked
from ralr_viz.train.checkpoint import read_checkpoint
from ralr_viz.train.lock import lock_folder
from ralr_viz.train.loop import train_run
from ralr_viz.train.prepare import prepare_run

CPU = Slot("cpu", 1)


def wait_for(condition):
    for _ in range(12_000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("waited two minutes in vain")


# --- slots


def test_make_slots_divides_the_cores_of_a_cpu():
    assert make_slots("auto", None, 1, 8, []) == [Slot("auto", 8)]
    assert make_slots("cpu", 3, 1, 8, ["0"]) == [Slot("cpu", 2)] * 3
    assert make_slots("cpu", 4, 1, 2, []) == [Slot("cpu", 1)] * 4


def test_make_slots_puts_several_runs_on_a_gpu_and_the_first_ones_on_different_gpus():
    slots = make_slots("auto", None, 0.5, 16, ["2", "GPU-7"])
    assert [slot.gpu for slot in slots] == ["2", "GPU-7", "2", "GPU-7"]
    assert {(slot.device, slot.threads) for slot in slots} == {("cuda", 4)}
    assert [slot.gpu for slot in make_slots("cuda", 3, 0.5, 16, ["2", "GPU-7"])] == ["2", "GPU-7", "2"]
    assert [slot.gpu for slot in make_slots("cuda:1", None, 1 / 3, 16, ["4", "5"])] == ["5"] * 3
    assert [slot.gpu for slot in make_slots("cuda", None, 0.7, 16, ["0"])] == ["0"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("cpu", 0, 1, 2, []), "`--jobs 0` must be from 1 to 1024"),
        (("cuda", None, 0, 2, ["0"]), "`--gpus-per-run 0` must be from 0.01 to 1"),
        (("cuda", None, 2, 2, ["0", "1"]), "torchrun"),
        (("cpu", 10**9, 1, 2, []), "`--jobs 1000000000`"),
        (("cuda", None, 1e-9, 2, ["0"]), "`--gpus-per-run 1e-09`"),
        (("cuda", None, float("nan"), 2, ["0"]), "`--gpus-per-run nan`"),
        (("cuda", None, 1, 2, []), "no CUDA device here"),
        (("cuda:2", None, 1, 2, ["0", "1"]), "there are 2 CUDA devices"),
    ],
)
def test_make_slots_refuses_what_is_not_there(arguments, message):
    with pytest.raises(InputError, match=message):
        make_slots(*arguments)


def test_find_slots_keeps_the_users_own_threads_and_gpus(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert find_slots("cpu", 2) == [Slot("cpu", 3)] * 2
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    assert [slot.gpu for slot in find_slots("auto")] == ["5", "7"]


def test_local_executor_gives_each_run_a_slot_of_its_own():
    meet, seen = threading.Barrier(3), []

    def fake(directory, options, children):
        meet.wait(60)  # all three at once
        seen.append((options.device, options.environment["CUDA_VISIBLE_DEVICES"], options.environment["A"]))
        return options.environment["OMP_NUM_THREADS"]

    slots = [Slot("cuda", 2, gpu) for gpu in ("0", "0", "1")]
    with LocalExecutor(slots) as executor:
        options = ExecuteOptions(environment={"A": "b"})
        assert list(executor.map(fake, range(6), [options] * 6)) == ["2"] * 6
    assert sorted(seen) == sorted([("cuda", gpu, "b") for gpu in ("0", "0", "1")] * 2)


# --- what becomes of an outcome


class Fake:
    """Stands for `execute_run`: gives the outcomes that a run is told to have, and records them as it does."""

    def __init__(self, **script):
        self.script = {name: list(outcomes) for name, outcomes in script.items()}
        self.calls = Counter()

    def __call__(self, directory, options, children=None):
        self.calls[directory.name] += 1
        outcome = self.script.get(directory.name, ["finished"])
        outcome = outcome.pop(0) if len(outcome) > 1 else outcome[0]
        if isinstance(outcome, Exception):
            raise outcome
        if outcome in ("finished", "diverged"):
            (directory / "result.json").write_text(json.dumps({"status": outcome, "message": ""}))
        attempt = Attempt(len(read_attempts(directory)) + 1, outcome, error=f"about {outcome}", seconds=1)
        if outcome not in ("locked", "storage"):
            record_attempt(directory, attempt)
        return attempt


@pytest.fixture
def make_runs(tmp_path):
    """``make_runs("a", "b")``: folders that look like prepared runs."""

    def make(*names):
        for name in names:
            (tmp_path / name).mkdir()
            (tmp_path / name / "recipe.toml").touch()
        return [tmp_path / name for name in names]

    return make


def run(directories, fake, slots=1, **options):
    with LocalExecutor([CPU] * slots) as executor:
        return run_all(directories, executor, execute=fake, poll=0.05, **options)


def statuses(outcomes):
    return [(o.status, o.attempts) for o in outcomes]


def test_run_all_executes_each_run_once_and_again_none(make_runs):
    runs, fake = make_runs("a", "b", "c"), Fake(b=["diverged"])
    assert statuses(run([*runs, runs[0]], fake, 2)) == [
        ("finished", 1), ("diverged", 1), ("finished", 1), ("finished", 1),
    ]  # fmt: skip
    assert statuses(run(runs, fake)) == [("finished", 0), ("diverged", 0), ("finished", 0)]
    assert fake.calls == {"a": 1, "b": 1, "c": 1}


@pytest.mark.parametrize("outcome", ["killed", "interrupted"])
def test_run_that_dies_is_tried_three_times_and_by_the_next_call_again(make_runs, outcome):
    runs, fake = make_runs("a", "b"), Fake(a=[outcome] * 4 + ["finished"], b=[outcome] * 2 + ["finished"])
    first = run(runs, fake)
    assert statuses(first) == [(outcome, 3), ("finished", 3)]
    assert f"about {outcome}" in first[0].error and "output.txt" in first[0].error
    assert statuses(run(runs, fake)) == [("finished", 2), ("finished", 0)]


def test_python_error_fails_its_run_once_and_the_others_go_on(make_runs):
    runs, fake = make_runs("a", "b"), Fake(a=["failed", "finished"])
    (a, b) = run(runs, fake)
    assert (a.status, a.attempts, b.status) == ("failed", 1, "finished")
    assert a.error == f"about failed (see {runs[0] / 'output.txt'})"
    assert statuses(run(runs, fake))[0] == ("failed", 0)
    assert fake.calls["a"] == 1
    assert statuses(run(runs, fake, retry_failed=True))[0] == ("finished", 1)


def test_lost_worker_is_recorded_and_retried(make_runs):
    (a,) = runs = make_runs("a")
    fake = Fake(a=[RuntimeError("worker\ndied"), "finished"])
    assert statuses(run(runs, fake)) == [("finished", 2)]
    assert read_attempts(a)[0] == Attempt(1, "killed", error="its worker was lost: RuntimeError: worker died")


def test_locked_run_is_waited_for_and_taken_up_when_its_process_is_gone(make_runs):
    (a, b, c) = runs = make_runs("a", "b", "c")
    locks = [lock_folder(a), lock_folder(b)]
    fake, events = Fake(a=["locked", "finished"], b=["locked", "finished"]), []

    def let_go():
        (a / "result.json").write_text('{"status": "finished"}')  # the other process is done with this one
        for lock in locks:
            os.close(lock)

    def report(event):
        events.append((event.directory, event.status))
        if events[-1] == (c, "finished"):
            threading.Timer(0.3, let_go).start()  # several polls later

    assert statuses(run(runs, fake, report=report)) == [("finished", 0), ("finished", 1), ("finished", 1)]
    assert fake.calls == {"a": 1, "b": 2, "c": 1}
    assert events.index((b, "locked")) < events.index((c, "finished")) < events.index((b, "finished"))


def test_run_that_failed_in_the_hands_of_another_driver_is_not_tried_again(make_runs):
    (a, b) = runs = make_runs("a", "b")
    record_attempt(a, Attempt(1, "failed", error="old"))
    record_attempt(b, Attempt(1, "failed", error="old"))
    fake = Fake(a=["locked"])

    def report(event):
        if event.status == "locked":
            record_attempt(a, Attempt(2, "failed", error="new"))

    outcomes = run(runs, fake, report=report, retry_failed=True)
    assert outcomes == [Outcome(a, "failed", 0, "new"), Outcome(b, "finished", 1, "about finished")]
    assert fake.calls == {"a": 1, "b": 1}


def test_full_disk_starts_no_other_run_and_lets_the_running_ones_end(make_runs):
    (_, b, _) = runs = make_runs("a", "b", "c")
    full, fake = threading.Event(), Fake(a=["storage", "finished"])

    def execute(directory, options, children):
        if directory == b:
            full.wait(60)
        return fake(directory, options)

    def report(event):
        if event.status == "storage":
            full.set()

    with pytest.raises(StorageError, match="about storage; 1 of 3 runs are done"):
        run(runs, execute, 2, report=report)
    assert fake.calls == {"a": 1, "b": 1}
    assert statuses(run(runs, fake)) == [("finished", 1), ("finished", 0), ("finished", 1)]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_is_passed_on_once_and_the_second_one_kills(make_runs, number, code):
    runs, calls = make_runs("a", "b", "c"), []

    class Children:
        def stop(self):
            calls.append("stop")
            os.kill(os.getpid(), number)  # again, impatiently

        def kill(self):
            calls.append("kill")
            killed.set()

    killed, before = threading.Event(), signal.getsignal(number)

    def execute(directory, options, children):
        os.kill(os.getpid(), number)
        killed.wait(60)
        return Attempt(1, "killed", error="died")

    with LocalExecutor([CPU]) as executor, pytest.raises(InterruptedRunError) as stopped:
        executor.children = Children()
        run_all(runs, executor, execute=execute)
    assert stopped.value.exit_code == code
    assert "0 of 3 runs are done" in str(stopped.value)
    assert calls == ["stop", "kill"]
    assert signal.getsignal(number) == before


def test_error_of_the_display_stops_the_children(make_runs):
    stopped = threading.Event()

    def execute(directory, options, children):
        stopped.wait(60)
        return Attempt(1, "interrupted")

    def report(event):
        raise BrokenPipeError

    with LocalExecutor([CPU]) as executor:
        executor.stop = lambda kill=False: stopped.set()
        with pytest.raises(BrokenPipeError):
            run_all(make_runs("a"), executor, execute=execute, report=report)
    assert stopped.is_set()


def test_run_all_refuses_a_folder_that_is_no_prepared_run(tmp_path):
    with pytest.raises(InputError, match="no prepared run"):
        run([tmp_path], Fake())


def test_run_all_takes_any_executor_and_submits_what_can_be_pickled(make_runs, tmp_path):
    with ThreadPoolExecutor(2) as pool:
        assert statuses(run_all(make_runs("a", "b", "c"), pool, execute=Fake())) == [("finished", 1)] * 3
    task = (execute_run, tmp_path, CPU.fill(ExecuteOptions(data=tmp_path)))
    assert pickle.loads(pickle.dumps(task)) == task


def test_cluster_that_has_lost_its_room_is_waited_for(make_runs):
    room, events = [1, 0, 0, 0, 2], []

    class Restarting(ThreadPoolExecutor):
        @property
        def capacity(self):
            return room.pop(0) if len(room) > 1 else room[0]

    with Restarting(2) as pool:
        outcomes = run_all(
            make_runs("a", "b", "c"),
            pool,
            execute=Fake(),
            poll=0.01,
            report=lambda e: events.append(e.status),
        )
    assert statuses(outcomes) == [("finished", 1)] * 3
    assert events.count("waiting") == 1  # said once, not at each look


def test_folder_on_a_file_system_without_flock_ends_the_command(make_runs, monkeypatch):
    def refuse(descriptor, kind):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with (
        LocalExecutor([CPU]) as executor,
        pytest.raises(StorageError, match="`.*/a` is on a file system without flock .*--runs.*; 0 of 2 runs"),
    ):
        run_all(make_runs("a", "b"), executor)


def test_broken_executor_is_one_line(make_runs):
    class Broken(Executor):
        def submit(self, fn, /, *args, **kwargs):
            raise BrokenExecutor("a child terminated")

    with pytest.raises(RalrVizError, match="the executor is broken .* run the same command again"):
        run_all(make_runs("a"), Broken())


# --- real trainings

EPOCHS = 3


@pytest.fixture
def prepare(make_recipe, tmp_path):
    def make(seed=0, folder="runs", **changes):
        return prepare_run(make_recipe(epochs=EPOCHS, **changes), "ralr", seed, tmp_path / folder)

    return make


@pytest.fixture
def train_undisturbed(prepare, squares_root):
    """``train_undisturbed(**recipe)``: the same run by itself, in this process, on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)

    def train(**changes):
        directory = prepare(folder="undisturbed", **changes)
        train_run(directory, squares_root, device="cpu")
        return directory

    yield train
    torch.set_num_threads(threads)


def assert_same_run(directory, reference):
    ours, theirs = (read_checkpoint(d / "checkpoints" / "last.pt")["model"] for d in (directory, reference))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert (directory / "result.json").exists() and epochs_logged(directory) == list(range(1, EPOCHS + 1))


def epochs_logged(directory):
    """Of ``metrics.jsonl``; each attempt that ended cost one epoch at most, as ``log.txt`` says."""
    epochs = [json.loads(line)["epoch"] for line in (directory / "metrics.jsonl").read_text().splitlines()]
    said = [
        line.split()[1]
        for line in (directory / "log.txt").read_text().splitlines()
        if line.startswith("epoch ")
    ]
    assert len(set(said)) >= EPOCHS - 1  # a kill may have come between saving and saying
    ended = (
        len(read_attempts(directory)) - 1
    )  # each while the state of its last epoch was written beside the next
    assert len(said) - len(set(said)) <= max(ended, 0)
    return epochs


# ``ralr-viz``, but its first run in a directory waits for a signal after the first epoch: so that it cannot
# finish before a test comes to it, however busy the machine is. One that is marked as broken has a Python error.
PAUSING = """
import signal, sys
from pathlib import Path

directory = Path(sys.argv[2])
if (directory / "broken").exists():
    raise RuntimeError("broken, before seconds go into importing torch")

from ralr_viz.cli.app import main
from ralr_viz.train import training

real = training.train_step
metrics, paused = directory / "metrics.jsonl", directory / "paused"

def pausing(*arguments):
    if not paused.exists() and metrics.exists() and metrics.read_text():
        signal.signal(signal.SIGALRM, lambda number, frame: None)
        signal.alarm(10)  # a signal that comes between the next two lines is not waited for in vain
        paused.touch()
        signal.pause()
        signal.alarm(0)
    real(*arguments)

training.train_step = pausing
main()
"""

PAUSE = f"""
from ralr_viz.study import execute
real = execute._command
def pausing(*arguments):
    command = real(*arguments)
    i = command.index("-m")
    return [*command[:i], "-c", {PAUSING!r}, *command[i + 2 :]]
execute._command = pausing
"""


@pytest.fixture
def children_pause(monkeypatch):
    monkeypatch.setattr(execute, "_command", execute._command)  # undoes it
    exec(PAUSE, {})


def test_full_disk_killed_worker_and_python_error(prepare, train_undisturbed, squares_root, children_pause):
    run, broken = prepare(), prepare(seed=1)
    (broken / "broken").touch()
    options = ExecuteOptions(data=squares_root, device="cpu")

    (run / "paused").touch()  # a state is written beside the next epoch, which is not to wait yet
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))  # as a full disk: no checkpoint can be written
    try:
        with (
            LocalExecutor([CPU]) as executor,
            pytest.raises(StorageError, match="larger than is allowed here.* 0 of 2 runs"),
        ):
            run_all([run, broken], executor, options)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [a.outcome for a in read_attempts(run)] == ["storage"]
    assert not (broken / "output.txt").exists()
    (run / "paused").unlink()

    def kill():
        wait_for(lambda: (run / "paused").exists())
        (child,) = (p for p in executor.children._alive if str(run) in p.args)
        os.kill(child.pid, signal.SIGKILL)

    with LocalExecutor([CPU, CPU]) as executor:
        killer = threading.Thread(target=kill, daemon=True)
        killer.start()
        outcomes = run_all([run, broken], executor, options)
        killer.join()
    assert statuses(outcomes) == [("finished", 2), ("failed", 1)]
    assert [(a.outcome, a.signal) for a in read_attempts(run)[1:]] == [("killed", 9), ("finished", None)]
    assert_same_run(run, train_undisturbed())
    assert outcomes[1].error.startswith("RuntimeError: broken")
    assert "Traceback" in (broken / "output.txt").read_text()
    assert [(a.outcome, a.code) for a in read_attempts(broken)] == [("failed", 1)]


DRIVER = textwrap.dedent(
    """
    import json, sys
    from pathlib import Path
    from ralr_viz.study.engine import run_all
    from ralr_viz.study.execute import ExecuteOptions
    from ralr_viz.study.slots import LocalExecutor, Slot
    data, *runs = map(Path, sys.argv[1:])
    with LocalExecutor([Slot("cpu", 1)]) as executor:
        outcomes = run_all(runs, executor, ExecuteOptions(data=data), poll=0.5)
    print(json.dumps([[o.status, o.attempts] for o in outcomes]))
    """
)


def test_killed_driver_and_two_drivers_at_once(prepare, train_undisturbed, squares_root):
    run, hot = prepare(seed=1), prepare(seed=1, lr=1e9)
    command = [sys.executable, "-c", DRIVER, *map(str, (squares_root, run, hot))]

    first = subprocess.Popen([sys.executable, "-c", PAUSE + DRIVER, *command[3:]])
    wait_for(lambda: (run / "paused").exists())
    first.kill()
    first.wait()
    wait_for(lambda: not is_locked(run))  # the child has saved and ended by itself
    assert "the state is saved" in (run / "log.txt").read_text()
    assert not (run / "result.json").exists() and not (hot / "output.txt").exists()

    drivers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    ended = [json.loads(driver.communicate(timeout=240)[0]) for driver in drivers]
    assert [[status for status, _ in outcomes] for outcomes in ended] == [["finished", "diverged"]] * 2
    for i, (directory, outcome) in enumerate([(run, "finished"), (hot, "diverged")]):
        assert sum(outcomes[i][1] for outcomes in ended) == 1
        assert [a.outcome for a in read_attempts(directory)] == [outcome]
    assert (run / "log.txt").read_text().count("resuming after") == 1
    assert_same_run(run, train_undisturbed(seed=1))
    assert json.loads((hot / "result.json").read_text())["status"] == "diverged"
