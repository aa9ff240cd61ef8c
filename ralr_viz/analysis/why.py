"""From the diagnostics of each seed to a verdict on each of the paper's claims."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ralr_viz.analysis.paired import compare_paired, holm, seed_image_interval
from ralr_viz.errors import InputError
from ralr_viz.results.measure import Measure
from ralr_viz.results.why import CLAIMS, COMPARISONS, Claim, WhyResult

_ALPHA = 0.05
_FEWEST_SEEDS = 3
"""Below this the table speaks of the checkpoints at hand, not of the method."""

_IN_WORDS = {"baseline": "the baseline", "scaled": "the constant factor", "matched": "the matched constants"}
"""How sentences call the arms; others are called by their name."""

_PAIRS = ((0, 1), (2, 1), (0, 2))
"""From which arm to which, of `COMPARISONS`."""


def compute_why(
    measures: Mapping[str, Sequence[Sequence[Measure]]],
    *,
    arms: Sequence[str],
    seeds: Sequence[int],
    control: str | None = None,
    notes: Sequence[str] = (),
    provenance: dict[str, Any] | None = None,
) -> WhyResult:
    """Compare two methods, and a control, over seeds, and judge the four primary claims.

    A claim is *supported* where the paired t test over seeds finds its sign at p < .05 after Holm's correction
    over the four, and B against the control has that sign too, with a 95 % t interval that excludes 0;
    *contradicted* where both find the opposite sign likewise; *not shown* otherwise. Where several measures decide,
    each must say so, and the largest p is tested (an intersection–union test). A claim that any larger learning rate
    would fulfil is decided against the control `matched` only. With fewer than three seeds nothing is said of the method, only what these checkpoints show, against the control too.

    Args:
        measures: Of each diagnostic, for each seed, its measures; each of one value for each arm.
        arms: Names of A, B and, as a third, the control.
        seeds: In the order of the measures.
        control: Method of the control; left out, its name.
        notes, provenance: Kept with the result.

    Raises:
        InputError: No measure at all; the notes are the reasons.
        ValueError: Measures that differ from seed to seed, or of another number of arms.
    """
    columns = [
        (diagnostic, tuple(per_seed[i] for per_seed in of_seeds))
        for diagnostic, of_seeds in measures.items()
        for i in range(len(of_seeds[0]))
    ]
    if not columns:
        reasons = "; ".join(dict.fromkeys(notes)) or "choose others by --only, or give runs that allow one"
        raise InputError(f"no diagnostic gave a measure: {reasons}")
    pairs = _PAIRS if len(arms) == 3 else _PAIRS[:1]
    values = np.full((len(columns), len(arms), len(seeds)), np.nan)
    within = np.full((len(columns), len(pairs), len(seeds), 2), np.nan)
    differences = np.full((len(columns), len(pairs), 3), np.nan)
    p, flips = np.full((2, len(columns), len(pairs)), np.nan)
    bootstrap = np.full((len(columns), len(pairs), 2), np.nan)
    for m, (diagnostic, of_seeds) in enumerate(columns):
        _check_measures(diagnostic, of_seeds, len(arms), len(seeds))
        values[m] = np.stack([measure.values for measure in of_seeds], axis=1)
        for c, (i, j) in enumerate(pairs):
            within[m, c] = [measure.difference(i, j)[1:] for measure in of_seeds]
            found = compare_paired(values[m, j] - values[m, i])
            differences[m, c] = found[:3]
            p[m, c], flips[m, c] = found.p, found.sign_flip_p
            bootstrap[m, c] = _bootstrap(of_seeds, i, j)
    keys = [(diagnostic, of_seeds[0].name) for diagnostic, of_seeds in columns]
    places = [
        [
            m
            for name in claim.measures
            if (key := (claim.diagnostic, name)) in keys
            and np.isfinite(differences[m := keys.index(key), 0, 0])
        ]
        for claim in CLAIMS
    ]
    tested = [np.nan if not at or len(seeds) < _FEWEST_SEEDS else p[at, 0].max() for at in places]
    corrected = holm(tested)
    of_control = control or arms[-1]
    verdicts = [
        _judge(claim, differences[at], within[at], float(corrected[k]), tuple(arms), len(seeds), of_control)
        if at
        else "not measured"
        for k, (claim, at) in enumerate(zip(CLAIMS, places, strict=True))
    ]
    return WhyResult(
        arms=tuple(arms),
        seeds=tuple(seeds),
        diagnostics=tuple(diagnostic for diagnostic, _ in columns),
        names=tuple(of_seeds[0].name for _, of_seeds in columns),
        labels=tuple(of_seeds[0].label for _, of_seeds in columns),
        units=tuple(of_seeds[0].unit for _, of_seeds in columns),
        resampled=tuple(of_seeds[0].resampled for _, of_seeds in columns),
        values=values,
        within=within,
        differences=differences,
        p=p,
        sign_flip_p=flips,
        sign_flip_floor=2.0 ** (1 - len(seeds)),
        bootstrap=bootstrap,
        corrected_p=corrected,
        verdicts=tuple(verdicts),
        notes=(
            *notes,
            *_refusals(columns),
            *_note_claims(columns, places, of_control if len(arms) > 2 else ""),
        ),
        deciding=tuple((claim.diagnostic, *claim.measures) for claim in CLAIMS),
        provenance=provenance or {},
    )


def _judge(
    claim: Claim,
    differences: np.ndarray,
    within: np.ndarray,
    corrected: float,
    arms: tuple[str, ...],
    num_seeds: int,
    control: str,
) -> str:
    """The verdict on one claim of d measures, by the rules of `compute_why`.

    Args:
        differences: (d, C, 3) mean, low, high of each comparison.
        within: (d, C, S, 2) intervals of each seed's difference.
        corrected: p after Holm's correction.
        control: Method of the control.
    """
    if num_seeds < _FEWEST_SEEDS:
        shown = _describe_checkpoints(claim, differences[:, :, 0], within, arms)
        return f"not testable at n = {num_seeds}; these checkpoints: {shown}"
    if corrected >= _ALPHA:
        return "not shown"
    if differences.shape[1] < len(COMPARISONS):
        return f"not shown ({arms[1]} differs from {arms[0]}, but no control was given)"
    if claim.control not in ("", control):
        return f"not shown ({arms[1]} differs from {arms[0]}, but the control is not `{claim.control}`)"
    claimed, beyond_control = (_direction(claim, differences[:, c, 1:]) for c in range(2))
    if not claimed:
        return "not shown (its measures disagree)"
    if claimed != beyond_control:
        return "not shown (no more than in the control)"
    return "supported" if claimed > 0 else "contradicted"


def _direction(claim: Claim, ends: np.ndarray) -> int:
    """+1 where intervals (..., 2) are all on the claimed side of 0, −1 where all on the other, else 0."""
    low, high = np.sort(claim.sign * ends, axis=-1).T
    return int(np.all(low > 0)) - int(np.all(high < 0))


def _describe_checkpoints(claim: Claim, means: np.ndarray, within: np.ndarray, arms: tuple[str, ...]) -> str:
    """What the mean differences (d, C) of d measures and their intervals (d, C, S, 2) at the checkpoints at hand say.

    Of B against A, and against the control where there is one: a constant factor that does the same leaves
    nothing for the change of A to B to explain.
    """
    measured = not np.isnan(within).any()
    # without intervals, by the sign of the differences alone
    of_a, *of_control = (
        _direction(claim, within[:, c] if measured else np.stack([means[:, c]] * 2, axis=-1))
        for c in range(min(means.shape[1], 2))
    )
    tail = "" if measured else ", no interval"
    if not of_a:
        return "unclear" + tail
    if of_control in ([], [of_a]):
        return ("as claimed" if of_a > 0 else "opposite") + tail
    than = "lower" if claim.sign * of_a < 0 else "higher"
    return f"{than} than {_IN_WORDS.get(arms[0], arms[0])}, not than {_IN_WORDS.get(arms[2], arms[2])}{tail}"


def _bootstrap(of_seeds: Sequence[Measure], i: int, j: int) -> tuple[float, float]:
    counts = {measure.draws.shape[1] for measure in of_seeds}
    if len(counts) != 1:
        return np.nan, np.nan
    return seed_image_interval(np.stack([measure.draws[j] - measure.draws[i] for measure in of_seeds]))


def _refusals(columns: Sequence[tuple[str, Sequence[Measure]]]) -> list[str]:
    """Which diagnostics have no intervals within a seed for lack of images, and of how many."""
    found = [(diagnostic, one.refusal) for diagnostic, of_seeds in columns for one in of_seeds if one.refusal]
    return [f"{diagnostic}: {refusal}" for diagnostic, refusal in dict.fromkeys(found)]


def _note_claims(
    columns: Sequence[tuple[str, Sequence[Measure]]], places: Sequence[Sequence[int]], control: str
) -> list[str]:
    """Where a claim is decided by fewer measures than it should be, or its control is of the wrong method."""
    notes = []
    for claim, at in zip(CLAIMS, places, strict=True):
        found = [columns[m][1][0].name for m in at]
        if found and (missing := [name for name in claim.measures if name not in found]):
            notes.append(
                f"{claim.text}: decided by {', '.join(found)} alone, {', '.join(missing)} was not measured"
            )
        if found and control and claim.control not in ("", control):
            notes.append(
                f"{claim.text}: any larger learning rate would show it, so it takes the control `{claim.control}`, whose rates add up "
                f"to those of the method in each piece; `{control}` decides nothing"
            )
    return notes


def _check_measures(diagnostic: str, of_seeds: Sequence[Measure], num_arms: int, num_seeds: int) -> None:
    names = {measure.name for measure in of_seeds}
    if len(names) != 1 or len(of_seeds) != num_seeds:
        raise ValueError(
            f"`{diagnostic}` gave {sorted(names)} for {len(of_seeds)} of {num_seeds} seeds, expects one"
        )
    if any(len(measure.values) != num_arms for measure in of_seeds):
        raise ValueError(f"`{diagnostic}` has measures of another number of networks than {num_arms} arms")
