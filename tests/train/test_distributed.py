"""One run over two real gloo ranks, against a single process that does what they do one after the other."""

import json
import math
import os
import subprocess
import sys
import textwrap
import time
from types import SimpleNamespace

import pytest
import torch

from ralr_viz.data import load_dataset
from ralr_viz.errors import InputError, RalrVizError
from ralr_viz.models import build_model
from ralr_viz.results.examples import examples_path, read_examples
from ralr_viz.runtime.device import Runtime
from ralr_viz.runtime.ranks import ALONE, Place
from ralr_viz.runtime.stop import StopSignal
from ralr_viz.schedule import amplification_factors
from ralr_viz.tasks.classification.evaluate import evaluate
from ralr_viz.tasks.opening import open_task
from ralr_viz.train.checkpoint import load_checkpoint, read_checkpoint
from ralr_viz.train.distributed import ProcessRanks
from ralr_viz.train.prepare import prepare_run, read_prepared_run
from ralr_viz.train.torchrun import join_ranks, read_place
from ralr_viz.train.training import Training

# Busy machines import torch for a minute.
pytestmark = pytest.mark.timeout(600)

# A parent that has imported torch forks both ranks of each launch: a dozen launches, one import.
DRIVER = textwrap.dedent(
    """
    import fcntl, json, os, signal, socket, sys, traceback
    import torch
    torch.set_num_threads(1)
    from pathlib import Path
    from ralr_viz.cli import app
    from ralr_viz.results import storage
    from ralr_viz.tasks.classification import start
    from ralr_viz.train import training
    import ralr_viz.train.distributed, ralr_viz.train.loop  # before the fork
    torch.optim.SGD([torch.zeros(1)], lr=0.1)  # and what torch imports at the first optimizer: its compiler
    training.LOOK_EVERY = 2

    runs, data = Path(sys.argv[1]), sys.argv[2]

    def launch(label, name, before=lambda rank: None, size=2):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        pids = []
        for rank in range(size):
            sys.stdout.flush()
            pids.append(os.fork())
            if pids[-1] == 0:
                run_rank(rank, size, port, label, name, before)
        codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
        (runs / f"{label}.codes").write_text(json.dumps(codes))

    def run_rank(rank, size, port, label, name, before):
        code = 99
        try:
            for number, suffix in ((1, "out"), (2, "err")):
                file = os.open(runs / f"{label}.{rank}.{suffix}", os.O_WRONLY | os.O_CREAT)
                os.dup2(file, number)
            os.environ |= {
                "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(size),
                "LOCAL_WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
            }
            before(rank)
            if rank > 0:
                sys.addaudithook(refuse_writing)
            sys.argv = ["ralr-viz", "run", str(runs / name), "--data", data, "--device", "cpu"]
            app.main()
        except SystemExit as error:
            code = error.code or 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def refuse_writing(event, arguments):
        written = event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if (written or event in ("os.mkdir", "os.rename", "os.link", "os.remove")) and str(runs) in str(arguments[0]):
            raise AssertionError(f"not rank 0: {event} {arguments[0]}")

    def after_step(number, act):
        real, steps = training.train_step, iter(range(1, 10_000))
        def counted(*arguments):
            parts = real(*arguments)
            if next(steps) == number:
                act()
            return parts
        training.train_step = counted

    def with_dropout(rank):
        real = start.build_model
        def build(*arguments, **named):
            model = real(*arguments, **named)
            model.linear = torch.nn.Sequential(torch.nn.Dropout(0.5), model.linear)
            return model
        start.build_model = build

    def stop_in_the_second_epoch(rank):
        with_dropout(rank)
        if rank == 1:  # between two looks, and to one rank first, as torchrun does
            after_step(9, lambda: os.kill(os.getpid(), signal.SIGTERM))
        else:  # its own comes when it is saving already
            real = storage.write_synced
            def late(path, data):
                if path.name.startswith("last.pt") and training.LOOK_EVERY == 2:
                    seen.append(path)
                    if len(seen) == 2:
                        os.kill(os.getpid(), signal.SIGTERM)
                real(path, data)
            seen = []
            storage.write_synced = late

    def die_in_the_second_epoch(rank):
        if rank == 1:
            after_step(9, lambda: os.kill(os.getpid(), signal.SIGKILL))

    def fail_to_write_in_the_second_epoch(rank):
        real = storage.write_synced
        def full(path, data):
            if path.name.startswith("last.pt"):
                raise OSError(28, "No space left on device")
            real(path, data)
        storage.write_synced = full

    def launch_by_torchrun(label, name):
        from torch.distributed.launcher.api import LaunchConfig, elastic_launch
        config = LaunchConfig(
            min_nodes=1, max_nodes=1, nproc_per_node=2, max_restarts=0, run_id=label, start_method="fork",
            rdzv_backend="c10d", rdzv_endpoint="localhost:0",
        )
        results = elastic_launch(config, run_for_torchrun)(label, name)
        (runs / f"{label}.codes").write_text(json.dumps([results[rank] for rank in range(2)]))

    def run_for_torchrun(label, name):
        for number, suffix in ((1, "out"), (2, "err")):
            file = os.open(runs / f"{label}.{os.environ['RANK']}.{suffix}", os.O_WRONLY | os.O_CREAT)
            os.dup2(file, number)
        sys.argv = ["ralr-viz", "run", str(runs / name), "--data", data, "--device", "cpu"]
        try:
            app.main()
        except SystemExit as error:
            return error.code or 0

    launch_by_torchrun("torchrun", "torchrun")
    launch("whole", "whole")
    launch("mixed", "mixed")
    # of three numbers, unlike of two, the last bit of a sum depends on the order
    launch("dropout", "dropout", with_dropout, size=3)
    launch("stop", "stopped", stop_in_the_second_epoch, size=3)
    launch("go on", "stopped", with_dropout, size=3)
    launch("kill", "killed", die_in_the_second_epoch)
    launch("full", "killed", fail_to_write_in_the_second_epoch)
    launch("again", "killed")
    launch("diverge", "diverging")
    launch("too few", "too-few")
    with open(runs / "locked" / "run.lock", "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        launch("locked", "locked")
    """
)

