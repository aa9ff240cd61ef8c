"""The task translation on text that the package makes itself: trained, killed, paired and looked at by name."""

from __future__ import annotations

import json
import os
import re
import runpy
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch

import ralr_viz as rv
from ralr_viz.errors import DivergedError, InputError
from ralr_viz.recipe import load_recipe
from ralr_viz.results.run import load_run
from ralr_viz.study.grid_file import load_study
from ralr_viz.study.table import compute_study
from ralr_viz.tasks.translation.task import Translation
from ralr_viz.train.checkpoint import read_checkpoint
from ralr_viz.train.loop import train_run
from ralr_viz.train.prepare import prepare_run

RECIPE = "numbers-transformer-tiny"
SHORT = runpy.run_path(str(Path(__file__).parents[1] / "numbers_settings.py"))["SHORT"]


@pytest.fixture(scope="module")
def here(numbers_pair):
    """A folder with the runs of a pair and the text."""
    return numbers_pair[0]


def run_of(folder, method):
    (found,) = (folder / "runs").glob(f"*/{method}/seed0")
    return found


def test_records_and_result_have_bleu_of_the_last_and_of_the_mean_weights(here):
    run = load_run(run_of(here, "baseline"))
    assert run.about.score.title == "BLEU" and run.about.samples == "tokens"
    losses = run.values("val_loss")
    assert losses[-1] < losses[0] and len(run.values("val_bleu")) == 4
    result = json.loads((run_of(here, "baseline") / "result.json").read_text())
    last, mean = result["final"]["test"], result["final"]["averaged"]["test"]
    assert last["bleu"] == last["13a"] == result["last"]["test_bleu"]
    assert last["signatures"]["intl-lc"].startswith("nrefs:1|case:lc|eff:no|tok:intl")
    assert (last["n"], last["beam"], result["final"]["averaged"]["states"]) == (200, 2, 2)
    assert mean["loss"] != last["loss"]


def test_mean_weights_are_those_of_the_last_epochs(here):
    folder = run_of(here, "ralr")
    recipe = load_recipe(RECIPE, SHORT)
    task = Translation(recipe, here / "data")
    states = [read_checkpoint(folder / "checkpoints" / f"epoch_000{i}.pt")["model"] for i in (3, 4)]
    model = task.build()
    model.load_state_dict({name: (states[0][name] + states[1][name]) / 2 for name in states[0]})
    total = sum(torch.stack(list(task.evaluate(model.eval(), batch))) for batch in task.read(None).batches)
    result = json.loads((folder / "result.json").read_text())
    assert float(total[0] / total[2]) == pytest.approx(result["final"]["averaged"]["test"]["loss"], rel=1e-5)


def test_arms_are_equal_to_the_bit_before_the_first_amplified_epoch(here):
    arms = [run_of(here, method) for method in ("baseline", "ralr")]
    factors = load_run(arms[1]).values("factor").tolist()
    first = next(i for i, factor in enumerate(factors) if factor != 1)  # 0-based epoch
    for epoch in range(1, 5):
        a, b = (read_checkpoint(arm / "checkpoints" / f"epoch_000{epoch}.pt")["model"] for arm in arms)
        assert all(torch.equal(a[name], b[name]) for name in a) == (epoch <= first)
    assert 0 < first < 4, "seed 0 has no plain epoch before an amplified one"


CRASH = textwrap.dedent(
    """
    import os, signal, sys
    from pathlib import Path
    from ralr_viz.train import loop, training
    real, left = training.train_step, int(sys.argv[3])
    def step(*given):
        global left
        real(*given)
        left -= 1
        if left == 0:
            os.kill(os.getpid(), getattr(signal, sys.argv[4]))
    training.train_step = step
    loop.train_run(Path(sys.argv[1]), Path(sys.argv[2]), device="cpu")
    """
)


