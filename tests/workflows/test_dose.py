"""Dose–response over real runs: the numbers of each noun alone, in the right places, resumed; bad input is one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ralr_viz.comparison import compare
from ralr_viz.errors import InputError, UnknownNameError
from ralr_viz.nouns import NOUNS
from ralr_viz.results.bundle import load_result
from ralr_viz.results.run import load_run
from ralr_viz.train.loop import train_run
from ralr_viz.train.prepare import prepare_run
from ralr_viz.workflows import why_jobs
from ralr_viz.workflows.dose import DoseOptions, dose_response, save_dose

OWN = {"resamples": 10}


@pytest.fixture(scope="module")
def runs(
    tmp_path_factory: pytest.TempPathFactory, make_recipe: Callable[..., Any], squares_root: Path
) -> dict[Any, Path]:
    """Three rates and RALR, of two seeds."""
    folder = tmp_path_factory.mktemp("runs")
    found: dict[Any, Path] = {}
    for dose, method, lr in (
        (0.5, "baseline", 0.05),
        (1, "baseline", 0.1),
        (2, "baseline", 0.2),
        ("ralr", "ralr", 0.1),
    ):
        for seed in (0, 2):
            run = prepare_run(make_recipe(lr=lr, epochs=2), method, seed, folder)
            train_run(run, squares_root, device="cpu")
            found[dose] = run.parent
    return found


@pytest.fixture
def options(squares_root: Path) -> DoseOptions:
    return DoseOptions("× rate", OWN, {"data": squares_root, "device": "cpu", "limit": 24})


def doses(runs: dict[Any, Path]) -> dict[float, Path]:
    return {dose: path for dose, path in runs.items() if dose != "ralr"}


def test_dose_response_is_of_each_runs_last_state_and_score(
    runs: dict[Any, Path],
    options: DoseOptions,
    squares_root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[str] = []
    result = dose_response(
        "calibration", doses(runs), tmp_path, beside=[runs["ralr"]], options=options, say=said.append
    )
    save_dose(result, tmp_path, options)
    assert result.arms == ("0.5", "1", "2", "ralr") * 2 and result.seeds == (0,) * 4 + (2,) * 4
    for i, seed in ((1, 0), (7, 2)):
        run = runs[1 if i == 1 else "ralr"] / f"seed{seed}"
        alone = compare([run], root=squares_root, device="cpu", limit=24, split="test")
        for measure in NOUNS["calibration"].load("compute")(alone, **OWN).measures():
            found = result.values[result.measures.index(measure.name), i]
            assert found == pytest.approx(measure.values[0], rel=1e-6)
        assert result.score[i] == load_run(run).values("test_acc")[-1]
    assert np.isnan(result.dose[[3, 7]]).all()
    assert load_result(tmp_path / "dose").runs == result.runs
    assert (tmp_path / "dose.png").exists() and (tmp_path / "dose.csv").exists()

    monkeypatch.setattr(why_jobs, "run_noun", lambda *_, **__: pytest.fail("measured again"))
    again = dose_response("calibration", doses(runs), tmp_path, beside=[runs["ralr"]], options=options)
    np.testing.assert_array_equal(again.values, result.values)


def test_dose_response_takes_nouns_of_runs(runs: dict[Any, Path], tmp_path: Path) -> None:
    result = dose_response("movement", doses(runs), tmp_path, options=DoseOptions(where={"device": "cpu"}))
    assert "path" in result.measures and result.beside == ()


def test_dose_response_refuses_what_it_cannot_use(
    runs: dict[Any, Path], options: DoseOptions, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="a line takes three or more"):
        dose_response("calibration", {1: runs[1], 2: runs[2]}, tmp_path, options=options)
    with pytest.raises(UnknownNameError, match="diagnostic of networks or runs"):
        dose_response("barrier", doses(runs), tmp_path, options=options)
    with pytest.raises(InputError, match="no training seed in common"):
        dose_response(
            "calibration",
            {**doses(runs), 3: runs[1] / "seed0", 4: runs[1] / "seed2"},
            tmp_path,
            options=options,
        )
    with pytest.raises(InputError, match="could not be measured"):
        dose_response("effect", doses(runs), tmp_path, options=DoseOptions())
    assert not (tmp_path / "dose").exists()