SETTINGS = {"epochs": 2, "milestones": (1,), "batch": 13, "lr": 0.01, "examples": "train,val"}
# 72 training images in batches of 13: parts of 7 and 6, and a last batch of 7 in parts of 4 and 3.
RECIPES = {
    "whole": {},
    "torchrun": {},
    "mixed": {"mixup": 1.0, "label_smoothing": 0.1, "cutout": 4},
    "dropout": {},
    "stopped": {},
    "killed": {},
    "diverging": {"epochs": 5, "lr": 1e6, "milestones": ()},
    "too-few": {"batch": 71},
    "locked": {},
}


@pytest.fixture(scope="module")
def launched(make_recipe, squares_root, tmp_path_factory):
    """Folder of the runs, with what each rank of each launch printed and its exit codes."""
    folder = tmp_path_factory.mktemp("ranks")
    for name, changes in RECIPES.items():
        made = prepare_run(
            make_recipe(**(SETTINGS | changes)),
            "ralr",
            2,
            folder / "made",
        )
        made.rename(folder / name)
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, str(folder), str(squares_root)],
        capture_output=True, text=True, timeout=550, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr

    def read(label: str) -> SimpleNamespace:
        codes = json.loads((folder / f"{label}.codes").read_text())
        texts = {
            suffix: [(folder / f"{label}.{rank}.{suffix}").read_text() for rank in range(len(codes))]
            for suffix in ("out", "err")
        }
        return SimpleNamespace(codes=codes, **texts)

    return SimpleNamespace(folder=folder, read=read)


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def read_metrics(directory):
    return [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


def assert_same_run(directory, reference):
    ours, theirs = (read_checkpoint(d / "checkpoints" / "last.pt") for d in (directory, reference))
    assert all(torch.equal(ours["model"][k], v) for k, v in theirs["model"].items())
    timing = {"seconds", "images_per_second", "examples_seconds"}
    for name in ("train", "val"):
        ours, theirs = (examples_path(d, name).read_bytes() for d in (directory, reference))
        assert ours == theirs
    ours, theirs = (read_checkpoint(d / "checkpoints" / "last.pt") for d in (directory, reference))
    logs = [[{k: v for k, v in r.items() if k not in timing} for r in s["history"]] for s in (ours, theirs)]
    assert logs[0] == logs[1]


def train_in_parts(directory, root, size=2):
    """One replica a rank, each with its own running statistics; gradients averaged over images by hand."""
    recipe, method, seed = read_prepared_run(directory)
    training = Training(open_task(recipe, root), method, seed, Runtime(torch.device("cpu"), "fp32"))
    feed = training.feed
    factors = amplification_factors(seed, recipe.epochs)
    torch.manual_seed(seed)
    first = build_model("resnet20", 4)
    replicas = [build_model("resnet20", 4) for _ in range(size)]
    for replica in replicas:
        replica.load_state_dict(first.state_dict())
        replica.to(memory_format=torch.channels_last)
    optimizers = [
        torch.optim.SGD(r.parameters(), recipe.lr, momentum=0.9, nesterov=True, weight_decay=1e-4)
        for r in replicas
    ]
    n, records = len(feed.loader.labels), []
    seen = torch.full((recipe.epochs, n), torch.nan)
    for epoch in range(recipe.epochs):
        lr = recipe.lr * recipe.gamma ** sum(epoch >= m for m in recipe.milestone_epochs) * factors[epoch]
        plan, loss_sum, hits, norms = feed.plan(seed, epoch), 0.0, 0, []
        before = [p.detach().clone() for p in replicas[0].parameters()]
        for step in range(plan.steps):
            ((x, y, target),) = feed.load(plan, step, ALONE)
            means = [torch.zeros_like(p) for p in before]
            cut = math.ceil(len(x) / 2)
            for replica, part in zip(replicas, (slice(cut), slice(cut, None)), strict=True):
                logits = replica.train()(x[part])
                aim = y[part] if target is None else target[part]
                loss = torch.nn.functional.cross_entropy(logits, aim, label_smoothing=recipe.label_smoothing)
                gradients = torch.autograd.grad(loss, list(replica.parameters()))
                for mean, gradient in zip(means, gradients, strict=True):
                    mean += len(logits) / len(x) * gradient
                loss_sum += loss.item() * len(logits)
                hits += (logits.argmax(1) == y[part]).sum().item()
                rows = plan.draws.order[step * recipe.batch : (step + 1) * recipe.batch][part]
                seen[epoch, rows] = torch.nn.functional.cross_entropy(
                    logits, y[part], reduction="none"
                ).detach()
            norms.append(math.sqrt(sum(float((g.double() ** 2).sum()) for g in means)))
            for replica, optimizer in zip(replicas, optimizers, strict=True):
                optimizer.param_groups[0]["lr"] = lr
                for p, g in zip(replica.parameters(), means, strict=True):
                    p.grad = g.clone()
                optimizer.step()
        after = [p.detach() for p in replicas[0].parameters()]
        moved = math.sqrt(sum(float(((a - b) ** 2).sum()) for a, b in zip(after, before, strict=True)))
        test = training.evaluator(replicas[0])
        records.append(
            {
                "lr": lr,
                "train_loss": loss_sum / n,
                "train_acc": 100 * hits / n,
                "grad_norm": sum(norms) / len(norms),
                "step_length": moved,
                "test_loss": test["test_loss"],
                "test_acc": test["test_acc"],
            }
        )
    return [r.state_dict() for r in replicas], records, seen


@pytest.mark.parametrize("name", ["whole", "mixed"])
def test_ranks_train_what_one_process_does_part_by_part(launched, squares_root, one_thread, name):
    ours = read_checkpoint(launched.folder / name / "checkpoints" / "last.pt")["model"]
    (twin, other), records, seen = train_in_parts(launched.folder / name, squares_root)
    assert ours.keys() == twin.keys()  # raw: no `module.`
    for key, value in twin.items():
        torch.testing.assert_close(ours[key].contiguous(), value.contiguous(), rtol=1e-5, atol=1e-6)
    # the statistics that are kept are rank 0's, which rank 1's are not
    assert not torch.allclose(ours["bn1.running_mean"], other["bn1.running_mean"], rtol=1e-3, atol=0)
    metrics = read_metrics(launched.folder / name)
    assert len(metrics) == len(records) == 2
    for record, expected in zip(metrics, records, strict=True):
        assert {k: record[k] for k in expected} == pytest.approx(expected, rel=1e-4)
    examples = read_examples(examples_path(launched.folder / name, "train"))
    torch.testing.assert_close(torch.from_numpy(examples.losses), seen, rtol=2e-3, atol=1e-4)


def test_first_rank_speaks_and_writes_for_all(launched):
    for label in ("whole", "mixed", "dropout", "go on", "again"):
        done = launched.read(label)
        assert not any(done.codes), done.err
        assert not any(done.out[1:] + done.err[1:])  # nor has it written a file: it would have failed
    whole = launched.read("whole")
    assert whole.out[0].splitlines() == [str(launched.folder / "whole")]
    assert "2 epochs, test accuracy" in whole.err[0]
    assert "Warning" not in whole.err[0]
    environment = json.loads((launched.folder / "whole" / "env.json").read_text())
    assert (environment["world_size"], environment["backend"]) == (2, "gloo")


def test_checkpoint_of_ranks_is_an_ordinary_one(launched, squares_root):
    checkpoint = load_checkpoint(launched.folder / "whole")
    data = load_dataset("squares", squares_root)
    result = evaluate(
        checkpoint.build(), data.test.images, torch.from_numpy(data.test.labels.astype("int64")),
        torch.tensor(data.mean), torch.tensor(data.std), Runtime(torch.device("cpu"), "fp32"),
    )  # fmt: skip
    assert result.loss == pytest.approx(read_metrics(launched.folder / "whole")[-1]["test_loss"], rel=1e-4)


def test_signal_to_one_rank_stops_all_at_the_same_step_and_resumes_bit_identical(launched):
    stop = launched.read("stop")
    assert stop.codes == [143, 143, 143], stop.err
    assert stop.err[0].splitlines()[-1].endswith("stopped in epoch 2; the state is saved: --resume goes on")
    assert "Traceback" not in stop.err[0]
    assert not any(stop.out + stop.err[1:])
    log = (launched.folder / "stopped" / "log.txt").read_text()
    assert "resuming after epoch 1 (and part of the next)" in log
    assert_same_run(launched.folder / "stopped", launched.folder / "dropout")
    # dropout did something, and so was not left out of both
    plain, dropped = (read_metrics(launched.folder / n)[0]["train_loss"] for n in ("whole", "dropout"))
    assert plain != dropped


def test_lost_rank_ends_the_other_in_one_line_and_nothing_is_lost(launched):
    kill = launched.read("kill")
    assert kill.codes == [1, -9]
    assert kill.err[0].splitlines()[-1].startswith("ralr-viz: another of the 2 processes ended (")
    assert "Traceback" not in kill.err[0]
    assert_same_run(launched.folder / "killed", launched.folder / "whole")


def test_full_disk_of_rank_0_ends_all(launched):
    full = launched.read("full")
    assert full.codes == [1, 1]
    assert "no space left" in full.err[0].splitlines()[-1]
    assert "Traceback" not in full.err[0]
    assert full.err[1] == ""


def test_divergence_is_the_result_of_all_ranks(launched):
    diverge = launched.read("diverge")
    assert diverge.codes == [1, 1]
    assert "not finite in epoch" in diverge.err[0].splitlines()[-1]
    assert diverge.err[1] == ""
    result = json.loads((launched.folder / "diverging" / "result.json").read_text())
    assert result["status"] == "diverged"


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("too few", "`batch` = 71 leaves 1 of the 72 training images to a batch, too few for 2 processes"),
        ("locked", "is in use by another ralr-viz process"),
    ],
)
def test_what_rank_0_refuses_is_said_once(launched, label, message):
    refused = launched.read(label)
    assert refused.codes == [2, 2]
    assert message in refused.err[0].splitlines()[-1]
    assert "Traceback" not in refused.err[0]
    assert refused.err[1] == ""


