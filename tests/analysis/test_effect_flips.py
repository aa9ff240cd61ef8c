"""The draws of several runs as one experiment: what is pooled, what is refused, and how it is drawn again."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from scipy import stats

from ralr_viz.analysis.effect.flips import Flips, collect_flips, on_epochs
from ralr_viz.errors import InputError
from ralr_viz.results.run import RunRecord
from ralr_viz.schedule.factors import Amplification, amplification_factors

LAW = {"low": 1.0, "high": 3.0, "probability": 0.5, "draw": "uniform", "interval": 1}


def record(
    seed: int = 0, epochs: int = 20, *, base_lr: Any = None, factor: Any = None, **recipe: Any
) -> RunRecord:
    settings = LAW | {"dataset": "cifar10", "model": "resnet20"} | recipe
    interval = settings["interval"]
    if factor is None:
        law = {name: settings[name] for name in ("low", "high", "probability", "draw")}
        factor = np.repeat(amplification_factors(seed, -(-epochs // interval), **law), interval)[:epochs]
    if base_lr is None:
        base_lr = np.repeat([0.1, 0.01, 0.001], (10, 5, 5))[:epochs]
    metrics = {"factor": np.asarray(factor, float), "base_lr": np.asarray(base_lr, float)}
    return RunRecord("demo", "ralr", seed, np.arange(1, epochs + 1), metrics, recipe=settings)


def test_collect_flips_puts_doses_and_phases_on_one_axis() -> None:
    flips, kept = collect_flips([record(0), record(1, 12)])
    assert [run.seed for run in kept] == [0, 1] and flips.runs == ("demo/ralr/seed0", "demo/ralr/seed1")
    np.testing.assert_allclose(flips.dose[0], amplification_factors(0, 20) - 1)
    np.testing.assert_allclose(flips.dose[1, :12], amplification_factors(1, 12) - 1)
    assert np.isnan(flips.dose[1, 12:]).all()
    assert flips.phase.tolist() == [0] * 10 + [1] * 5 + [2] * 5
    assert flips.draws.tolist() == [20, 12]
    assert flips.amplified.tolist() == [
        int((amplification_factors(0, 20) != 1).sum()), int((amplification_factors(1, 12) != 1).sum())
    ]  # fmt: skip
    assert flips.schedule == "3 phases of constant base LR (10, 5, 5 epochs)"


@pytest.mark.parametrize("interval", [1, 3])
def test_masked_epochs_draw_nothing_and_are_a_phase_of_their_own(interval: int) -> None:
    """`amplify_from`: four of twenty epochs; those after it have the draws of a run without a mask."""
    whole = record(0, interval=interval)
    factor = np.where(np.arange(20) < 4, 1.0, whole.values("factor"))
    run = _masked(record(0, factor=factor, interval=interval))
    flips, _ = collect_flips([run])
    assert flips.masked == 4
    np.testing.assert_array_equal(flips.dose[0], factor - 1)
    assert flips.phase.tolist() == [0] * 4 + [1] * 6 + [2] * 5 + [3] * 5
    first = 4 if interval == 1 else 6
    starts = [e for e in range(20) if e == 4 or (e >= first and e % interval == 0)]
    assert np.flatnonzero(flips.starts).tolist() == starts
    again = flips.redraw(500, np.random.default_rng(0))
    assert not again[:, :, :4].any()
    assert 0.4 < (again[:, :, 4:] > 0).mean() < 0.6
    with pytest.raises(InputError, match="none in the first 4 epochs. cannot give"):
        collect_flips([_masked(record(2, interval=interval))])  # whose factors are not masked
    with pytest.raises(InputError, match="has `amplify_from` 0.0 and .* 0.2"):
        collect_flips([record(1, interval=interval), run])


def _masked(run: RunRecord) -> RunRecord:
    """The run, whose recipe says that a fifth of its 20 epochs draws nothing."""
    return dataclasses.replace(run, recipe={**run.recipe, "amplify_from": 0.2, "epochs": 20})


def test_collect_flips_counts_equal_draws_once_and_keeps_the_longer() -> None:
    flips, kept = collect_flips([record(0, 12), record(1), record(0)])
    assert [(run.seed, len(run.epoch)) for run in kept] == [(1, 20), (0, 20)]
    assert flips.notes == ("demo/ralr/seed0 has the draws of demo/ralr/seed0: counted once",)


def test_collect_flips_takes_a_smooth_schedule_as_one_phase() -> None:
    cosine = 0.05 * (1 + np.cos(np.pi * np.arange(20) / 20))
    flips, _ = collect_flips([record(base_lr=cosine)])
    assert flips.smooth and set(flips.phase.tolist()) == {0}
    assert "changes every epoch" in flips.schedule
    warm = np.r_[0.02, 0.04, 0.06, 0.08, np.full(16, 0.1)]
    flips, _ = collect_flips([record(base_lr=warm)])
    assert not flips.smooth and flips.phase[4:].tolist() == [4] * 16


@pytest.mark.parametrize(
    ("change", "fragment"),
    [
        ({"base_lr": np.repeat([0.1, 0.02], 10)}, "different base LRs in epoch 11"),
        ({"dataset": "cifar100"}, "`dataset` 'cifar10'"),
        ({"high": 2.0}, "`high` 3.0"),
    ],
)
def test_collect_flips_refuses_to_pool_what_differs(change: dict[str, Any], fragment: str) -> None:
    with pytest.raises(InputError, match=fragment) as error:
        collect_flips([record(0), record(1, **change)])
    assert "one by one" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "fragment"),
    [
        ({"probability": 0.0, "factor": np.ones(20)}, "leaves nothing to chance"),
        ({"probability": 1.0, "low": 2.0, "high": 2.0}, "leaves nothing to chance"),
        ({"draw": "integer", "low": 1.0, "high": 1.5}, "leaves nothing to chance"),
        ({"factor": np.r_[np.ones(5), 4.0, np.ones(14)]}, "factor 4 in epoch 6"),
        ({"draw": "integer", "factor": np.r_[1.0, 1.5, np.ones(18)]}, "factor 1.5 in epoch 2"),
        ({"interval": 2, "factor": np.r_[1.0, 2.0, np.ones(18)]}, "factor 2 in epoch 2"),
        ({"factor": np.full(20, np.nan)}, "no `factor`"),
    ],
)
def test_collect_flips_refuses_draws_that_are_no_experiment(change: dict[str, Any], fragment: str) -> None:
    with pytest.raises(InputError, match=fragment):
        collect_flips([record(**change)])


def test_collect_flips_needs_a_run_and_its_law() -> None:
    with pytest.raises(InputError, match="no run with random flips"):
        collect_flips([])
    bare = record()
    recipe = {name: value for name, value in bare.recipe.items() if name != "low"}
    with pytest.raises(InputError, match="lacks `low`"):
        collect_flips([RunRecord("demo", "ralr", 0, bare.epoch, bare.metrics, recipe=recipe)])


def test_on_epochs_leaves_gaps() -> None:
    run = RunRecord("demo", "ralr", 0, np.array([2, 4]), {"val_loss": np.array([1.0, np.inf])})
    np.testing.assert_array_equal(on_epochs([run], "val_loss", 5), [[np.nan, 1, np.nan, np.nan, np.nan]])


@pytest.mark.parametrize("draw", ["uniform", "integer"])
def test_redraw_has_the_law_of_the_recipe(draw: str) -> None:
    law = Amplification(1.5, 4.0, 0.3, draw)
    flips = Flips(("a", "b"), law, 1, np.ones(10), np.zeros(10, int), False, np.zeros((2, 10)))
    new = flips.redraw(1000, np.random.default_rng(0)).ravel() + 1
    old = np.array([law.at(7, i).factor for i in range(20_000)])
    assert (new == 1).mean() == pytest.approx(0.7, abs=0.01)
    assert stats.ks_2samp(new[new > 1], old[old > 1]).pvalue > 0.001
    assert new.mean() == pytest.approx(law.mean, abs=0.03)


def test_collect_flips_takes_a_gap_in_a_draw_of_several_epochs() -> None:
    run = record(interval=2)
    run.metrics["factor"][4] = np.nan
    flips, _ = collect_flips([run])
    assert np.isnan(flips.dose[0, 4]) and np.isfinite(flips.dose[0, 5])


def test_redraw_keeps_the_epochs_of_a_draw_together() -> None:
    flips = Flips(("a",), Amplification(), 3, np.ones(8), np.zeros(8, int), False, np.zeros((1, 8)))
    new = flips.redraw(50, np.random.default_rng(0))
    assert new.shape == (50, 1, 8)
    np.testing.assert_array_equal(new[:, :, :3], new[:, :, [0, 0, 0]])
    np.testing.assert_array_equal(new[:, :, 6], new[:, :, 7])
    assert (new[:, :, 2] != new[:, :, 3]).mean() > 0.5
    assert flips.starts.tolist() == [True, False, False, True, False, False, True, False]
