"""``ralr-viz fork`` as a user meets it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from ralr_viz.results.bundle import load_result


@pytest.fixture(scope="module")
def forked(trained_pair):
    (found,) = trained_pair.glob("*/ralr/seed0")
    return found


def arguments(run, root, out, *more):
    return ("fork", "--ckpt", f"{run}@1", "--factors", "1,2", "--data", root, "--out", out, *more)


def test_fork_draws_and_goes_on_where_it_was(cli, forked, squares_root, tmp_path):
    options = ("--device", "cpu", "--probe-images", 8)
    outcome = cli(*arguments(forked, squares_root, tmp_path / "out", *options)).succeeded()
    assert outcome.lines[0].startswith("repeat 0 against the run: reproduced (every number of epochs 2 to 3")
    assert any(line.startswith("val_loss at equal sum of LR, factor 2: ") for line in outcome.lines)
    assert any(line.startswith("barrier at the end, factor 2: ") for line in outcome.lines)
    assert outcome.lines[-5:] == [
        str(tmp_path / "out" / f"fork.{s}") for s in ("pdf", "png", "csv", "caption.txt", "caption.tex")
    ]
    assert "epochs of all branches: 100 % (6 of 6)" in outcome.err
    assert "Recorded factors: " in outcome.err
    first = load_result(tmp_path / "out" / "fork")
    assert str(tmp_path) not in str(first.provenance)
    cli(*arguments(forked, squares_root, tmp_path / "out")).failed(2, "exists", "--force")
    # another repeat: what was finished is not trained again
    kept = {f.name: f.stat().st_mtime_ns for f in (tmp_path / "out" / "fork-branches").iterdir()}
    more = (*options, "--repeats", 2, "--force", "-q")
    outcome = cli(*arguments(forked, squares_root, tmp_path / "out", *more)).succeeded()
    assert outcome.err == ""
    assert any("over 2 repeats" in line for line in outcome.lines)
    now = {f.name: f.stat().st_mtime_ns for f in (tmp_path / "out" / "fork-branches").iterdir()}
    assert len(now) == len(kept) + 2 and kept.items() <= now.items()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--factors", "2,3"), "must contain 1"),
        (("--factors", "1,x"), "must be numbers such as 1,1.5,2,3"),
        (("--epochs", "0"), "epochs"),
        (("--anneal", "0"), "`--anneal 0` must be whole numbers of epochs from 1 on"),
        (("--anneal", "x"), "`--anneal x` must be numbers such as 1,2"),
        (("--device", "cuda:99"), "cuda:99"),
    ],
)
def test_fork_refuses_bad_options(cli, forked, squares_root, tmp_path, more, message):
    cli(*arguments(forked, squares_root, tmp_path / "out", *more)).failed(2, message)


def test_fork_says_what_a_published_checkpoint_lacks(cli, baseline, squares_root, tmp_path):
    cli("export", "--ckpt", baseline, "--out", tmp_path / "w.safetensors").succeeded()
    outcome = cli(
        "fork", "--ckpt", tmp_path / "w.safetensors", "--data", squares_root, "--out", tmp_path / "o"
    )
    outcome.failed(2, "holds weights only", "--set keep_every=1")


@pytest.mark.slow
def test_fork_stopped_by_a_signal_ends_with_its_code(forked, squares_root, tmp_path):
    command = [str(a) for a in arguments(forked, squares_root, tmp_path / "out", "--probe-images", 0)]
    command += ["--epochs", "40", "--device", "cpu"]
    process = subprocess.Popen(
        [sys.executable, "-m", "ralr_viz", *command], stderr=subprocess.PIPE, text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    end = time.monotonic() + 100
    assert process.stderr is not None
    line = process.stderr.readline()  # the first report of its progress
    while "epochs of all branches" not in line and time.monotonic() < end:
        line = process.stderr.readline()
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=100)
    assert process.returncode == 143
    assert "stopped after 0 of 3 branches" in err.splitlines()[-1]
