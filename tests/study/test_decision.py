"""The verdict: against simulated studies, literal twins, and what the rule says of collapse, divergence and missing runs."""

from __future__ import annotations

import itertools
import json
import shutil

import numpy as np
import pytest

from ralr_viz.errors import InputError
from ralr_viz.results.bundle import load_result, save_result
from ralr_viz.results.decision import ESTIMATE, MEASURED
from ralr_viz.study.decision import compute_decision, decide, estimate_difference
from ralr_viz.study.grid import compare_with
from ralr_viz.study.grid_file import load_study
from ralr_viz.study.plan import compute_plan, prepare_plan
from ralr_viz.study.protocol import protocol_path
from ralr_viz.study.render_decision import render_decision
from ralr_viz.study.table import compute_study

ARMS = ("Baseline", "RALR", "RALR from 0.1", "Matched from 0.1")
NONE, NO, HIGHER, LOWER = "not tested", "no difference shown", "higher", "lower"


@pytest.fixture(scope="module")
def study():
    return load_study("decide")


@pytest.fixture(scope="module")
def rule(study):
    return study.rule


def outcomes(**shifts):
    """Outcomes of eight seeds: the same in each arm but for its shift."""
    base = np.array([81.0, 81.4, 80.8, 81.1, 81.3, 80.9, 81.2, 81.05])
    names = {"ralr": "RALR", "late": "RALR from 0.1", "matched": "Matched from 0.1"}
    return dict.fromkeys(ARMS, base) | {names[k]: base + np.asarray(v) for k, v in shifts.items()}


NOISE = np.array([0.02, -0.03, 0.05, 0.01, -0.04, 0.03, -0.02, 0.04])


@pytest.mark.parametrize(
    ("shifts", "answers"),
    [
        ({"ralr": 1 + NOISE, "late": 1 + NOISE}, (HIGHER, HIGHER, HIGHER)),
        ({"late": 1 + NOISE, "matched": 1 - NOISE, "ralr": NOISE}, (HIGHER, NO, NO)),  # the constant does it
        (
            {"late": NOISE, "matched": NOISE - 1, "ralr": NOISE - 1},
            (NO, NONE, LOWER),
        ),  # better than a worse control
        ({"late": NOISE - 1, "matched": NOISE - 2, "ralr": NOISE}, (LOWER, HIGHER, NO)),
        ({"late": NOISE - 1, "ralr": NOISE}, (LOWER, LOWER, NO)),
    ],
)
def test_tests_of_a_family_are_made_in_order(rule, shifts, answers):
    assert decide(rule, outcomes(**shifts)).answers == answers


def test_p_is_that_of_all_sign_flips(rule):
    """A literal twin: every way to sign the eight differences."""
    rng = np.random.default_rng(3)
    arms = {arm: 81 + rng.normal(size=8) for arm in ARMS}
    for (arm, reference), found in zip(rule.contrasts, decide(rule, arms).estimates, strict=True):
        d = arms[arm] - arms[reference]
        sums = [abs(np.dot(signs, d)) for signs in itertools.product((-1, 1), repeat=8)]
        expected = np.mean([s >= abs(d.sum()) - 1e-12 for s in sums])
        assert dict(zip(ESTIMATE, found, strict=True))["p"] == pytest.approx(expected)


def test_without_an_effect_few_studies_reject_anything(rule):
    """2,000 studies whose four arms share a seed's level and nothing else: at most 5 % say anything at all."""
    rng, wrong = np.random.default_rng(11), 0
    for _ in range(2000):
        level = rng.normal(81, 0.8, 8)
        answers = decide(rule, {arm: level + rng.normal(0, 0.6, 8) for arm in ARMS}).answers
        wrong += bool({HIGHER, LOWER} & set(answers))
    assert wrong <= 100


def test_planted_effect_is_found_with_the_power_that_the_rule_names(rule):
    """1.4 paired standard deviations: each test finds them in about 80 of 100 studies, and twice that always."""
    rng, found, sure = np.random.default_rng(12), np.zeros(2), 0
    count = 1000
    for _ in range(count):
        d = rng.normal(rule.resolution, 1, (2, 8))
        answers = decide(rule, outcomes(late=d[0], ralr=d[1])).answers
        found += [answers[0] == HIGHER, answers[2] == HIGHER]
        strong = decide(rule, outcomes(late=rng.normal(2 * rule.resolution, 1, 8), ralr=0)).answers
        sure += strong[0] == strong[1] == HIGHER
    assert np.all(np.abs(found / count - 0.8) < 0.04)
    assert sure > 0.99 * count


