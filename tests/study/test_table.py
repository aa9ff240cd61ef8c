"""From run directories to the table; the directories are written here as a training leaves them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ralr_viz.analysis.paired import holm
from ralr_viz.plots.study import draw_study, study_table
from ralr_viz.plots.style import save_figure, style
from ralr_viz.results.study import COMPARISON, METRICS, SUMMARY
from ralr_viz.study.grid import Study
from ralr_viz.study.grid_file import build_study
from ralr_viz.study.render import render_study
from ralr_viz.study.statistics import contrast, summarise
from ralr_viz.study.table import compute_study, tabulate
from ralr_viz.train.prepare import prepare_run

ROOT = Path(__file__).parents[2]


def _study(**changes: Any) -> Study:
    values: dict[str, Any] = {
        "title": "Mine",
        "seeds": [0, 1, 2, 3],
        "base": {"recipe": "cifar10-resnet20-tiny"},
        "axes": [
            {"name": "epochs", "values": [{"label": "24"}, {"label": "30", "epochs": 30}]},
            {"name": "method", "values": [{"label": m, "method": m} for m in ("baseline", "ralr")]},
        ],
        "table": {"rows": ["epochs"], "columns": ["method"], "reference": {"method": "baseline"}},
        "paper": [{"epochs": "24", "method": "ralr", "mean": 92.1, "std": 0.2}],
    }
    return build_study(values | changes, "mine", "mine.toml")


def _write(
    directory: Path, value: float, epochs: int, env: dict[str, Any] | None = None, **changes: Any
) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    result = {
        "epochs": epochs,
        "last": {"epoch": epochs, "test_acc": value},
        "best": {"epoch": 3, "test_acc": value - 1},
        "median_last5": {"test_acc": value - 0.5},
        "status": "finished",
    }
    (directory / "result.json").write_text(json.dumps(result | changes))
    env = {"device": "cpu", "precision": "fp32", "threads": 1, "torch": "2", "data": "abc"} | (env or {})
    (directory / "env.json").write_text(json.dumps(env))


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Study, Path, np.ndarray]:
    """A study whose runs have all finished, and their accuracies (4 cells, 4 seeds)."""
    study = _study()
    values = np.random.default_rng(0).normal([[70], [71], [72], [75]], 0.3, (4, 4))
    for i, cell in enumerate(study.cells):
        for k, seed in enumerate(study.seeds):
            _write(study.directory(tmp_path, cell, seed), values[i, k], cell.recipe.epochs)
    return study, tmp_path, values


def test_compute_study_reads_three_accuracies_of_each_run(runs):
    study, folder, values = runs
    found = compute_study(study, folder)
    expected = values[:, :, None] - np.array([0, 0.5, 1])
    assert found.values == pytest.approx(expected)
    assert (found.states == "finished").all() and found.notes == ()
    assert found.labels == (("24", "baseline"), ("24", "ralr"), ("30", "baseline"), ("30", "ralr"))
    assert found.references.tolist() == [-1, 0, -1, 2]
    assert found.paper[1].tolist() == [92.1, 0.2] and np.isnan(found.paper[[0, 2, 3]]).all()


def test_compute_study_summarises_and_compares_as_the_statistics_do(runs):
    study, folder, _ = runs
    found = compute_study(study, folder)
    for i, k in np.ndindex(4, 3):
        of_cell = found.values[i, :, k]
        assert found.summaries[i, k].tolist() == list(summarise(of_cell)[: len(SUMMARY)])
        if found.references[i] < 0:
            assert np.isnan(found.comparisons[i, k]).all()
            continue
        reference = found.values[found.references[i], :, k]
        twin = contrast(dict(enumerate(reference.tolist())), dict(enumerate(of_cell.tolist())))
        numbers = found.comparison(i, METRICS[k])
        for name, value in twin._asdict().items():
            if name in COMPARISON:
                assert numbers[name] == value, name
        paired = [numbers[f"paired_{name}"] for name in ("difference", "low", "high", "p")]
        assert paired == list(twin.paired[:4])
        assert (numbers["sign_flip_p"], numbers["sign_flip_floor"]) == twin.paired[4:]


def test_compute_study_corrects_over_the_comparisons_of_the_table(runs):
    study, folder, _ = runs
    found = compute_study(study, folder)
    for p, corrected in (("p", "holm_p"), ("paired_p", "paired_holm_p")):
        uncorrected = found.comparisons[[1, 3], :, COMPARISON.index(p)]
        expected = np.stack([holm(uncorrected[:, k]) for k in range(3)], axis=1)
        assert found.comparisons[[1, 3], :, COMPARISON.index(corrected)] == pytest.approx(expected)
        assert (expected >= uncorrected).all() and (expected > uncorrected).any()


def test_compute_study_never_averages_a_diverged_run_away(runs):
    study, folder, values = runs
    diverged = study.directory(folder, study.cells[0], 2)
    _write(diverged, 10.0, 3, status="diverged", message="the loss is not finite in epoch 4")
    found = compute_study(study, folder)
    assert found.states[0, 2] == "diverged" and np.isnan(found.values[0, 2]).all()
    assert found.summary(0, "last")["mean"] == pytest.approx(values[0, [0, 1, 3]].mean())
    # neither the cell nor what is compared with it has a test; the correction still counts it
    assert found.withheld.tolist() == [False, True, False, False]
    assert np.isnan(found.comparisons[1]).all()
    p = found.comparison(3, "last")["p"]
    assert found.comparison(3, "last")["holm_p"] == pytest.approx(2 * p)


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        "",
        '{"status": "finished"}',
        '{"status": "finished", "last": {"test_acc": null}}',
        '{"status": "finished", "last": {"test_acc": 170}, "best": 3, "median_last5": {"test_acc": true}}',
    ],
)
def test_compute_study_takes_a_damaged_result_for_a_failed_run(runs, content):
    study, folder, _ = runs
    directory = study.directory(folder, study.cells[1], 3)
    (directory / "result.json").write_text(content)
    found = compute_study(study, folder)
    assert found.states[1, 3] == "failed" and np.isnan(found.values[1, 3]).all()
    assert found.summary(1, "last")["n"] == 3 and found.comparison(1, "last")["pairs"] == 3
    (note,) = found.notes
    assert note.startswith("24, ralr, seed 3: ") and "delete it and resume" in note
    assert str(folder) not in note and "\n" not in note


def test_compute_study_of_no_run_is_pending_everywhere(tmp_path):
    found = compute_study(_study(), tmp_path / "missing")
    assert (found.states == "pending").all() and np.isnan(found.values).all()
    assert (found.summaries[:, :, 0] == 0).all() and "device" not in found.conditions
    assert found.conditions["dataset"] == ("cifar10",) and found.conditions["test_images"] == (10_000,)


def test_compute_study_tells_failed_stopped_and_pending_runs_apart(runs):
    study, folder, _ = runs
    failed, stopped, pending = (study.directory(folder, study.cells[2], seed) for seed in (0, 1, 2))
    for directory in (failed, stopped, pending):
        (directory / "result.json").unlink()
    record = {"attempt": 1, "outcome": "failed", "code": 1, "signal": None, "error": "boom", "seconds": 1.0}
    (failed / "attempts.jsonl").write_text(json.dumps(record) + "\n")
    (stopped / "metrics.jsonl").write_text('{"epoch": 1}\n')
    found = compute_study(study, folder)
    assert found.states[2].tolist() == ["failed", "stopped", "pending", "finished"]
    assert found.notes == ("30, baseline, seed 0: boom",)
    one = found.comparison(3, "last")  # of one run of the reference: a difference and no interval
    assert np.isfinite(one["difference"]) and np.isnan([one["p"], one["low"]]).all()


def test_compute_study_tells_in_what_the_runs_differ(runs):
    study, folder, values = runs
    other = study.directory(folder, study.cells[0], 1)
    _write(other, values[0, 1], 24, {"device": "NVIDIA H100", "threads": 16})
    (study.directory(folder, study.cells[0], 2) / "env.json").write_text("{")
    found = compute_study(study, folder).conditions
    assert found["device"] == ("NVIDIA H100", "cpu", "unknown")
    assert found["threads"] == (1, 16, "unknown")
    assert found["epochs"] == (24, 30)


def test_compute_study_calls_runs_of_the_cpu_alike_whatever_kernels_were_asked_for(runs):
    study, folder, values = runs
    for seed, asked in enumerate((False, True)):
        directory = study.directory(folder, study.cells[0], seed)
        _write(directory, values[0, seed], 24, {"device": "cpu", "deterministic": asked})
    assert True not in compute_study(study, folder).conditions["deterministic"]


def test_compute_study_notes_a_run_of_another_length(runs):
    study, folder, values = runs
    _write(study.directory(folder, study.cells[0], 1), values[0, 1], 12)
    found = compute_study(study, folder)
    assert found.notes == ("24, baseline, seed 1: trained for 12 epochs, not 24",)
    assert found.states[0, 1] == "finished"


def test_compute_study_keeps_the_notes_short(runs):
    study, folder, _ = runs
    for cell in study.cells[:2]:
        for seed in study.seeds:
            (study.directory(folder, cell, seed) / "result.json").write_text("{")
    notes = compute_study(study, folder).notes
    assert len(notes) == 6 and notes[-1] == "3 more runs failed or are not as planned"


def test_compute_study_of_the_published_runs_is_what_their_files_say():
    study = _study(axes=[{"name": "method", "values": [{"label": m, "method": m} for m in ("baseline", "ralr")]}],
                   table={"rows": ["method"]}, paper=[{"method": "ralr", "mean": 90.0}])  # fmt: skip
    found = compute_study(study, ROOT / "checkpoints")
    folder = ROOT / "checkpoints" / "cifar10-resnet20-tiny"
    for i, method in enumerate(("baseline", "ralr")):
        for seed in range(4):
            result = json.loads((folder / method / f"seed{seed}" / "result.json").read_text())
            assert found.values[i, seed].tolist() == [result[metric]["test_acc"] for metric in METRICS]
    assert found.paper[1, 0] == 90 and np.isnan(found.paper[1, 1])
    assert found.num_compared == 0


def test_tabulate_is_the_same_for_the_same_input(runs):
    study, folder, _ = runs
    found = compute_study(study, folder)
    again = tabulate(study, found.values, found.states, conditions=found.conditions)
    assert again == found


def test_compute_study_loads_no_torch_and_no_matplotlib():
    code = (
        "import sys; import ralr_viz.study.table, ralr_viz.study.render; "
        "print([m for m in ('torch', 'matplotlib', 'sklearn') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    assert done.stdout.strip() == "[]"


def test_compute_study_counts_a_diverged_translation_as_0_and_shows_the_mean_without(tmp_path):
    variants = [{"label": "13a", "bleu": "13a"}, {"label": "intl", "bleu": "intl"}]
    study = _study(
        seeds=[0, 1, 2],
        base={"recipe": "multi30k-transformer-small"},
        axes=[
            {"name": "BLEU", "values": variants},
            {"name": "method", "values": [{"label": m, "method": m} for m in ("baseline", "ralr")]},
        ],
        table={"rows": ["BLEU"], "columns": ["method"], "reference": {"method": "baseline"}},
        paper=[{"BLEU": "13a", "method": "ralr", "mean": 33.0}],
    )
    scores = {"baseline": [30.0, 31.0, 32.0], "ralr": [33.0, 34.0, 0.0]}
    for cell in study.cells[:2]:
        epochs = cell.recipe.epochs
        for seed, score in enumerate(scores[cell.method]):
            directory = prepare_run(cell.recipe, cell.method, seed, tmp_path)
            test = {"13a": score, "intl": score + 1}
            _write(directory, 0.0, epochs, final={"test": test})
    where = study.directory(tmp_path, study.cells[1], 2)
    _write(where, 0.0, 3, status="diverged", message="not below the unigram model's")
    found = compute_study(study, tmp_path)
    assert found.values[1, :, 0].tolist() == [33.0, 34.0, 0.0] and np.isnan(found.values[1, :, 1:]).all()
    assert found.summary(1, "last")["mean"] == pytest.approx(67 / 3)
    assert found.without_diverged(1, "last") == (2, 33.5, pytest.approx(0.5**0.5))
    assert not found.withheld.any() and found.comparison(1, "last")["difference"] == pytest.approx(
        67 / 3 - 31
    )
    assert found.notes == ("multi30k-transformer-small/ralr/seed2 diverged: it counts as 0",)
    text = render_study(found)
    assert "22.33 ± 19.35†" in text and "33.50 ± 0.71 (2/3)" in text and "without †" in text
    assert "a run diverged and counts as 0" in text
    assert found.records()[0]["mean without diverged"] == 31.0
    with style():
        save_figure(draw_study(found), tmp_path / "figure", study_table(found), {})


def test_compute_study_of_images_has_no_column_for_what_diverged(runs):
    study, folder, _ = runs
    _write(study.directory(folder, study.cells[0], 2), 10.0, 3, status="diverged")
    found = compute_study(study, folder)
    assert "without" not in render_study(found) and not found.scored_diverged.any()
    assert not [name for name in found.records()[0] if "without" in name]
