"""The command line as a user meets it: `main` with arguments, its exit code and what it printed."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from ralr_viz.cli.app import main
from ralr_viz.recipe import Recipe, recipe_to_toml
from ralr_viz.train.loop import train_run
from ralr_viz.train.prepare import prepare_run

Cli = Callable[..., "Outcome"]


@dataclass(frozen=True)
class Outcome:
    """Exit code, stdout and stderr of a command."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    def succeeded(self) -> Outcome:
        assert self.code == 0, self.err
        return self

    def failed(self, code: int, *fragments: str) -> Outcome:
        """It ended with ``code`` and one line on stderr, which holds the fragments, and printed no data."""
        assert self.code == code, self.err + self.out
        assert self.err.count("\n") == 1 and self.err.startswith("ralr-viz: "), self.err
        for fragment in fragments:
            assert fragment in self.err
        assert self.out == ""
        return self


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """``cli("eval", "--ckpt", path)``: the command in this process."""

    def run(*arguments: object) -> Outcome:
        monkeypatch.setattr("sys.argv", ["ralr-viz", *map(str, arguments)])
        monkeypatch.setattr("warnings.formatwarning", warnings.formatwarning)  # `main` sets it
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return Outcome(int(ended.value.code or 0), out, err)

    return run


@pytest.fixture(scope="session")
def shell() -> Cli:
    """``shell("--version", TERM="dumb")``: ``python -m ralr_viz`` as a process of its own."""

    def run(*arguments: object, **environment: str) -> Outcome:
        done = subprocess.run(
            [sys.executable, "-m", "ralr_viz", *map(str, arguments)],
            capture_output=True, text=True, timeout=120, env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
        )  # fmt: skip
        return Outcome(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture(scope="session")
def recipe_file(tmp_path_factory: pytest.TempPathFactory, make_recipe: Callable[..., Recipe]) -> Path:
    """``squares.toml``: one epoch of ResNet-20 on ``squares``."""
    settings = make_recipe(epochs=1, milestones=()).to_dict()
    del settings["name"]
    file = tmp_path_factory.mktemp("recipe") / "squares.toml"
    file.write_text(recipe_to_toml(settings))
    return file


@pytest.fixture(scope="session")
def runs(
    tmp_path_factory: pytest.TempPathFactory, make_recipe: Callable[..., Recipe], squares_root: Path
) -> Path:
    """``baseline/seed0`` and ``ralr/seed2`` (which amplifies both epochs), trained for two epochs."""
    recipe, folder = make_recipe(epochs=2, milestones=(1,)), tmp_path_factory.mktemp("runs")
    for method, seed in (("baseline", 0), ("ralr", 2)):
        directory = prepare_run(recipe, method, seed, folder)
        train_run(directory, squares_root, device="cpu")
    return directory.parents[1]


@pytest.fixture(scope="session")
def baseline(runs: Path) -> Path:
    return runs / "baseline" / "seed0"


@pytest.fixture(scope="session")
def weights(baseline: Path) -> dict[str, torch.Tensor]:
    """The baseline's state dict."""
    return torch.load(baseline / "checkpoints" / "last.pt", weights_only=True)["model"]


@pytest.fixture(scope="session")
def read_files() -> Callable[[Path], dict[str, bytes]]:
    """``read_files(folder)``: every file below it, to see that nothing was lost."""
    return lambda folder: {
        str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }
