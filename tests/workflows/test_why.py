"""`why` from a notebook: the same work as the command, without it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import ralr_viz as rv
from ralr_viz.errors import InputError
from ralr_viz.results.bundle import load_result


@pytest.fixture
def runs(trained_pair: Path) -> dict[str, Path]:
    recipe = next(path for path in trained_pair.iterdir() if path.is_dir())
    return {"SGD": recipe / "baseline", "mine": recipe / "ralr"}


@pytest.fixture
def no_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Importing any part of it fails."""
    for name in [name for name in sys.modules if name.startswith("ralr_viz.cli")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "ralr_viz.cli", None)


def test_why_names_the_arms_as_they_are_given_and_saves_all(
    runs: dict[str, Path], squares_root: Path, tmp_path: Path, no_command_line: None
) -> None:
    options = rv.WhyOptions(only=["movement", "calibration"], data=squares_root, device="cpu")
    said: list[str] = []
    result = rv.why(runs, tmp_path, options=options, say=lambda line: said.append(str(line)))
    assert (result.arms, result.seeds) == (("SGD", "mine"), (0,))
    assert {"movement", "calibration"} <= set(result.diagnostics)
    assert load_result(tmp_path / "why") == result
    for name in ("why.png", "why.md", "seed0/movement.pdf", "seed0/calibration/manifest.json"):
        assert (tmp_path / name).is_file()
    assert any("2 of 2 done" in line for line in said)
    said.clear()
    assert rv.why(runs, tmp_path, options=options, say=lambda line: said.append(str(line))) == result
    assert sum("as saved before" in line for line in said) == 2


def test_why_refuses_one_arm_and_what_is_not_its_own(runs: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="1 arms were given: give two, or two and a control"):
        rv.why({"SGD": runs["SGD"]}, tmp_path / "one")
    (tmp_path / "why.md").write_text("somebody's")
    with pytest.raises(InputError, match="exists: pass --force"):
        rv.why(runs, tmp_path)
    assert (tmp_path / "why.md").read_text() == "somebody's"
