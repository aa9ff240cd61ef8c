import csv
import json
import shutil

import numpy as np
import pytest

from ralr_viz.results.bundle import load_result

FILES = [
    "localisation",
    "localisation.caption.tex",
    "localisation.caption.txt",
    "localisation.csv",
    "localisation.pdf",
    "localisation.png",
]


@pytest.fixture(scope="module")
def boxed_root(squares_root, tmp_path_factory):
    """``squares`` with boxes, which are made up; the last test image has none."""
    root = tmp_path_factory.mktemp("boxed")
    shutil.copytree(squares_root / "squares", root / "squares")
    manifest = root / "squares" / "store.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"boxes": True}))
    for split, n in (("train", 96), ("test", 24)):
        corner = np.random.default_rng(0).integers(0, 8, (n, 2))
        boxes = np.hstack([corner, corner + 5]).astype(np.int16)
        boxes[-1] = -1
        np.save(root / "squares" / f"{split}_boxes.npy", boxes)
    return root


@pytest.fixture
def both(runs, boxed_root):
    arms = [arg for method in ("baseline/seed0", "ralr/seed2") for arg in ("--ckpt", runs / method)]
    return [*arms, "--data", boxed_root, "--resamples", 20]


def test_localisation_saves_result_figure_and_numbers_and_prints_them(cli, both, tmp_path):
    out = tmp_path / "out"
    outcome = cli("localisation", *both, "--out", out, "--sanity", 6, "--faithfulness", 2).succeeded()
    assert sorted(path.name for path in out.iterdir()) == FILES
    result = load_result(out / "localisation")
    assert result.models == ("baseline", "RALR") and (len(result.labels), result.dropped) == (23, 1)
    value, low, high = result.measures()[0].interval(0)
    assert outcome.lines[0].startswith(
        f"rank accuracy, boxes below a quarter of the image: baseline {value:.4g}; RALR "
    )
    assert np.isnan([low, high]).all()
    assert outcome.lines[0].endswith(
        f"(no interval of {int(result.count('rank', 'small'))} images, which would be too narrow: take 50 or more)"
    )
    blind = [line for line in outcome.lines if line.startswith("uniform and centre map, all boxes")]
    assert (
        f"rank accuracy {result.baseline('rank', 'all')['uniform']:.4g}, " in blind[0]
        and "(n = 23)" in blind[0]
    )
    assert any(line.startswith("ROAD, gain over a centre map: baseline ") for line in outcome.lines)
    assert result.sanity_images == 6 and result.faithfulness_images == 2
    assert any("weights random from the head up to: linear " in line for line in outcome.lines)
    assert "1 images have no proper box" in outcome.err and "faithfulness of RALR: 100 %" in outcome.err
    with (out / "localisation.csv").open() as file:
        assert {row["part"] for row in csv.DictReader(file)} >= {"measure", "baseline", "sanity", "image"}


@pytest.mark.slow
def test_localisation_repeats_quietly_and_overwrites_only_with_force(cli, both, tmp_path, read_files):
    arguments = ["localisation", *both, "--out", tmp_path / "out", "-q", "--sanity", 0, "--limit", 12]
    assert cli(*arguments).succeeded().err == ""
    before = read_files(tmp_path)
    result = load_result(tmp_path / "out" / "localisation")
    assert result.sanity.shape == (2, 0, 3) and np.isnan(result.faithfulness).all()
    cli(*arguments).failed(2, "exists: pass --force to overwrite it or another --out")
    cli(*arguments, "--force").succeeded()
    assert read_files(tmp_path)["out/localisation.csv"] == before["out/localisation.csv"]


def test_localisation_without_boxes_says_what_is_needed(cli, both, squares_root, tmp_path):
    arguments = [*both, "--data", squares_root, "--out", tmp_path / "out", "-q"]
    cli("localisation", *arguments).failed(
        2, "`squares` has no bounding boxes: localisation needs data such as"
    )


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (["--sanity", "-1"], ["'--sanity'"]),
        (["--limit", "1"], ["of 1 images have a proper box: localisation needs two or more"]),
        (["--style", "nature"], ["unknown style `nature`"]),
        (["--ckpt", "nothing"], ["`nothing` does not exist"]),
    ],
)
def test_localisation_bad_option_is_one_line(cli, both, tmp_path, arguments, fragments):
    cli("localisation", *both, "-q", "--out", tmp_path / "out", *arguments).failed(2, *fragments)
    assert list(tmp_path.rglob("*.*")) == []
