import csv

import numpy as np
import pytest
import torch

from ralr_viz import RunWriter
from ralr_viz.models import build_model
from ralr_viz.results.bundle import load_result

FILES = [
    "activations",
    "activations.caption.tex",
    "activations.caption.txt",
    "activations.csv",
    "activations.pdf",
    "activations.png",
]


@pytest.fixture
def epochs(runs):
    """Two epochs of both runs, a row each."""
    both = (f"{runs / run}{when}" for run in ("baseline/seed0", "ralr/seed2") for when in ("@prev", ""))
    return [argument for checkpoint in both for argument in ("--ckpt", checkpoint)]


def test_activations_draws_a_row_for_each_pair(cli, epochs, squares_root, tmp_path):
    out = tmp_path / "new" / "out"
    outcome = cli("activations", *epochs, "--data", squares_root, "--out", out).succeeded()
    assert outcome.lines[-6:] == [
        str(out / n)
        for n in (
            "activations",
            *(f"activations.{s}" for s in ("pdf", "png", "csv", "caption.txt", "caption.tex")),
        )
    ]
    assert sorted(path.name for path in out.iterdir()) == FILES
    assert "activations: 100 % (48 of 48)\n" in outcome.err
    assert "images: all 24 squares test images\n" in outcome.err
    assert "RALR: layers layer1, layer2, layer3\n" in outcome.err
    result = load_result(out / "activations")
    assert (result.rows, result.num_images) == (("baseline", "RALR"), 24)
    assert result.checkpoints == (("epoch 1", "epoch 2"),) * 2
    assert result.shapes[0] == ((16, 16, 16), (32, 8, 8), (64, 4, 4))
    assert (result.dataset, result.split, result.image) == ("squares", "test", None)
    described = result.provenance["checkpoints"]
    assert [c["epoch"] for c in described] == [1, 2, 1, 2]
    assert list(described[0]) == ["row", "name", "sha256", "epoch"] and described[0]["row"] == "baseline"
    assert {"command", "recipe", "device", "precision", "summary"} <= result.provenance.keys()
    assert str(tmp_path) not in str(result.provenance)


def test_activations_prints_and_keeps_the_numbers(cli, epochs, squares_root, tmp_path):
    outcome = cli("activations", *epochs, "--data", squares_root, "--out", tmp_path / "out", "-q").succeeded()
    assert outcome.err == ""
    result = load_result(tmp_path / "out" / "activations")
    summary = result.summary()
    assert len(outcome.lines) == 6 + 3 + 6
    row, line = summary[4], outcome.lines[4]
    assert line.startswith("RALR, layer2 (32×8×8): zeros ")
    change = f"{100 * row['relative_change']:.4g} [{100 * row['relative_change_low']:.4g}, "
    assert f"; relative change {change}" in line
    assert f"W1 {row['distance']:.4g} [" in line and "floor" in line and "dead channels " in line
    assert outcome.lines[7].startswith("RALR minus baseline, layer2: W1 ")
    kept = result.provenance["summary"]
    assert [r["relative_change"] for r in kept] == [r["relative_change"] for r in summary]
    with (tmp_path / "out" / "activations.csv").open() as file:
        bars = list(csv.DictReader(file))
    zero = next(b for b in bars if (b["row"], b["layer"], b["checkpoint"]) == ("RALR", "layer2", "epoch 2"))
    assert (zero["bin_right"], zero["density"]) == ("0.0", "")
    assert float(zero["share"]) == row["zero_share_later"]


def test_activations_of_one_image_has_no_intervals(cli, epochs, squares_root, tmp_path):
    where = ["--data", squares_root, "--out", tmp_path / "out"]
    outcome = cli("activations", *epochs, *where, "--image", 5).succeeded()
    assert "images: image 5 of the 24 squares test images\n" in outcome.err
    assert not any("[" in line or "nan" in line or "floor" in line for line in outcome.lines)
    result = load_result(tmp_path / "out" / "activations")
    assert (result.image, result.num_images) == (5, 1)


def test_activations_of_some_images_and_named_layers(cli, epochs, squares_root, tmp_path):
    layers = ["--layer", "layer3.2.bn2", "--layer", "conv1"]
    where = ["--data", squares_root, "--out", tmp_path / "out", "--limit", 7, "--split", "val"]
    outcome = cli("activations", *epochs[:4], *where, *layers).succeeded()
    assert "images: 7 squares val images, evenly spread\n" in outcome.err
    result = load_result(tmp_path / "out" / "activations")
    assert result.layers == (("layer3.2.bn2", "conv1"),)
    assert (result.bin_starts < 0).all()
    assert result.group_images.tolist() == [1] * 7


@pytest.mark.parametrize(
    ("pairs", "rows", "states"),
    [
        (["ralr/seed2@prev", "ralr/seed2"], ["RALR"], [("epoch 1", "epoch 2")]),
        (
            ["baseline/seed0", "ralr/seed2"],
            ["baseline → RALR"],
            [("baseline, epoch 2", "RALR, epoch 2")],
        ),
        (
            ["baseline/seed0@prev", "baseline/seed0", "baseline/seed0", "baseline/seed0"],
            ["baseline, seed 0 (1)", "baseline, seed 0 (2)"],
            [("epoch 1", "epoch 2"), ("epoch 2", "epoch 2")],
        ),
    ],
)
def test_activations_names_rows_and_states(cli, runs, squares_root, tmp_path, pairs, rows, states):
    chosen = [argument for pair in pairs for argument in ("--ckpt", runs / pair)]
    cli("activations", *chosen, "--data", squares_root, "--limit", 3, "--out", tmp_path, "-q").succeeded()
    result = load_result(tmp_path / "activations")
    assert (list(result.rows), list(result.checkpoints)) == (rows, states)


