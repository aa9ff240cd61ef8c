"""The effect of one draw: its estimates against a regression written out, and its refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ralr_viz.analysis.effect import compute_effect
from ralr_viz.analysis.effect.effect import infer
from ralr_viz.analysis.effect.flips import Flips, collect_flips
from ralr_viz.analysis.effect.phases import treat
from ralr_viz.errors import InputError
from ralr_viz.results.run import RunRecord
from ralr_viz.schedule.factors import Amplification, amplification_factors

RECIPE = {
    "low": 1.0, "high": 3.0, "probability": 0.5, "draw": "uniform", "interval": 1,
    "dataset": "cifar10", "model": "resnet20",
}  # fmt: skip
PHASES = (10, 5, 5)


def record(
    seed: int = 0, phases: tuple[int, ...] = PHASES, drop: tuple[str, ...] = (), **recipe: Any
) -> RunRecord:
    """A run of noise, whose loss is raised by each dose in its epoch."""
    epochs, rng = sum(phases), np.random.default_rng(seed + 100)
    settings = RECIPE | recipe
    interval = settings["interval"]
    factor = np.repeat(amplification_factors(seed, epochs), interval)[:epochs]
    base = np.repeat(0.1 ** np.arange(1, len(phases) + 1), phases)
    loss = 2 / np.arange(1, epochs + 1) + 0.2 * (factor - 1) + 0.05 * rng.standard_normal(epochs)
    metrics = {
        "factor": factor,
        "base_lr": base,
        "train_loss_eval": loss,
        "val_loss": loss + 0.1 * rng.random(epochs),
        "val_acc": 90 - 10 * loss,
        "step_length": base * factor * np.exp(0.05 * np.random.default_rng(seed).standard_normal(epochs)),
    }
    metrics = {name: values for name, values in metrics.items() if name not in drop}
    return RunRecord("demo", "ralr", seed, np.arange(1, epochs + 1), metrics, recipe=settings)


def regress(runs: list[RunRecord], name: str, lag: int) -> tuple[float, float, int, int]:
    """The regression, row by row and column by column: estimate, error, rows and parameters."""
    rows, response = [], []
    phase = np.repeat(np.arange(len(PHASES)), PHASES)
    for run in runs:
        y, dose = run.values(name), run.values("factor") - 1
        for e in range(1, len(y) - lag):
            if phase[e - 1] != phase[e + lag]:
                continue
            row = [dose[e + j] for j in range(lag + 1)] + [y[e - 1]]
            for number in range(len(PHASES)):
                row += [float(phase[e] == number), float(phase[e] == number) * e]
            rows.append(row)
            response.append(y[e + lag])
    x, y = np.array(rows), np.array(response)
    x = x[:, (x != 0).any(0)]
    coefficients, *_ = np.linalg.lstsq(x, y, rcond=None)
    bread = np.linalg.pinv(x.T @ x)
    hat = np.diag(x @ bread @ x.T)
    residual = y - x @ coefficients
    used = 1 - hat > 1e-8
    meat = (x[used].T * (residual[used] ** 2 / (1 - hat[used]))) @ x[used]
    rank = int(np.linalg.matrix_rank(x))
    return coefficients[0], float(np.sqrt((bread @ meat @ bread)[0, 0])), len(y), rank


@pytest.mark.parametrize("seeds", [[0], [0, 1, 2, 3]])
def test_compute_effect_equals_a_regression_written_out(seeds: list[int]) -> None:
    runs = [record(seed) for seed in seeds]
    result = compute_effect(runs, horizon=3, resamples=99)
    assert result.outcomes == ("train_loss_eval", "val_loss", "val_acc", "step_length")
    seen = 0
    for i, name in enumerate(("train_loss_eval", "val_loss", "val_acc")):
        for lag in range(4):
            estimate, error, rows, parameters = regress(runs, name, lag)
            assert result.rows[i, lag] == rows
            assert result.estimable[i, lag] == (rows - parameters >= 5)
            if result.estimable[i, lag]:
                np.testing.assert_allclose(result.estimate[i, lag], estimate, rtol=1e-8)
                np.testing.assert_allclose(result.error[i, lag], error, rtol=1e-8)
                assert result.parameters[i, lag] == parameters
                seen += 1
    assert seen == (6 if len(seeds) == 1 else 12)


def test_compute_effect_finds_an_effect_and_its_lag() -> None:
    result = compute_effect([record(seed) for seed in range(4)], horizon=2, resamples=499)
    loss, step = 0, 3
    assert result.estimate[loss, 0] == pytest.approx(0.2, abs=0.05)
    assert result.low[loss, 0] > 0 and result.p[loss, 0] <= 0.01 and result.overall_p[loss] <= 0.01
    assert result.low[loss, 1] < 0 < result.high[loss, 1] and result.p[loss, 1] > 0.05
    # the step is in proportion to the factor, whatever the base LR: a slope of 1 in logarithms
    assert result.estimate[step, 0] == pytest.approx(1, abs=0.1)
    assert result.treatments == ("factor − 1",) * 3 + ("ln factor",)
    assert (result.mde[result.estimable] > 0).all()
    band = (result.high - result.low) / 2
    np.testing.assert_allclose(band, result.critical[:, None] * result.error)


def test_compute_effect_is_deterministic_and_knows_its_seed() -> None:
    runs = [record(0), record(1)]
    first, second = (compute_effect(runs, horizon=1, resamples=99) for _ in range(2))
    assert first == second
    other = compute_effect(runs, horizon=1, resamples=99, seed=1)
    np.testing.assert_array_equal(first.estimate, other.estimate)
    assert (first.mde != other.mde).any()


def test_compute_effect_never_has_more_parameters_than_rows() -> None:
    result = compute_effect([record(0)], horizon=12, resamples=99)
    assert result.estimable[0].tolist() == [True, True] + [False] * 11
    assert (result.rows - result.parameters)[result.estimable].min() >= 5
    assert any(note.startswith("lag 2, 3") for note in result.notes)
    assert result.few_draws and any(note.startswith("17 draws are few") for note in result.notes)
    for name in ("error", "low", "high", "mde", "p"):
        assert np.isnan(getattr(result, name)[~result.estimable]).all()
    with pytest.raises(InputError, match="too few for any estimate"):
        compute_effect([record(0, (5, 5))], resamples=99)
    with pytest.raises(InputError, match="too few for any estimate"):
        compute_effect([record(0, (1,))], resamples=99)


def test_compute_effect_does_not_cross_a_decay() -> None:
    runs = [record(seed) for seed in range(3)]
    before = compute_effect(runs, horizon=2, resamples=99)
    # another level in a phase changes nothing: no row compares two phases
    for run in runs:
        run.metrics["val_loss"][10:] += 5
    after = compute_effect(runs, horizon=2, resamples=99)
    np.testing.assert_array_equal(before.rows, after.rows)
    np.testing.assert_allclose(before.estimate[1], after.estimate[1], rtol=1e-6)
    assert before.rows[1].tolist() == [3 * (9 + 4 + 4), 3 * (8 + 3 + 3), 3 * (7 + 2 + 2)]


def test_compute_effect_tells_the_phases_apart_which_pool_to_what_is_of_none() -> None:
    runs = [record(seed) for seed in range(6)]
    for run in runs:  # a dose acts in the first phase alone
        run.metrics["train_loss_eval"][10:] -= 0.2 * (run.metrics["factor"][10:] - 1)
    result = compute_effect(runs, horizon=1, resamples=199)
    assert result.phases == ("epochs 1–10", "epochs 11–15", "epochs 16–20")
    assert result.phase_estimate[0, :, 0] == pytest.approx([0.2, 0, 0], abs=0.06)
    assert 0.06 < result.estimate[0, 0] < 0.16
    low, high = result.phase_low[0, :, 0], result.phase_high[0, :, 0]
    assert low[0] > 0 and (low[1:] < 0).all() and (high[1:] > 0).all()
    assert result.phase_rows[0].tolist() == [[54, 48], [24, 18], [24, 18]]  # e − 1 … e + lag are of one phase
    np.testing.assert_array_equal(result.phase_rows.sum(axis=1), result.rows)
    alone = [  # the first phase by itself: the same rows, the same estimate
        RunRecord("demo", "ralr", s, r.epoch[:10], {k: v[:10] for k, v in r.metrics.items()}, recipe=r.recipe)
        for s, r in enumerate(runs)
    ]
    first = compute_effect(alone, horizon=1, resamples=199)
    assert first.phases == ()
    np.testing.assert_allclose(first.estimate, result.phase_estimate[:, 0], rtol=1e-8)
    lines = result.describe()
    assert any(line.startswith("training loss, lag 0, epochs 1–10: +0.") for line in lines)
    rows = result.summary()
    assert len(rows) == 4 * 2 * (1 + 3) and {row["phase"] for row in rows} == {"all", *result.phases}


def test_treatment_of_a_step_is_the_logarithm_of_the_factor_redrawn_likewise() -> None:
    flips, _ = collect_flips([record(0)])
    redrawn = flips.redraw(3, np.random.default_rng(0))
    treated = treat("step_length", flips, redrawn)
    np.testing.assert_allclose(np.exp(treated.flips.dose), 1 + flips.dose)
    np.testing.assert_allclose(np.exp(treated.redrawn), 1 + redrawn)
    assert treat("val_loss", flips, redrawn).flips is flips


def test_compute_effect_counts_a_repeated_run_once() -> None:
    once, twice = (compute_effect([record(0)] * n, horizon=1, resamples=99) for n in (1, 2))
    assert twice.runs == once.runs and len(twice.notes) == len(once.notes) + 1
    np.testing.assert_array_equal(once.low, twice.low)


def test_compute_effect_uses_what_was_recorded() -> None:
    result = compute_effect([record(0, drop=("val_loss", "val_acc", "step_length"))], horizon=0, resamples=99)
    assert result.outcomes == ("train_loss_eval",)
    assert any("`step_length` was not recorded" in note for note in result.notes)
    test = record(0, drop=("val_loss", "val_acc"))
    test.metrics["test_loss"] = test.metrics["train_loss_eval"] * 2  # type: ignore[index]
    result = compute_effect([test], horizon=0, resamples=99)
    assert "test_loss" in result.outcomes and "test_acc" not in result.outcomes
    with pytest.raises(InputError, match="records none of"):
        compute_effect([record(0, drop=tuple(record().metrics.keys() - {"factor", "base_lr"}))])


def test_compute_effect_survives_missing_and_infinite_values() -> None:
    run = record(0)
    run.metrics["train_loss_eval"][3] = np.nan
    run.metrics["val_loss"][5:] = np.inf
    result = compute_effect([run], horizon=0, resamples=99)
    assert result.rows[0, 0] == 15  # epochs 4 and 5 have lost their outcome, before and after
    assert not result.estimable[1, 0] and np.isnan(result.overall_p[1])


def test_compute_effect_takes_constant_outcomes_and_doses() -> None:
    run = record(0)
    run.metrics["val_acc"][:] = 50.0
    result = compute_effect([run], horizon=0, resamples=99)
    assert result.estimate[2, 0] == 0 and result.p[2, 0] == result.overall_p[2] == 1
    lazy = record(0)
    lazy.metrics["factor"][:] = 1.0
    with pytest.raises(InputError, match="too few"):
        compute_effect([lazy], horizon=0, resamples=99)


def test_compute_effect_controls_for_a_smooth_schedule() -> None:
    runs = [record(seed, (20,)) for seed in range(2)]
    for run in runs:
        run.metrics["base_lr"][:] = 0.05 * (1 + np.cos(np.pi * np.arange(20) / 20))
    result = compute_effect(runs, horizon=1, resamples=99)
    # dose, outcome before, level, slope and base LR
    assert result.parameters[0].tolist() == [5, 6] and result.rows[0].tolist() == [38, 36]
    assert "changes every epoch" in result.schedule


def test_compute_effect_begins_at_a_draw_of_several_epochs() -> None:
    runs = [record(seed, (24,), interval=3) for seed in range(3)]
    result = compute_effect(runs, horizon=3, resamples=99)
    assert result.rows[0].tolist() == [21, 21, 21, 18]  # draws begin in epochs 4, 7, … 22
    assert result.parameters[0].tolist() == [4, 4, 4, 5]  # a second draw begins at lag 3
    assert result.draws.tolist() == [8, 8, 8]


def test_compute_effect_reports_progress_and_refuses_bad_numbers() -> None:
    seen: list[tuple[int, int, str]] = []
    compute_effect([record(0)], horizon=0, resamples=99, progress=lambda *at: seen.append(at))
    assert seen == [(i, 4, "redraws") for i in (1, 2, 3, 4)]
    for name, value in (("horizon", -1), ("resamples", 98), ("seed", -1), ("horizon", 1.5)):
        with pytest.raises(InputError, match=f"`{name}` = {value} must be"):
            compute_effect([record(0)], **{name: value})


def test_infer_p_is_the_share_of_redraws_written_out() -> None:
    rng = np.random.default_rng(0)
    flips, _ = collect_flips([record(seed) for seed in range(2)])
    outcome = rng.standard_normal((2, 20))
    redrawn = flips.redraw(99, rng)
    found = infer(outcome, flips, redrawn, 1)

    def largest_t(dose: np.ndarray) -> float:
        drawn = Flips(flips.runs, Amplification(), 1, flips.base_lr, flips.phase, False, dose)
        one = infer(outcome, drawn, redrawn[:20], 1)
        return float(np.abs(one.estimate / one.error).max())

    recorded = largest_t(flips.dose)
    reached = sum(largest_t(dose) >= recorded for dose in redrawn)
    assert found.overall_p == (1 + reached) / 100
