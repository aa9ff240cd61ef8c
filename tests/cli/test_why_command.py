"""``ralr-viz why``: from runs to the table, and on again after a stop."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from ralr_viz.results.bundle import load_result
from ralr_viz.results.why import CLAIMS, WhyResult

from .conftest import Outcome

ONLY = ("--only", "movement", "--only", "collapse")


@pytest.fixture
def arms(trained_pair: Path) -> tuple[object, ...]:
    recipe = next(path for path in trained_pair.iterdir() if path.is_dir())
    return ("--a", recipe / "baseline", "--b", recipe / "ralr")


@pytest.fixture
def data(squares_root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[object, ...]:
    monkeypatch.setenv("RALR_VIZ_CACHE", str(tmp_path / "cache"))
    return ("--data", squares_root, "--device", "cpu")


_measured: list[tuple[Path, Outcome]] = []


@pytest.fixture
def measured(cli, arms, data, tmp_path, tmp_path_factory) -> tuple[Path, Outcome]:
    """A copy of what ``ONLY`` has measured once, and what that printed."""
    if not _measured:
        out = tmp_path_factory.mktemp("why") / "out"
        _measured.append((out, cli("why", *arms, *ONLY, "--out", out, *data).succeeded()))
    (out, outcome), copy = _measured[0], tmp_path / "measured"
    return shutil.copytree(out, copy), outcome


def test_why_prints_the_claims_and_keeps_every_result(measured):
    out, outcome = measured
    for claim in CLAIMS:
        assert f"| {claim.text} " in outcome.out
    assert "not testable at n = 1" in outcome.out
    assert "hold for these checkpoints only" in outcome.out
    result = load_result(out / "why")
    assert isinstance(result, WhyResult)
    assert (result.arms, result.seeds) == (("baseline", "ralr"), (0,))
    movement = load_result(out / "seed0" / "movement")
    assert movement.measures()[0].name == next(c.measures[0] for c in CLAIMS if c.diagnostic == "movement")
    m = result.find("movement", movement.measures()[0].name)
    assert result.values[m, :, 0] == pytest.approx(movement.measures()[0].values)
    assert "why: 3 of 3 done" in outcome.err and "left" in outcome.err
    for name in (
        "why.pdf",
        "why.png",
        "why.csv",
        "why.caption.txt",
        "why.caption.tex",
        "seed0/movement.png",
        "seed0/collapse.png",
    ):
        assert (out / name).stat().st_size > 0
    assert outcome.out.startswith((out / "why.md").read_text().rstrip("\n"))


def test_why_goes_on_where_it_stopped_and_adds_diagnostics(measured, cli, arms, data):
    out, _ = measured
    before = (out / "seed0" / "movement" / "manifest.json").stat().st_mtime_ns
    outcome = cli("why", *arms, *ONLY, "--only", "calibration", "--out", out, *data).succeeded()
    assert "movement, seed 0: as saved before" in outcome.err
    assert (out / "seed0" / "movement" / "manifest.json").stat().st_mtime_ns == before
    assert {"movement", "collapse", "calibration"} <= set(load_result(out / "why").diagnostics)


def test_why_runs_a_job_again_that_was_cut_off(measured, cli, arms, data):
    out, first = measured
    index = json.loads((out / "jobs.json").read_text())
    index["seed0/collapse"]["done"] = False  # as a kill in the middle of it leaves the index
    (out / "jobs.json").write_text(json.dumps(index))
    (out / "seed0" / "collapse" / "arrays.npz").unlink()
    outcome = cli("why", *arms, *ONLY, "--out", out, *data).succeeded()
    assert first.out.startswith((out / "why.md").read_text().rstrip("\n"))
    assert "movement, seed 0: as saved before" in outcome.err
    assert "collapse, seed 0: as saved before" not in outcome.err


def test_why_replaces_nothing_of_other_runs_without_force(measured, cli, arms, data):
    out, _ = measured
    swapped = ("--a", arms[3], "--b", arms[1])
    command = ("why", *swapped, "--only", "collapse", "--out", out, *data, "-q")
    cli(*command).failed(2, "seed0/collapse", "--force")
    assert load_result(out / "why").arms == ("baseline", "ralr")
    cli(*command, "--force").succeeded()
    assert load_result(out / "why").arms == ("ralr", "baseline")


def test_why_leaves_a_strangers_file_alone(cli, arms, data, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "why.csv").write_text("mine")
    cli("why", *arms, *ONLY, "--out", out, *data).failed(2, "why.csv", "--force")
    assert (out / "why.csv").read_text() == "mine"


def test_why_says_what_the_data_do_not_allow(measured, cli, arms, data):
    only = ("--only", "movement", "--only", "localisation")
    outcome = cli("why", *arms, *only, "--out", measured[0], *data).succeeded()
    assert "localisation, seed 0 was not measured" in outcome.err
    assert "more precise class activation maps" in outcome.out


def test_why_json_has_a_row_for_each_measure(measured, cli, arms, data):
    out, _ = measured
    outcome = cli("why", *arms, *ONLY, "--out", out, *data, "-q", "--json").succeeded()
    rows = json.loads(outcome.out[: outcome.out.rindex("]") + 1])
    assert [row["name"] for row in rows] == list(load_result(out / "why").names)
    assert rows[0]["ralr"] is not None and rows[0]["Holm p"] is None


def test_why_refuses_what_is_no_comparison(cli, arms, data, runs, tmp_path):
    out = ("--out", tmp_path / "out", *data)
    cli("why", *arms, "--only", "movment", *out).failed(2, "diagnostic", "movment", "movement")
    cli("why", "--a", tmp_path / "none", "--b", arms[3], *out).failed(2, "no run directory")
    strangers = ("--a", runs / "baseline", "--b", runs / "ralr")  # seeds 0 and 2
    cli("why", *strangers, *out).failed(2, "no training seed in common", "--a has seed 0")
    cli("why", "--a", arms[1].parent, "--b", arms[3], *out).failed(
        2, "two runs of seed 0", "RUNS/RECIPE/ralr"
    )


def test_why_leaves_out_seeds_that_an_arm_lacks(cli, arms, data, tmp_path):
    lonely = tmp_path / "baseline"
    shutil.copytree(arms[1], lonely)
    shutil.copytree(arms[1] / "seed0", lonely / "seed7")
    recipe = lonely / "seed7" / "recipe.toml"
    recipe.write_text(recipe.read_text().replace("seed = 0", "seed = 7", 1))
    outcome = cli(
        "why", "--a", lonely, "--b", arms[3], "--only", "calibration", "--out", tmp_path / "out", *data
    )
    assert "--a: seed 7 left out" in outcome.succeeded().err


def test_why_decides_tightness_at_equal_training_loss_only(measured):
    result = load_result(measured[0] / "why")
    claim = next(k for k, c in enumerate(CLAIMS) if c.diagnostic.startswith("collapse"))
    at_end = result.find("collapse", "nc1_test")
    assert at_end is not None and result.claim_of(at_end) is None
    matched = result.find("collapse, matched loss", "nc1_test")
    if matched is None:
        assert result.verdicts[claim] == "not measured"
        assert any("at equal epoch it mostly follows the loss" in note for note in result.notes)
    else:
        assert result.measures_of(claim) == [matched] and result.verdicts[claim] != "not measured"


@pytest.mark.slow
def test_why_decides_flatness_at_matched_loss_and_shows_it_at_equal_epoch(cli, arms, data, tmp_path):
    out = tmp_path / "out"
    only = ("--only", "sharpness", "--images", 8)
    outcome = cli("why", *arms, *only, "--out", out, *data).succeeded()
    result = load_result(out / "why")
    at_end = result.find("sharpness", "sharpness")
    assert at_end is not None and result.claim_of(at_end) is None
    assert result.find("sharpness", "sharpness_normalised") is not None
    matched = result.find("sharpness, matched loss", "sharpness")
    assert result.measures_of(0) == ([] if matched is None else [matched])
    said = (
        "at matched training loss is of epochs"
        if matched is not None
        else "must be within a tenth at one scheduled rate"
    )
    assert said in outcome.err


NETWORK = """
from torch import nn

