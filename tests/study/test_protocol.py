"""The study that decides: its file, its order, and a rule that stays what it was before the first run."""

import copy
import json
import tomllib
from importlib import resources

import pytest

from ralr_viz.errors import InputError, UnknownNameError
from ralr_viz.study.grid_file import build_study, load_study
from ralr_viz.study.plan import compute_plan, prepare_plan
from ralr_viz.study.protocol import check_protocol, protocol_path

MAIN = ("Baseline", "RALR", "RALR from 0.1", "Matched from 0.1")


@pytest.fixture
def values():
    """Content of the packaged file."""
    return tomllib.loads(resources.files("ralr_viz").joinpath("studies", "decide.toml").read_text("utf-8"))


def begin(runs, study, cell=0, seed=0):
    """A first finished epoch."""
    directory = study.directory(runs, study.cells[cell], study.cells[cell].seeds[seed])
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "metrics.jsonl").write_text('{"epoch": 1}\n')


def test_decide_trains_seed_by_seed_and_then_what_explores():
    study = load_study("decide")
    trainings = [(cell.name, seed) for cell, seed in study.trainings]
    assert len(trainings) == 53
    assert trainings[:32] == [(arm, seed) for seed in range(100, 108) for arm in MAIN]
    constants, ranges = ("× 0.5", "× 1.5", "× 2", "× 3"), ("RALR [1, 2]", "RALR [1, 7]", "RALR [2, 5]")
    assert trainings[32:44] == [(arm, seed) for seed in range(100, 103) for arm in constants]
    assert trainings[44:] == [(arm, seed) for seed in range(100, 103) for arm in ranges]
    assert len({(c.folder, s) for c, s in study.trainings}) == 53


def test_decide_has_the_rule_that_was_written_before_its_runs():
    rule = load_study("decide").rule
    assert (rule.outcome, rule.baseline, rule.arms, rule.seeds) == (
        "unseen", "Baseline", MAIN, tuple(range(100, 108)),
    )  # fmt: skip
    assert [(f.name, f.level, [str(c) for c in f.contrasts]) for f in rule.families] == [
        ("Mechanism", 0.025, ["RALR from 0.1 − Baseline", "RALR from 0.1 − Matched from 0.1"]),
        ("Replication", 0.025, ["RALR − Baseline"]),
    ]
    assert (rule.support, rule.collapse, rule.equivalence, rule.resolution) == ("Mechanism", 5, 0.1, 1.4)


def test_arms_of_the_study_are_what_their_labels_say():
    """Factors of each arm in each epoch, against the pure draws."""
    import numpy as np

    from ralr_viz.schedule import amplification_factors
    from ralr_viz.train.optim import preview_lr

    cells = {cell.name: cell for cell in load_study("decide").cells}
    factors = {name: preview_lr(cell.recipe, cell.method, 104)[1] for name, cell in cells.items()}
    drawn, masked = amplification_factors(104, 100), amplification_factors(104, 100, amplify_from=10)
    np.testing.assert_array_equal(factors["RALR"], drawn)
    np.testing.assert_array_equal(factors["RALR from 0.1"], masked)
    means = [1.0] * 10 + [masked[10:50].mean()] * 40 + [masked[50:75].mean()] * 25 + [masked[75:].mean()] * 25
    np.testing.assert_allclose(factors["Matched from 0.1"], means, rtol=1e-14)
    for name, constant in (("Baseline", 1), ("× 0.5", 0.5), ("× 1.5", 1.5), ("× 2", 2), ("× 3", 3)):
        assert set(factors[name]) == {constant}
    for name, low, high in (("RALR [1, 2]", 1, 2), ("RALR [1, 7]", 1, 7), ("RALR [2, 5]", 2, 5)):
        np.testing.assert_array_equal(factors[name], amplification_factors(104, 100, low=low, high=high))


def test_order_is_cell_by_cell_unless_the_file_says_otherwise(values):
    del values["order"]
    study = build_study(values, "x", "x.toml")
    assert [(c.name, s) for c, s in study.trainings][:9] == [
        *[("Baseline", s) for s in range(100, 108)],
        ("RALR", 100),
    ]
    with pytest.raises(InputError, match="`order` = 'arm' must be one of cell, seed"):
        build_study(values | {"order": "arm"}, "x", "x.toml")


def test_other_seeds_leave_a_cell_its_own():
    study = load_study("decide").with_seeds([102, 103])
    assert [c.seeds for c in study.cells] == [(102, 103)] * 4 + [(102,)] * 7


