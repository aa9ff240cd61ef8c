import csv

import numpy as np
import pytest

from ralr_viz.results.bundle import load_result

FILES = [
    "calibration",
    "calibration.caption.tex",
    "calibration.caption.txt",
    "calibration.csv",
    "calibration.pdf",
    "calibration.png",
]


@pytest.fixture
def both(runs, squares_root):
    arms = [arg for method in ("baseline/seed0", "ralr/seed2") for arg in ("--ckpt", runs / method)]
    return [*arms, "--data", squares_root, "--resamples", 20]


def test_calibration_saves_result_figure_and_numbers_and_prints_them(cli, both, tmp_path):
    out = tmp_path / "out"
    outcome = cli("calibration", *both, "--out", out).succeeded()
    assert sorted(path.name for path in out.iterdir()) == FILES
    result = load_result(out / "calibration")
    assert result.models == ("baseline", "RALR") and len(result.labels) == 24
    value, low, high = result.measures()[0].interval(0)
    assert outcome.lines[0].startswith(f"negative log-likelihood (nats): baseline {value:.4g}; RALR ")
    assert np.isnan([low, high]).all()
    assert outcome.lines[0].endswith("(no interval of 24 images, which would be too narrow: take 50 or more)")
    assert outcome.lines[4].startswith("expected calibration error after temperature scaling (%): baseline ")
    assert outcome.lines[5].startswith(
        f"temperature fitted on 24 watched images: baseline {result.temperature[0]:.4g}; "
    )
    assert outcome.lines[6].startswith(
        f"calibration error of right confidences (%): baseline {result.ece_floor[0, 0]:.4g}"
    )
    fixed, broken = len(result.fixed(1)), len(result.broken(1))
    assert outcome.lines[7].startswith(
        f"RALR against baseline: {fixed} images fixed, {broken} broken of 24, exact"
    )
    assert "bootstrap: 100 % (20 of 20)" in outcome.err and "a class has 6 images" in outcome.err
    with (out / "calibration.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["item"] for row in rows if row["part"] == "class"} == {"blue", "green", "red", "white"}


def test_calibration_repeats_quietly_and_overwrites_only_with_force(cli, both, tmp_path, read_files):
    arguments = ["calibration", *both, "--out", tmp_path / "out", "-q", "--split", "val", "--bins", 4]
    assert cli(*arguments).succeeded().err == ""
    before = read_files(tmp_path)
    result = load_result(tmp_path / "out" / "calibration")
    assert result.split == "val" and result.bin_accuracy.shape == (2, 4) and np.isfinite(result.draws).all()
    cli(*arguments).failed(2, "exists: pass --force to overwrite it or another --out")
    cli(*arguments, "--force").succeeded()
    assert read_files(tmp_path)["out/calibration.csv"] == before["out/calibration.csv"]


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (["--bins", "0"], ["'--bins'"]),
        (["--split", "valid"], ["unknown split `valid`"]),
        (["--style", "nature"], ["unknown style `nature`"]),
        (["--dataset", "two"], ["has 4 classes, `two` has 2"]),
        (["--ckpt", "nothing"], ["`nothing` does not exist"]),
    ],
)
def test_calibration_bad_option_is_one_line(cli, both, tmp_path, arguments, fragments):
    cli("calibration", *both, "-q", "--out", tmp_path / "out", *arguments).failed(2, *fragments)
    assert list(tmp_path.rglob("*.*")) == []
