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
    """The first thing to read, one sentence: the score, or the difference of the two with its interval."""
    score = first_score(verdict)
    if score is None:
        return "Nothing was evaluated that could be compared."
    if verdict.num_sides == 1:
        value, low, high = score.values[0]
        named = "" if score.name == "accuracy" else f"{score.name} "
        unit = f" {score.unit}" if score.unit else ""
        return f"{verdict.names[0]}: {named}{value:.2f}{unit}{_interval(low, high, '.2f')} {_what(verdict, score)}."
    first, second = verdict.names
    mean, low, high = score.difference.tolist()
    shown = f"{format_number(mean, '+.2f')}{_points(score)}{_interval(low, high, '+.2f')}"
    of = f"{second} − {first}, {score.name} {_what(verdict, score)}"
    if math.isnan(low):
        return f"One training each, no interval: {shown} ({of})."
    if low <= 0 <= high:
        return f"No difference shown: {shown} ({of})."
    if score.name == "accuracy":
        return f"{second} is {'more' if mean > 0 else 'less'} accurate than {first}: {shown} {_what(verdict, score)}."
    return f"{second} has {'higher' if mean > 0 else 'lower'} {score.name} than {first}: {shown} {_what(verdict, score)}."


def describe_control(verdict: Verdict) -> str:
    """The second sentence: how much of the difference is left against the control."""
    score = first_score(verdict)
    if score is None:
        return f"Nothing was evaluated that could be compared with the control, {verdict.names[0]}."
    mean, low, high = score.difference.tolist()
    shown = f"{format_number(mean, '+.2f')}{_points(score)}{_interval(low, high, '+.2f')}"
    seeds = f" over {len(verdict.paired_seeds)} paired training seeds" if score.over == "seeds" else ""
    ending = ", no difference shown" if low <= 0 <= high else ""
    return f"Against the control, {verdict.names[1]} − {verdict.names[0]}: {shown}{seeds}{ending}."


def first_score(verdict: Verdict) -> Score | None:
    """What the verdict is of: over seeds where there are several, else over images."""
    over_seeds = len(verdict.paired_seeds) > 1
    scores = verdict.seeds if over_seeds or not verdict.images else verdict.images
    return scores[0] if scores else None


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


def _points(score: Score) -> str:
    return " points" if score.unit == "%" else f" {score.unit}" if score.unit else ""


def _interval(low: float, high: float, spec: str) -> str:
    """A 95 % interval in brackets; nothing where it is not known."""
    return "" if math.isnan(low) else f" [{format_number(low, spec)}, {format_number(high, spec)}]"


def _name_seeds(seeds: Sequence[int]) -> str:
    if len(seeds) == 1:
        return f"seed {seeds[0]}"
    return f"seeds {', '.join(map(str, seeds[:-1]))} and {seeds[-1]}"