def make(num_classes=4):
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(8, num_classes),
    )
"""


@pytest.fixture
def own(tmp_path, monkeypatch, squares_root):
    """Two arms of somebody's own network, written by RunWriter with no architecture of ours."""
    import importlib
    import sys

    import torch

    from ralr_viz import RunWriter
    from ralr_viz.data import load_dataset

    (tmp_path / "their_network.py").write_text(NETWORK)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "their_network", raising=False)
    make = importlib.import_module("their_network").make
    data = load_dataset("squares", squares_root)
    for seed, method in enumerate(("sgd", "sam")):
        torch.manual_seed(seed)
        header = {"dataset": "squares", "mean": list(data.mean), "std": list(data.std), "image_size": 16}
        folder = tmp_path / "own" / method / "seed0"
        with RunWriter(folder, num_classes=4, method=method, header=header) as run:
            run.log(epoch=1, train_loss=1.0, val_loss=1.0)
            run.save(make())
    return ("--a", tmp_path / "own" / "sgd", "--b", tmp_path / "own" / "sam")


def test_why_of_a_network_of_ones_own_needs_only_its_name(cli, own, data, tmp_path):
    outcome = cli(
        "why", *own, "--arch", "their_network:make", *data, "--only", "collapse", "--out", tmp_path / "out"
    )
    outcome.succeeded()
    assert "collapse" in load_result(tmp_path / "out" / "why").diagnostics


def test_why_says_before_the_work_what_runs_lack_and_at_its_end_every_reason(cli, own, data, tmp_path):
    """Not 26 of 26 and then "no diagnostic gave a measure" without a word."""
    outcome = cli(
        "why", *own, *data, "--only", "collapse", "--only", "calibration", "--out", tmp_path / "out"
    )
    lines = outcome.err.splitlines()
    assert outcome.code == 2
    assert lines[-1].startswith("ralr-viz: no diagnostic gave a measure: c")
    first = next(i for i, line in enumerate(lines) if "only its record can be read" in line)
    assert "does not say its architecture: pass --arch" in lines[first]
    assert first < next(i for i, line in enumerate(lines) if "1 of 2 done" in line)
    assert (
        "collapse, seed 0 was not measured: " in lines[-1]
        and "calibration, seed 0 was not measured: " in lines[-1]
    )
