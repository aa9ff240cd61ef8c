import csv

import pytest

from ralr_viz.results.bundle import load_result

FILES = [
    "sharpness",
    "sharpness.caption.tex",
    "sharpness.caption.txt",
    "sharpness.csv",
    "sharpness.pdf",
    "sharpness.png",
]
QUICK = ["--directions", 2, "--radii", "0.1,0.2", "--limit", 24, "--worst-steps", 1]


@pytest.fixture
def both(runs, squares_root):
    arms = [arg for method in ("baseline/seed0", "ralr/seed2") for arg in ("--ckpt", runs / method)]
    return [*arms, "--data", squares_root, *QUICK]


def test_sharpness_prints_measures_and_saves_the_figure(cli, both, tmp_path):
    out = tmp_path / "out"
    outcome = cli("sharpness", *both, "--out", out).succeeded()
    assert sorted(path.name for path in out.iterdir()) == FILES
    result = load_result(out / "sharpness")
    assert result.models == ("baseline", "RALR") and result.losses.shape == (2, 2, 2, 2)
    assert result.split == "train" and result.num_images == 24 and result.batchnorm == "batch"
    assert result.augmentation.startswith("cropped after padding by 2 and mirrored")
    assert outcome.lines[0].startswith("average sharpness, ρ = 0.1 (nats): baseline ")
    assert "RALR minus baseline" in outcome.lines[0]
    assert any(line.startswith("training loss at the centre (nats): baseline ") for line in outcome.lines)
    assert any("95 % t over 2 directions on 24 images" in line for line in outcome.lines)
    assert "losses at moved weights: 100 %" in outcome.err
    assert str(tmp_path) not in str(result.provenance)
    with (out / "sharpness.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 2 * (
            2 * 2 * 2 + 2 + 2 * 2
        )  # of normalised logits at one radius, too
    cli("sharpness", *both, "--out", out, "-q").failed(2, "exists: pass --force")
    frozen = ["--batchnorm", "frozen", "--no-augment", "--worst-radii", "none", "--force", "-q"]
    assert cli("sharpness", *both, "--out", out, *frozen).succeeded().err == ""
    result = load_result(out / "sharpness")
    assert result.batchnorm == "frozen" and result.augmentation == "" and len(result.worst_radii) == 0


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (["--radii", "a"], ["`--radii a` must be numbers"]),
        (["--radii", "0"], ["`radii` = 0 must be positive"]),
        (["--worst-radii", "-1"], ["`worst_radii` = -1"]),
        (["--directions", "1"], ["'--directions'"]),
        (["--batchnorm", "train"], ["unknown BatchNorm mode `train`"]),
        (["--device", "toaster"], ["unknown device `toaster`"]),
        (["--style", "nature"], ["unknown style `nature`"]),
        (["--split", "valid"], ["unknown split `valid`"]),
        (["--ckpt", "nothing"], ["`nothing` does not exist"]),
    ],
)
def test_bad_option_of_sharpness_is_one_line(cli, both, tmp_path, arguments, fragments):
    cli("sharpness", *both, "--out", tmp_path / "out", *arguments).failed(2, *fragments)
    assert list(tmp_path.rglob("*.*")) == []
