"""What runs have kept, opened by the library: their states, and both ends of the late phase."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import ralr_viz as rv
from ralr_viz.comparison import late_states, open_states
from ralr_viz.errors import InputError
from ralr_viz.results.run import load_run
from ralr_viz.train.loop import train_run
from ralr_viz.train.prepare import prepare_run


@pytest.fixture(scope="module")
def runs(tmp_path_factory, make_recipe, squares_root) -> Path:
    """A folder of two runs of three epochs that kept all their states."""
    folder = tmp_path_factory.mktemp("states")
    recipe = make_recipe(keep_every=1, subset=32, train_sample=8)
    for method in ("baseline", "ralr"):
        train_run(prepare_run(recipe, method, 0, folder), squares_root, device="cpu")
    return folder


@pytest.fixture
def without_states(runs, tmp_path) -> Path:
    (found,) = runs.glob("*/baseline/seed0")
    bare = shutil.copytree(found, tmp_path / "bare")
    shutil.rmtree(bare / "checkpoints")
    return bare


def test_movement_of_run_directories_takes_one_line(runs):
    result = rv.compute_movement([*sorted(runs.glob("*/*/seed0"))])
    assert result.models == ("baseline", "RALR") and result.num_images == 0
    assert np.isfinite(result.late_net).all() and not result.notes


def test_states_are_those_of_directories_folders_and_records(runs):
    paths = sorted(runs.glob("*/*/seed0"))
    for sources in (paths, runs, [load_run(path) for path in paths]):
        opened = open_states(sources)
        assert [run.record.method for run in opened] == ["baseline", "ralr"]
        assert [list(run.states) for run in opened] == [[1, 2, 3]] * 2
        assert opened[0].late_ends == (2, 3)


def test_late_states_are_of_the_runs_that_kept_both(runs, without_states, squares_root):
    sources = [without_states, runs]
    late = late_states(sources, root=squares_root, limit=10, device="cpu")
    assert late is not None and [network.checkpoint.epoch for network in late.networks] == [2, 3, 2, 3]
    result = rv.compute_movement(sources, late=late)
    assert (result.changed[0] == -1).all() and (result.changed[1:] >= 0).all()
    assert result.changed.shape == (3, 10) and result.dataset == "squares"
    assert [c["epoch"] for c in result.provenance["late"]["checkpoints"]] == [2, 3, 2, 3]
    assert late_states(without_states, root=squares_root) is None
    before, after, *_ = rv.compute_predictions(late)
    assert (result.changed[1] == (before.predicted != after.predicted)).all()
    with pytest.raises(InputError, match="4 networks for 1 runs, 0 of which kept"):
        rv.compute_movement(without_states, late=late)


def test_late_states_of_nowhere_are_refused(runs, squares_root):
    own = [(run.record, {epoch: {} for epoch in run.states}) for run in open_states(runs)]
    with pytest.raises(InputError, match="are in no run directory: `compare` two networks"):
        late_states(own, root=squares_root)


def test_movement_notes_networks_that_do_not_predict(runs, squares_root):
    late = late_states(runs, root=squares_root, device="cpu")
    assert late is not None
    (network, *_) = late.networks
    network.checkpoint.weights["linear.weight"].fill_(float("nan"))
    result = rv.compute_movement(runs, late=late)
    assert result.num_images == 0 and np.isfinite(result.late_net).all()
    assert "churn is not measured: the network's outputs are not finite" in result.notes[0]


def test_a_damaged_last_state_is_noted(runs, tmp_path):
    (found,) = runs.glob("*/ralr/seed0")
    run = shutil.copytree(found, tmp_path / "run")
    last = run / "checkpoints" / "last.pt"
    last.write_bytes(last.read_bytes()[:1000])
    (note,) = rv.compute_movement(run).notes
    assert note.startswith("left out: `") and "last.pt" in note
