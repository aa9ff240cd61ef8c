"""Any noun that gives numbers, after each kept epoch of each run: the same as alone, computed once, resumed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ralr_viz.comparison import compare
from ralr_viz.errors import InputError, UnknownNameError
from ralr_viz.nouns import NOUNS
from ralr_viz.plots.over_time import draw_over_time, over_time_table
from ralr_viz.results.bundle import load_result
from ralr_viz.results.over_time import OverTimeResult
from ralr_viz.results.run import load_run
from ralr_viz.train.loop import train_run
from ralr_viz.train.prepare import prepare_run
from ralr_viz.workflows import why_jobs
from ralr_viz.workflows.over_time import OverTimeOptions, over_time, save_over_time

# Options that make a noun quick.
SMALL: dict[str, dict[str, Any]] = {
    "sharpness": {"directions": 2, "worst_starts": 1, "worst_steps": 1},
    "spectrum": {"probes": 2, "density_probes": 1, "steps": 3, "basis": 3},
    "noise_scale": {"small": 4, "big": 12},
    "barrier": {"points": 3},
    "similarity": {"minibatch": 8},
    "distance": {},
    "calibration": {"resamples": 10},
    "collapse": {"resamples": 10},
    "landscape": {"points": 3},
}
WITH_NUMBERS = sorted(SMALL.keys() - {"landscape"})


@pytest.fixture(scope="module")
def runs(
    tmp_path_factory: pytest.TempPathFactory, make_recipe: Callable[..., Any], squares_root: Path
) -> dict[str, Path]:
    """Two arms of two seeds, which have kept three epochs."""
    folder = tmp_path_factory.mktemp("runs")
    recipe = make_recipe(keep_every=1)
    for method in ("baseline", "ralr"):
        for seed in (0, 2):  # seed 2 amplifies the first epochs
            train_run(prepare_run(recipe, method, seed, folder), squares_root, device="cpu")
    return {method: next(folder.glob(f"*/{method}")) for method in ("baseline", "ralr")}


@pytest.fixture
def measure(runs: dict[str, Path], squares_root: Path, tmp_path: Path) -> Callable[..., OverTimeResult]:
    def run(noun: str, out: str = "out", say: Any = print, **options: Any) -> OverTimeResult:
        where = {"data": squares_root, "device": "cpu", "limit": 24, **options.pop("where", {})}
        chosen = OverTimeOptions(own=SMALL.get(noun, {}), where=where, **options)
        result = over_time(noun, runs, tmp_path / out, options=chosen, say=say)
        save_over_time(result, tmp_path / out, chosen)
        return result

    return run


@pytest.mark.parametrize(
    "noun",
    [n if n == "distance" else pytest.param(n, marks=pytest.mark.slow) for n in WITH_NUMBERS],
)
def test_every_noun_with_numbers_says_over_time_what_it_says_alone(
    noun: str, measure: Callable[..., OverTimeResult], runs: dict[str, Path], squares_root: Path
) -> None:
    epochs = (1, 3) if noun != "calibration" else ()
    result = measure(noun, epochs=epochs)
    assert result.epoch.tolist() == list(epochs or (1, 2, 3))
    pairs = NOUNS[noun].takes.startswith("pairs")
    ends = [runs["baseline"] / "seed0", runs["ralr"] / "seed0"]
    alone = compare(
        [f"{run}@3" for run in ends], root=squares_root, device="cpu", limit=24,
        split=NOUNS[noun].spec.inputs.split or "test", batch=NOUNS[noun].spec.inputs.batch or None,
    )  # fmt: skip
    if NOUNS[noun].spec.inputs.augment:
        alone = alone.augmented(0)
    found = NOUNS[noun].load("compute")(alone, **SMALL[noun]).measures()
    for measure_ in found:
        if measure_.name not in result.measures:  # of no network a number
            assert not np.isfinite(measure_.values).any()
            continue
        ours = result.values[result.measures.index(measure_.name), :, -1]
        np.testing.assert_allclose(ours[: 1 if pairs else 2], measure_.values, rtol=1e-4, atol=1e-6)
    if pairs:
        assert result.groups == ("baseline – ralr", "two seeds of baseline", "baseline – ralr")
    else:
        assert result.groups == ("baseline", "ralr") * 2 and result.seeds == (0, 0, 2, 2)


@pytest.mark.slow
def test_places_along_the_axes_are_those_of_the_records(
    measure: Callable[..., OverTimeResult], runs: dict[str, Path]
) -> None:
    result = measure("calibration", axis="sum-lr")
    record = load_run(runs["ralr"] / "seed2")
    np.testing.assert_allclose(result.along[3], np.cumsum(record.values("lr")))
    np.testing.assert_allclose(result.train_loss[3], record.values("train_loss_eval"))
    assert result.amplified[3].tolist() == (record.values("factor") != 1).tolist()
    assert not result.amplified[0].any()


def test_it_goes_on_and_does_nothing_twice(
    measure: Callable[..., OverTimeResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    real = why_jobs.run_noun
    monkeypatch.setattr(why_jobs, "run_noun", lambda *a, **k: asked.append(a[1]["ckpt"]) or real(*a, **k))
    first = measure("calibration", epochs=(1, 3))
    assert len(asked) == 2
    whole = measure("calibration")
    assert len(asked) == 3 and whole.epoch.tolist() == [1, 2, 3]
    np.testing.assert_array_equal(whole.values[:, :, [0, 2]], first.values)
    with pytest.raises(InputError, match="is of other runs or settings: pass --force"):
        measure("calibration", where={"limit": 12})


def test_arms_of_one_seed_begin_alike_and_seeds_do_not(measure: Callable[..., OverTimeResult]) -> None:
    result = measure("barrier")
    distance = result.values[result.measures.index("distance")]
    parted = [i for i, group in enumerate(result.groups) if group == "two seeds of baseline"]
    assert (distance[parted] > distance[0]).all()


def test_line_of_a_simulated_measure_is_read_at_equal_loss() -> None:
    """The measure is a function of the loss alone: at equal loss two arms agree, at equal epoch they do not."""
    epoch = np.arange(1, 9)
    loss = np.stack([2.0 ** -(epoch * rate) for rate in (0.5, 0.55, 1.0, 1.1)])
    result = OverTimeResult(
        noun="x", measures=("y",), labels=("y",), units=("",), columns=tuple("abcd"), groups=("A", "A", "B", "B"),
        seeds=(0, 1, 0, 1), epoch=epoch, values=np.log(loss)[None], sum_lr=np.cumsum(loss, 1), train_loss=loss,
        amplified=np.zeros((4, 8), bool), axis="train-loss",
    )  # fmt: skip
    for group in ("A", "B"):
        along, mean, low, high = result.mean(0, group)
        np.testing.assert_allclose(mean, np.log(along), rtol=1e-9)
        assert (np.diff(along) < 0).all() and np.allclose(low, high)
    by_epoch = dataclasses.replace(result, axis="epoch")
    assert (by_epoch.mean(0, "A")[1] > by_epoch.mean(0, "B")[1]).all()
    assert draw_over_time(result).axes


def test_what_gives_no_number_or_is_not_kept_is_refused(measure: Callable[..., OverTimeResult]) -> None:
    with pytest.raises(InputError, match=r"`landscape` gives no number|gives no number of each network"):
        measure("landscape", epochs=(1, 3))
    for noun in ("movement", "no-such"):
        with pytest.raises(UnknownNameError, match="diagnostic of networks"):
            measure(noun, "other")
    with pytest.raises(InputError, match="epoch 7 is not kept by all runs: choose of 1, 2, 3"):
        measure("calibration", "other", epochs=(1, 7))
    with pytest.raises(InputError, match="1 epochs in common"):
        measure("calibration", "other", epochs=(3,))
    with pytest.raises(UnknownNameError, match="axis"):
        measure("calibration", "other", axis="time")


def test_result_is_kept_drawn_and_tabled(measure: Callable[..., OverTimeResult], tmp_path: Path) -> None:
    result = measure("calibration", every=2)
    assert result.epoch.tolist() == [1, 3]
    kept = load_result(tmp_path / "out" / "over-time")
    assert kept == result
    rows = over_time_table(result)
    assert len(rows) == len(result.measures) * 4 * 2 and (tmp_path / "out" / "over-time.png").is_file()
    assert any("mean over seeds" in line for line in result.describe())
