import csv

import numpy as np
import pytest

from ralr_viz.results.bundle import load_result
from ralr_viz.schedule import amplification_factors


def test_schedule_writes_figure_numbers_and_result(cli, tmp_path):
    out = tmp_path / "out"
    lines = cli("schedule", "cifar100-resnet110", "--seed", 3, "--out", out).succeeded().lines
    stem = "schedule-cifar100-resnet110-seed3"
    assert lines[3:] == [
        str(out / stem),
        *(str(out / f"{stem}.{s}") for s in ("pdf", "png", "csv", "caption.txt", "caption.tex")),
    ]
    factors = amplification_factors(3, 300)
    amplified = int((factors > 1).sum())
    assert lines[0].startswith(f"cifar100-resnet110, seed 3: {amplified} of 300 epochs amplified (")
    assert f"mean factor {factors.mean():.3f}" in lines[0]
    np.testing.assert_array_equal(load_result(out / stem).factor[0], factors)
    with (out / f"{stem}.csv").open() as file:
        assert [row["method"] for row in csv.DictReader(file)] == ["ralr"] * 300 + ["scaled"] * 300


def test_schedule_shows_the_matched_control_and_both_sums(cli, tmp_path):
    arguments = ["--matched", "--seed", 104, "--set", "amplify_from=0.1", "--out", tmp_path]
    lines = cli("schedule", "cifar10-resnet20-10k", *arguments).succeeded().lines
    result = load_result(tmp_path / "schedule-cifar10-resnet20-10k-seed104")
    assert result.method == ("ralr", "scaled", "matched")
    ralr, _, matched = (row for row in result.summary())
    assert matched["sum_lr"] == pytest.approx(ralr["sum_lr"], rel=1e-14)
    assert (
        ralr["sum_lr_squared_ratio"] > matched["sum_lr_squared_ratio"] > matched["sum_lr_ratio"] ** 2 * 0.99
    )
    assert f"matched of seed 104: sum of LR x{ralr['sum_lr_ratio']:.3f}, of LR² x" in lines[3]
    assert (result.factor[:, :10] == 1).all()


@pytest.mark.parametrize("schedule", ["sgdr", "cyclical", "onecycle"])
def test_schedule_shows_comparators_and_noise(cli, tmp_path, schedule):
    arguments = ["--set", f"schedule={schedule}", "--noise", "--seed", 1, "--out", tmp_path]
    cli("schedule", "cifar10-resnet20", *arguments).succeeded()
    result = load_result(tmp_path / "schedule-cifar10-resnet20-seed1")
    assert result.method == ("ralr", "scaled", "noise")
    assert np.unique(result.base_lr).size > 10
    assert result.factor[2].min() < 1 < result.factor[2].max()


def test_schedule_of_no_amplification_says_no_nan(cli, tmp_path):
    outcome = cli("schedule", "cifar10-resnet20", "--set", "probability=0", "--out", tmp_path).succeeded()
    assert "0 of 300 epochs amplified (0%); mean factor 1.000, sum of LR x1.000" in outcome.lines[0]


def test_schedule_overwrites_only_with_force(cli, tmp_path, read_files):
    arguments = ["schedule", "digits-resnet20", "--out", tmp_path]
    cli(*arguments).succeeded()
    before = read_files(tmp_path)
    cli(*arguments, "--seed", 0).failed(2, "exists: pass --force")
    assert read_files(tmp_path) == before
    cli(*arguments, "--force").succeeded()
    assert read_files(tmp_path).keys() == before.keys()


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        (["--style", "nature"], "unknown style `nature`"),
        (["--seed", "99999999999999999999"], "`seed` = 99999999999999999999 must be in [0, 2^63)"),
        (["--set", "epochs=100000000"], "`epochs` = 100000000 must be in [1, 100000]"),
        (["--set", "high=1e300"], "`high` = 1e+300 must be at most 1e+06"),
    ],
)
def test_schedule_of_bad_options_is_one_line(cli, tmp_path, arguments, fragment):
    cli("schedule", "digits-resnet20", "--out", tmp_path / "out", *arguments).failed(2, fragment)
