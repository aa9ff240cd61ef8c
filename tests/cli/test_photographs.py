"""Photographs in class folders, from the import to what looks at them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ralr_viz.data import View, fixed_view, load_dataset
from ralr_viz.models import build_model
from ralr_viz.nouns import NOUNS
from ralr_viz.workflows.subjects import Ears, open_subject


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Folder with ``tree``, pictures of two classes and many shapes, and ``net.pt``, a network of them."""
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            for i in range(5):
                path = tmp_path / "tree" / split / name / f"{i}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                shape = (int(rng.integers(20, 60)), int(rng.integers(20, 60)), 3)
                Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(path)
    torch.save(build_model("resnet20", 2).state_dict(), tmp_path / "net.pt")
    return tmp_path


def test_photographs_are_imported_checked_and_looked_at(photos, cli):
    root = photos / "root"
    cli("data", "import", "pets", "--from", photos / "tree", "--data", root).succeeded()
    cli("data", "doctor", "pets", "--data", root).succeeded()
    net = [
        "--ckpt",
        photos / "net.pt",
        "--arch",
        "resnet20",
        "--dataset",
        "pets",
        "--data",
        root,
        "--device",
        "cpu",
    ]
    cli("eval", *net).failed(2, "`pets` has photographs of unequal shape", "--size 224")
    found = [json.loads(cli("eval", *net, "--size", 16, *view, "--json").succeeded().out)["loss"]
             for view in ([], ["--resize", 30], ["--view", "warp"])]  # fmt: skip
    assert len(set(found)) == 3
    names = {path.name for path in (root / "pets" / "views").iterdir() if path.is_dir()}
    assert names == {"test-centre-16-of-18", "test-centre-16-of-30", "test-warp-16"}
    cli("eval", *net, "--size", 16, "--view", "wrap").failed(2, "unknown view `wrap`")
    cli("eval", *net, "--size", 16, "--view", "warp", "--resize", 20).failed(
        2, "resize = 20: a `warp` scales"
    )


def test_nouns_look_at_photographs_by_the_same_options(photos, cli):
    root = photos / "root"
    cli("data", "import", "pets", "--from", photos / "tree", "--data", root).succeeded()
    given = {"ckpt": [photos / "net.pt"], "arch": "resnet20", "dataset": "pets", "data": root, "size": 16}
    seen = []
    for more in ({"resize": 20}, {"view": "warp"}):
        found, _ = open_subject(
            NOUNS["calibration"], given | more | {"device": "cpu"}, {}, Ears(None, print, print)
        )
        seen.append(found.samples.view)
    assert seen == [View(16, 20), View(16, mode="warp")]


def test_pictures_in_files_are_seen_as_those_of_the_data_set(photos, cli):
    root = photos / "root"
    cli("data", "import", "pets", "--from", photos / "tree", "--data", root).succeeded()
    files = sorted((photos / "tree" / "test").rglob("*.png"))
    torch.save({"header": {"format": 1, "arch": "resnet20", "num_classes": 2, "dataset": "pets", "image_size": 16, "mean": [0.5] * 3,
                           "std": [0.2] * 3, "recipe": {"input_size": 16, "resize": 24}},
                "model": build_model("resnet20", 2).state_dict()}, photos / "trained.pt")  # fmt: skip
    for more, view in (({}, View(16, 24)), ({"view": "warp"}, View(16, mode="warp"))):
        given = {"ckpt": [photos / "trained.pt"], "data": root, "device": "cpu", "images": files} | more
        found, _ = open_subject(NOUNS["cam"], given, {}, Ears(None, print, print))
        stored = fixed_view(load_dataset("pets", root), "test", view.size, view.resize, view.mode).images
        assert found.samples.view == view and view.describe() in found.samples.selection
        assert sorted(map(bytes, found.samples.images)) == sorted(map(bytes, stored))


def test_training_on_photographs_is_one_line(photos, cli):
    root = photos / "root"
    cli("data", "import", "pets", "--from", photos / "tree", "--data", root).succeeded()
    outcome = cli(
        "train", "digits-resnet20", "--method", "baseline", "--set", "dataset=pets", "--data", root, "--runs", photos / "runs",
    )  # fmt: skip
    assert outcome.code == 2 and "photographs of unequal shape" in outcome.err.splitlines()[-1]