@pytest.mark.slow
def test_a_run_killed_or_stopped_within_an_epoch_ends_with_the_same_bits(here):
    recipe = load_recipe(RECIPE, SHORT)
    run = prepare_run(recipe, "ralr", 0, here / "again")
    for steps, name in ((5, "SIGTERM"), (9, "SIGKILL")):
        words = [sys.executable, "-c", CRASH, run, here / "data", str(steps), name]
        done = subprocess.run(
            words, capture_output=True, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"}
        )
        assert done.returncode != 0 and not (run / "result.json").exists()
        assert (run / "checkpoints" / "last.pt").exists()
        if name == "SIGTERM":
            assert read_checkpoint(run / "checkpoints" / "last.pt")["partial"]["step"] == 5
    train_run(run, here / "data", device="cpu")
    ends = [read_checkpoint(path / "checkpoints" / "last.pt") for path in (run, run_of(here, "ralr"))]
    for name, value in ends[0]["model"].items():
        assert torch.equal(value, ends[1]["model"][name]), name
    times = {"seconds", "samples_per_second"}
    logs = [[{k: v for k, v in r.items() if k not in times} for r in end["history"]] for end in ends]
    assert logs[0] == logs[1]


def test_a_run_that_learns_nothing_ends_as_diverged(here):
    recipe = load_recipe(RECIPE, [*SHORT, "lr=3", "norm=post", "warmup_steps=1"])
    run = prepare_run(recipe, "baseline", 0, here / "wild")
    with pytest.raises(
        DivergedError, match=r"after epoch 2, the first whole one after the warm-up, is not below"
    ):
        train_run(run, here / "data", device="cpu")
    assert json.loads((run / "result.json").read_text())["status"] == "diverged"


OPTIONS = {
    "sharpness": ("--directions", "2", "--radii", "0.1"),
    "barrier": ("--points", "3"),
}


@pytest.mark.parametrize(
    "noun",
    ["sharpness", *(pytest.param(n, marks=pytest.mark.slow) for n in ("barrier", "movement", "curves"))],
)
def test_diagnostics_of_weights_and_records_take_the_runs(here, cli, tmp_path, noun):
    arms = [run_of(here, method) for method in ("baseline", "ralr")]
    option = "--run" if noun in ("movement", "curves") else "--ckpt"
    words = [word for arm in arms for word in (option, arm)]
    data = [] if noun == "curves" else ["--data", here / "data"]
    done = cli(noun, *words, *data, *OPTIONS.get(noun, ()), "--out", tmp_path / "out").succeeded()
    (manifest,) = (tmp_path / "out").rglob("manifest.json")
    result = rv.load_result(manifest.parent)
    assert "accuracy" not in done.out
    if noun != "movement":
        assert result.loss_unit == "nats"
    if noun in ("barrier", "sharpness"):
        assert result.score_name == "predicted tokens"


def test_what_needs_images_refuses_the_runs_in_one_line(here, cli, tmp_path):
    words = ["--ckpt", run_of(here, "ralr"), "--data", here / "data", "--out", tmp_path / "cam"]
    cli("cam", *words).failed(2, "translation")


def test_a_vocabulary_that_does_not_fit_is_refused_in_one_line(here, cli, tmp_path):
    with pytest.raises(InputError, match=r"`vocabulary` = 60000 does not fit text `numbers`"):
        Translation(load_recipe(RECIPE, ["vocabulary=60000"]), here / "data")
    task = Translation(load_recipe(RECIPE, ["vocabulary=80"]), here / "data")
    other = Translation(load_recipe(RECIPE), here / "data").build()
    with pytest.raises(InputError, match="the network has 96 pieces, text `numbers` has 80"):
        task.prepare(other, task.read(4).batches[0])


def test_pieces_are_the_same_again_and_made_anew_for_another_text(here, tmp_path):
    a, b = (Translation(load_recipe(RECIPE), root) for root in (here / "data", tmp_path))
    assert a.facts == b.facts
    line = "two hundred and five thousand and twelve"
    assert a.encoded.decode(a.encoded.encode([line])[0]) == line
    (tmp_path / "numbers" / "bpe-96" / "pieces.model").write_bytes(b"x")
    with pytest.raises(InputError, match=r"bpe-96` is damaged"):
        Translation(load_recipe(RECIPE), tmp_path)


def test_a_missing_library_names_the_extra(here, monkeypatch):
    import importlib.util

    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "sacrebleu" else real(name))
    with pytest.raises(InputError, match=r"needs `sacrebleu`: pip install 'ralr-viz\[translation\]'"):
        Translation(load_recipe(RECIPE), here / "data")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("validation=0.1", "has validation sentences of its own"),
        ("model=resnet20", "one of transformer-base"),
        ("average=9", "at most the training's 4 epochs"),
        ("ratio=0.5", "at least 1, or 0"),
        ("shortest=500", "no training pair of `numbers`"),
    ],
)
def test_settings_that_do_not_hold_are_refused(here, setting, message):
    with pytest.raises(InputError, match=message):
        Translation(load_recipe(RECIPE, [*SHORT, setting]), here / "data")


