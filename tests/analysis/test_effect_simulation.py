"""Size, coverage and power of the effect's inference on a noisy quadratic that is trained by SGD."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from scipy import stats

from ralr_viz.analysis.effect.effect import Inference, infer
from ralr_viz.analysis.effect.flips import Flips
from ralr_viz.results.effect import LEVEL, POWER
from ralr_viz.schedule.factors import Amplification

EPOCHS, RUNS, HORIZON, REDRAWS = 20, 3, 2, 199
BASE_LR = np.repeat([0.1, 0.01, 0.001], (10, 5, 5))
PHASE = np.repeat([0, 1, 2], (10, 5, 5))
EIGENVALUES = np.array([3.0, 1.0, 0.3, 0.1])
TAU = np.array([0.08, 0.05, 0.02])  # about a standard deviation of the loss times 1/2, 1/3, 1/8


class Study(NamedTuple):
    """Of N experiments with known effects, (N, L) each but ``overall_p`` and ``critical`` (N,)."""

    estimate: np.ndarray
    error: np.ndarray
    mde: np.ndarray
    critical: np.ndarray
    overall_p: np.ndarray

    def covered(self, tau: np.ndarray, critical: np.ndarray | float) -> int:
        """Experiments whose band of half-width ``critical`` standard errors holds all effects."""
        t = np.abs(self.estimate - tau) / self.error
        return int((t.max(1) <= critical).sum())


def train_quadratic(factor: np.ndarray, rng: np.random.Generator, steps: int = 40) -> np.ndarray:
    """Loss ½ Σ λ w² after each epoch (..., E) of SGD with gradient noise at LR base × factor (..., E)."""
    w = 2 * rng.standard_normal((*factor.shape[:-1], len(EIGENVALUES)))
    loss = np.empty(factor.shape)
    for epoch in range(factor.shape[-1]):
        lr = BASE_LR[epoch] * factor[..., epoch, None]
        for _ in range(steps):
            w = w - lr * (EIGENVALUES * w + rng.standard_normal(w.shape))
        loss[..., epoch] = 0.5 * (EIGENVALUES * w**2).sum(-1)
    return loss


def make_flips(dose: np.ndarray) -> Flips:
    names = tuple(f"run{i}" for i in range(len(dose)))
    return Flips(names, Amplification(), 1, BASE_LR, PHASE, False, dose)


def draw_doses(count: int, rng: np.random.Generator, runs: int = RUNS) -> np.ndarray:
    return make_flips(np.zeros((runs, EPOCHS))).redraw(count, rng)


def add_effects(loss: np.ndarray, dose: np.ndarray, tau: np.ndarray) -> np.ndarray:
    """The loss with τ_j of each dose added j epochs later."""
    loss = loss.copy()
    for lag, effect in enumerate(tau):
        loss[..., lag:] += effect * dose[..., : EPOCHS - lag]
    return loss


def run_study(loss: np.ndarray, dose: np.ndarray, rng: np.random.Generator) -> Study:
    found: list[Inference] = []
    for y, d in zip(loss, dose, strict=True):
        flips = make_flips(d)
        found.append(infer(y, flips, flips.redraw(REDRAWS, rng), HORIZON))
    return Study(*(np.array([getattr(one, name) for one in found]) for name in Study._fields))


def expected(count: int, probability: float) -> tuple[int, int]:
    """What a binomial count exceeds once in a thousand times."""
    low, high = stats.binom.interval(0.999, count, probability)
    return int(low), int(high)


@pytest.fixture(scope="module")
def null() -> tuple[np.ndarray, np.ndarray]:
    """Losses of trainings that used factor 1 throughout, and doses that were recorded but not used."""
    rng = np.random.default_rng(0)
    dose = draw_doses(300, rng)
    return train_quadratic(np.ones_like(dose), rng), dose


def test_infer_without_effect_rejects_as_often_as_its_level(null: tuple[np.ndarray, np.ndarray]) -> None:
    loss, dose = null
    study = run_study(loss, dose, np.random.default_rng(1))
    low, high = expected(len(loss), 1 - LEVEL)
    assert low <= (study.overall_p <= 1 - LEVEL).sum() <= high
    # the wrong test, each lag at its own level, must be seen
    pointwise = 2 * stats.norm.sf(np.abs(study.estimate / study.error)).min(1)
    assert (pointwise <= 1 - LEVEL).sum() > high


def test_infer_band_covers_known_effects_and_wrong_bands_are_caught(
    null: tuple[np.ndarray, np.ndarray],
) -> None:
    loss, dose = null
    study = run_study(add_effects(loss, dose, TAU), dose, np.random.default_rng(2))
    low, high = expected(len(loss), LEVEL)
    assert low <= study.covered(TAU, study.critical) <= high
    assert study.covered(TAU, 1.96) < low  # pointwise, as if it were simultaneous
    assert study.covered(TAU, study.critical / 2) < low
    assert study.covered(TAU, study.critical * 2) > high
    bias = (study.estimate.mean(0) - TAU) / (study.estimate.std(0) / np.sqrt(len(loss)))
    assert np.abs(bias).max() < 4
    assert (study.overall_p <= 0.05).mean() > 0.5  # it is seen, too


def test_infer_mde_is_found_with_its_power(null: tuple[np.ndarray, np.ndarray]) -> None:
    loss, dose = null
    mde = np.median(run_study(loss[:60], dose[:60], np.random.default_rng(3)).mde[:, 0])
    later = slice(60, None)
    with_effect = add_effects(loss[later], dose[later], np.array([mde]))
    study = run_study(with_effect, dose[later], np.random.default_rng(4))
    found = (study.estimate[:, 0] - study.critical * study.error[:, 0] > 0).mean()
    assert found == pytest.approx(POWER, abs=0.1)


@pytest.mark.slow
@pytest.mark.parametrize(("runs", "least"), [(1, 0.84), (4, 0.89), (10, 0.89)])
def test_infer_band_covers_the_average_effect_on_the_quadratic(runs: int, least: float) -> None:
    """Here effects are those of the training itself and differ between draws; one run has too few of them."""
    rng = np.random.default_rng(5)
    dose = draw_doses(1000, rng, runs)
    study = run_study(train_quadratic(1 + dose, rng), dose, rng)
    many = draw_doses(40_000, rng, 1)[:, 0]
    loss = train_quadratic(1 + many, rng)
    truth = []
    for lag in range(study.estimate.shape[1]):
        rows = [e for e in range(1, EPOCHS - lag) if PHASE[e - 1] == PHASE[e + lag]]
        slopes = [np.cov(many[:, e], loss[:, e + lag])[0, 1] / many[:, e].var(ddof=1) for e in rows]
        truth.append(np.mean(slopes))
    estimable = np.isfinite(study.estimate).all(0)
    covered = (
        np.abs(study.estimate - truth)[:, estimable] <= (study.critical[:, None] * study.error)[:, estimable]
    )
    assert least < covered.all(1).mean() < 0.98
