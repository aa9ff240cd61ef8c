import csv

import numpy as np
import pytest

from ralr_viz.analysis.embedding import layout
from ralr_viz.results.bundle import load_result

FILES = [
    "embedding",
    "embedding.caption.tex",
    "embedding.caption.txt",
    "embedding.csv",
    "embedding.pdf",
    "embedding.png",
]


@pytest.fixture(autouse=True)
def quick(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("RALR_VIZ_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setattr(layout, "_ITERATIONS", (25, 25))


@pytest.fixture
def both(runs, squares_root):
    """Two networks on the 24 test images of four classes."""
    arms = [arg for method in ("baseline/seed0", "ralr/seed2") for arg in ("--ckpt", runs / method)]
    return [*arms, "--data", squares_root, "--perplexity", 4]


def test_embed_draws_a_panel_for_each_checkpoint_and_prints_the_numbers(cli, both, tmp_path):
    out = tmp_path / "new" / "out"
    outcome = cli("embed", *both, "--out", out).succeeded()
    assert sorted(path.name for path in out.iterdir()) == FILES
    assert outcome.lines[-6:] == [
        str(out / name)
        for name in (
            "embedding",
            "embedding.pdf",
            "embedding.png",
            "embedding.csv",
            "embedding.caption.txt",
            "embedding.caption.tex",
        )
    ]
    result = load_result(out / "embedding")
    assert result.models == ("baseline", "RALR") and (result.method, result.align) == ("tsne", "init")
    value, low, high = result.metric("compactness")[0]
    assert np.isnan([low, high]).all() and "no interval of 24 images" in outcome.lines[6]
    assert outcome.lines[0].startswith(f"baseline: compactness {value:.3f}, separability")
    assert "nan" not in outcome.out and "inf" not in outcome.out.replace("info", "")
    assert outcome.lines[2].startswith("RALR minus baseline: compactness ")
    assert "23 nearest" not in outcome.out and "20 nearest neighbours kept from baseline" in outcome.lines[3]
    assert f"RALR {result.displacement[1]:.3f}; noise floor {result.noise_floor:.3f}" in outcome.lines[4]
    assert "favours its arrangement" in outcome.lines[4]
    assert "not the spread between training seeds" in outcome.lines[5]
    assert "t-SNE of RALR: 100 % (50 of 50)" in outcome.err
    assert "kNN accuracy is too low by construction" in outcome.err  # classes of 6 images
    assert str(tmp_path) not in str(result.provenance)
    assert result.provenance["networks"][1]["name"] == "RALR"
    with (out / "embedding.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 48 and {row["model"] for row in rows} == {"baseline", "RALR"}


@pytest.mark.slow
def test_embed_repeats_and_is_quiet_and_overwrites_only_with_force(cli, both, tmp_path, read_files):
    arguments = ["embed", *both, "--out", tmp_path / "out", "-q"]
    outcome = cli(*arguments).succeeded()
    assert outcome.err == ""
    before = read_files(tmp_path)
    cli(*arguments, "--seed", 1).failed(2, "exists: pass --force to overwrite it or another --out")
    assert read_files(tmp_path) == before
    cli(*arguments, "--force").succeeded()
    assert read_files(tmp_path)["out/embedding.csv"] == before["out/embedding.csv"]
    cli(*arguments, "--force", "--seed", 1).succeeded()
    assert read_files(tmp_path)["out/embedding.csv"] != before["out/embedding.csv"]


def test_embed_of_one_checkpoint_and_of_two_epochs(cli, baseline, squares_root, tmp_path):
    where = ["--data", squares_root, "--perplexity", 4, "-q"]
    outcome = cli("embed", "--ckpt", baseline, *where, "--out", tmp_path / "one").succeeded()
    assert "displacement" not in outcome.out and "minus" not in outcome.out
    epochs = ["--ckpt", f"{baseline}@prev", "--ckpt", baseline, "--align", "none"]
    outcome = cli("embed", *epochs, *where, "--limit", 20, "--out", tmp_path / "two").succeeded()
    result = load_result(tmp_path / "two" / "embedding")
    assert result.models == ("baseline, seed 0, epoch 1", "baseline, seed 0, epoch 2")
    assert len(result.labels) == 20 and np.isnan(result.noise_floor)
    assert "the maps are independent" in outcome.out


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (["--method", "pca"], ["unknown embedding method `pca`"]),
        (["--align", "procrustes"], ["unknown alignment `procrustes`"]),
        (["--align", "aligned-umap"], ["alignment `aligned-umap` is of UMAP, not of `tsne`"]),
        (
            ["--perplexity", "30"],
            ["`perplexity` = 30 must be from 1 to a third of the other images, 7.667 of 24"],
        ),
        (["--method", "umap", "--neighbours", "24"], ["`neighbours` = 24 must be from 2 to 23"]),
        (["--limit", "1"], ["`perplexity` = 4 must be"]),
        (["--seed", "-1"], ["'--seed'"]),
        (["--style", "nature"], ["unknown style `nature`", "icml"]),
        (["--device", "toaster"], ["unknown device `toaster`"]),
        (["--precision", "fp8"], ["unknown precision `fp8`"]),
        (["--split", "valid"], ["unknown split `valid`: did you mean `val`?"]),
        (["--dataset", "two"], ["has 4 classes, `two` has 2: pass another --dataset"]),
        (["--ckpt", "nothing"], ["`nothing` does not exist"]),
    ],
)
def test_bad_option_is_one_line(cli, both, tmp_path, arguments, fragments):
    cli("embed", *both, "--out", tmp_path / "out", *arguments).failed(2, *fragments)
    assert list(tmp_path.rglob("*.*")) == []


def test_checkpoints_of_different_data_need_a_dataset(cli, both, weights, tmp_path):
    import torch

    torch.save(weights, tmp_path / "theirs.pt")
    theirs = ["--ckpt", tmp_path / "theirs.pt", "--arch", "resnet20", "--num-classes", 4]
    arguments = ["embed", *both, *theirs, "--out", tmp_path / "out", "-q"]
    cli(*arguments).failed(2, "trained on different data (None, squares): pass --dataset")
    cli(*arguments, "--dataset", "squares", "--mean", "0.5,0.5,0.5", "--std", "0.2,0.2,0.2").succeeded()
    assert len(load_result(tmp_path / "out" / "embedding").models) == 3