def test_agent_of_torchrun_starts_the_same_run(launched):
    done = launched.read("torchrun")
    assert done.codes == [0, 0]
    assert done.out == [f"{launched.folder / 'torchrun'}\n", ""]
    assert_same_run(launched.folder / "torchrun", launched.folder / "whole")


@pytest.mark.slow
def test_torchrun_stopped_by_a_signal_goes_on(make_recipe, squares_root, tmp_path):
    """The whole command line; the agent forwards its SIGTERM to the ranks."""
    directories = [
        prepare_run(make_recipe(epochs=30), "baseline", 0, tmp_path / name) for name in ("whole", "stopped")
    ]

    def start(directory):
        return subprocess.Popen(
            [
                sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
                "-m", "ralr_viz", "run", str(directory), "--data", str(squares_root), "--device", "cpu",
            ],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"},
        )  # fmt: skip

    process = start(directories[1])
    metrics, end = directories[1] / "metrics.jsonl", time.monotonic() + 120
    while not (metrics.exists() and metrics.read_text().count("\n") > 2) and time.monotonic() < end:
        time.sleep(0.01)
    process.terminate()
    _, told = process.communicate(timeout=120)
    assert not (directories[1] / "result.json").exists()
    assert told.count("the state is saved: --resume goes on") == 1, told
    for directory in directories:
        process = start(directory)
        out, told = process.communicate(timeout=250)
        assert process.returncode == 0, told
        assert out.splitlines() == [str(directory)]
    assert_same_run(*directories)


