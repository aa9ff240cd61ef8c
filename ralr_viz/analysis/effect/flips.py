"""RALR's own draws as a randomised experiment: the doses of several runs, and new ones from the same law."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ralr_viz.errors import InputError
from ralr_viz.results.names import name_runs
from ralr_viz.results.run import RunRecord
from ralr_viz.schedule.factors import Amplification, check_count

_LAW = ("low", "high", "probability", "draw")
_ONE_SCALE = ("dataset", "model", "subset", "interval", "amplify_from", *_LAW)
"""Settings in which pooled runs must agree: their losses and doses have one meaning."""
_DEFAULTS = {"amplify_from": 0.0}
"""Of settings that older recipes lack."""
_SHORTEST_PHASE = 3  # epochs: before, during and after a draw
_TOLERANCE = 1e-6  # relative: a base LR that was multiplied out, a factor that was read from text


@dataclass(frozen=True, eq=False)
class Flips:
    """The draws of S runs of one recipe on one axis of E epochs.

    Attributes:
        runs: S names.
        law: What each draw is drawn from.
        interval: Epochs a draw lasts, >= 1; the first draw starts with the first epoch.
        masked: Epochs at the beginning that draw nothing (``amplify_from``), >= 0.
        base_lr: Scheduled LR, float64 (E,), NaN where no run has the epoch.
        phase: Number of the epoch's segment of constant base LR, int64 (E,); epochs in different ones are
            never compared.
        smooth: The base LR changes all the time, so that everything is one phase.
        dose: Factor − 1, float64 (S, E), NaN where a run has not recorded it.
        notes: What was left out, a line each.
    """

    runs: tuple[str, ...]
    law: Amplification
    interval: int
    base_lr: np.ndarray
    phase: np.ndarray
    smooth: bool
    dose: np.ndarray
    notes: tuple[str, ...] = ()
    masked: int = 0

    @property
    def starts(self) -> np.ndarray:
        """Whether a draw begins to count with the epoch, bool (E,)."""
        epochs = np.arange(len(self.base_lr))
        return (epochs == self.masked) | ((epochs % self.interval == 0) & (epochs > self.masked))

    @property
    def draws(self) -> np.ndarray:
        """Recorded draws of each run, int64 (S,)."""
        return np.isfinite(self.dose[:, self.starts]).sum(axis=1)

    @property
    def amplified(self) -> np.ndarray:
        """Recorded draws of each run that changed the LR, int64 (S,)."""
        dose = self.dose[:, self.starts]
        return (np.isfinite(dose) & (dose != 0)).sum(axis=1)

    @property
    def schedule(self) -> str:
        """The phases in words."""
        if self.smooth:
            return "base LR that changes every epoch, taken as one phase"
        lengths = np.bincount(self.phase).tolist()
        if len(lengths) == 1:
            return f"constant base LR over {lengths[0]} epochs"
        return f"{len(lengths)} phases of constant base LR ({', '.join(map(str, lengths))} epochs)"

    def redraw(self, count: int, generator: np.random.Generator) -> np.ndarray:
        """Doses as they might have been, from the same law.

        Args:
            count: How many times all runs are drawn again.
            generator: Source of the uniforms.

        Returns:
            float64 of shape (count, S, E).
        """
        num_runs, num_epochs = self.dose.shape
        shape = (count, num_runs, -(-num_epochs // self.interval))
        amplified = generator.random(shape) < self.law.probability
        if self.law.draw == "integer":
            first, last = int(np.ceil(self.law.low)), int(np.floor(self.law.high))
            rate = generator.integers(first, last, shape, endpoint=True).astype(np.float64)
        else:
            rate = generator.uniform(self.law.low, self.law.high, shape)
        dose = np.where(amplified, rate - 1.0, 0.0)
        drawn = np.repeat(dose, self.interval, axis=2)[:, :, :num_epochs]
        drawn[:, :, : self.masked] = 0.0
        return drawn


def collect_flips(runs: Sequence[RunRecord]) -> tuple[Flips, list[RunRecord]]:
    """Put the draws of several runs side by side; runs with equal draws are one experiment and count once.

    Args:
        runs: At least one run with random factors.

    Returns:
        The draws, and the S runs that are in them.

    Raises:
        InputError: No run, no law in a recipe, a law without chance, factors that are not of that law, or
            runs that differ in schedule, law, data or network.
    """
    if not runs:
        raise InputError("no run with random flips was given: name at least one run of method `ralr`")
    law, interval = _read_law(runs[0])
    masked = _read_mask(runs[0])
    for run in runs:
        _check_same(runs[0], run)
        _check_factors(run, law, interval, masked)
    kept, notes = _drop_repeated(runs)
    num_epochs = max(int(run.epoch.max()) for run in kept)
    dose = on_epochs(kept, "factor", num_epochs) - 1.0
    phase, base_lr, smooth = _find_phases(kept, num_epochs, masked)
    flips = Flips(name_runs(kept), law, interval, base_lr, phase, smooth, dose, tuple(notes), masked)
    return flips, kept


def on_epochs(runs: Sequence[RunRecord], quantity: str, num_epochs: int) -> np.ndarray:
    """A quantity on the epochs 1 … num_epochs, float64 (num_runs, num_epochs), NaN where not finite."""
    table = np.full((len(runs), num_epochs), np.nan)
    for row, run in zip(table, runs, strict=True):
        values = run.values(quantity)
        row[run.epoch - 1] = np.where(np.isfinite(values), values, np.nan)
    return table


def _read_law(run: RunRecord) -> tuple[Amplification, int]:
    missing = [name for name in (*_LAW, "interval") if name not in run.recipe]
    if missing:
        raise InputError(
            f"the recipe of `{run.label}` lacks `{missing[0]}`: without the law of its draws they cannot be "
            "drawn again; add it to recipe.toml"
        )
    law = Amplification(**{name: run.recipe[name] for name in _LAW})
    interval = check_count("interval", run.recipe["interval"], minimum=1)
    low, high = (
        (law.low, law.high) if law.draw == "uniform" else (float(np.ceil(law.low)), float(np.floor(law.high)))
    )
    certain = law.probability == 0 or (low == high and (law.probability == 1 or low == 1))
    if certain:
        raise InputError(
            f"`{run.label}` leaves nothing to chance (probability {law.probability:g}, factors {low:g} to "
            f"{high:g}): the effect of a draw needs draws that differ"
        )
    return law, interval


def _read_mask(run: RunRecord) -> int:
    """Epochs at the beginning that nothing amplifies; none in a recipe from before there was a choice."""
    share, epochs = run.recipe.get("amplify_from", 0.0), run.recipe.get("epochs", 0)
    known = all(isinstance(x, int | float) and not isinstance(x, bool) for x in (share, epochs))
    if not known or not 0 <= share < 1:
        raise InputError(
            f"`{run.label}` has `amplify_from` {share!r}: it must be a share in [0, 1); correct recipe.toml"
        )
    return round(share * epochs)


def _check_same(first: RunRecord, run: RunRecord) -> None:
    for name in _ONE_SCALE:
        ours, other = (r.recipe.get(name, _DEFAULTS.get(name)) for r in (first, run))
        if ours != other:
            raise InputError(
                f"`{first.label}` has `{name}` {ours!r} and `{run.label}` {other!r}: only runs of one recipe are "
                "pooled; analyse them one by one"
            )
    common, mine, others = np.intersect1d(first.epoch, run.epoch, return_indices=True)
    a, b = first.values("base_lr")[mine], run.values("base_lr")[others]
    differ = ~np.isclose(a, b, rtol=_TOLERANCE, atol=0, equal_nan=True)
    if differ.any():
        raise InputError(
            f"`{first.label}` and `{run.label}` have different base LRs in epoch {common[differ][0]}: only runs of "
            "one schedule are pooled; analyse them one by one"
        )


def _check_factors(run: RunRecord, law: Amplification, interval: int, masked: int) -> None:
    factor = run.values("factor")
    finite = np.isfinite(factor)
    if not finite.any():
        raise InputError(f"`{run.label}` has no `factor` in its metrics: log the factor of each epoch")
    slack = _TOLERANCE * law.high
    possible = (factor >= law.low - slack) & (factor <= law.high + slack)
    if law.probability < 1:
        possible |= factor == 1
    if law.draw == "integer":
        possible &= np.isclose(factor, np.round(factor), rtol=0, atol=slack)
    early = run.epoch <= masked
    possible = np.where(early, factor == 1, possible)
    block = np.where(early, -1, (run.epoch - 1) // interval)
    same = np.r_[False, block[1:] == block[:-1]]
    changed = np.isfinite(factor[:-1]) & ~np.isclose(factor[1:], factor[:-1], rtol=_TOLERANCE, atol=0)
    torn = same & np.r_[False, changed]
    bad = finite & (~possible | torn)
    if bad.any():
        raise InputError(
            f"`{run.label}` has factor {factor[bad][0]:g} in epoch {run.epoch[bad][0]}, which the law of its "
            f"recipe (low {law.low:g}, high {law.high:g}, probability {law.probability:g}, draw {law.draw}, "
            f"interval {interval}{f', none in the first {masked} epochs' if masked else ''}) cannot give: correct "
            "recipe.toml"
        )


def _drop_repeated(runs: Sequence[RunRecord]) -> tuple[list[RunRecord], list[str]]:
    """The runs whose draws differ, in the given order, the longest of those that agree; and what was dropped."""
    kept: list[int] = []
    notes = []
    for i in sorted(range(len(runs)), key=lambda i: -len(runs[i].epoch)):
        twin = next((j for j in kept if _same_draws(runs[i], runs[j])), None)
        if twin is None:
            kept.append(i)
        else:
            notes.append(f"{runs[i].label} has the draws of {runs[twin].label}: counted once")
    return [runs[i] for i in sorted(kept)], notes


def _same_draws(a: RunRecord, b: RunRecord) -> bool:
    _, mine, others = np.intersect1d(a.epoch, b.epoch, return_indices=True)
    x, y = a.values("factor")[mine], b.values("factor")[others]
    return bool(np.isclose(x, y, rtol=_TOLERANCE, atol=0, equal_nan=True).all())


def _find_phases(
    runs: Sequence[RunRecord], num_epochs: int, masked: int
) -> tuple[np.ndarray, np.ndarray, bool]:
    """Number of each epoch's phase, base LRs, and whether they are smooth; masked epochs are a phase of their own.

    They draw nothing, so comparing them with what follows would take their place in the training for an effect.
    """
    table = on_epochs(runs, "base_lr", num_epochs)
    base_lr = np.full(num_epochs, np.nan)
    for row in table:  # equal wherever several have it
        base_lr = np.where(np.isfinite(base_lr), base_lr, row)
    changed = ~np.isclose(base_lr[1:], base_lr[:-1], rtol=_TOLERANCE, atol=0)
    phase = np.cumsum(np.r_[False, changed])
    smooth = bool(np.bincount(phase).max() < min(_SHORTEST_PHASE, num_epochs))
    if smooth:
        phase = np.cumsum(np.r_[False, np.isfinite(base_lr[1:]) != np.isfinite(base_lr[:-1])])
    phase = phase + (np.arange(num_epochs) >= masked) * (masked > 0)
    return phase.astype(np.int64), base_lr, smooth