@pytest.mark.parametrize(
    ("setting", "value"), [("seeds", [0, 0]), ("seeds", "all"), ("stage", 0), ("stage", "last")]
)
def test_bad_seeds_or_stage_of_a_cell_are_named(values, setting, value):
    values["axes"][0]["values"][-1][setting] = value
    with pytest.raises(InputError, match=f"`{setting}`.* must be"):
        build_study(values, "x", "x.toml")


def change(*path, to):
    def apply(values):
        inner = values
        for step in path[:-1]:
            inner = inner[step]
        inner[path[-1]] = to

    return apply


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (change("decision", to=[]), "`decision` must be a table"),
        (change("decision", "outcome", to="best"), "needs `outcome`, one of unseen"),
        (change("decision", "p", to=0.05), "unknown entry of .decision. `p`"),
        (change("decision", "baseline", to="Base"), "unknown arm `Base`"),
        (
            change("decision", "support", to="Mechanics"),
            "unknown family `Mechanics`: did you mean `Mechanism`",
        ),
        (change("decision", "collapse", to=-1), "`collapse` = -1 must be a positive number"),
        (change("decision", "equivalence", to="small"), "`equivalence` = 'small' must be a positive number"),
        (change("decision", "families", to=[]), "needs `families`"),
        (change("decision", "families", 1, "name", to="Mechanism"), "two families have one name"),
        (change("decision", "families", 0, "level", to=1), r"`level` = 1.0 must be in \(0, 1\)"),
        (change("decision", "families", 0, "tests", to=[["RALR"]]), "must be pairs of labels"),
        (change("decision", "families", 0, "tests", 0, to=["RALR", "Basline"]), "did you mean `Baseline`"),
        (
            change("decision", "families", 1, "tests", 0, to=["× 3", "Baseline"]),
            "its arms have different seeds",
        ),
        (
            change("axes", 0, "values", 4, "stage", to=1),
            "is trained before those that are: give it a later `stage`",
        ),
    ],
)
def test_rule_that_makes_no_sense_is_refused_in_one_line(values, edit, message):
    edit(values)
    with pytest.raises((InputError, UnknownNameError), match=message) as caught:
        build_study(values, "x", "x.toml")
    assert "\n" not in str(caught.value)


def test_rule_is_kept_before_the_first_run_and_then_holds(values, tmp_path, squares_root):
    study = build_study(values, "decide", "decide.toml")
    assert not check_protocol(study, tmp_path)
    prepare_plan(compute_plan(study, tmp_path, squares_root))
    assert json.loads(protocol_path(study, tmp_path).read_text())["seeds"] == list(range(100, 108))
    assert check_protocol(study, tmp_path)
    begin(tmp_path, study)
    for edit, what in (
        (change("decision", "families", 0, "level", to=0.05), "decision"),
        (change("decision", "collapse", to=4), "decision"),
        (change("base", "recipe", to="cifar10-resnet20-tiny"), "arms"),
        (change("axes", 0, "values", 2, "amplify_from", to=0.2), "arms"),
        (change("seeds", to=[100, 101, 102, 103]), "seeds"),
    ):
        changed = copy.deepcopy(values)
        edit(changed)
        other = build_study(changed, "decide", "decide.toml")
        with pytest.raises(InputError, match=f"has other {what}.*not changed after the first run"):
            prepare_plan(compute_plan(other, tmp_path, squares_root))
    explores = copy.deepcopy(values)
    explores["axes"][0]["values"].pop()  # what explores is no part of the rule
    assert check_protocol(build_study(explores, "decide", "decide.toml"), tmp_path)


def test_a_part_of_the_study_has_the_rule_of_the_whole(values, tmp_path, squares_root):
    study = build_study(values, "decide", "decide.toml")
    prepare_plan(compute_plan(study.with_seeds([100]), tmp_path, squares_root))
    assert check_protocol(study, tmp_path)


def test_runs_without_a_kept_rule_are_refused(values, tmp_path):
    study = build_study(values, "decide", "decide.toml")
    begin(tmp_path, study, cell=4)  # what explores may have been there
    assert not check_protocol(study, tmp_path)
    begin(tmp_path, study, cell=2, seed=5)
    with pytest.raises(InputError, match="was begun, but no rule is kept beside it"):
        check_protocol(study, tmp_path)
    protocol_path(study, tmp_path).write_text("{")
    with pytest.raises(InputError, match="cannot be read"):
        check_protocol(study, tmp_path)
    protocol_path(study, tmp_path).write_text("[]")
    with pytest.raises(InputError, match="has other study, decision, arms, seeds"):
        check_protocol(study, tmp_path)
