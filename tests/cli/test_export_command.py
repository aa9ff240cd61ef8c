import json

import pytest
import torch

from ralr_viz.train.checkpoint import load_checkpoint


def test_export_evaluates_as_the_run_does(cli, baseline, squares_root, tmp_path):
    file = tmp_path / "new folder" / "réseau.safetensors"
    outcome = cli("export", "--ckpt", f"{baseline}@best", "--out", file).succeeded()
    assert (outcome.out, outcome.err) == (f"{file}\n", "")
    where = ["--data", squares_root, "--precision", "fp32", "--split", "val", "--json"]
    ours, theirs = (
        json.loads(cli("eval", "--ckpt", spec, *where).succeeded().out) for spec in (f"{baseline}@best", file)
    )
    assert ours.pop("images_per_second") and theirs.pop("images_per_second")
    assert ours == theirs


def test_export_writes_down_what_a_strangers_file_does_not_say(cli, weights, tmp_path):
    torch.save(weights, tmp_path / "theirs.pt")
    file = tmp_path / "w.safetensors"
    said = ["--arch", "resnet20", "--num-classes", 4, "--size", 16, "--dataset", "squares"]
    scale = ["--mean", "0.5,0.4,0.3", "--std", "0.1,0.2,0.3"]
    cli("export", "--ckpt", tmp_path / "theirs.pt", "--out", file, *said, *scale).succeeded()
    known = load_checkpoint(file)
    assert (known.arch, known.num_classes, known.image_size, known.dataset) == ("resnet20", 4, 16, "squares")
    assert (known.mean, known.std) == ((0.5, 0.4, 0.3), (0.1, 0.2, 0.3))
    assert torch.equal(known.build().state_dict()["linear.weight"], weights["linear.weight"])


def test_export_overwrites_only_with_force(cli, baseline, tmp_path):
    file = tmp_path / "w.safetensors"
    file.write_bytes(b"mine")
    arguments = ["export", "--ckpt", baseline, "--out", file]
    cli(*arguments).failed(2, "exists: pass --force to overwrite it")
    assert file.read_bytes() == b"mine"
    cli(*arguments, "--force").succeeded()
    assert load_checkpoint(file).method == "baseline"


@pytest.mark.parametrize(
    ("out", "fragment"),
    [
        ("w.pt", "must end in .safetensors"),
        (".", "must end in .safetensors"),
        ("folder.safetensors", "is a folder: give the name of a file"),
        ("file/w.safetensors", "cannot be made"),
    ],
)
def test_export_to_no_file_is_one_line(cli, baseline, tmp_path, monkeypatch, out, fragment):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.safetensors").mkdir()
    (tmp_path / "file").touch()
    for force in ([], ["--force"]):
        cli("export", "--ckpt", baseline, "--out", out, *force).failed(2, fragment)
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["file", "folder.safetensors"]
