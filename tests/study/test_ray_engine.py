"""Ray as an executor: shares of (declared) GPUs, workers that die, children that do not outlive them."""

import os
import signal
import socket
import sys
import threading
import time
from concurrent.futures import wait as wait_until
from types import SimpleNamespace

import pytest

from ralr_viz.errors import InputError
from ralr_viz.study.attempt import Attempt, read_attempts
from ralr_viz.study.engine import run_all
from ralr_viz.study.ray_engine import RayExecutor, _slots_of


def test_ray_executor_without_ray_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"pip install 'ray>=2.40'"):
        RayExecutor()


@pytest.mark.parametrize(
    ("node", "needs", "slots"),
    [
        ({"CPU": 8.0, "GPU": 2.0}, {"CPU": 1, "GPU": 0.5}, 4),
        ({"CPU": 8.0, "GPU": 2.0}, {"CPU": 1, "GPU": 0.4}, 4),  # not 2 / 0.4: no share spans two GPUs
        ({"CPU": 3.0, "GPU": 2.0}, {"CPU": 2, "GPU": 0.5}, 1),
        ({"CPU": 8.0}, {"CPU": 1, "GPU": 0.5}, 0),
        ({"CPU": 8.0}, {"CPU": 1, "GPU": 0.0}, 8),
        ({"memory": 1.0}, {"CPU": 1, "GPU": 0.0}, 0),
    ],
)
def test_slots_of_a_node(node, needs, slots):
    assert _slots_of(node, needs) == slots


def test_ray_executor_at_an_address_where_nobody_answers_says_so_at_once(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(is_initialized=lambda: False))
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # not listening
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(InputError, match=f"no Ray cluster answers at `--address {address}`"):
            RayExecutor(address)


@pytest.fixture(scope="module")
def ray():
    ray = pytest.importorskip("ray")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        ray.init(num_cpus=2, num_gpus=2, include_dashboard=False, logging_level="error", log_to_driver=False)
        yield ray
        ray.shutdown()


@pytest.fixture
def make_runs(tmp_path):
    def make(*names):
        for name in names:
            (tmp_path / name).mkdir()
            (tmp_path / name / "recipe.toml").touch()
        return [tmp_path / name for name in names]

    return make


# Functions within tests are sent to the workers by value: they cannot import a test module.


def test_two_tasks_share_each_gpu(ray, make_runs):
    def fake(directory, options):
        (directory / "here").touch()
        while sum(1 for _ in directory.parent.glob("*/here")) < 4:  # all four at once
            time.sleep(0.02)
        (directory / "gpu").write_text(os.environ["CUDA_VISIBLE_DEVICES"])
        return Attempt(1, "finished", 0, seconds=1)

    runs = make_runs("a", "b", "c", "d")
    with RayExecutor(gpus_per_run=0.5, cpus_per_run=0.5) as executor:
        assert executor.capacity == 4
        assert RayExecutor(gpus_per_run=0.5, cpus_per_run=0.5, jobs=3).capacity == 3
        assert [o.status for o in run_all(runs, executor, execute=fake)] == ["finished"] * 4
    assert sorted((run / "gpu").read_text() for run in runs) == ["0", "0", "1", "1"]
    assert ray.is_initialized()  # an executor leaves a cluster that it has not started


def test_killed_worker_is_retried_and_hits_one_run(ray, make_runs):
    def fake(directory, options):
        calls = directory / "calls"
        calls.write_text(calls.read_text() + "x" if calls.exists() else "x")
        if directory.name == "a" and calls.read_text() == "x":
            os.kill(os.getpid(), signal.SIGKILL)
        return Attempt(1, "finished", 0, seconds=1)

    (a, b) = runs = make_runs("a", "b")
    with RayExecutor() as executor:
        outcomes = run_all(runs, executor, execute=fake)
    assert [(o.status, o.attempts) for o in outcomes] == [("finished", 2), ("finished", 1)]
    assert (b / "calls").read_text() == "x"
    (lost,) = read_attempts(a)
    assert lost.outcome == "killed" and "its worker was lost: WorkerCrashedError" in lost.error


def test_stopped_executor_interrupts_what_runs(ray, tmp_path):
    def wait():
        try:
            (tmp_path / "begun").touch()
            while True:
                time.sleep(0.05)
        except KeyboardInterrupt:
            (tmp_path / "saved").touch()
            raise

    with RayExecutor() as executor:
        future = executor.submit(wait)
        while not (tmp_path / "begun").exists():
            time.sleep(0.02)
        for _ in range(12):  # Ray's cancellation is a best effort: one was lost here once
            executor.stop()
            if wait_until([future], timeout=5).done:
                break
        assert future.exception(timeout=0) is not None
        for _ in range(3000):
            if (tmp_path / "saved").exists():
                break
            time.sleep(0.02)
        assert (tmp_path / "saved").exists()


def test_cluster_without_such_a_node_is_refused(ray):
    with pytest.raises(InputError, match="no node of the Ray cluster has 1 GPU and 64 CPU"):
        RayExecutor(gpus_per_run=1, cpus_per_run=64)


def test_capacity_of_a_cluster_whose_nodes_are_gone_is_none_for_now(ray, monkeypatch):
    with RayExecutor(jobs=3) as executor:
        assert executor.capacity == 2
        monkeypatch.setattr(ray, "nodes", lambda: [{"Alive": False, "Resources": {"CPU": 2.0}}])
        assert executor.capacity == 0


@pytest.mark.parametrize(
    "needs", [{"gpus_per_run": 2}, {"gpus_per_run": -1}, {"cpus_per_run": 0}, {"jobs": 0}]
)
def test_ray_executor_refuses_numbers_out_of_range(needs):
    with pytest.raises(InputError, match="per.run|jobs"):
        RayExecutor(**needs)


# Speaks the protocol as a training does, but needs no torch: it is stopped once, then it finishes.
CHILD = """
import pathlib, signal, sys, time
from ralr_viz.runtime.stop import watch_stdin
from ralr_viz.train.lock import lock_folder

def save(number, frame):
    (directory / "saved").touch()
    sys.exit(143)

directory = pathlib.Path(sys.argv[1])
lock = lock_folder(directory)
if (directory / "saved").exists():
    (directory / "result.json").write_text('{"status": "finished"}')
    sys.exit()
signal.signal(signal.SIGTERM, save)
watch_stdin()
(directory / "begun").touch()
while True:
    time.sleep(60)
"""


def test_child_saves_when_its_ray_worker_is_killed_and_another_worker_goes_on(ray, make_runs):
    (run,) = make_runs("a")
    child = CHILD

    def execute(directory, options):
        import sys

        from ralr_viz.study import execute

        execute._command = lambda directory, options: [sys.executable, "-c", child, str(directory)]
        (directory / "worker").write_text(str(os.getpid()))
        return execute.execute_run(directory, options)

    def kill():
        while not (run / "begun").exists():
            time.sleep(0.01)
        os.kill(int((run / "worker").read_text()), signal.SIGKILL)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    with RayExecutor() as executor:
        (outcome,) = run_all([run], executor, execute=execute, poll=0.1)
    killer.join()
    assert (outcome.status, outcome.attempts) == ("finished", 2)
    assert [attempt.outcome for attempt in read_attempts(run)] == ["killed", "finished"]
    assert (run / "saved").exists()
