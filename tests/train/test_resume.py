"""Kills, signals and full disks, on real processes: nothing is lost and a resumed run is the same run."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch

from ralr_viz.train.checkpoint import read_checkpoint

EPOCHS = 8

# A parent that has imported torch forks a child for each test, and that one a child for each attempt: ten kills
# without ten imports.
DRIVER = textwrap.dedent(
    """
    import json, os, random, resource, signal, sys, threading, traceback
    import torch
    torch.set_num_threads(1)
    from pathlib import Path
    from ralr_viz.errors import RalrVizError
    from ralr_viz.results import storage
    from ralr_viz.train import run, training
    from ralr_viz.train.loop import train_run
    loaded = sorted({"torch._dynamo", "torchvision", "scipy.stats"} & set(sys.modules))
    torch.optim.SGD([torch.zeros(1)], lr=0.1)  # torch imports its compiler at the first optimizer

    def train(before=lambda: None):
        pid = os.fork()
        if pid:
            return pid
        code = 99
        try:
            before()
            train_run(directory, data, device="cpu")
            code = 0
        except RalrVizError as error:
            print(type(error).__name__, error, flush=True)
            code = error.exit_code
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)

    def finish(pid):
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def epochs_saved():
        metrics = directory / "metrics.jsonl"
        return metrics.read_text().count("\\n") if metrics.exists() else 0

    # Moments are counted in steps and epochs, not in seconds: on a faster or a busier machine
    # a run must not finish before the signal comes.
    def signal_soon_after(step, delay, number):
        def arm():
            real, steps = training.train_step, iter(range(1, 10_000))
            def counted(*arguments):
                parts = real(*arguments)
                if next(steps) == step:
                    threading.Timer(delay, os.kill, (os.getpid(), number)).start()
                return parts
            training.train_step = counted
        return arm

    def wait_after(epochs):
        # The run stops itself with so many epochs saved: SIGCONT or SIGKILL ends its wait.
        def arm():
            real = training.train_step
            def waiting(*arguments):
                if epochs_saved() == epochs:
                    training.train_step = real
                    os.kill(os.getpid(), signal.SIGSTOP)
                return real(*arguments)
            training.train_step = waiting
        pid = train(arm)
        assert os.WIFSTOPPED(os.waitpid(pid, os.WUNTRACED)[1])
        return pid

    def follow(body, output):
        code = 1
        try:
            for number in (1, 2):
                os.dup2(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
            exec(body, globals())
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(code)

    for line in sys.stdin:
        body, directory, data, output = json.loads(line)
        directory, data = Path(directory), Path(data)
        pid = os.fork()
        if pid == 0:
            follow(body, output)
        print(finish(pid), flush=True)
    """
)


@pytest.fixture(scope="module")
def drive(squares_root, tmp_path_factory):
    """``drive(body, directory)``: what the body printed, run by a fork of the driver's."""
    folder = tmp_path_factory.mktemp("printed")
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip

    def run(body: str, directory: Path) -> str:
        output = folder / f"{len(list(folder.iterdir()))}.txt"
        task = [textwrap.dedent(body), *map(str, (directory, squares_root, output))]
        driver.stdin.write(json.dumps(task) + "\n")
        driver.stdin.flush()
        code = driver.stdout.readline().strip()
        assert code == "0", output.read_text() if output.exists() else code
        return output.read_text()

    yield run
    driver.stdin.close()
    driver.wait(60)


@pytest.fixture(scope="module")
def make_run(tmp_path_factory):
    from ralr_viz.tasks.classification.recipe import ClassificationRecipe
    from ralr_viz.train.prepare import prepare_run

    def make() -> Path:
        recipe = ClassificationRecipe(
            dataset="squares", model="resnet20", epochs=EPOCHS, batch=16, lr=0.05, momentum=0.9, milestones=(0.5,),
            crop_padding=2, flip=True, validation=0.25, precision="fp32", keep=(4,),
            examples="train,val",
        )  # fmt: skip
        return prepare_run(recipe, "ralr", 0, tmp_path_factory.mktemp("runs"))

    return make


@pytest.fixture(scope="module")
def uninterrupted(make_run, drive):
    directory = make_run()
    drive("assert finish(train()) == 0", directory)
    return directory


def assert_same_run(directory: Path, reference: Path) -> None:
    for name in ("last", "best", "epoch_0004"):
        ours = read_checkpoint(directory / "checkpoints" / f"{name}.pt")
        theirs = read_checkpoint(reference / "checkpoints" / f"{name}.pt")
        assert all(torch.equal(ours["model"][k], theirs["model"][k]) for k in theirs["model"]), name
        moments = [s["optimizer"]["state"] for s in (ours, theirs)]
        assert all(
            torch.equal(moments[0][i]["momentum_buffer"], m["momentum_buffer"]) for i, m in moments[1].items()
        )
    timing = {"seconds", "images_per_second", "examples_seconds"}
    logs = [
        [json.loads(x) for x in (d / "metrics.jsonl").read_text().splitlines()]
        for d in (directory, reference)
    ]
    assert [{k: v for k, v in r.items() if k not in timing} for r in logs[0]] == [
        {k: v for k, v in r.items() if k not in timing} for r in logs[1]
    ]
    assert json.loads((directory / "result.json").read_text())["status"] == "finished"
    for name in ("train.bin", "val.bin"):
        assert (directory / "examples" / name).read_bytes() == (reference / "examples" / name).read_bytes()


def test_killed_at_twelve_seeded_moments_the_weights_are_bit_identical(make_run, uninterrupted, drive):
    directory = make_run()
    printed = drive(
        """
        rng, kills = random.Random(0), 0
        while kills < 12:
            # five steps are an epoch: some die in it, some while it is measured or written, some in the next
            moment = signal_soon_after(rng.randint(2, 7), rng.uniform(0, 0.05), signal.SIGKILL)
            if finish(train(moment)) == 0:
                break
            kills += 1
        print("kills", kills)
        assert finish(train()) == 0
        """,
        directory,
    )
    assert int(printed.split()[-1]) >= 10
    assert_same_run(directory, uninterrupted)


def test_killed_inside_a_checkpoint_write_the_weights_are_bit_identical(make_run, uninterrupted, drive):
    directory = make_run()
    drive(
        """
        def die_while_writing():
            real = storage.write_synced
            def half(path, data):
                if path.name.startswith("last.pt") and epochs_saved() == 3:
                    path.write_bytes(data[: len(data) // 2])
                    os.kill(os.getpid(), signal.SIGKILL)
                real(path, data)
            storage.write_synced = half
        assert finish(train(die_while_writing)) == -signal.SIGKILL
        assert list(directory.glob("checkpoints/last.pt.*.tmp"))
        assert finish(train()) == 0
        assert not list(directory.glob("checkpoints/*.tmp"))
        """,
        directory,
    )
    assert_same_run(directory, uninterrupted)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signal_saves_the_step_and_resumes_bit_identical(make_run, uninterrupted, drive, number, code):
    directory = make_run()
    printed = drive(
        f"""
        rng, stops = random.Random({code}), 0
        while stops < 5:
            code = finish(train(signal_soon_after(rng.randint(2, 7), rng.uniform(0, 0.05), {int(number)})))
            if code == 0:
                break
            assert code == {code}, code
            stops += 1
        print("stops", stops)
        assert finish(train()) == 0
        """,
        directory,
    )
    assert int(printed.split()[-1]) >= 2
    assert "the state is saved: --resume goes on" in printed
    assert_same_run(directory, uninterrupted)


def test_truncated_last_checkpoint_falls_back_to_prev_and_says_so(make_run, uninterrupted, drive):
    directory = make_run()
    drive(
        """
        pid = wait_after(3)
        os.kill(pid, signal.SIGKILL)
        finish(pid)
        last = directory / "checkpoints" / "last.pt"
        content = last.read_bytes()
        last.unlink()  # prev.pt may be a link to the same file
        last.write_bytes(content[: len(content) // 3])
        assert finish(train()) == 0
        """,
        directory,
    )
    assert (
        "resuming from prev.pt, the state before: last.pt cannot be read"
        in (directory / "log.txt").read_text()
    )
    assert_same_run(directory, uninterrupted)


def test_full_disk_is_one_line_and_loses_nothing(make_run, uninterrupted, drive):
    directory = make_run()
    printed = drive(
        """
        def fill_disk_after_two_epochs():
            real = storage.write_synced
            def limited(path, data):
                if epochs_saved() == 3:  # the system refuses files larger than this, as a full disk would
                    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
                real(path, data)
            storage.write_synced = limited
        assert finish(train(fill_disk_after_two_epochs)) == 1
        assert not list(directory.glob("checkpoints/*.tmp"))
        assert finish(train()) == 0
        """,
        directory,
    )
    line = next(x for x in printed.splitlines() if x.startswith("StorageError"))
    assert "last.pt" in line
    assert "the file is larger than is allowed here" in line  # what to do is the command's to say
    assert_same_run(directory, uninterrupted)


def test_second_process_is_refused(make_run, drive):
    directory = make_run()
    printed = drive(
        """
        first = wait_after(1)
        assert finish(train()) == 2
        os.kill(first, signal.SIGCONT)
        assert finish(first) == 0
        """,
        directory,
    )
    assert "RunLockedError" in printed
    assert "is in use by another ralr-viz process" in printed


def test_training_loads_no_compiler_and_no_scipy_stats_before_its_first_optimizer(drive, tmp_path):
    """Half of the start of a command that trains or evaluates was theirs."""
    assert drive("print(loaded)", tmp_path) == "[]\n"