def test_one_collapsed_run_hides_a_gain_and_the_median_keeps_it(rule):
    gain = np.full(8, 1.0) + NOISE
    gain[3] = -12
    verdict = decide(rule, outcomes(late=gain, ralr=gain))
    assert verdict.answers == (NO, NONE, NO)
    found = dict(zip(ESTIMATE, verdict.estimates[0], strict=True))
    assert found["mean"] < 0
    assert found["hodges_lehmann"] == pytest.approx(1, abs=0.05)


def test_nothing_is_said_as_long_as_a_run_is_missing(rule):
    arms = outcomes(late=1 + NOISE)
    arms["Matched from 0.1"] = np.where(np.arange(8) == 7, np.nan, arms["Matched from 0.1"])
    verdict = decide(rule, arms)
    assert verdict.answers == ("withheld",) * 3
    assert np.isnan(verdict.estimates).all()


def test_estimates_are_nan_where_there_is_nothing():
    assert np.isnan(estimate_difference(np.array([np.nan, np.nan]))).all()
    one = dict(zip(ESTIMATE, estimate_difference(np.array([np.nan, 0.5])), strict=True))
    assert (one["pairs"], one["mean"], one["p"]) == (1, 0.5, 1)
    assert np.isnan(one["low"])


# ---- from the files of runs


def write_run(
    directory, seed, outcome=80.0, *, status="finished", final=True, factor=1.0, processor="A", epochs=100
):
    directory.mkdir(parents=True, exist_ok=True)
    lines = [
        {
            "epoch": e,
            "lr": 0.1 * factor,
            "factor": factor,
            "train_acc": 90.0 + e / 100,
            "train_loss": 0.3 - e / 1000,
        }
        for e in range(1, epochs + 1)
    ]
    (directory / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    scores = {
        "precision": "fp32",
        "test": {"acc": outcome + 1, "n": 10_000},
        "unused": {"acc": outcome, "n": 38_000},
    }
    result = {"status": status, "epochs": epochs, "last": {"test_acc": outcome + 1}}
    result |= {"final": scores} if final else {}
    result |= {"message": "the loss is not finite in epoch 3"} if status == "diverged" else {}
    (directory / "result.json").write_text(json.dumps(result))
    where = {"name": processor, "family": "1", "model": "2", "flags": ["avx512_bf16"]}
    env = {"device": "cpu", "precision": "bf16", "threads": 1, "processor": where}
    (directory / "env.json").write_text(json.dumps(env))


@pytest.fixture(scope="module")
def finished(study, tmp_path_factory, squares_root):
    """A folder with every main run and the exploratory ones of × 1.5: late RALR is 2.5 points above the others."""
    runs = tmp_path_factory.mktemp("decided")
    prepare_plan(compute_plan(study, runs, squares_root))
    for cell, seed in study.trainings:
        if cell.name in ARMS or cell.name == "× 1.5":
            late = cell.name == "RALR from 0.1"
            outcome = 80 + 0.1 * (seed - 100) + (2.5 + NOISE[seed - 100]) * late
            outcome += 0.5 * NOISE[seed - 100] * (cell.name == "RALR")
            write_run(study.directory(runs, cell, seed), seed, outcome, factor=1.5 if late else 1.0)
    return runs


@pytest.fixture
def runs(finished, tmp_path):
    """A copy of them that a test may change."""
    return shutil.copytree(finished, tmp_path / "runs")


def run_of(study, runs, arm, seed):
    cell = next(cell for cell in study.cells if cell.name == arm)
    return study.directory(runs, cell, seed)


def test_decision_weighs_all_images_that_nothing_has_seen(study, finished, tmp_path):
    result = compute_decision(study, finished)
    assert result.complete
    assert result.answers == (HIGHER, HIGHER, NO)
    assert result.supported
    outcome, official = result.value("outcome"), result.value("official")
    assert outcome[0, 0] == pytest.approx((80 * 38 + 81 * 10) / 48)
    assert official[0, 0] == 81
    assert result.band == pytest.approx(0.1 * (100 - outcome[0].mean()))
    assert result.equivalent == (False, False, True)
    assert result.value("loss_fall")[0, 0] == pytest.approx(0.01)
    assert result.value("sum_lr_squared")[2, 0] == pytest.approx(100 * 0.15**2)
    explored = result.explored[result.arms.index("× 1.5")]
    assert explored[ESTIMATE.index("pairs")] == 3
    assert explored[ESTIMATE.index("mean")] == pytest.approx(0, abs=1e-9)
    assert np.isnan(result.explored[result.arms.index("× 3")]).all()
    save_result(result, tmp_path / "saved")
    assert load_result(tmp_path / "saved") == result


def test_collapsed_run_is_counted_by_the_baseline_of_its_seed(study, runs):
    write_run(run_of(study, runs, "RALR", 104), 104, 75.0)  # its baseline has 80.4 + .2
    write_run(run_of(study, runs, "RALR from 0.1", 100), 100, 75.1)  # 4.9 below
    result = compute_decision(study, runs)
    assert np.argwhere(result.collapsed).tolist() == [[1, 4]]
    text = render_decision(result)
    assert "Collapsed runs: 1 (RALR seed 104)." in text.replace("\\", "")
    assert " collapsed;" in text


def test_diverged_run_counts_at_chance_and_is_named(study, runs):
    directory = run_of(study, runs, "RALR", 101)
    write_run(directory, 101, status="diverged", final=False, epochs=2)
    result = compute_decision(study, runs)
    assert result.complete
    assert result.value("outcome")[1, 1] == result.value("official")[1, 1] == 10
    assert result.collapsed[1, 1]
    assert any("RALR, seed 101 diverged: counted at chance, 10 %" in note for note in result.notes)
    (directory / "metrics.jsonl").unlink()  # within its first epoch
    assert compute_decision(study, runs).value("outcome")[1, 1] == 10


@pytest.mark.parametrize("missing", [("Baseline", 100), ("Matched from 0.1", 107)])
def test_every_number_is_withheld_until_all_main_runs_are_there(study, runs, missing):
    (run_of(study, runs, *missing) / "result.json").unlink()
    result = compute_decision(study, runs)
    assert not result.complete
    assert result.answers == ("withheld",) * 3
    known = {name for q, name in enumerate(MEASURED) if np.isfinite(result.measured[:, :, q]).any()}
    assert known == {"first_factor", "last_factor", "sum_lr", "sum_lr_squared"}
    assert np.isnan(result.explored).all()
    assert np.isnan(result.estimates).all()
    for format in ("md", "latex", "html", "csv"):
        text = render_decision(result, format)
        assert "80." not in text.replace("0.80.", "")
        assert "81." not in text
    assert "31 of 32 runs that decide" in render_decision(result)
    assert "withheld until all runs that decide are there" in render_decision(result)
    assert "RALR from 0.1 − Baseline" in render_decision(result)  # the rule


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ({"final": False}, "has no `final` score"),
        ({"epochs": 24}, "trained for 24 epochs, not 100"),
    ],
)
def test_run_that_cannot_count_is_failed_and_withholds(study, runs, damage, message):
    write_run(run_of(study, runs, "RALR", 103), 103, **damage)
    result = compute_decision(study, runs)
    assert result.states[1, 3] == "failed"
    assert not result.complete
    assert any(message in note for note in result.notes)