def test_unigram_loss_is_that_of_counts(here):
    task = Translation(load_recipe(RECIPE), here / "data")
    pieces = [p for i in range(3000) for p in (*task.encoded.splits["train"][1][i], 3)]
    counts = torch.bincount(torch.tensor(pieces, dtype=torch.int64), minlength=96).double() + 1
    val = torch.tensor([int(p) for i in range(200) for p in (*task.encoded.splits["val"][1][i], 3)])
    assert task.unigram_loss() == pytest.approx(-float((counts / counts.sum()).log()[val].mean()))


def test_filters_keep_pairs_within_lengths_and_ratio(here):
    task = Translation(load_recipe(RECIPE, ["shortest=6", "longest=20", "ratio=2"]), here / "data")
    source, target = (sentences.lengths[task.trained] for sentences in task.encoded.splits["train"])
    low, high = (
        torch.tensor(source).minimum(torch.tensor(target)),
        torch.tensor(source).maximum(torch.tensor(target)),
    )
    assert low.min() >= 6 and high.max() <= 20 and (high <= 2 * low).all() and len(low) > 100


def test_adam_has_the_recipes_betas_and_epsilon(here):
    task = Translation(load_recipe(RECIPE), here / "data")
    (group,) = task.parameter_groups(task.build())
    assert group["betas"] == (0.9, 0.98) and group["eps"] == 1e-9


STUDY = f"""
title = "Numbers"
seeds = [0]
[base]
recipe = "{RECIPE}"
{"".join(f"{name} = {value}{chr(10)}" for name, value in (setting.split("=") for setting in SHORT))}
[[axes]]
name = "Method"
values = [{{label = "Baseline", method = "baseline"}}, {{label = "RALR", method = "ralr"}}]
[[axes]]
name = "BLEU"
values = [{{label = "13a", bleu = "13a"}}, {{label = "intl", bleu = "intl"}}]
[table]
rows = ["BLEU"]
columns = ["Method"]
reference = {{Method = "Baseline"}}
"""


def test_a_study_reads_several_scores_of_one_training(here):
    (here / "numbers.toml").write_text(STUDY)
    study = load_study(here / "numbers.toml")
    assert len(study.cells) == 4 and len(study.trainings) == 2
    runs = {cell.method: here / "runs" / cell.folder / "seed0" for cell in study.cells}
    assert runs == {method: run_of(here, method) for method in ("baseline", "ralr")}
    path = runs["ralr"] / "result.json"
    kept = path.read_text()
    result = json.loads(kept)
    result["final"]["test"]["intl"] = 77.0
    path.write_text(json.dumps(result))
    table = compute_study(study, here / "runs")
    path.write_text(kept)
    of = {table.label(i): table.summary(i, "last")["mean"] for i in range(4)}
    assert of["RALR", "intl"] == 77.0
    assert of["RALR", "13a"] == pytest.approx(result["final"]["test"]["13a"])
    assert set(table.states.ravel()) == {"finished"}


def test_table_5_has_the_papers_numbers():
    study = load_study("table5")
    printed = {cell.name: cell.paper.mean for cell in study.cells if cell.paper}
    assert len(printed) == 8 and printed["RALR, international, uncased"] == 26.7
    assert len(study.trainings) == 12


def test_the_report_has_translations_fixed_and_broken(numbers_pair, cli, tmp_path):
    folder, arms = numbers_pair
    words = [
        "--a",
        arms[0].parent,
        "--b",
        arms[1].parent,
        "--data",
        folder / "data",
        "--limit",
        "40",
        "--device",
        "cpu",
    ]
    done = cli("report", *words, "--out", tmp_path / "page.html").succeeded()
    page = (tmp_path / "page.html").read_text()
    assert (
        "sacreBLEU nrefs:1" in page
        and "sentences fixed by RALR" in page
        and "sentences broken by RALR" in page
    )
    assert "40 test sentences of numbers" in page
    assert re.findall(r'<li><a href="#(\w+)"', page) == ["verdict", "sentences", "curves", "provenance"]
    assert 'class="first-sentence"' in page and "Traceback" not in done.err