@pytest.mark.parametrize(("size", "start", "stop"), [(1, 0, 5), (2, 10, 23), (3, 4, 7), (4, 0, 10)])
def test_shards_are_contiguous_and_differ_by_at_most_one(size, start, stop):
    ranks = [ProcessRanks(rank, size, "cpu") for rank in range(size)]
    parts = [rank.shard(start, stop) for rank in ranks]
    assert [i for a, b in parts for i in range(a, b)] == list(range(start, stop))
    lengths = [b - a for a, b in parts]
    assert lengths == sorted(lengths, reverse=True)
    assert lengths[0] - lengths[-1] <= 1
    assert sum(rank.share for rank in ranks) == pytest.approx(1)
    assert ALONE.shard(start, stop) == (start, stop)


def test_single_process_exchanges_nothing():
    stop, values, model = StopSignal(), torch.ones(2), torch.nn.Linear(1, 1)
    with join_ranks() as ranks:
        assert ranks is ALONE
    assert ALONE.sum(values) is values
    assert ALONE.replicate(model) is model
    assert ALONE.of_others(1) == []
    assert ALONE.lead(lambda: 3) == 3
    assert not ALONE.stopped(stop)
    stop.number = 15
    assert ALONE.stopped(stop, look=False)  # asked after each step


def test_read_place_takes_what_torchrun_sets():
    full = {
        "RANK": "3",
        "WORLD_SIZE": "4",
        "LOCAL_RANK": "1",
        "LOCAL_WORLD_SIZE": "2",
        "MASTER_PORT": "29500",
    }
    assert read_place(full) == Place(3, 4, 1, 2)
    assert read_place({}) is None
    assert read_place(full | {"RANK": "0", "WORLD_SIZE": "1"}) is None
    with pytest.raises(InputError, match="`LOCAL_RANK` = '' in the environment must be a number"):
        read_place({k: v for k, v in full.items() if k != "LOCAL_RANK"})


