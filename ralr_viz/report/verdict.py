"""The verdict: who is better, by how much, how sure that is, and what it does not say."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ralr_viz.report.inputs import ReportInputs, Side, side_colors
from ralr_viz.report.section import Section, format_number, missing_section, render_template
from ralr_viz.results.verdict import Score, Verdict
from ralr_viz.results.why import CLAIMS, WhyResult

TITLE = "Verdict"
_FEWEST_SEEDS = 3
"""Below this nothing is said of the method, as in `ralr_viz.analysis.why`."""

_SPECS = {"%": ".2f", "nats": ".4f"}
_NO_SETTINGS = {"recipe", "description", "seed"}
"""Keys of a recipe that change no number: names, and what the pairing is by."""


def build_verdict(inputs: ReportInputs) -> Section:
    """Scores with intervals, what may be concluded, what the recipes differ in, and the claims of `why`."""
    verdict = inputs.verdict
    if verdict is None:
        return missing_section("verdict", TITLE, inputs.missing.get("verdict", "nothing was scored"))
    html = render_template(
        "verdict.html",
        names=verdict.names,
        colors=side_colors(inputs.sides),
        headline=describe_difference(verdict),
        limits=describe_limits(verdict, inputs.sides),
        blocks=_blocks(verdict, inputs.sides),
        agreement=verdict.agreement,
        per_seed=_per_seed(verdict),
        differences=recipe_differences(inputs.sides),
        recipes_known=all(_recipe(side) for side in inputs.sides),
        pair=verdict.num_sides == 2,
        claims=None if inputs.why is None else claims_table(inputs.why),
        no_claims=inputs.missing.get("why", "it was not given"),
        notes=inputs.notes,
        missing=inputs.missing.get("predictions", ""),
    )
    return Section("verdict", TITLE, html)


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
        return f"{verdict.names[0]}: {value:.2f} % {what}{_interval(low, high, '.2f')}."
    first, second = verdict.names
    mean, low, high = score.difference
    if mean == 0:
        text = f"{second} and {first} are equally accurate {what}"
    else:
        direction = "more" if mean > 0 else "less"
        text = f"{second} is {abs(mean):.2f} points {direction} accurate than {first} {what}"
    included = ", which includes 0: no difference is shown"
    return f"{text}{_interval(low, high, '+.2f', included)}. {_describe_loss(scores[1])}".rstrip()


def _describe_loss(score: Score) -> str:
    mean, low, high = score.difference
    if math.isnan(mean):
        return ""
    if mean == 0:
        return "Their losses are equal."
    text = f"Its loss is {abs(mean):.4f} nats {'lower' if mean < 0 else 'higher'}"
    return f"{text}{_interval(low, high, '+.4f', ', which includes 0')}."


def describe_limits(verdict: Verdict, sides: Sequence[Side]) -> list[str]:
    """What may be concluded from these numbers, a sentence each."""
    n = len(verdict.paired_seeds)
    limits = []
    if verdict.num_sides == 2:
        limits.append(_pairing(verdict, sides))
    if n == 1 or (not n and verdict.images):
        limits.append(_describe_one_training(verdict))
    elif 1 < n < _FEWEST_SEEDS:
        limits.append(f"With {n} seeds nothing can be said of the method: train {_FEWEST_SEEDS} or more.")
    elif n:
        limits.append(
            f"{n} training seeds: intervals over seeds speak of the method under this recipe, those over "
            "images of one pair of checkpoints only."
        )
    return [sentence for sentence in limits if sentence]


def _describe_one_training(verdict: Verdict) -> str:
    if verdict.num_sides == 1:
        return (
            "One training: the interval is over test images, not over training seeds."
            if verdict.images
            else ""
        )
    held = "the intervals are over test images and hold for these checkpoints" if verdict.images else ""
    held = held or "these numbers are of these runs"
    return f"One training each: {held}. They say nothing of the method, whose results vary from seed to seed."


def recipe_differences(sides: Sequence[Side]) -> list[tuple[str, list[str]]]:
    """Settings that are not the same on both sides, and their values as text; none for one side."""
    recipes = [_recipe(side) for side in sides]
    rows = []
    for key in dict.fromkeys(key for recipe in recipes for key in recipe):
        values = [
            _describe_method(recipe) if key == "method" else _plain(recipe.get(key)) for recipe in recipes
        ]
        if key not in _NO_SETTINGS and len(set(values)) > 1:
            rows.append((key, values))
    epochs = [_plain(side.checkpoint.get("epoch")) for side in sides]
    if len(set(epochs)) > 1:
        rows.append(("epoch of the checkpoint", epochs))
    return rows


def claims_table(why: WhyResult) -> dict[str, Any]:
    """Header and rows of the four claims, and the note that goes with them."""
    names = {"a": why.arms[0], "b": why.arms[1], "control": why.arms[-1]}
    arrows = [" − ".join(names[part] for part in c.split(" − ")) for c in why.comparisons]
    rows = []
    for k, claim in enumerate(CLAIMS):
        m = why.find(claim.diagnostic, claim.measure)
        if m is None:
            rows.append([claim.text, "–", *["–"] * (len(why.arms) + len(arrows) + 1), why.verdicts[k]])
            continue
        unit = f" ({why.units[m]})" if why.units[m] else ""
        cells = [format_number(float(value), ".4g") for value in why.values[m].mean(axis=1)]
        for c in range(len(why.comparisons)):
            mean, low, high, _ = why.interval(m, c)
            cells.append(format_number(mean, "+.3g") + _brackets(low, high, "+.2g"))
        p = format_number(float(why.corrected_p[k]), ".3g")
        rows.append([claim.text, why.labels[m] + unit, *cells, p, why.verdicts[k]])
    n = len(why.seeds)
    note = (
        f"{n} training seeds, paired; 95 % t intervals over seeds; a paired t test, Holm-corrected over the "
        "four claims, decides, and supported needs the same sign against the control."
        if n > 1
        else "One training seed: intervals are over images or directions, and hold for these checkpoints only."
    )
    return {
        "header": ["claim", "measure", *why.arms, *arrows, "p, Holm", "verdict"],
        "rows": rows,
        "note": note,
    }


def _what(verdict: Verdict, score: Score) -> str:
    if score.over == "seeds":
        n = len(verdict.paired_seeds)
        return f"on the {verdict.seed_split} images at the last epoch" + (
            f", over {n} paired training seeds" if n > 1 else ""
        )
    return f"on {verdict.num_images:,} {verdict.split}"


def _interval(low: float, high: float, spec: str, included: str = "") -> str:
    """An interval in words, and what to say of one that includes 0; nothing where it is not known."""
    if math.isnan(low):
        return ""
    return f" (95 % interval {_number(low, spec)} to {_number(high, spec)}{included if low <= 0 <= high else ''})"


def _brackets(low: float, high: float, spec: str) -> str:
    return "" if math.isnan(low) else f" [{_number(low, spec)}, {_number(high, spec)}]"


def _number(value: float, spec: str) -> str:
    return format_number(float(value), spec)


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


def _blocks(verdict: Verdict, sides: Sequence[Side]) -> list[dict[str, Any]]:
    """A table for the checkpoints and one for the training seeds."""
    blocks: list[dict[str, Any]] = []
    pair = verdict.num_sides == 2
    if verdict.images:
        states = ", ".join(
            f"{side.name}: {side.checkpoint.get('label', 'weights')}" for side in sides if side.checkpoint
        )
        states += _precision(sides)
        blocks.append(
            {
                "caption": f"{'These checkpoints' if pair else 'This checkpoint'} ({states}) on "
                f"{verdict.num_images:,} {verdict.split}; 95 % bootstrap intervals over images"
                f"{', the same draws for both' if pair else ''}",
                "rows": [_row(score) for score in verdict.images],
                "p_name": "p (McNemar)",
                "of_images": True,
            }
        )
    if len(verdict.paired_seeds) > 1 or (verdict.seeds and not blocks):
        seeds = ", ".join(map(str, verdict.paired_seeds))
        n = len(verdict.paired_seeds)
        caption = f"Last epoch of training, {verdict.seed_split} images, seed{'s' if n > 1 else ''} {seeds}"
        caption += "; mean with 95 % t interval, differences paired by seed" if n > 1 else ""
        rows = [_row(score) for score in verdict.seeds]
        blocks.append(
            {"caption": caption, "rows": rows, "p_name": "p (paired t)" if n > 1 else "", "of_images": False}
        )
    return blocks


def _precision(sides: Sequence[Side]) -> str:
    """In what the checkpoints were evaluated here, which training may have done in another precision."""
    found = [side.predictions.provenance.get("precision") for side in sides if side.predictions is not None]
    known = dict.fromkeys(str(one) for one in found if one)
    return f"; evaluated in {' and '.join(known)}" if known else ""


def _row(score: Score) -> dict[str, Any]:
    spec = _SPECS[score.unit]
    signed = f"+{spec}"
    mean, low, high = score.difference
    good = (mean > 0) == (score.name == "accuracy")
    decided = not math.isnan(low) and not low <= 0 <= high
    return {
        "name": f"{score.name} ({score.unit})",
        "values": [_number(v, spec) + _brackets(lo, hi, spec) for v, lo, hi in score.values],
        "difference": _number(mean, signed) + _brackets(low, high, signed),
        "direction": ("up" if good else "down") if decided else "",
        "p": _number(score.p, ".2g"),
    }


def _per_seed(verdict: Verdict) -> list[dict[str, Any]]:
    """A row for each seed: its accuracies and their difference; none for a single seed."""
    if verdict.per_seed is None or len(verdict.paired_seeds) < 2:
        return []
    rows = []
    for seed, values in zip(verdict.paired_seeds, verdict.per_seed[0].T, strict=True):
        difference = _number(values[1] - values[0], "+.2f") if len(values) == 2 else ""
        cells = [_number(value, ".2f") for value in values]
        rows.append({"seed": seed, "values": cells, "difference": difference})
    return rows


def _recipe(side: Side) -> Mapping[str, Any]:
    return side.runs[0].recipe if side.runs else side.checkpoint.get("recipe") or {}


def _describe_method(recipe: Mapping[str, Any]) -> str:
    """The method, of RALR with its range and probability, which a baseline's recipe holds too but does not use."""
    method = _plain(recipe.get("method"))
    low, high, probability = (recipe.get(key) for key in ("low", "high", "probability"))
    if method != "ralr" or None in (low, high, probability):
        return method
    return f"ralr (factor {_plain(low)} to {_plain(high)}, probability {_plain(probability)})"


def _plain(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value))
    return "–" if value is None else str(value)
