"""Weights in which bits have flipped, as the commands meet them: named, or the state before is gone on from."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from ralr_viz.train.checkpoint import load_checkpoint

from .conftest import Cli


def flip_weights(file: Path) -> None:
    """Two bits of ``linear.weight``; the other names of the file keep what they had."""
    data = bytearray(file.read_bytes())
    place = data.index(load_checkpoint(file).weights["linear.weight"].numpy().tobytes())
    data[place + 3] ^= 4
    data[place + 42] ^= 64
    file.unlink()
    file.write_bytes(data)


@pytest.fixture
def begun(trained_pair: Path, tmp_path: Path) -> Path:
    """A run as it is after its last epoch, without its result."""
    (source,) = trained_pair.glob("*/ralr/seed0")
    directory = tmp_path / "runs" / source.relative_to(trained_pair)
    shutil.copytree(source, directory)
    (directory / "result.json").unlink()
    return directory


def test_a_resume_takes_prev_says_so_and_ends_with_the_same_weights(
    cli: Cli, begun: Path, trained_pair: Path, tmp_path: Path, squares_root: Path
) -> None:
    flip_weights(begun / "checkpoints" / "last.pt")
    done = cli("run", begun, "--data", squares_root, "--device", "cpu", "-q").succeeded()
    reference = trained_pair / begun.relative_to(tmp_path / "runs")
    for spec in ("", "@best", "@2"):
        ours, theirs = (load_checkpoint(f"{d}{spec}").weights for d in (begun, reference))
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    said = "resuming from prev.pt, the state before: last.pt cannot be read (`"
    assert done.err.count("\n") == 1 and f"{begun}: {said}" in done.err and "last.pt` is damaged" in done.err
    assert said in (begun / "log.txt").read_text()
    again = cli("run", begun, "--data", squares_root, "-q").succeeded()
    assert again.err == ""


def test_a_resume_with_neither_state_is_one_line(
    cli: Cli, begun: Path, squares_root: Path, read_files
) -> None:
    for name in ("last", "prev"):
        flip_weights(begun / "checkpoints" / f"{name}.pt")
    before = read_files(begun / "checkpoints")
    cli("run", begun, "--data", squares_root, "-q").failed(
        2, "neither last.pt nor prev.pt", "move the run directory away and start it again"
    )
    assert read_files(begun / "checkpoints") == before


@pytest.mark.parametrize("spec", ["", "@best", "@2"])
def test_eval_names_the_file(cli: Cli, begun: Path, squares_root: Path, spec: str) -> None:
    name = {"": "last", "@best": "best", "@2": "epoch_0002"}[spec]
    flip_weights(begun / "checkpoints" / f"{name}.pt")
    cli("eval", "--ckpt", f"{begun}{spec}", "--data", squares_root).failed(2, f"{name}.pt` is damaged")


def test_an_export_names_the_file_before_it_is_made_and_after(
    cli: Cli, begun: Path, squares_root: Path, tmp_path: Path
) -> None:
    out = tmp_path / "w.safetensors"
    cli("export", "--ckpt", begun, "--out", out).succeeded()
    flip_weights(out)
    cli("eval", "--ckpt", out, "--data", squares_root).failed(2, "w.safetensors` is damaged")
    flip_weights(begun / "checkpoints" / "last.pt")
    cli("export", "--ckpt", begun, "--out", out, "--force").failed(2, "last.pt` is damaged")


@pytest.mark.parametrize("name", ["epoch_0002", "last"])
def test_why_names_the_file_of_the_many(
    cli: Cli, trained_pair: Path, squares_root: Path, tmp_path: Path, name: str
) -> None:
    shutil.copytree(trained_pair, tmp_path / "pair")
    (folder,) = (tmp_path / "pair").glob("*")
    flip_weights(folder / "baseline" / "seed0" / "checkpoints" / f"{name}.pt")
    arms = ("--a", folder / "baseline", "--b", folder / "ralr", "--only", "movement")
    done = cli("why", *arms, "--out", tmp_path / "out", "--data", squares_root, "--device", "cpu")
    assert f"baseline/seed0/checkpoints/{name}.pt` is damaged" in done.err


def test_movement_names_a_last_state_that_it_leaves_out(cli: Cli, begun: Path, tmp_path: Path) -> None:
    flip_weights(begun / "checkpoints" / "last.pt")
    done = cli("movement", "--run", begun, "--no-churn", "--out", tmp_path / "out", "-q").succeeded()
    (line,) = done.err.splitlines()
    assert line.startswith("left out: `") and "last.pt` is damaged" in line
