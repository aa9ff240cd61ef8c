"""What has to be said of a study that decides, a sentence each, from what its result holds."""

from __future__ import annotations

import math

import numpy as np

from ralr_viz.results.decision import DecisionResult
from ralr_viz.results.study_caption import describe_conditions, span_of

_OUTCOME = {
    "unseen": "accuracy (%) of the last state on all images that a run neither trains on nor watches, scored once, in fp32"
}


def describe_rule(result: DecisionResult) -> list[str]:
    """The rule as its file has it."""
    rule, arms = result.rule, [a for a, main in zip(result.arms, result.main, strict=True) if main]
    seeds = [s for s, used in zip(result.seeds, result.planned[result.main].all(0), strict=True) if used]
    said = [
        f"Outcome: {_OUTCOME[rule['outcome']]}. A run that diverges counts at chance.",
        f"Runs that decide: {', '.join(arms)}, each at seeds {span_of(tuple(seeds))}; compared seed by seed, two-sided, by "
        "all sign flips of the differences.",
    ]
    for family in rule["families"]:
        tests = "; then, only if that rejects, ".join(
            f"{arm} − {reference}" for arm, reference in family["tests"]
        )
        said.append(
            f"{family['name']}, {'each ' * (len(family['tests']) > 1)}at {family['level']:g}: {tests}."
        )
    return [
        *said,
        f"Supported: every test of {rule['support']} rejects, each with the first arm higher.",
        f"Collapsed: more than {rule['collapse']:g} points below {rule['baseline']} at the same seed. One collapsed run can "
        "hide a gain from the tests; that is meant.",
        f"Equivalence: the 90 % paired interval lies within ± {rule['equivalence']:g} × the error of {rule['baseline']}. It "
        "says smaller than the paper's relative gain, never no effect, and may hold beside a rejection.",
        f"Resolution: a difference of {rule['resolution']:g} × the paired standard deviation is found with power 0.8.",
    ]


def describe_progress(result: DecisionResult) -> list[str]:
    """How many runs are there, and what that withholds."""
    main, planned, done = result.main, result.planned, result.done
    counts = [(int(done[rows].sum()), int(planned[rows].sum())) for rows in (main, ~main)]
    said = f"{counts[0][0]} of {counts[0][1]} runs that decide"
    if counts[1][1]:
        said += f" and {counts[1][0]} of {counts[1][1]} exploratory ones"
    withheld = [] if result.complete else [
        "Every accuracy, difference and verdict is withheld until all runs that decide are there."
    ]  # fmt: skip
    return [f"{said} are done.", *withheld]


def describe_verdict(result: DecisionResult) -> list[str]:
    """What the tests say, in the words of the rule; empty while it is withheld."""
    if not result.complete:
        return []
    said = [f"{result.rule['support']}: {'supported' if result.supported else 'not supported'}."]
    for test, (answer, equivalent) in enumerate(zip(result.answers, result.equivalent, strict=True)):
        found = result.estimate(test)
        text = f"{result.contrast(test)} ({result.families[test]}): {_ANSWERS[answer]}"
        text += f" (p = {found['p']:.3g} at {result.levels[test]:g}; no p can be below {found['floor']:.2g})."
        if equivalent:
            text += f" Smaller than the paper's relative gain: the 90 % interval lies within ± {result.band:.2f} points."
        text += f" A difference of {result.rule['resolution'] * found['sd']:.2g} points would be found with power 0.8."
        said.append(text)
    return [*said, *_describe_collapse(result)]


_ANSWERS = {
    "higher": "rejected, higher",
    "lower": "rejected, lower",
    "no difference shown": "no difference shown",
    "not tested": "not tested, since the test before it did not reject",
}


def _describe_collapse(result: DecisionResult) -> list[str]:
    collapsed = [
        f"{result.arms[a]} seed {result.seeds[s]}" for a, s in zip(*np.nonzero(result.collapsed), strict=True)
    ]
    named = f" ({', '.join(collapsed)})" if collapsed else ""
    return [f"Collapsed runs: {len(collapsed)}{named}."]


def describe_settling(result: DecisionResult) -> list[str]:
    """Whether the trainings were over; empty while it is withheld."""
    accuracy, fall = (result.value(name)[result.main] for name in ("train_acc", "loss_fall"))
    if not np.isfinite(accuracy).any():
        return []
    return [
        f"Training accuracy in the last epoch: {np.nanmin(accuracy):.1f} to {np.nanmax(accuracy):.1f} %; over the last tenth "
        f"of the training the training loss falls by {np.nanmin(fall):.2g} to {np.nanmax(fall):.2g} nats."
    ]


def describe_rates(result: DecisionResult) -> list[str]:
    """Σ LR and the root mean square of the LR, of each arm that has a finished run."""
    total, squares = result.value("sum_lr"), result.value("sum_lr_squared")
    base = result.baseline
    said = []
    for arm in range(len(result.arms)):
        ratios = total[arm] / total[base], np.sqrt(squares[arm] / squares[base])
        if arm != base and np.isfinite(ratios[0]).any():
            sums, roots = (f"{np.nanmean(r):.3g}" for r in ratios)
            said.append(f"{result.arms[arm]} {sums} and {roots}")
    if not said:
        return []
    return [f"Σ LR and √Σ LR² over {result.arms[base]}'s, means over seeds: {'; '.join(said)}."]


def describe_decision(result: DecisionResult) -> list[str]:
    """All but the rule and the progress: verdict, settling, rates, conditions and notes."""
    notes = [f"{note.rstrip('.')}." for note in (result.note, *result.notes) if note]
    return [
        *describe_verdict(result),
        *describe_settling(result),
        *describe_rates(result),
        *describe_conditions(result.conditions),
        *notes,
    ]


def signed(value: float, digits: int = 2) -> str:
    """``+0.52``, ``−0.52``; a dash for what is not there."""
    return f"{value:+.{digits}f}".replace("-", "−") if math.isfinite(value) else "–"


def with_interval(value: float, low: float, high: float) -> str:
    """``+0.52 [+0.10, +0.94]``, without the interval where there is none."""
    return f"{signed(value)} [{signed(low)}, {signed(high)}]" if math.isfinite(low) else signed(value)
