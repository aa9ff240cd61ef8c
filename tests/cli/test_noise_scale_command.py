import csv

import pytest

from ralr_viz.results.bundle import load_result

FILES = [
    "noise_scale",
    "noise_scale.caption.tex",
    "noise_scale.caption.txt",
    "noise_scale.csv",
    "noise_scale.pdf",
    "noise_scale.png",
]
QUICK = ["--small", 2, "--big", 6, "--limit", 24]


@pytest.fixture
def both(runs, squares_root):
    arms = [arg for method in ("baseline/seed0", "ralr/seed2") for arg in ("--ckpt", runs / method)]
    return [*arms, "--data", squares_root, *QUICK]


def test_noise_scale_prints_measures_and_saves_the_figure(cli, both, tmp_path):
    out = tmp_path / "out"
    outcome = cli("noise-scale", *both, "--out", out).succeeded()
    assert sorted(path.name for path in out.iterdir()) == FILES
    result = load_result(out / "noise_scale")
    assert result.models == ("baseline", "RALR") and result.squares.shape == (2, 4)
    assert result.split == "train" and result.num_images == 24
    assert result.recipe_batch == (result.provenance["recipe"]["batch"],) * 2
    assert result.augmentation.startswith("cropped after padding by 2 and mirrored")
    assert outcome.lines[0].startswith("noise scale (images): baseline ")
    assert any(line.startswith("squared gradient |G|² (nats²): baseline ") for line in outcome.lines)
    assert any("4 disjoint draws of 6 of 24 images" in line for line in outcome.lines)
    assert "gradients of small batches: 100 %" in outcome.err
    assert str(tmp_path) not in str(result.provenance)
    with (out / "noise_scale.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 2 * (5 + 2 * 4)
    again = ["--draws", 2, "--no-augment", "--force", "-q"]
    assert cli("noise-scale", *both, "--out", out, *again).succeeded().err == ""
    result = load_result(out / "noise_scale")
    assert result.draws == 2 and result.augmentation == ""


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (["--big", "7"], ["`big` = 7 must be two or more times `small` = 2"]),
        (["--big", "16"], ["needs 32 images, there are 24: take more images or a `big` of at most 12"]),
        (["--draws", "1"], ["'--draws'"]),
        (["--split", "valid"], ["unknown split `valid`"]),
    ],
)
def test_bad_option_of_noise_scale_is_one_line(cli, both, tmp_path, arguments, fragments):
    cli("noise-scale", *both, "--out", tmp_path / "out", "-q", *arguments).failed(2, *fragments)
    assert list(tmp_path.rglob("*.*")) == []