def test_join_ranks_refuses_a_device_that_ranks_would_share(monkeypatch):
    for name, text in (("RANK", "0"), ("WORLD_SIZE", "2"), ("LOCAL_RANK", "0"), ("LOCAL_WORLD_SIZE", "2")):
        monkeypatch.setenv(name, text)
    monkeypatch.setenv("MASTER_PORT", "1")
    with (
        pytest.raises(InputError, match="`--device cuda:0`: several processes cannot share it"),
        join_ranks("cuda:0"),
    ):
        pass
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with (
        pytest.raises(InputError, match="2 processes need as many CUDA devices, this machine has 1"),
        join_ranks(),
    ):
        pass


def test_join_ranks_names_its_device_to_nccl(monkeypatch):
    seen = []

    def refuse(backend, **options):
        seen.append((backend, options.get("device_id")))
        raise RuntimeError("not here")

    for name, text in (("RANK", "1"), ("WORLD_SIZE", "2"), ("LOCAL_RANK", "1"), ("LOCAL_WORLD_SIZE", "2")):
        monkeypatch.setenv(name, text)
    monkeypatch.setenv("MASTER_PORT", "1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", lambda where: None)
    monkeypatch.setattr(torch.distributed, "init_process_group", refuse)
    for device in ("cuda", "cpu"):
        with pytest.raises(RalrVizError, match="does not find the others"), join_ranks(device):
            pass
    assert seen == [("cpu:gloo,cuda:nccl", torch.device("cuda:1")), ("gloo", None)]


def test_resume_in_another_number_of_processes_is_said(launched, squares_root, tmp_path):
    """The other parts of a batch have other statistics, which nobody would guess from the curves."""
    import shutil

    from ralr_viz.train.loop import train_run

    directory = tmp_path / "copy"
    shutil.copytree(launched.folder / "whole", directory)
    (directory / "result.json").unlink()
    train_run(directory, squares_root, device="cpu")
    assert "in 1 processes, not 2: batch statistics are of other parts" in (directory / "log.txt").read_text()
