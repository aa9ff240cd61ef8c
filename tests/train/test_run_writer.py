import json

import numpy as np
import pytest
import torch
from torch import nn

from ralr_viz.errors import InputError, RunLockedError
from ralr_viz.results.run import load_run
from ralr_viz.train.checkpoint import read_checkpoint
from ralr_viz.train.run import RunWriter
from ralr_viz.train.summary import best_epoch, summarise_history


def test_run_writer_serves_a_loop_of_ones_own(tmp_path):
    model = nn.Linear(2, 2)
    with RunWriter(tmp_path / "mine", method="ours", seed=4, recipe={"lr": 0.1}) as run:
        for epoch in range(1, 4):
            run.log(epoch=epoch, lr=0.1, factor=1.0, train_loss=1.0 / epoch, val_acc=50.0 + epoch)
            run.save(model)
    record = load_run(tmp_path / "mine")
    assert (record.method, record.seed, record.status) == ("ours", 4, "finished")
    assert record.values("val_acc").tolist() == [51, 52, 53]
    assert json.loads((tmp_path / "mine" / "result.json").read_text())["best"]["epoch"] == 3


def test_run_writer_leaves_a_failed_loop_unfinished(tmp_path):
    with pytest.raises(ZeroDivisionError), RunWriter(tmp_path / "mine") as run:
        run.log(epoch=1, train_loss=1.0)
        raise ZeroDivisionError
    assert not (tmp_path / "mine" / "result.json").exists()
    RunWriter(tmp_path / "mine", resume=True).close()  # and free for the next


def test_run_writer_refuses_what_is_there_and_what_is_in_use(tmp_path):
    with RunWriter(tmp_path / "mine") as run:
        run.log(epoch=1, train_loss=1.0)
        with pytest.raises(RunLockedError, match="is in use"):
            RunWriter(tmp_path / "mine", resume=True)
    with pytest.raises(InputError, match="already holds a run: pass --resume"):
        RunWriter(tmp_path / "mine")


def test_run_writer_refuses_an_epoch_that_does_not_grow(tmp_path):
    with RunWriter(tmp_path / "mine") as run:
        run.log(epoch=2, train_loss=1.0)
        for epoch in (2, 1, None, "3"):
            with pytest.raises(InputError, match="must be an integer above the last"):
                run.log(epoch=epoch)


@pytest.mark.parametrize("epoch", [0, -1, True, np.bool_(True), 1.0, "1", None])
def test_run_writer_refuses_an_epoch_that_no_command_would_read(tmp_path, epoch):
    with RunWriter(tmp_path / "mine") as run, pytest.raises(InputError, match="epochs count from 1"):
        run.log(epoch=epoch, train_loss=1.0)


def test_run_writer_takes_numbers_of_numpy_and_torch(tmp_path):
    with RunWriter(tmp_path / "mine") as run:
        run.log(
            epoch=np.int64(1), lr=np.float32(0.5), val_loss=torch.tensor(2.0), val_acc=np.int32(60), k=True
        )
        run.log(epoch=torch.tensor(2), val_loss=np.array([np.inf]).max(), val_acc=np.float64(0.5))
    assert [json.loads(line) for line in (tmp_path / "mine" / "metrics.jsonl").read_text().splitlines()] == [
        {"epoch": 1, "lr": 0.5, "val_loss": 2.0, "val_acc": 60, "k": True},
        {"epoch": 2, "val_loss": None, "val_acc": 0.5},
    ]
    assert load_run(tmp_path / "mine").epoch.tolist() == [1, 2]


def test_run_writer_refuses_what_is_no_number(tmp_path):
    with RunWriter(tmp_path / "mine") as run:
        for value, shown in (
            ("0.5", "'0.5'"),
            (torch.ones(2), "a Tensor"),
            ([1], "a list"),
            (object(), "a object"),
        ):
            with pytest.raises(InputError, match=f"`val_loss` = {shown} must be one number"):
                run.log(epoch=1, val_loss=value)
        run.log(epoch=1, val_loss=1.0)  # nothing was logged before


def test_run_writer_refuses_a_share_where_per_cent_are_meant(tmp_path):
    with RunWriter(tmp_path / "mine", num_classes=10) as run:
        with pytest.raises(InputError, match=r"`val_acc` = 0\.5 looks like a share: .* log 50 "):
            run.log(epoch=1, train_acc=0.25, val_acc=0.5)
        for value in (-0.1, 100.5):
            with pytest.raises(InputError, match=r"`val_acc` = .* in \[0, 100\]"):
                run.log(epoch=1, val_acc=value)
        run.log(epoch=1, train_acc=0.5, val_acc=10.0)
        run.log(epoch=2, val_acc=0.5)  # it has said per cent
    with RunWriter(tmp_path / "many", num_classes=1000) as run:
        run.log(epoch=1, val_acc=0.5)
    assert "taken for per cent" in load_run(tmp_path / "many").notes[0]
    assert load_run(tmp_path / "mine").notes == ()