def test_arms_of_a_seed_on_unlike_processors_are_named(study, runs):
    assert not [n for n in compute_decision(study, runs).notes if "processor" in n]
    write_run(run_of(study, runs, "RALR", 103), 103, processor="B")
    env = run_of(study, runs, "Baseline", 105) / "env.json"
    begun = json.loads(env.read_text()) | {
        "earlier": [{"processor": {"name": "C", "family": "1", "model": "2"}}]
    }
    env.write_text(json.dumps(begun))  # went on elsewhere
    found = [n for n in compute_decision(study, runs).notes if "processor" in n]
    assert len(found) == 2
    assert found[0].startswith(
        "The arms of seed 103 were trained on 2 kinds of processor: A family 1 model 2 avx512_bf16; B"
    )
    assert "C family 1 model 2" in found[1]


def test_parts_of_the_study_decide_nothing(study, finished):
    with pytest.raises(InputError, match="leave out --only and --seeds"):
        compute_decision(study.with_seeds([100, 101]), finished)
    with pytest.raises(InputError, match="has no rule"):
        compute_decision(load_study("table1-laptop"), finished)
    with pytest.raises(InputError, match="decides by a rule of its own"):
        compute_study(compare_with(study, ["Arm=RALR"]), finished)


def test_decision_holds_the_kept_rule_against_the_file(study, runs):
    protocol_path(study, runs).write_text(protocol_path(study, runs).read_text().replace("0.025", "0.05"))
    with pytest.raises(InputError, match="has other decision"):
        compute_decision(study, runs)


@pytest.mark.parametrize("format", ["md", "latex", "html"])
def test_render_decision_says_rule_runs_and_verdict(study, finished, format):
    text = render_decision(compute_decision(study, finished), format)
    for said in (
        "Mechanism: supported",
        "32 of 32 runs that decide",
        "rejected, higher",
        "Hodges",
        "Exploratory",
    ):
        assert said in text
    assert "withheld until" not in text


def test_csv_has_a_row_for_each_run_test_and_exploratory_difference(study, finished):
    rows = compute_decision(study, finished).records()
    counts = {kind: sum(row["row"] == kind for row in rows) for kind in ("run", "test", "exploratory")}
    assert counts == {"run": 53, "test": 3, "exploratory": 7}
    assert rows[0]["outcome"] == pytest.approx(80 + 10 / 48)
