"""A detector, trained, killed and resumed, paired and looked at by the commands."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch

import ralr_viz as rv
from ralr_viz.results.run import load_run
from ralr_viz.schedule import amplification_factors
from ralr_viz.train.checkpoint import read_checkpoint
from ralr_viz.train.loop import train_run
from ralr_viz.train.prepare import prepare_run

EPOCHS = 6
SEED = next(s for s in range(99) if [f > 1 for f in amplification_factors(s, EPOCHS)][:4] == [0, 0, 1, 0])
TIMES = {"seconds", "images_per_second"}


@pytest.fixture(scope="module")
def trained(make_detector, blobs_root, tmp_path_factory):
    """Folder of the runs of both arms."""
    folder = tmp_path_factory.mktemp("detectors")
    for method in ("baseline", "ralr"):
        run = prepare_run(make_detector(epochs=EPOCHS, keep_every=1), method, SEED, folder / method)
        train_run(run, blobs_root, device="cpu")
    return folder


def run_of(folder, method):
    return next((folder / method).glob(f"*/{method}/seed{SEED}"))


def state(run, epoch=None):
    name = "last" if epoch is None else f"epoch_{epoch:03d}"
    path = run / "checkpoints" / f"{name}.pt"
    return read_checkpoint(path if path.exists() else next((run / "checkpoints").glob(f"*{epoch}.pt")))


def history(run):
    return [{k: v for k, v in record.items() if k not in TIMES} for record in state(run)["history"]]


def test_detector_learns_and_its_classes_are_told(trained):
    run = load_run(run_of(trained, "baseline"))
    assert run.about.score.title == "mAP@.5 (VOC07)"
    losses = run.values("train_loss")
    assert losses[-1] < 0.9 * losses[0]
    result = json.loads((run.path / "result.json").read_text())
    final = result["final"]["test"]
    assert set(final["ap50"]) == {"red", "blue"} and final["n"] == 10
    assert final["map50"] == pytest.approx(result["last"]["test_map50"])
    assert final["map50"] == pytest.approx(np.mean(list(final["ap50"].values())))


def test_arms_are_one_to_the_bit_before_the_first_amplified_epoch(trained):
    runs = [run_of(trained, method) for method in ("baseline", "ralr")]
    same = [
        all(torch.equal(value, theirs[name]) for name, value in ours.items())
        for ours, theirs in ([state(run, epoch)["model"] for run in runs] for epoch in range(1, EPOCHS + 1))
    ]
    assert same == [True, True, *[False] * (EPOCHS - 2)]
    logs = [history(run) for run in runs]
    assert logs[0][:2] == logs[1][:2] and logs[0][2] != logs[1][2]


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
            os.kill(os.getpid(), int(sys.argv[4]))
    training.train_step = step
    loop.train_run(Path(sys.argv[1]), Path(sys.argv[2]), device="cpu")
    """
)


