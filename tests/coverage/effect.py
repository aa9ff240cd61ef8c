"""The simultaneous band of `effect`, on trainings of a noisy quadratic by SGD."""

from __future__ import annotations

from functools import partial

import numpy as np

from ralr_viz.analysis.effect.effect import compute_effect
from tests.coverage.case import Case, Row


def _simulate(runs: int, count: int) -> dict[str, np.ndarray]:
    """Effects that are those of the training itself, averages over draws that differ in theirs."""
    from tests.analysis.test_effect_simulation import EPOCHS, PHASE, draw_doses, run_study, train_quadratic

    rng = np.random.default_rng(5)
    dose = draw_doses(count, rng, runs)
    study = run_study(train_quadratic(1 + dose, rng), dose, rng)
    many = draw_doses(40_000, rng, 1)[:, 0]
    loss = train_quadratic(1 + many, rng)
    truth = []
    for lag in range(study.estimate.shape[1]):
        rows = [e for e in range(1, EPOCHS - lag) if PHASE[e - 1] == PHASE[e + lag]]
        slopes = [np.cov(many[:, e], loss[:, e + lag])[0, 1] / many[:, e].var(ddof=1) for e in rows]
        truth.append(np.mean(slopes))
    estimable = np.isfinite(study.estimate).all(0)
    reach = study.critical[:, None] * study.error
    held = np.abs(study.estimate - truth)[:, estimable] <= reach[:, estimable]
    return {"band over all lags": held.all(1)}


def _simulate_known(count: int) -> dict[str, np.ndarray]:
    """Effects that are equal in all draws and add up, as the band takes them to be."""
    from tests.analysis.test_effect_simulation import TAU, add_effects, draw_doses, run_study, train_quadratic

    rng = np.random.default_rng(6)
    dose = draw_doses(count, rng)
    study = run_study(add_effects(train_quadratic(np.ones_like(dose), rng), dose, TAU), dose, rng)
    t = np.abs(study.estimate - TAU) / study.error
    return {"band over all lags": t.max(1) <= study.critical}


def _average(runs: int, draws: int, low: float, high: float, says: str) -> Case:
    row = Row("band over all lags", low, high, says, lambda: " ".join((compute_effect.__doc__ or "").split()))
    law = "a noisy quadratic trained by SGD: draws act in proportion to the noise"
    return Case(
        f"effect-{draws}-draws",
        "`effect`",
        law,
        f"{draws} draws in {runs} runs",
        (row,),
        partial(_simulate, runs, 2000),
    )


CASES = (
    Case(
        "effect-equal", "`effect`", "equal effects added to trainings of a noisy quadratic", "51 draws in 3 runs",
        (Row("band over all lags"),), partial(_simulate_known, 2000),
    ),
    _average(1, 17, 0.84, 0.90, "87 % (17 draws)"),
    _average(4, 68, 0.89, 0.94, "covered 91 % (68 or 136 draws)"),
)  # fmt: skip
