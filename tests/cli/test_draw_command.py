"""Saved results redrawn: in another style, elsewhere, without data or torch."""

from __future__ import annotations

import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from ralr_viz.cli.app import main
from ralr_viz.results.bundle import save_result
from ralr_viz.results.predictions import PredictionsResult

SUFFIXES = ("pdf", "png", "csv", "caption.txt", "caption.tex")


@pytest.fixture(scope="module")
def drawn(baseline, tmp_path_factory):
    """The folder of what `ralr-viz curves` saves of a run."""
    folder = tmp_path_factory.mktemp("drawn")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as ended:
        patch.setattr("sys.argv", ["ralr-viz", "curves", "--run", str(baseline), "--out", str(folder)])
        main()
    assert not ended.value.code
    return folder


@pytest.fixture
def curves(drawn, tmp_path):
    """Its result, beside a figure of it, in a copy of a test's own."""
    shutil.copytree(drawn, tmp_path / "first")
    return tmp_path / "first" / "curves"


def width(path) -> float:
    with Image.open(path) as image:
        return image.width / 300  # inches


def test_draw_gives_the_same_bytes_in_the_same_style(cli, curves, tmp_path) -> None:
    done = cli("draw", curves, "--out", tmp_path / "again").succeeded()
    assert done.lines == [str(tmp_path / "again" / f"curves.{s}") for s in SUFFIXES]
    for suffix in SUFFIXES:
        name = f"curves.{suffix}"
        assert (tmp_path / "again" / name).read_bytes() == (curves.parent / name).read_bytes()


def test_draw_takes_style_and_column(cli, curves, tmp_path) -> None:
    cli("draw", curves, "--style", "ieee", "--column", "half", "--out", tmp_path / "ieee").succeeded()
    assert width(tmp_path / "ieee" / "curves.png") == pytest.approx(3.5, abs=0.01)
    cli("draw", curves, "--style", "nature").failed(2, "unknown style `nature`")


def test_draw_puts_the_caption_back_into_the_picture(cli, curves, tmp_path) -> None:
    heights = []
    for option in ([], ["--caption"]):
        out = tmp_path / f"caption{len(option)}"
        cli("draw", curves, "--out", out, *option).succeeded()
        with Image.open(out / "curves.png") as image:
            heights.append(image.height)
            assert image.info["Description"] == (out / "curves.caption.txt").read_text().strip()
    assert heights[1] > heights[0]


def test_draw_beside_the_result_needs_force(cli, curves) -> None:
    cli("draw", curves, "--style", "ieee").failed(2, "exists: pass --force")
    done = cli("draw", curves, "--style", "ieee", "--force").succeeded()
    assert done.lines == [f"{curves}.{suffix}" for suffix in SUFFIXES]
    assert width(curves.with_suffix(".png")) == pytest.approx(7.16, abs=0.01)


def test_draw_takes_the_folder_it_is_in(cli, curves, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(curves)
    cli("draw", ".", "--out", tmp_path / "here").succeeded()
    assert (tmp_path / "here" / "curves.pdf").is_file()


def test_draw_refuses_what_is_no_figure(cli, tmp_path) -> None:
    cli("draw", tmp_path / "none").failed(2, "no result in")
    zeros = np.zeros((2, 3), np.float32)
    numbers = PredictionsResult(
        model="m", indices=np.arange(2), labels=np.arange(2), logits=zeros, features=zeros,
        feature_layer="fc", true_maps=zeros[..., None], predicted_maps=zeros[..., None], map_layer="",
    )  # fmt: skip
    save_result(numbers, tmp_path / "p")
    cli("draw", tmp_path / "p", "--out", tmp_path / "new").failed(2, "kind `predictions` has no figure")
    assert not (tmp_path / "new").exists()


def test_draw_needs_no_torch(curves, tmp_path) -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        f"sys.argv = ['ralr-viz', 'draw', {str(curves)!r}, '--out', {str(tmp_path / 'o')!r}]\n"
        "from ralr_viz.cli.app import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "o" / "curves.pdf").is_file()
