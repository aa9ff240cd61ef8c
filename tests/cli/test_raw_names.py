"""Whatever a method is called, a saved result has its name as it is: who draws it escapes, shortens and breaks it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from ralr_viz import RunWriter
from ralr_viz.data import load_dataset
from ralr_viz.models import build_model
from ralr_viz.results.bundle import load_result

NAMES = ("cost$1", r"a\$b_{x} " + "long " * 11 + "long")
# One command for each way in which names are made.
COMMANDS: dict[str, tuple[object, ...]] = {
    "activations": ("--limit", 12),
    "collapse": (),
    "curves": (),
    "movement": ("--no-churn",),
}


@pytest.fixture(scope="module")
def named_runs(squares_root: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A run of each of the methods ``NAMES``, two epochs long, of a network that nobody trains."""
    dataset, found = load_dataset("squares", squares_root), []
    for i, name in enumerate(NAMES):
        torch.manual_seed(i)
        model = build_model("resnet20", dataset.num_classes)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        found.append(tmp_path_factory.mktemp("named") / "seed0")
        about = {"arch": "resnet20", "dataset": dataset, "epochs": 2, "optimizer": optimizer}
        with RunWriter(found[-1], method=name, keep=(1, 2), **about) as run:
            for epoch in (1, 2):
                run.log(epoch=epoch, train_loss=2 / epoch, test_acc=40.0 * epoch)
                run.save(model)
    return found


@pytest.mark.parametrize("command", COMMANDS)
def test_saved_names_are_raw(
    cli, named_runs: list[Path], squares_root: Path, tmp_path: Path, command: str
) -> None:
    if command in ("curves", "movement"):
        given = [word for run in named_runs for word in ("--run", run)]
    elif command == "activations":
        given = [word for run in named_runs for at in (1, 2) for word in ("--ckpt", f"{run}@{at}")]
    else:
        given = [word for run in named_runs for word in ("--ckpt", run)]
    if command != "curves":
        given += ["--data", squares_root]
    cli(command, *given, *COMMANDS[command], "--out", tmp_path, "-q").succeeded()
    (manifest,) = tmp_path.glob("*/manifest.json")
    load_result(manifest.parent)
    texts = _texts(json.loads(manifest.read_text())["fields"])
    for name in NAMES:
        assert any(name in text for text in texts), (name, texts)
    assert not any(r"\$1" in text or r"\\$" in text for text in texts)


def _texts(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [*value, *(text for item in value.values() for text in _texts(item))]
    return [text for item in value for text in _texts(item)] if isinstance(value, list) else []
