"""The states of a run that make a path."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from ralr_viz.comparison.path import MOST_STATES, kept_states
from ralr_viz.errors import InputError


def make_run(folder: Path, epochs: range) -> Path:
    (folder / "checkpoints").mkdir(parents=True)
    for epoch in epochs:
        (folder / "checkpoints" / f"epoch_{epoch:04}.pt").touch()
    return folder


def test_kept_states_are_those_of_the_epochs(tmp_path: Path) -> None:
    run = make_run(tmp_path / "seed0", range(2, 9, 3))
    assert kept_states(run) == ([f"{run}@2", f"{run}@5", f"{run}@8"], [2, 5, 8])


def test_kept_states_of_a_long_run_are_evenly_spread_with_both_ends(tmp_path: Path) -> None:
    specs, epochs = kept_states(make_run(tmp_path / "seed0", range(1, 412)))
    assert len(specs) == len(epochs) == MOST_STATES == len(set(epochs))
    assert (epochs[0], epochs[-1]) == (1, 411)
    assert {b - a for a, b in pairwise(epochs)} == {2, 3}


def test_kept_states_refuse_what_makes_no_path(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no run directory"):
        kept_states(tmp_path / "nowhere")
    with pytest.raises(InputError, match="has kept 2 epochs, a path takes 3 or more"):
        kept_states(make_run(tmp_path / "seed0", range(1, 3)))
