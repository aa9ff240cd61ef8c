"""Effect of one amplification, from the random draws inside every RALR run (paper section 4.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ralr_viz.analysis.effect.flips import Flips, collect_flips, on_epochs
from ralr_viz.analysis.effect.local_projection import Fit, Projection, build_projection, find_rows, fit
from ralr_viz.analysis.effect.phases import collect_phases, find_phases, treat, within
from ralr_viz.analysis.effect.randomised import find_randomised
from ralr_viz.analysis.learning.trace import trace
from ralr_viz.comparison import Progress
from ralr_viz.errors import InputError
from ralr_viz.nouns import check
from ralr_viz.nouns import effect as options
from ralr_viz.nouns.option import SEED
from ralr_viz.results.effect import FEW_DRAWS, LEVEL, POWER, EffectResult
from ralr_viz.results.examples import examples_path, read_examples
from ralr_viz.results.of_loss import describe_task
from ralr_viz.results.records import Source, describe_runs
from ralr_viz.results.run import RunRecord

_STEP = "step_length"


class Inference(NamedTuple):
    """What is known of one outcome at each of L lags; arrays are (L,), NaN where it cannot be estimated."""

    estimate: np.ndarray
    error: np.ndarray
    p: np.ndarray
    mde: np.ndarray
    rows: np.ndarray
    parameters: np.ndarray
    critical: float
    overall_p: float


def compute_effect(
    runs: Source | Sequence[Source],
    *,
    horizon: int = options.HORIZON.default,
    resamples: int = options.RESAMPLES.default,
    seed: int = SEED.default,
    progress: Progress | None = None,
) -> EffectResult:
    r"""Estimate what one draw does to loss, accuracy and weight step k = 0 … K epochs later.

    Whether and how much the LR of an epoch is amplified is a coin flip that knows nothing of the training: a
    randomised experiment inside every run. For each lag k the outcome is regressed on the dose
    :math:`d_e = \mathrm{factor}_e - 1` (a local projection),

    .. math:: y_{e+k} = \beta_k d_e + \sum_{j=1}^{k} \gamma_{kj} d_{e+j} + \varphi_k y_{e-1}
              + \alpha_{k,\mathrm{phase}} + \delta_{k,\mathrm{phase}}\, e + u_{e+k},

    in each phase between two decays by itself, since effects differ by decades between them, and, as an average of
    these, over all runs and all e with e − 1 … e + k in one phase of constant base LR: not even the outcome before
    crosses a decay, where losses drop by more than any effect. A slope in each phase is needed beside its
    level, because losses fall within a phase too; differences between runs are in :math:`y_{e-1}`. Where a
    draw lasts several epochs, e is its first one and :math:`d_{e+j}` are the draws after it. Of the weight
    step the logarithm is taken, so that the phases, whose steps differ by decades, weigh alike, and d is then
    :math:`\ln \mathrm{factor}_e`: a step in proportion to the rate is a slope of 1. A base LR
    that changes all the time (cosine) makes one phase and enters the regression.

    *Test of no effect.* All flips of all runs are drawn again from their law, the outcomes kept as recorded:
    the overall p is the share of redraws whose largest |t| over the lags reaches the recorded one. It is
    exact. *Band.* :math:`\beta_k \pm c\,\mathrm{se}_k` with c the 95 % quantile of the largest |t| of the
    redraws after the estimated effects are taken out of the outcomes: the test inverted at the estimate,
    for effects that are equal and add up; the p of each lag is the level at which the band would reach 0.
    Effects that differ between draws are averaged; since |t| is studentised with a robust error, the band is
    then right in large samples only. On simulated trainings of a noisy quadratic, whose losses are skewed and
    whose draws act in proportion to the noise, it covered 91 % (68 or 136 draws) and 87 % (17 draws) instead
    of 95 %. The error needs no correction for the overlap of the horizons,
    because a draw is independent of all that came before it. *Minimum detectable effect.* The effect that
    would exceed c·se in 80 % of the redraws.

    Args:
        runs: Of one recipe: run directories and folders of them, of which those without random factors are left
            out and noted, or records; of runs with the same draws one counts.
        horizon: Largest lag K in epochs, >= 0. Lags with too few rows (fewer than parameters + 5) are NaN.
        resamples: Redraws, >= 99.
        seed: Of the redraws, >= 0.
        progress: Called as ``progress(done, total, what)`` after each outcome.

    Returns:
        Outcomes × lags, and these in each phase where there are several; validation is replaced by test where a recipe has none (as in the paper).

    Raises:
        InputError: No run, runs that cannot be pooled, factors that are not of their recipe's law, no outcome,
            or too few draws for any lag.

    References:
        Jordà, Estimation and Inference of Impulse Responses by Local Projections, AER 95 (2005).
        Montiel Olea & Plagborg-Møller, Local Projection Inference Is Simpler…, Econometrica 89 (2021): lags as
        controls make robust errors enough.
        Westfall & Young, Resampling-Based Multiple Testing (1993): max-|t|.
        Zhao & Ding, Covariate-Adjusted Fisher Randomization Tests, Journal of Econometrics 225 (2021): robustly
        studentised, the randomisation test also holds for average effects.

    Example:
        >>> compute_effect("runs/R/ralr").summary()
    """
    check(options.SPEC.options, horizon=horizon, resamples=resamples, seed=seed)
    randomised, left_out = find_randomised(runs)
    flips, kept = collect_flips(randomised)
    outcomes, notes = _read_outcomes(kept, flips)
    redrawn = flips.redraw(resamples, np.random.default_rng(seed))
    found: list[Inference] = []
    phases, in_phases, treatments = find_phases(flips), [], []
    for name, values in outcomes.items():
        treated, drawn, treatment = treat(name, flips, redrawn)
        found.append(infer(values, treated, drawn, horizon))
        in_phases.append([infer(alone, treated, drawn, horizon) for alone in within(values, phases)])
        treatments.append(treatment)
        if progress is not None:
            progress(len(found), len(outcomes), "redraws")
    if not any(np.isfinite(one.estimate).any() for one in found):
        raise InputError(_too_few(next(iter(outcomes.values())), flips))
    return _collect(
        tuple(outcomes), found, flips, resamples, seed,
        (*left_out, *flips.notes, *notes, *_note_limits(found)), describe_runs(kept),
        describe_task(kept[0].about) | {"treatments": tuple(treatments)} | collect_phases(phases, in_phases, getattr),
    )  # fmt: skip


def infer(outcome: np.ndarray, flips: Flips, redrawn: np.ndarray, horizon: int) -> Inference:
    """Estimates, max-|t| p-values, critical value and minimum detectable effects of one outcome.

    Args:
        outcome: float64 (S, E), NaN where not measured.
        flips: The recorded draws.
        redrawn: Doses from ``Flips.redraw``, (R, S, E).
        horizon: Largest lag.
    """
    num_lags, num_redraws = horizon + 1, len(redrawn)
    estimate, error, p, mde = (np.full(num_lags, np.nan) for _ in range(4))
    rows, parameters = (np.zeros(num_lags, dtype=np.int64) for _ in range(2))
    observed, null, removed = np.zeros(num_lags), np.zeros(num_redraws), np.zeros(num_redraws)
    again: dict[int, Fit] = {}
    for lag in range(num_lags):
        rows[lag] = len(find_rows(outcome, flips, lag)[0])
        projection = build_projection(outcome, flips, lag)
        recorded = projection and fit(projection, flips.dose[None])
        if projection and recorded and np.isfinite(recorded.error[0]):
            parameters[lag] = projection.num_parameters
            estimate[lag], error[lag] = recorded.coefficients[0, 0], recorded.error[0]
            observed[lag] = recorded.t[0]
            np.maximum(null, fit(projection, redrawn).t, out=null)
            bare = _without_effect(projection, flips, recorded.coefficients[0])
            again[lag] = fit(projection, redrawn, bare)
            np.maximum(removed, again[lag].t, out=removed)
    if not again:
        return Inference(estimate, error, p, mde, rows, parameters, np.nan, np.nan)
    critical = float(np.sort(removed)[_rank(num_redraws)])
    for lag, other in again.items():
        p[lag] = _share(removed >= observed[lag])
        needed = np.where(np.isfinite(other.error), critical * other.error - other.coefficients[:, 0], np.inf)
        mde[lag] = np.quantile(needed, POWER, method="higher")
    return Inference(estimate, error, p, mde, rows, parameters, critical, _share(null >= observed.max()))


def _share(reached: np.ndarray) -> float:
    """p-value: the share of all draws that reach the recorded statistic, the recorded ones among them."""
    return float((1 + np.count_nonzero(reached)) / (1 + len(reached)))


def _without_effect(projection: Projection, flips: Flips, coefficients: np.ndarray) -> np.ndarray:
    """The response less the effects of the doses, its residuals as large as before they were fitted."""
    basis = projection.controls
    bare = projection.response - projection.doses(flips.dose) @ coefficients
    level = basis @ (basis.T @ bare)
    free = projection.degrees_of_freedom
    return level + (bare - level) * np.sqrt((free + projection.epochs.shape[1]) / free)


def _rank(num_redraws: int) -> int:
    """Index of the redraw that a share 1 − LEVEL of all, the recorded draws among them, may exceed."""
    return int(np.ceil(LEVEL * (num_redraws + 1))) - 1


def _read_outcomes(runs: Sequence[RunRecord], flips: Flips) -> tuple[dict[str, np.ndarray], list[str]]:
    num_epochs = flips.dose.shape[1]
    tables, notes = {}, []
    for name, substitute in (
        ("train_loss_eval", None), ("val_loss", "test_loss"), ("val_acc", "test_acc"), (_STEP, None)
    ):  # fmt: skip
        values = on_epochs(runs, name, num_epochs)
        if substitute and not np.isfinite(values).any():
            name, values = substitute, on_epochs(runs, substitute, num_epochs)
        if not np.isfinite(values).any():
            notes.append(f"`{name}` was not recorded: left out")
            continue
        if name == _STEP:
            values = np.log(np.where(values > 0, values, np.nan))
        missing = [run.label for run, row in zip(runs, values, strict=True) if not np.isfinite(row).any()]
        if missing:
            notes.append(f"`{name}` was not recorded in {', '.join(missing)}")
        tables[name] = values
    if (forgotten := _read_forgotten(runs, num_epochs)) is not None:
        tables["forgotten"] = forgotten
    if not tables:
        raise InputError(
            f"`{runs[0].label}` records none of train_loss_eval, val_loss, val_acc and step_length: log at least one"
        )
    return tables, notes


def _read_forgotten(runs: Sequence[RunRecord], num_epochs: int) -> np.ndarray | None:
    """Per cent of the examples that each epoch forgot (S, E); None unless all runs have a record of the same kind."""
    for name in ("val", "train", "test"):
        paths = [None if run.path is None else examples_path(run.path, name) for run in runs]
        if not all(path is not None and path.is_file() for path in paths):
            continue
        values = np.full((len(runs), num_epochs), np.nan)
        for row, path, run in zip(values, paths, runs, strict=True):
            assert path is not None
            found = read_examples(path, int(run.epoch[-1]))
            if np.array_equal(
                found.epochs, np.arange(1, len(found.epochs) + 1)
            ):  # of gaps nobody knows the epoch
                count = min(len(found.epochs), num_epochs)
                row[1:count] = 100 * trace(found.epochs, found.right, found.losses).forgotten[1:count]
        return values if np.isfinite(values).any() else None
    return None


def _too_few(outcome: np.ndarray, flips: Flips) -> str:
    rows = len(find_rows(outcome, flips, 0)[0])
    return (
        f"{flips.draws.sum()} draws in {len(flips.runs)} run(s), {rows} of them usable at lag 0, are too few for any "
        f"estimate ({flips.schedule}): give more runs of other seeds, or train longer"
    )


def _note_limits(found: Sequence[Inference]) -> list[str]:
    """That there are few draws, and which lags have no estimate in any outcome."""
    notes = []
    if (most := max(one.rows[0] for one in found)) < FEW_DRAWS:
        notes.append(
            f"{most} draws are few: if they do not all act alike, the bands cover less than {LEVEL:.0%}; p (any lag) "
            "stays exact"
        )
    missing = np.flatnonzero(~np.any([np.isfinite(one.estimate) for one in found], axis=0))
    if len(missing):
        lags = ", ".join(map(str, missing))
        notes.append(f"lag {lags}: not estimable, too few draws whose whole horizon lies in one phase")
    return notes


def _collect(
    names: tuple[str, ...],
    found: Sequence[Inference],
    flips: Flips,
    resamples: int,
    seed: int,
    notes: tuple[str, ...],
    provenance: dict[str, Any],
    told: dict[str, Any],
) -> EffectResult:
    columns: dict[str, Any] = {
        name: np.stack([np.asarray(getattr(one, name)) for one in found]) for name in Inference._fields
    }
    margin = columns["critical"][:, None] * columns["error"]
    law = flips.law
    return EffectResult(
        outcomes=names,
        **told,
        lag=np.arange(columns["estimate"].shape[1]),
        low=columns["estimate"] - margin,
        high=columns["estimate"] + margin,
        runs=flips.runs,
        draws=flips.draws,
        amplified=flips.amplified,
        law={
            "low": law.low, "high": law.high, "probability": law.probability, "draw": law.draw,
            "interval": flips.interval,
        },
        schedule=flips.schedule,
        resamples=resamples,
        seed=seed,
        notes=notes,
        provenance=provenance,
        **columns,
    )  # fmt: skip
