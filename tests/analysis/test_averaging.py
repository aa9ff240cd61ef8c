"""Averaged weights: against a literal mean, with statistics made anew, scored, and taken by every command."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.optim.swa_utils import AveragedModel

from ralr_viz.analysis.averaging import average_states
from ralr_viz.comparison import compare
from ralr_viz.data.augment import normalise_batch
from ralr_viz.errors import InputError, UnknownNameError
from ralr_viz.models.average import average_weights
from ralr_viz.results.averages import read_averages
from ralr_viz.study.grid_file import build_study
from ralr_viz.study.table import compute_study
from ralr_viz.train.checkpoint import load_checkpoint
from ralr_viz.train.loop import train_run
from ralr_viz.train.prepare import prepare_run


@pytest.fixture(scope="module")
def folder(
    tmp_path_factory: pytest.TempPathFactory, make_recipe: Callable[..., Any], squares_root: Path
) -> Path:
    """Of one run that has kept six states."""
    runs = tmp_path_factory.mktemp("runs")
    recipe = make_recipe(keep_every=1, epochs=6, milestones=())
    train_run(prepare_run(recipe, "ralr", 0, runs), squares_root, device="cpu")
    return runs


@pytest.fixture
def run(folder: Path) -> Path:
    return next(folder.glob("*/ralr/seed0"))


def states(run: Path, epochs: list[int]) -> list[dict[str, torch.Tensor]]:
    return [load_checkpoint(f"{run}@{epoch}").build().state_dict() for epoch in epochs]


def test_plain_mean_is_torchs(run: Path) -> None:
    model = load_checkpoint(f"{run}@4").build()
    averaged = AveragedModel(model)
    for state in states(run, [4, 5, 6]):
        model.load_state_dict(state)
        averaged.update_parameters(model)
    found = average_weights(iter(states(run, [4, 5, 6])))
    for name, value in averaged.module.named_parameters():
        torch.testing.assert_close(found[name], value.data, rtol=1e-5, atol=1e-7)


def test_exponential_mean_is_written_out(run: Path) -> None:
    found = average_weights(iter(states(run, [3, 4, 5, 6])), 0.6)["conv1.weight"]
    expected = None
    for state in states(run, [3, 4, 5, 6]):
        value = state["conv1.weight"].double()
        expected = value if expected is None else 0.6 * expected + 0.4 * value
    torch.testing.assert_close(found, expected.float())  # type: ignore[union-attr]
    last = average_weights(iter(states(run, [3, 6])), 0.0)
    torch.testing.assert_close(last["conv1.weight"], states(run, [6])[0]["conv1.weight"])


def test_statistics_are_those_of_the_training_images(run: Path, squares_root: Path) -> None:
    found = average_states(run, "swa", start=0.5, root=squares_root, device="cpu")
    assert found["epochs"] == [4, 5, 6] and found["test"]["n"] > 0 and found["val"]["n"] > 0
    weights = load_checkpoint(f"{run}@swa").weights
    seen = compare([f"{run}@6"], root=squares_root, split="train", device="cpu").augmented()
    network = seen.networks[0]
    mean, std = torch.tensor(network.mean), torch.tensor(network.std)
    x = normalise_batch(torch.from_numpy(np.array(seen.labelled().images)), mean, std)
    model = load_checkpoint(f"{run}@swa").build()
    with torch.no_grad():
        first = model.conv1(x)  # type: ignore[operator]
    torch.testing.assert_close(weights["bn1.running_mean"], first.mean((0, 2, 3)), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(weights["bn1.running_var"], first.var((0, 2, 3)), rtol=1e-3, atol=1e-4)


def test_a_mean_of_equal_states_is_the_state(run: Path) -> None:
    (state,) = states(run, [6])
    for decay in (None, 0.5):
        found = average_weights(iter([state, state, state]), decay)
        assert all(torch.equal(found[name], value) for name, value in state.items())


def test_scores_are_kept_tabled_and_those_of_the_state_at_swa(
    run: Path, folder: Path, squares_root: Path, make_recipe: Callable[..., Any]
) -> None:
    swa = average_states(run, "swa", start=0.5, root=squares_root, device="cpu")
    ema = average_states(run, "ema", start=0.5, decay=0.7, root=squares_root, device="cpu")
    kept = read_averages(run)
    assert kept == {"swa": swa, "ema": ema} and ema["decay"] == 0.7
    from ralr_viz.analysis.evaluation import evaluate_networks

    (again,) = evaluate_networks(compare([f"{run}@swa"], root=squares_root, device="cpu"))
    assert again.top1 == swa["test"]["acc"] and again.loss == pytest.approx(swa["test"]["loss"])
    recipe = make_recipe(keep_every=1, epochs=6, milestones=()).to_dict()
    base = {name: recipe[name] for name in recipe if name not in ("name", "description")}
    study = build_study(
        {"base": {"recipe": "digits-resnet20"}, "seeds": [0], "axes": [
            {"name": "Method", "values": [{"label": "RALR", "method": "ralr", **base}]}]},
        "mine", "mine.toml",
    )  # fmt: skip
    assert study.cells  # of another name: the folder below is what it reads
    (folder / study.cells[0].folder).mkdir(parents=True, exist_ok=True)
    (folder / study.cells[0].folder / "seed0").symlink_to(run, target_is_directory=True)
    plain, averaged = compute_study(study, folder), compute_study(study, folder, weights="swa")
    assert averaged.values[0, 0, 0] == swa["test"]["acc"]
    assert np.isnan(averaged.values[0, 0, 1:]).all() and not np.isnan(plain.values[0, 0, 0])
    assert any("late kept states (swa)" in note for note in averaged.notes)
    with pytest.raises(UnknownNameError, match="weights"):
        compute_study(study, folder, weights="mean")


def test_what_cannot_be_averaged_is_refused(run: Path, squares_root: Path) -> None:
    with pytest.raises(InputError, match="has kept 1 states after epoch 5.4 of 6"):
        average_states(run, start=0.9, root=squares_root)
    with pytest.raises(UnknownNameError, match="average"):
        average_states(run, "mean")
    with pytest.raises(InputError, match=r"`decay` = 1 must be in \[0, 1\)"):
        average_states(run, "ema", decay=1)
