"""What RunWriter sees of a loop through its optimizer and scheduler."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
import torch
from torch.optim.lr_scheduler import LambdaLR, OneCycleLR, StepLR

from ralr_viz import RALR, MatchedRALR, RunWriter, amplification_factors
from ralr_viz.data import load_dataset
from ralr_viz.errors import DataError, InputError
from ralr_viz.results.run import load_run
from ralr_viz.train.checkpoint import read_checkpoint

STEPS = 3  # of an epoch


def weights(model):
    return torch.cat([p.detach().double().flatten() for p in model.parameters()])


def train(run, model, optimizer, scheduler, epochs, *, each_batch=False, step_first=False):
    """Returns the weights before and after each epoch."""
    path = [weights(model)]
    for epoch in epochs:
        for _ in range(STEPS):
            optimizer.zero_grad()
            model(torch.ones(1, 2)).square().sum().backward()
            optimizer.step()
            if each_batch:
                scheduler.step()
        if step_first:
            scheduler.step()
        run.log(epoch=epoch, val_loss=1.0)
        path.append(weights(model))
        run.save(model)
        if not each_batch and not step_first:
            scheduler.step()
    return path


@pytest.fixture
def model():
    torch.manual_seed(0)
    return torch.nn.Linear(2, 2)


@pytest.mark.parametrize("step_first", [False, True])
def test_watch_records_the_rates_in_use_and_the_path_of_the_weights(tmp_path, model, step_first):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.5)
    scheduler = RALR(StepLR(optimizer, 3), seed=1)
    with RunWriter(tmp_path / "r", epochs=6, scheduler=scheduler) as run:
        path = train(run, model, optimizer, scheduler, range(1, 7), step_first=step_first)
    record = load_run(tmp_path / "r")
    base = np.repeat([0.1, 0.1 * 0.1], 3)
    assert record.values("factor").tolist() == amplification_factors(1, 6).tolist()
    assert record.values("base_lr").tolist() == base.tolist()
    assert record.values("lr").tolist() == (base * amplification_factors(1, 6)).tolist()
    steps = [float((b - a).norm()) for a, b in itertools.pairwise(path)]
    np.testing.assert_allclose(record.values("step_length"), steps, rtol=1e-5)
    away = [float((w - path[0]).norm()) for w in path[1:]]
    np.testing.assert_allclose(record.values("distance_from_init"), away, rtol=1e-5)
    np.testing.assert_allclose(record.values("weight_norm"), [float(w.norm()) for w in path[1:]], rtol=1e-6)
    kept = sorted(file.name for file in (tmp_path / "r" / "checkpoints").glob("epoch_*"))
    assert kept == ["epoch_0004.pt", "epoch_0006.pt"]  # 2/3 and all, as Figure 2 and movement look at
    settings = {"method": "ralr", "optimizer": "sgd", "lr": 0.1, "momentum": 0.5, "schedule": "StepLR"}
    law = {"low": 1, "high": 3, "probability": 0.5, "draw": "uniform", "interval": 1, "amplify_from": 0}
    assert settings.items() | law.items() <= {k: v for k, v in record.recipe.items() if k != "betas"}.items()
    saved = read_checkpoint(tmp_path / "r" / "checkpoints" / "last.pt")
    assert saved["optimizer"]["param_groups"] and saved["scheduler"]["seed"] == 1


def test_watch_counts_the_draws_of_a_scheduler_that_steps_each_batch_in_epochs(tmp_path, model):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    base = OneCycleLR(optimizer, 0.1, total_steps=4 * STEPS + 1)
    scheduler = RALR(base, seed=3, interval=STEPS, amplify_from=2 * STEPS)
    with RunWriter(tmp_path / "r", epochs=4, optimizer=optimizer, scheduler=scheduler) as run:
        train(run, model, optimizer, scheduler, range(1, 5), each_batch=True)
    record = load_run(tmp_path / "r")
    masked = [1.0, 1.0, *amplification_factors(3, 4)[2:]]
    assert record.values("factor").tolist() == masked
    assert (record.recipe["interval"], record.recipe["amplify_from"]) == (1, 0.5)
    alone = OneCycleLR(torch.optim.SGD(model.parameters(), lr=1.0), 0.1, total_steps=4 * STEPS + 1)
    rates = []
    for _ in range(4 * STEPS):
        rates.append(alone.get_last_lr()[0])
        alone.optimizer.step()
        alone.step()
    np.testing.assert_allclose(
        record.values("base_lr"), np.reshape(rates, (4, STEPS)).mean(axis=1), rtol=1e-12
    )
    with RunWriter(
        tmp_path / "odd", optimizer=optimizer, scheduler=RALR(StepLR(optimizer, 9), interval=2)
    ) as run:
        train(run, model, optimizer, run._watch.scheduler, [1], each_batch=True)
    assert "interval" not in load_run(tmp_path / "odd").recipe  # no whole number of epochs


def test_watch_of_an_optimizer_alone_or_a_plain_scheduler(tmp_path, model):
    optimizer = torch.optim.Adam(model.parameters(), lr=0.25)
    with RunWriter(tmp_path / "a", optimizer=optimizer) as run:
        run.log(epoch=1, lr=7.0)  # nothing stepped; what is given goes first
    record = load_run(tmp_path / "a")
    assert (record.values("lr")[0], record.values("base_lr")[0], record.values("factor")[0]) == (7, 0.25, 1)
    assert (record.method, record.recipe["optimizer"], record.recipe["schedule"]) == (
        "baseline",
        "adam",
        "constant",
    )
    decay = LambdaLR(optimizer, lambda e: 1 / (1 + e))
    with RunWriter(tmp_path / "b", scheduler=decay, method="mine", recipe={"lr": 9.0, "k": 1}) as run:
        train(run, model, optimizer, decay, [1, 2])
    record = load_run(tmp_path / "b")
    assert record.values("lr").tolist() == [0.25, 0.125]
    assert (record.method, record.recipe["lr"], record.recipe["k"]) == ("mine", 9, 1)
    assert not optimizer._optimizer_step_pre_hooks  # it leaves no trace
    matched = MatchedRALR(StepLR(optimizer, 3), total_steps=4)
    with RunWriter(tmp_path / "c", scheduler=matched) as run:
        assert run.header["method"] == "matched"


def test_watch_of_a_resumed_run_says_nothing_of_what_it_did_not_see(tmp_path, model):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = RALR(StepLR(optimizer, 99), interval=STEPS)
    about = {"epochs": 4, "scheduler": scheduler}
    writer = RunWriter(tmp_path / "r", **about)
    train(writer, model, optimizer, scheduler, [1, 2], each_batch=True)
    writer.close()
    with RunWriter(tmp_path / "r", **about, resume=True) as run:
        train(run, model, optimizer, scheduler, [3, 4], each_batch=True)
    record = load_run(tmp_path / "r")
    assert np.isnan(record.values("step_length")).tolist() == [False, False, True, False]
    assert np.isnan(record.values("distance_from_init")).tolist() == [False, False, True, True]
    assert (record.method, record.recipe["interval"]) == ("ralr", 1)


def test_watch_takes_parameters_that_join_later(tmp_path, model):
    optimizer = torch.optim.SGD([model.weight], lr=0.1)
    with RunWriter(tmp_path / "r", optimizer=optimizer) as run:
        run.log(epoch=1)
        optimizer.add_param_group({"params": [model.bias]})
        run.log(epoch=2)
        run.log(epoch=3)
    assert json.loads((tmp_path / "r" / "metrics.jsonl").read_text().splitlines()[1])["step_length"] is None
    assert load_run(tmp_path / "r").values("step_length").tolist()[::2] == [0, 0]


def test_run_writer_records_the_data_set(tmp_path, squares_root, monkeypatch):
    store = load_dataset("squares", squares_root)
    own = {"mean": [0.5, 0.5, 0.5]}
    with RunWriter(tmp_path / "r", dataset=store, header=own) as run:
        assert run.header["dataset"] == "squares" and run.header["content_hash"] == store.content_hash
        assert (run.header["mean"], run.header["num_classes"]) == (own["mean"], 4)
        assert run.header["std"] == list(store.std)
    monkeypatch.setenv("RALR_VIZ_DATA", str(squares_root))
    with RunWriter(tmp_path / "s", dataset="squares") as run:
        run.log(epoch=1)
    assert load_run(tmp_path / "s").recipe["dataset"] == "squares"
    with pytest.raises(DataError, match="dataset `cifar10` is not in"):
        RunWriter(tmp_path / "t", dataset="cifar10")
    assert not (tmp_path / "t").exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [({"optimizer": "sgd"}, "`optimizer` is a str"), ({"scheduler": "cosine"}, "`scheduler` is a str")],
)
def test_run_writer_refuses_what_is_no_optimizer_or_scheduler(tmp_path, given, message):
    with pytest.raises(InputError, match=f"{message}: give a torch optimizer"):
        RunWriter(tmp_path / "r", **given)
