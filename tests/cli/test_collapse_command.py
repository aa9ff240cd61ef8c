import csv

import numpy as np
import pytest

from ralr_viz.results.bundle import load_result

FILES = [
    "collapse",
    "collapse.caption.tex",
    "collapse.caption.txt",
    "collapse.csv",
    "collapse.pdf",
    "collapse.png",
]


@pytest.fixture
def both(runs, squares_root):
    arms = [arg for method in ("baseline/seed0", "ralr/seed2") for arg in ("--ckpt", runs / method)]
    return [*arms, "--data", squares_root, "--resamples", 20]


def test_collapse_saves_result_figure_and_numbers_and_prints_them(cli, both, tmp_path):
    out = tmp_path / "new" / "out"
    outcome = cli("collapse", *both, "--out", out).succeeded()
    assert sorted(path.name for path in out.iterdir()) == FILES
    result = load_result(out / "collapse")
    assert result.models == ("baseline", "RALR") and result.images == (24, 72)  # a quarter is held out
    assert np.isfinite(result.values).all()  # NC3 too: the classifier was found
    value, low, high = result.measure("nc1", "test").interval(0)
    assert outcome.lines[0].startswith(
        f"NC1, spread within over between classes, test: baseline {value:.4g}; RALR "
    )
    assert np.isnan([low, high]).all()
    assert outcome.lines[0].endswith("(no interval of 24 images, which would be too narrow: take 50 or more)")
    assert "RALR minus baseline" in outcome.lines[0]
    assert "predictions of RALR, train: 100 %" in outcome.err and "collapse: 100 % (8 of 8)" in outcome.err
    assert "NC1 of a resample" in outcome.err
    assert str(tmp_path) not in str(result.provenance)
    with (out / "collapse.csv").open() as file:
        assert (
            len(list(csv.DictReader(file))) == 34
        )  # 2 splits × 8 quantities × 2 networks, and 2 training losses


def test_collapse_repeats_quietly_and_overwrites_only_with_force(cli, both, tmp_path, read_files):
    arguments = ["collapse", *both, "--out", tmp_path / "out", "-q", "--limit", 20]
    assert cli(*arguments).succeeded().err == ""
    before = read_files(tmp_path)
    assert load_result(tmp_path / "out" / "collapse").images == (20, 20)
    cli(*arguments).failed(2, "exists: pass --force to overwrite it or another --out")
    cli(*arguments, "--force").succeeded()
    assert read_files(tmp_path)["out/collapse.csv"] == before["out/collapse.csv"]


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (["--limit", "1"], ["classes of the test images are not", "take more images of each split"]),
        (["--seed", "-1"], ["'--seed'"]),
        (["--resamples", "1"], ["'--resamples'"]),
        (["--style", "nature"], ["unknown style `nature`"]),
        (["--dataset", "two"], ["has 4 classes, `two` has 2"]),
        (["--ckpt", "nothing"], ["`nothing` does not exist"]),
    ],
)
def test_collapse_bad_option_is_one_line(cli, both, tmp_path, arguments, fragments):
    cli("collapse", *both, "-q", "--out", tmp_path / "out", *arguments).failed(2, *fragments)
    assert list(tmp_path.rglob("*.*")) == []
