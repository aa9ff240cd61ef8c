"""The verdict in words: the difference, what it is of, and what may not be concluded from it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ralr_viz.report.inputs import Side
from ralr_viz.report.section import format_number
from ralr_viz.results.run import RunRecord
from ralr_viz.results.verdict import Score, Verdict

_FEWEST_SEEDS = 3
"""Below this nothing is said of the method, as in `ralr_viz.analysis.why`."""


def describe_difference(verdict: Verdict) -> str:
    """The first thing to read: the accuracy, or the difference of the two with its interval."""
    over_seeds = len(verdict.paired_seeds) > 1
    scores = verdict.seeds if over_seeds or not verdict.images else verdict.images
    if not scores:
        return "Nothing was evaluated that could be compared."
    score = scores[0]
    what = _what(verdict, score)
    if verdict.num_sides == 1:
        value, low, high = score.values[0]
        named = "" if score.name == "accuracy" else f"{score.name} "
        unit = f" {score.unit}" if score.unit else ""
        return f"{verdict.names[0]}: {named}{value:.2f}{unit} {what}{_interval(low, high, '.2f')}."
    first, second = verdict.names
    _, low, high = score.difference
    text = f"{_compare(score, first, second)} {what}"
    included = ", which includes 0: no difference is shown"
    return f"{text}{_interval(low, high, '+.2f', included)}. {_describe_loss(scores[1])}".rstrip()


def describe_left_out(verdict: Verdict) -> str:
    """Which seeds the comparison over seeds lacks, and why; empty where it has all."""
    by_reason: dict[str, list[int]] = {}
    for seed, reason in verdict.left_out:
        by_reason.setdefault(reason, []).append(seed)
    parts = [f"{_name_seeds(seeds)} ({reason})" for reason, seeds in by_reason.items()]
    return f"Left out of what is said over seeds: {'; '.join(parts)}." if parts else ""


def describe_limits(verdict: Verdict, sides: Sequence[Side]) -> list[str]:
    """What may be concluded from these numbers, a sentence each."""
    n = len(verdict.paired_seeds)
    pair = verdict.num_sides == 2
    limits = [_describe_unfinished(side) for side in sides]
    if pair:
        limits.append(_pairing(verdict, sides))
    if n == 1 or (not n and verdict.images):
        limits.append(_describe_one_training(verdict, sides))
    elif 1 < n < _FEWEST_SEEDS:
        limits.append(f"With {n} seeds nothing can be said of the method: train {_FEWEST_SEEDS} or more.")
    elif n:
        limits.append(
            f"{n} training seeds: intervals over seeds speak of the method under this recipe, those over "
            f"images of {'one pair of checkpoints' if pair else 'one checkpoint'} only."
        )
    return [sentence for sentence in limits if sentence]


def _compare(score: Score, first: str, second: str) -> str:
    mean = float(score.difference[0])
    if score.name == "accuracy":
        if mean == 0:
            return f"{second} and {first} are equally accurate"
        return f"{second} is {abs(mean):.2f} points {'more' if mean > 0 else 'less'} accurate than {first}"
    if mean == 0:
        return f"{second} and {first} have equal {score.name}"
    unit = " points" if score.unit == "%" else f" {score.unit}" if score.unit else ""
    return f"{score.name} of {second} is {abs(mean):.2f}{unit} {'higher' if mean > 0 else 'lower'} than that of {first}"


def _describe_loss(score: Score) -> str:
    mean, low, high = score.difference
    if math.isnan(mean):
        return ""
    if mean == 0:
        return "Their losses are equal."
    unit = f" {score.unit}" if score.unit else ""
    text = f"Its loss is {abs(mean):.4f}{unit} {'lower' if mean < 0 else 'higher'}"
    return f"{text}{_interval(low, high, '+.4f', ', which includes 0')}."


def _describe_unfinished(side: Side) -> str:
    """Of a checkpoint whose training goes on or diverged: its number is not the method's."""
    run = looked_at(side)
    if run is None or run.ended:
        return ""
    return f"The checkpoint of {side.name} is of a training that is {run.status}, not finished."


def looked_at(side: Side) -> RunRecord | None:
    """The run whose checkpoint is on the page."""
    seed = side.checkpoint.get("seed")
    return next((run for run in side.runs if run.seed == seed), None) if side.checkpoint else None


def _describe_one_training(verdict: Verdict, sides: Sequence[Side]) -> str:
    counts = [len(side.runs) for side in sides]
    several, of = max(counts, default=0) > 1, " and ".join(map(str, counts))
    known = f" (seed {verdict.paired_seeds[0]})" if verdict.paired_seeds else ""
    if verdict.num_sides == 1:
        if not verdict.images:
            return ""
        which = f"One training{known} of {of}" if several else "One training"
        return f"{which}: the interval is over {verdict.split}, not over training seeds."
    held = f"the intervals are over {verdict.split} and hold for these checkpoints" if verdict.images else ""
    held = held or "these numbers are of these runs"
    which = "One training each"
    if several and known:
        which = f"One pair{known} of {of} trainings"
    elif several:
        which = f"One checkpoint each, of {of} trainings"
    return f"{which}: {held}. They say nothing of the method, whose results vary from seed to seed."


def _pairing(verdict: Verdict, sides: Sequence[Side]) -> str:
    """Whether the compared checkpoints share the seed, and so initial weights, data order and augmentation."""
    seeds = [side.checkpoint.get("seed") for side in sides]
    if None in seeds or not all(side.runs for side in sides):
        return (
            "" if verdict.paired_seeds else "Nothing is known of how these weights were paired in training."
        )
    if seeds[0] != seeds[1]:
        return (
            f"The checkpoints come from different training seeds ({seeds[0]} and {seeds[1]}): they share "
            "neither initial weights nor the order of the data."
        )
    return ""


def _what(verdict: Verdict, score: Score) -> str:
    if score.over == "seeds":
        n = len(verdict.paired_seeds)
        paired = "paired " if verdict.num_sides == 2 else ""
        return f"on the {verdict.seed_split} at {verdict.seed_epoch}" + (
            f", over {n} {paired}training seeds" if n > 1 else ""
        )
    return f"on {verdict.num_images:,} {verdict.split}"


def _interval(low: float, high: float, spec: str, included: str = "") -> str:
    """An interval in words, and what to say of one that includes 0; nothing where it is not known."""
    if math.isnan(low):
        return ""
    ends = f"{format_number(float(low), spec)} to {format_number(float(high), spec)}"
    return f" (95 % interval {ends}{included if low <= 0 <= high else ''})"


def _name_seeds(seeds: Sequence[int]) -> str:
    if len(seeds) == 1:
        return f"seed {seeds[0]}"
    return f"seeds {', '.join(map(str, seeds[:-1]))} and {seeds[-1]}"
