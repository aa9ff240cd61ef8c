"""Runs of older versions, those of the study ``decide`` among them, mean the same training to this one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ralr_viz.recipe import load_recipe, run_folder
from ralr_viz.results.run import find_runs, load_run, read_recipe_file
from ralr_viz.results.tasks import IMAGES
from ralr_viz.study.grid_file import load_study
from ralr_viz.study.state import run_state
from ralr_viz.study.table import state_of
from ralr_viz.train.checkpoint import load_checkpoint
from ralr_viz.train.prepare import read_prepared_run

PUBLISHED = Path(__file__).parents[2] / "checkpoints"
RUNS = sorted(run for folder in PUBLISHED.iterdir() if folder.is_dir() for run in find_runs(folder))


@pytest.mark.parametrize("run", RUNS, ids=lambda run: str(run.relative_to(PUBLISHED)))
def test_published_run_lies_where_its_recipe_says(run):
    recipe, method, seed = read_prepared_run(run)
    assert run == PUBLISHED / run_folder(recipe, method, seed)
    # those of before there were tasks do not say theirs
    assert recipe.task == read_recipe_file(run / "recipe.toml").get("task", "classification")
    assert (load_run(run).about == IMAGES) == (recipe.task == "classification")


def test_finished_runs_of_decide_are_done_and_can_be_opened():
    study = load_study("decide")
    done = []
    for cell, seed in study.trainings:
        directory = study.directory(PUBLISHED, cell, seed)
        if run_state(directory).status == "finished":
            assert state_of(directory, cell, seed).status == "finished"
            done.append(directory)
    assert len(done) >= 3
    record = load_run(done[0])
    assert record.env["processor"]["flags"] and record.result["final"]["unused"]["n"] == 38_000
    checkpoint = load_checkpoint(done[0])
    assert checkpoint.is_classifier and checkpoint.build()(torch.zeros(1, 3, 32, 32)).shape == (1, 10)


@pytest.mark.parametrize("run", RUNS, ids=lambda run: str(run.relative_to(PUBLISHED)))
def test_packaged_recipe_of_a_published_run_pins_its_precision(run):
    recipe = load_recipe(read_prepared_run(run)[0].name)
    pinned = recipe.auto_precision if recipe.precision == "auto" else recipe.precision
    assert pinned == load_run(run).env["precision"]