@pytest.mark.slow
def test_states_that_are_called_alike_are_named_by_their_folders(cli, weights, squares_root, tmp_path):
    """Both commands that take pairs; of two trainings of one method, seed and epoch the settings are named."""
    ours = []
    for name in ("A", "B"):
        (tmp_path / name).mkdir()
        torch.save(weights, tmp_path / name / "last.pt")
        ours += ["--ckpt", tmp_path / name]
        with RunWriter(tmp_path / name, arch="resnet20", num_classes=4, recipe={"lr": name}) as run:
            run.log(epoch=1)
            run.save(build_model("resnet20", 4))
    theirs = [
        "--ckpt",
        tmp_path / "A" / "last.pt",
        "--ckpt",
        tmp_path / "B" / "last.pt",
        "--arch",
        "resnet20",
    ]
    where = ["--dataset", "squares", "--data", squares_root, "--limit", 4, "-q"]
    where += ["--mean", "0.5,0.4,0.3", "--std", "0.2,0.2,0.2"]
    for given, states in ((theirs, ("A/last", "B/last")), (ours, ("epoch 1, lr=A", "epoch 1, lr=B"))):
        out = tmp_path / f"out {states[0][0]}"
        cli("activations", *given, *where, "--out", out).succeeded()
        assert load_result(out / "activations").checkpoints == (states,)
        cli("barrier", *given, *where, "--points", 3, "--no-augment", "--out", out).succeeded()
        assert load_result(out / "barrier").states == (states,)


def test_activations_of_strangers_weights(cli, weights, squares_root, tmp_path):
    for name in ("a", "b"):
        torch.save({f"module.{key}": value for key, value in weights.items()}, tmp_path / f"{name}.pt")
    given = ["--ckpt", tmp_path / "a.pt", "--ckpt", tmp_path / "b.pt", "--arch", "resnet20"]
    given += ["--dataset", "squares", "--data", squares_root, "--mean", "0.5,0.4,0.3", "--std", "0.2,0.2,0.2"]
    cli("activations", *given, "--out", tmp_path / "out", "-q").succeeded()
    result = load_result(tmp_path / "out" / "activations")
    assert (result.rows, result.checkpoints) == (("a → b",), (("a", "b"),))
    np.testing.assert_array_equal(result.measure("relative_change").value, 0)


def test_activations_overwrites_only_with_force(cli, epochs, squares_root, tmp_path, read_files):
    arguments = ["activations", *epochs[:4], "--data", squares_root, "--limit", 2, "--out", tmp_path, "-q"]
    cli(*arguments).succeeded()
    before = read_files(tmp_path)
    cli(*arguments, "--image", 0, "--force").failed(2, "give one of the two")
    cli(*arguments, "--batch", 1).failed(2, "exists: pass --force to overwrite it or another --out")
    assert read_files(tmp_path) == before
    cli(*arguments, "--force").succeeded()
    after = read_files(tmp_path)
    assert after.keys() == before.keys()
    assert after["activations.csv"] == before["activations.csv"]


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (["--ckpt", "x"], ["`--ckpt` is given 3 times: every pair takes two"]),
        (["--image", "24"], ["`--image 24` is not there: the squares test images are 0 to 23"]),
        (["--image", "-1"], ["'--image'"]),
        (["--image", "3", "--limit", "5"], ["`--image 3` is one image and `--limit 5` several"]),
        (["--layer", "layer33"], ["unknown module `layer33`: did you mean `layer3`"]),
        (["--layer", ""], ["unknown module ``"]),
        (["--style", "nature"], ["unknown style `nature`"]),
        (["--device", "toaster"], ["unknown device `toaster`"]),
        (["--split", "valid"], ["unknown split `valid`: did you mean `val`?"]),
        (["--dataset", "two"], ["has 4 classes, `two` has 2: pass another --dataset"]),
        (["--mean", "1,2"], ["`--mean 1,2` must be three numbers"]),
        (["--ckpt", "nothing", "--ckpt", "nothing"], ["`nothing` does not exist"]),
    ],
)
def test_activations_refuses_bad_options(cli, epochs, squares_root, tmp_path, arguments, fragments):
    given = [*epochs[:4], "--data", squares_root, "--out", tmp_path / "out", "-q"]
    cli("activations", *given, *arguments).failed(2, *fragments)
    assert list(tmp_path.rglob("*.*")) == []


def test_activations_of_a_network_without_maps_is_one_line(cli, squares_root, tmp_path, monkeypatch):
    layers = "nn.Flatten(), nn.Linear(768, {})"
    (tmp_path / "my_mlp.py").write_text(
        f"from torch import nn\ndef make(num_classes):\n"
        f"    return nn.Sequential({layers.format('num_classes')})\n"
    )
    torch.save(eval(f"nn.Sequential({layers.format(4)})", {"nn": torch.nn}).state_dict(), tmp_path / "w.pt")
    monkeypatch.chdir(tmp_path)
    given = ["--ckpt", "w.pt", "--ckpt", "w.pt", "--arch", "my_mlp:make", "--dataset", "squares"]
    given += ["--mean", "0.5,0.4,0.3", "--std", "0.2,0.2,0.2"]
    outcome = cli("activations", *given, "--data", squares_root, "--out", "out", "-q")
    outcome.failed(2, "`Sequential` has no module that returns a map", "--layer")
    cli("activations", *given, "--data", squares_root, "--out", "out", "-q", "--layer", "1").succeeded()
    assert load_result(tmp_path / "out" / "activations").shapes == (((4,),),)
