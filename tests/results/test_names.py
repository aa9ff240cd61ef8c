"""What counts as a replicate, and what tells equal names apart."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ralr_viz.results.names import ADDED, describe_settings, group_runs, method_name, name_runs, tell_apart
from ralr_viz.results.run import RunRecord
from ralr_viz.tasks.classification.recipe import ClassificationRecipe


def run(method: str = "baseline", seed: int | None = 0, path: str | None = None, **recipe: Any) -> RunRecord:
    where = None if path is None else Path(path)
    return RunRecord("R", method, seed, np.array([1]), {"val_acc": np.ones(1)}, recipe, path=where)


def csv(path: str) -> RunRecord:
    return RunRecord("", Path(path).stem, None, np.array([1]), {"val_acc": np.ones(1)}, path=Path(path))


def test_group_runs_averages_seeds_of_one_training_only() -> None:
    assert group_runs([run(seed=s, lr=0.1) for s in range(3)]) == ("baseline",) * 3
    assert group_runs([run(lr=0.1), run(lr=0.2), run(seed=1, lr=0.2)]) == (
        "baseline, lr=0.1",
        "baseline, lr=0.2",
        "baseline, lr=0.2",
    )
    # one seed twice, or none at all, is no second draw
    twice = [run(path="a/R/seed0"), run(path="b/R/seed0")]
    assert group_runs(twice) == ("baseline, a", "baseline, b")
    assert group_runs([run(seed=None), run(seed=None)]) == ("baseline", "baseline (2)")
    assert group_runs([csv("SGD/metrics.csv"), csv("SAM/metrics.csv")]) == ("SGD/metrics", "SAM/metrics")
    assert group_runs([csv("metrics.csv"), csv("SAM/metrics.csv"), csv("x/log.csv")]) == (
        "metrics",
        "SAM/metrics",
        "log",
    )


def test_group_runs_looks_past_what_changes_no_weight() -> None:
    kept = [run(seed=s, high=3.0 + s, keep=[s], description=str(s), recipe="R") for s in range(2)]
    assert len(set(group_runs(kept))) == 1  # a baseline draws nothing
    drawn = [run("ralr", seed=s, high=3.0 + s) for s in range(2)]
    assert group_runs(drawn) == ("ralr, high=3.0", "ralr, high=4.0")
    older = [run(seed=0), run(seed=1, mixup=0.0, noise_range=[0.0, 1.0])]
    assert len(set(group_runs(older))) == 1
    assert group_runs([run(seed=0), run(seed=1, mixup=0.2)])[1] == "baseline, mixup=0.2"


def test_added_settings_are_the_defaults_of_a_recipe() -> None:
    recipe = ClassificationRecipe(dataset="d", model="m", epochs=1, batch=1, lr=0.1).to_dict()
    assert {name: recipe[name] for name in ADDED} == ADDED
    named = {
        field.name
        for field in dataclasses.fields(ClassificationRecipe)
        if field.default is not dataclasses.MISSING
    }
    assert ADDED.keys() <= named


def test_name_runs_are_unique_and_say_what_differs() -> None:
    runs = [run(schedule="multistep"), run(schedule="cosine"), run(seed=1, schedule="cosine")]
    assert name_runs(runs) == (
        "R/baseline/seed0, schedule=multistep",
        "R/baseline/seed0, schedule=cosine",
        "R/baseline/seed1",
    )


def test_describe_settings_names_few_of_many() -> None:
    many = [{f"s{i}": i * j for i in range(1, 9)} for j in range(2)]
    assert describe_settings(many, ["mine", "mine"]) == ["s1=0", "s1=1"]
    few = [{"nesterov": True, "milestones": [0.5, 0.75]}, {"nesterov": False, "milestones": []}]
    assert describe_settings(few, ["mine"] * 2) == [
        "nesterov=true, milestones=0.5,0.75",
        "nesterov=false, milestones=",
    ]
    assert describe_settings([{}, {}], ["mine"] * 2) == ["", ""]


def test_tell_apart_leaves_unique_names_alone() -> None:
    files = [Path("A/1.png"), Path("B/1.png"), Path("B/2.png")]
    assert tell_apart([f.name for f in files], files) == ("A/1.png", "B/1.png", "2.png")
    deep = [Path("x/A/run1/m.csv"), Path("x/B/run1/m.csv")]
    assert tell_apart(["m", "m"], deep) == ("A/m", "B/m")
    same = [Path("A/1.png")] * 2
    assert tell_apart(["1.png"] * 2, same) == ("1.png", "1.png (2)")


@pytest.mark.parametrize("name", ["cost$1", r"\$a", "x" * 500, "a\x1b", "my-ralr-log"])
def test_method_name_keeps_what_whoever_draws_it_escapes(name: str) -> None:
    assert method_name(name) == name


def test_method_name_is_the_papers() -> None:
    assert [method_name(name) for name in ("ralr", "cifar10 ralr, high=4")] == [
        "RALR",
        "cifar10 RALR, high=4",
    ]