def test_run_writer_stores_non_finite_numbers_as_null(tmp_path):
    with RunWriter(tmp_path / "mine") as run:
        run.log(epoch=1, train_loss=float("nan"), val_loss=float("inf"), val_acc=1.0)
    line = json.loads((tmp_path / "mine" / "metrics.jsonl").read_text())
    assert line == {"epoch": 1, "train_loss": None, "val_loss": None, "val_acc": 1.0}


def test_run_writer_makes_checkpoints_that_load_with_weights_only(tmp_path):
    model = nn.Linear(2, 2)
    optimizer = torch.optim.Adam(model.parameters())
    with RunWriter(tmp_path / "mine", header={"torch_build": torch.__version__}) as run:
        run.log(epoch=1)
        run.save(model, optimizer)
    assert read_checkpoint(tmp_path / "mine" / "checkpoints" / "last.pt")["header"]["epoch"] == 1


def test_run_writer_resumes_the_history_of_the_newest_whole_checkpoint(tmp_path):
    model = nn.Linear(2, 2)
    with RunWriter(tmp_path / "mine") as run:
        for epoch in (1, 2):
            run.log(epoch=epoch, train_loss=1.0)
            run.save(model)
        run.log(epoch=3, train_loss=1.0)  # killed before its checkpoint
    (tmp_path / "mine" / "result.json").unlink()
    with RunWriter(tmp_path / "mine", resume=True) as run:
        assert [r["epoch"] for r in run.history] == [1, 2]
        assert run.restored["header"]["epoch"] == 2
    assert len((tmp_path / "mine" / "metrics.jsonl").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("losses", "best"),
    [
        ([{"val_loss": 2.0}, {"val_loss": 1.0}, {"val_loss": 1.0}], 3),  # L <= L*
        ([{"val_loss": 1.0}, {"val_loss": None}], 1),
        ([{"train_loss": 1.0, "test_loss": 9.0}, {"train_loss": 2.0, "test_loss": 0.1}], 1),  # never by test
        ([{"val_loss": 2.0, "train_loss": 0.1}, {"val_loss": 1.0, "train_loss": 0.2}], 2),
        # of an epoch that was not evaluated there is no score
        (
            [
                {"train_loss": 3.0},
                {"train_loss": 2.0, "test_loss": 9.0},
                {"train_loss": 1.0, "test_loss": None},
            ],
            2,
        ),
        ([{"train_loss": 3.0}, {"train_loss": 2.0}], 2),
    ],
)
def test_best_epoch_follows_algorithm_1_and_never_the_test_set(losses, best):
    assert best_epoch([{"epoch": i, **r} for i, r in enumerate(losses, 1)]) == best


def test_summarise_history_has_the_contract_of_result_json():
    history = [
        {
            "epoch": e,
            "lr": 0.1 * e,
            "factor": e,
            "val_loss": abs(4 - e),
            "val_acc": v,
            "test_acc": v + 1,
            "seconds": 2.0,
        }
        for e, v in enumerate([10.0, 20.0, 90.0, 50.0, 30.0, 40.0], 1)
    ]
    summary = summarise_history(history)
    assert summary["last"]["test_acc"] == 41
    assert (summary["best"]["epoch"], summary["best"]["val_acc"]) == (4, 50)
    assert summary["median_last5"] == {"val_acc": 40, "test_acc": 41}
    assert summary["final_factor"] == 6
    assert summary["sum_lr"] == pytest.approx(2.1)
    assert summary["sum_lr_squared"] == pytest.approx(0.01 * (1 + 4 + 9 + 16 + 25 + 36))
    assert (summary["seconds"], summary["images_per_second"]) == (12, None)


def test_median_of_the_last_five_needs_all_of_them():
    history = [{"epoch": e, "val_acc": float(e), "test_acc": None if e == 3 else 1.0} for e in range(1, 7)]
    assert summarise_history(history)["median_last5"] == {"val_acc": 4.0, "test_acc": None}


def test_resumed_run_keeps_what_its_earlier_machines_were(tmp_path):
    """A run that went on elsewhere is no run of one processor, and says so; going back adds nothing twice."""
    model = torch.nn.Linear(2, 2)
    machines = [
        {"processor": {"name": n}, "threads": t, "device": "cpu"} for n, t in (("A", 1), ("B", 1), ("A", 2))
    ]
    for epoch, machine in enumerate([*machines, machines[2]], 1):
        writer = RunWriter(tmp_path / "run", environment=machine, resume=True)
        writer.log(epoch=epoch, train_loss=1.0)
        writer.save(model)
        writer.close()
    found = json.loads((tmp_path / "run" / "env.json").read_text())
    assert found == machines[2] | {
        "earlier": [{"processor": {"name": "A"}}, {"processor": {"name": "B"}, "threads": 1}]
    }