@pytest.mark.parametrize("number", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_run_that_was_ended_in_an_epoch_has_the_same_bits(
    trained, make_detector, blobs_root, tmp_path, number
):
    """Of a kill the epoch is trained again, after a signal only the rest of it."""
    run = prepare_run(make_detector(epochs=EPOCHS, keep_every=1), "ralr", SEED, tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", CRASH, run, blobs_root, "10", str(int(number))],
        check=False, capture_output=True, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode != 0 and not (run / "result.json").exists(), done.stderr
    assert ("partial" in state(run)) == (number == signal.SIGTERM)
    train_run(run, blobs_root, device="cpu")
    whole, resumed = state(run_of(trained, "ralr")), state(run)
    assert all(torch.equal(value, resumed["model"][name]) for name, value in whole["model"].items())
    assert history(run) == history(run_of(trained, "ralr"))
    assert resumed["first_loss"] == whole["first_loss"]


OPTIONS = {
    "sharpness": ("--directions", "2", "--radii", "0.1"),
    "barrier": ("--points", "3"),
    "movement": (),
    "curves": (),
    "detect": ("--count", "2", "--maps"),
    "detection-errors": ("--resamples", "20"),
    "fork": ("--epochs", "1", "--repeats", "1", "--factors", "1,2", "--probe-images", "20"),
}


@pytest.mark.parametrize(
    "noun",
    [n if n.startswith("detect") else pytest.param(n, marks=pytest.mark.slow) for n in OPTIONS],
)
def test_diagnostics_of_weights_and_records_take_the_runs(trained, blobs_root, cli, tmp_path, noun):
    arms = [run_of(trained, method) for method in ("baseline", "ralr")]
    data = () if noun == "curves" else ("--data", blobs_root)
    if noun == "fork":
        given = ["--ckpt", f"{arms[1]}@2"]
    else:
        word = "--run" if noun in ("curves", "movement") else "--ckpt"
        given = [part for arm in arms for part in (word, arm)]
    data = () if noun in ("curves", "movement") else data
    cli(noun, *given, *data, *OPTIONS[noun], "--out", tmp_path / "out").succeeded()
    (manifest,) = (tmp_path / "out").rglob("manifest.json")
    result = rv.load_result(manifest.parent)
    if noun == "fork":
        assert result.reproduction == "reproduced", result.reproduction_note
    if noun in ("sharpness", "barrier"):
        assert result.samples_name == "images"


def test_what_needs_one_class_an_image_refuses_in_one_line(trained, blobs_root, cli, tmp_path):
    arms = [part for method in ("baseline", "ralr") for part in ("--ckpt", run_of(trained, method))]
    cli("cam", *arms, "--data", blobs_root, "--out", tmp_path / "out").failed(
        2, "`detection` has no images with one class each", "fork", "detect, detection-errors"
    )


def test_report_shows_what_was_fixed_and_broken_and_says_what_is_missing(trained, blobs_root, cli, tmp_path):
    page, arms = tmp_path / "report.html", [run_of(trained, method) for method in ("baseline", "ralr")]
    told = cli(
        "report", "--a", arms[0], "--b", arms[1], "--data", blobs_root, "--device", "cpu", "--out", page
    )
    told.succeeded()
    text = page.read_text()
    assert "Random sample" in text and "data:image/webp" in text and "RALR: found" in text
    seen = re.sub(r"<script.*?</script>|<style.*?</style>|<[^>]+>", "", text, flags=re.S)
    assert "mAP@.5 (VOC07) (%)" in seen and "accura" not in seen and "nats" not in seen
    assert re.findall(r'<li><a href="#(\w+)"', text) == ["verdict", "curves", "gallery", "provenance"]
    assert "not on the page" not in told.err.replace("why: not on the page", "")


def test_eval_prints_losses_and_scores(trained, blobs_root, cli):
    run = run_of(trained, "baseline")
    out = cli("eval", "--ckpt", run, "--data", blobs_root, "--device", "cpu").succeeded().out
    assert "test_map50 " in out and "test_loss " in out
    result = json.loads((run / "result.json").read_text())
    record = json.loads(cli("eval", "--ckpt", run, "--data", blobs_root, "--json").succeeded().out)
    assert record["test_map50"] == pytest.approx(result["last"]["test_map50"], abs=1e-3)


@pytest.mark.slow
def test_why_measures_weights_and_says_what_is_not_of_the_task(trained, blobs_root, cli, tmp_path):
    arms = [run_of(trained, method) for method in ("baseline", "ralr")]
    only = [part for name in ("movement", "collapse") for part in ("--only", name)]
    told = cli(
        "why",
        "--a",
        arms[0],
        "--b",
        arms[1],
        "--data",
        blobs_root,
        "--device",
        "cpu",
        *only,
        "--out",
        tmp_path / "why",
    )
    told.succeeded()
    assert rv.load_result(tmp_path / "why" / f"seed{SEED}" / "movement").models
    assert "collapse is not measured: it is not of `detection`" in told.err
    assert "calibration" not in told.err + (tmp_path / "why" / "why.md").read_text()
