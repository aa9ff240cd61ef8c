"""One row of the table decides the public names, the command and the options of both."""

from __future__ import annotations

import inspect
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer

import ralr_viz
from ralr_viz.cli.app import app
from ralr_viz.nouns import NOUNS, Noun

ROWS = pytest.mark.parametrize("noun", NOUNS.values(), ids=NOUNS)


@ROWS
def test_a_noun_has_its_public_names_and_command(noun: Noun) -> None:
    assert set(noun.public_names) <= set(ralr_viz.__all__)
    for name in noun.public_names:
        assert callable(getattr(ralr_viz, name))
    command = typer.main.get_command(app).commands[noun.command_name]  # type: ignore[attr-defined]
    assert f"ralr-viz {noun.command_name} " in command.help


@ROWS
def test_the_function_takes_the_options_of_the_command_with_their_defaults(noun: Noun) -> None:
    own = {option.name: option.default for option in noun.spec.options}
    hidden = {option.name for option in noun.spec.options if not option.shown}
    parameters = inspect.signature(noun.load("compute")).parameters
    assert len(parameters) <= 10
    assert {name: parameters[name].default for name in own} == own
    assert parameters["progress"].default is None
    command = typer.main.get_command(app).commands[noun.command_name]  # type: ignore[attr-defined]
    params = {parameter.name for parameter in command.params}
    assert set(own) - hidden <= params and not hidden & params


@ROWS
def test_the_helps_of_options_are_phrases(noun: Noun) -> None:
    for option in noun.spec.options:
        assert option.help[0].isupper() or option.help.split()[0].strip("(),") in (
            *option.among,
            option.default,
        )
        assert option.help.endswith((".", "]"))


def test_a_row_taken_out_takes_command_and_names_along(tmp_path: Path) -> None:
    package = tmp_path / "ralr_viz"
    shutil.copytree(Path(ralr_viz.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    table = package / "nouns" / "table.py"
    lines = table.read_text().splitlines()
    kept = [line for line in lines if 'Noun("sharpness"' not in line]
    assert len(kept) == len(lines) - 1
    table.write_text("\n".join(kept))
    code = """
import ralr_viz, typer
from ralr_viz.cli.app import app
commands = typer.main.get_command(app).commands
assert "spectrum" in commands and "sharpness" not in commands
from ralr_viz.workflows.why_jobs import COSTS
assert "spectrum" in COSTS and "sharpness" not in COSTS
assert "compute_spectrum" in ralr_viz.__all__
assert not [name for name in ralr_viz.__all__ if "sharpness" in name]
try:
    ralr_viz.draw_sharpness
except AttributeError:
    print("gone")
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout == "gone\n", done.stderr
