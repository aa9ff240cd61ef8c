"""The README's Python runs, and its commands and files exist."""

import builtins
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
import typer.main

import ralr_viz
from ralr_viz.cli.app import app
from ralr_viz.models import build_model
from ralr_viz.results.bundle import load_result
from ralr_viz.results.run import load_run
from ralr_viz.train.recipe import recipe_names

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def test_readme_python_runs(tmp_path, monkeypatch, capsys):
    (tmp_path / "checkpoints").symlink_to(ROOT / "checkpoints")
    monkeypatch.chdir(tmp_path)
    torch.save(build_model("resnet56", 10).state_dict(), "resnet56.th")
    seen = {
        "torch": torch,
        "model": build_model("resnet20", 10),
        "images": torch.randn(2, 3, 32, 32),
        "before": build_model("resnet20", 4),
        "after": build_model("resnet20", 4),
        "pictures": np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8),
        "labels": np.arange(40) % 4,
        "train_one_epoch": lambda model, optimizer: optimizer.step(),
        "train_and_validate": lambda model: (1.0, 0.9, 60.0),
        "range": lambda *limits: builtins.range(*limits)[:3],  # three of the 300 epochs
    }
    assert len(BLOCKS) == 4
    for block in BLOCKS:
        if "RunWriter" in block:
            seen["scheduler"].optimizer.step()
        exec(compile(block, "README.md", "exec"), seen)
    assert load_result(tmp_path / "out/activations") == seen["result"]
    assert len(seen["figure"].axes) == 2  # a panel for each network
    assert load_run(tmp_path / "runs/mine/ralr/seed0").values("val_acc").tolist() == [60, 60, 60]
    assert "ralr, seed 0, epoch 20" in capsys.readouterr().out


@pytest.mark.parametrize(
    "line", sorted(set(re.findall(r"ralr-viz ([a-z].*?)(?:  +#.*|`.*|&&.*)?$", README, re.MULTILINE)))
)
def test_readme_commands_and_options_exist(line):
    words = shlex.split(line.replace("…", ""), comments=True)
    command = COMMANDS.get(words[0])
    if command is None:
        pytest.skip(f"prose: ralr-viz {words[0]}")
    if words[0] in ("data", "study"):
        command = command.commands[words[1]]
    known = {name for parameter in command.params for name in parameter.opts}
    assert {w for w in words if w.startswith("--")} <= known
    for name in re.findall(r"(?:cifar100?|tiny-imagenet(?:-50)?|digits)-[a-z0-9-]*[a-z0-9](?=\s|$)", line):
        if words[0] in ("pair", "train", "schedule"):
            assert name in recipe_names()


def test_public_names_exist_and_are_those_of_their_modules():
    for name in set(ralr_viz.__all__) - {"__version__"}:
        assert getattr(ralr_viz, name).__name__ == name
    assert set(ralr_viz._HOME) == set(ralr_viz.__all__) - {"__version__"}


def test_readme_links_to_files_that_exist():
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target
