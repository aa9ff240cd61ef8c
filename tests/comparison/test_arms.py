"""Runs of several methods, paired by training seed."""

from __future__ import annotations

from pathlib import Path

import pytest

from ralr_viz import RunWriter
from ralr_viz.comparison.arms import find_arms
from ralr_viz.errors import InputError


def write_runs(folder: Path, method: str, seeds: tuple[int, ...], **settings: object) -> Path:
    recipe = {"name": "demo", "dataset": "squares", "epochs": 2} | settings
    for seed in seeds:
        with RunWriter(folder / method / f"seed{seed}", method=method, seed=seed, recipe=recipe) as run:
            run.log(epoch=1, val_acc=50.0)
            run.log(epoch=2, val_acc=60.0)
    return folder / method


def test_arms_are_paired_by_seed_and_say_what_is_left_out(tmp_path: Path) -> None:
    a = write_runs(tmp_path, "baseline", (0, 1, 2))
    b = write_runs(tmp_path, "ralr", (1, 2, 3, 4))
    arms = find_arms({"--a": a, "--b": b})
    assert (arms.names, arms.seeds) == (("baseline", "ralr"), (1, 2))
    assert [[run.folder.name for run in row] for row in arms.runs] == [["seed1"] * 2, ["seed2"] * 2]
    assert arms.notes == (
        "--a: seed 0 left out, since not every arm has it",
        "--b: seeds 3, 4 left out, since not every arm has it",
    )
    assert arms.runs[0][0].last == 2 and arms.runs[0][1].at(1) == f"{b / 'seed1'}@1"
    same = find_arms({"--a": a, "--b": a, "--control": b})
    assert same.names == ("A", "B", "control") and same.seeds == (1, 2)
    assert find_arms({"--a": a, "--b": a}).notes == ()


def test_arms_that_are_no_comparison_are_refused(tmp_path: Path) -> None:
    a = write_runs(tmp_path, "baseline", (0,))
    with pytest.raises(InputError, match=r"no training seed in common \(--a has seed 0; --b has seed 5\)"):
        find_arms({"--a": a, "--b": write_runs(tmp_path, "ralr", (5,))})
    with pytest.raises(InputError, match="has `dataset` = other, .* has squares"):
        find_arms({"--a": a, "--b": write_runs(tmp_path, "scaled", (0,), dataset="other")})
