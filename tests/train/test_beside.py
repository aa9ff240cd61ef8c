"""What threads do beside the training: the next epoch's plan, and states on their way to disk."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from ralr_viz.errors import StorageError
from ralr_viz.train import run as run_module
from ralr_viz.train.beside import PlansAhead, copy_to_host
from ralr_viz.train.checkpoint import read_checkpoint
from ralr_viz.train.run import RunWriter


class Feed:
    """Says who asked for which plan; ``fails`` is an epoch that has none."""

    def __init__(self, fails: int = -1) -> None:
        self.fails, self.asked = fails, []

    def plan(self, seed: int, epoch: int) -> tuple[int, int]:
        self.asked.append((seed, epoch, threading.current_thread() is threading.main_thread()))
        if epoch == self.fails:
            raise ZeroDivisionError
        return seed, epoch


def test_plans_ahead_are_drawn_once_each_by_a_thread_and_none_beyond_the_last() -> None:
    feed: Any = Feed()
    plans = PlansAhead(feed, 3)
    assert [plans.take(7, epoch) for epoch in range(3)] == [(7, 0), (7, 1), (7, 2)]
    assert feed.asked == [(7, 0, True), (7, 1, False), (7, 2, False)]


def test_plans_ahead_are_of_the_seed_and_epoch_asked_for() -> None:
    feed: Any = Feed(fails=2)
    plans = PlansAhead(feed, 9)
    assert plans.take(7, 0) == (7, 0)
    assert plans.take(8, 1) == (8, 1)  # a fork's order
    with pytest.raises(ZeroDivisionError):  # in the training, not in the thread
        plans.take(8, 2)


def test_copy_to_host_keeps_values_strides_and_what_shares_memory() -> None:
    whole = torch.arange(24.0).reshape(1, 2, 3, 4).contiguous(memory_format=torch.channels_last)
    content = {"model": {"a": whole, "tied": whole}, "moments": [(whole[0, 1], torch.tensor(3))], "lr": 0.1}
    made, ready = copy_to_host(content)
    whole.zero_()
    ready()
    a, tied, (part, step) = made["model"]["a"], made["model"]["tied"], made["moments"][0]
    assert a.flatten().tolist() == list(range(24)) and a.stride() == whole.stride()
    assert a is tied and (step.item(), made["lr"]) == (3, 0.1)
    assert torch.equal(part, a[0, 1]) and part.untyped_storage().data_ptr() == a.untyped_storage().data_ptr()


@pytest.fixture
def slow_disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[Exception | None], threading.Event]:
    """``slow_disk(error)``: checkpoints are written, or are not, when the event is set."""

    def install(error: Exception | None) -> threading.Event:
        free, real = threading.Event(), run_module.write_bytes

        def write(path: Path, data: bytes) -> None:
            if path.name == "last.pt":
                assert free.wait(20)
                if error is not None:
                    raise error
            real(path, data)

        monkeypatch.setattr(run_module, "write_bytes", write)
        return free

    return install


def test_a_state_saved_beside_is_that_of_the_call_and_comes_before_the_result(
    tmp_path: Path, slow_disk: Callable[..., threading.Event]
) -> None:
    free, model, folder = slow_disk(None), nn.Linear(1, 1), tmp_path / "mine"
    with RunWriter(folder) as run:
        run.log(epoch=1, train_loss=1.0)
        before = model.weight.detach().clone()
        run.save_beside(model)
        nn.init.constant_(model.weight, 7.0)  # meanwhile the training goes on
        run.log(epoch=2, train_loss=0.5)
        assert not (folder / "checkpoints" / "last.pt").exists()
        threading.Timer(0.1, free.set).start()
        run.finish()
        saved = read_checkpoint(folder / "checkpoints" / "best.pt")
    assert torch.equal(saved["model"]["weight"], before)
    assert (len(saved["history"]), saved["header"]["epoch"]) == (1, 1)


def test_a_state_that_cannot_be_saved_beside_ends_the_training_unfinished(
    tmp_path: Path, slow_disk: Callable[..., threading.Event]
) -> None:
    slow_disk(StorageError("no space left")).set()
    model, folder = nn.Linear(1, 1), tmp_path / "mine"
    for end in (RunWriter.wait, RunWriter.finish, lambda run: run.save_beside(model), lambda run: None):
        with pytest.raises(StorageError, match="no space left"), RunWriter(folder, resume=True) as run:
            run.log(epoch=1, train_loss=1.0)
            run.save_beside(model)
            end(run)
        assert not (folder / "result.json").exists()
        (folder / "metrics.jsonl").unlink()
    with pytest.raises(ZeroDivisionError), RunWriter(folder, resume=True) as run:
        run.log(epoch=1, train_loss=1.0)
        run.save_beside(model)
        raise ZeroDivisionError  # which says why the training ended
