"""The verdict: who is better, by how much, how sure that is, and what it does not say."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ralr_viz.report.claims import claim_lines, claims_table, name_comparisons
from ralr_viz.report.conclusions import (
    describe_control,
    describe_difference,
    describe_left_out,
    describe_limits,
    looked_at,
)
from ralr_viz.report.inputs import ReportInputs, Side, side_colors
from ralr_viz.report.opening import small_curves
from ralr_viz.report.section import Section, format_number, missing_section, render_template
from ralr_viz.report.sentences import list_changed
from ralr_viz.results.verdict import Score, Verdict

TITLE = "Verdict"
_SPECS = {"%": ".2f", "nats": ".4f"}
_NO_SETTINGS = {"recipe", "description", "seed"}
"""Keys of a recipe that change no number: names, and what the pairing is by."""


def build_verdict(inputs: ReportInputs) -> Section:
    """Scores with intervals, what may be concluded, what the recipes differ in, and the claims of `why`."""
    verdict = inputs.verdict
    if verdict is None:
        return missing_section("verdict", TITLE, inputs.missing.get("verdict", "nothing was scored"))
    why, control = inputs.why, inputs.against_control
    html = render_template(
        "verdict.html",
        names=[side.name for side in inputs.sides],
        compared=_name_differences(verdict, control),
        colors=side_colors(inputs.sides),
        curves=small_curves(inputs),
        sentences=_changed_sentences(inputs),
        has_pictures=inputs.images is not None and all(side.predictions for side in inputs.sides),
        control="" if control is None else describe_control(control),
        headline=describe_difference(verdict),
        left_out=describe_left_out(verdict),
        limits=describe_limits(verdict, inputs.pair),
        blocks=_blocks(verdict, inputs),
        log=describe_log(verdict, inputs),
        agreement=verdict.agreement,
        per_seed=_per_seed(verdict),
        scored=verdict.seeds[0].label if verdict.seeds else "",
        differences=recipe_differences(inputs.sides),
        recipes_known=all(side.recipe for side in inputs.sides),
        pair=verdict.num_sides == 2,
        claims=None if why is None else claims_table(inputs, why),
        lines=[] if why is None else claim_lines(inputs, why),
        claimed=[] if why is None else name_comparisons(inputs, why)[:2],
        no_claims=inputs.missing.get("why", "it was not given"),
        notes=inputs.notes,
        missing=inputs.missing.get("predictions", ""),
    )
    return Section("verdict", TITLE, html, styles=("opening.css",))


def recipe_differences(sides: Sequence[Side]) -> list[tuple[str, list[str]]]:
    """Settings that are not the same on both sides, and their values as text; none where a recipe is not known."""
    recipes = [side.recipe for side in sides]
    if not all(recipes):
        return []
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


def _brackets(low: float, high: float, spec: str) -> str:
    return "" if math.isnan(low) else f" [{_number(low, spec)}, {_number(high, spec)}]"


def _number(value: float, spec: str) -> str:
    return format_number(float(value), spec)


def _name_differences(verdict: Verdict, control: Verdict | None) -> list[str]:
    found = [verdict] if control is None else [verdict, control]
    return [f"{one.names[1]} − {one.names[0]}" for one in found if one.num_sides == 2]


def _blocks(verdict: Verdict, inputs: ReportInputs) -> list[dict[str, Any]]:
    """A table for the checkpoints and one for the training seeds."""
    sides, control = inputs.sides, inputs.against_control
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
                f"{verdict.num_images:,} {verdict.split}; 95 % intervals over images"
                f"{', the same draws for all' if pair else ''}",
                "rows": _rows(verdict.images, control.images if control is not None else ()),
                "p_name": "p (McNemar)",
                "of_images": True,
            }
        )
    if len(verdict.paired_seeds) > 1 or (verdict.seeds and not blocks):
        seeds = ", ".join(map(str, verdict.paired_seeds))
        n = len(verdict.paired_seeds)
        at = verdict.seed_epoch
        caption = f"{at[:1].upper()}{at[1:]} of training, {verdict.seed_split}, seed{'s' * (n > 1)} {seeds}"
        caption += "; mean with 95 % t interval" if n > 1 else ""
        caption += ", differences paired by seed" if n > 1 and pair else ""
        if control is not None and control.paired_seeds != verdict.paired_seeds:
            caption += f"; against the control, seeds {', '.join(map(str, control.paired_seeds)) or 'none'}"
        rows = _rows(verdict.seeds, control.seeds if control is not None else ())
        blocks.append(
            {"caption": caption, "rows": rows, "p_name": "p (paired t)" if n > 1 else "", "of_images": False}
        )
    return sorted(blocks, key=lambda block: block["of_images"] and len(verdict.paired_seeds) > 1)


def describe_log(verdict: Verdict, inputs: ReportInputs) -> str:
    """What training wrote of the same checkpoints, where that differs from what the page measured; else empty."""
    runs = [looked_at(side) for side in inputs.sides]
    split = next((s.predictions.split for s in inputs.sides if s.predictions is not None), None)
    if not verdict.images or split not in ("test", "val") or None in runs or inputs.is_limited:
        return ""
    written = [
        run.values(f"{split}_acc")[run.epoch == side.checkpoint.get("epoch")]
        for run, side in zip(runs, inputs.sides, strict=True)
        if run is not None
    ]
    if any(len(value) != 1 or math.isnan(value[0]) for value in written):
        return ""
    shown = [f"{value[0]:.2f}" for value in written]
    if shown == [f"{value:.2f}" for value in verdict.images[0].values[:, 0]]:
        return ""
    precisions = dict.fromkeys(str((run.env or {}).get("precision", "")) for run in runs if run is not None)
    known = " and ".join(filter(None, precisions))
    by = f", evaluated in {known}," if known else ""
    return f"The training log{by} has {' and '.join(shown)}."


def _precision(sides: Sequence[Side]) -> str:
    """In what the checkpoints were evaluated here, which training may have done in another precision."""
    found = [side.predictions.provenance.get("precision") for side in sides if side.predictions is not None]
    known = dict.fromkeys(str(one) for one in found if one)
    return f"; evaluated in {' and '.join(known)}" if known else ""


def _rows(scores: Sequence[Score], of_control: Sequence[Score]) -> list[dict[str, Any]]:
    """Each score of all sides, its differences first; ``of_control`` is of the control and B."""
    by_name = {score.name: score for score in of_control}
    return [_row(score, by_name.get(score.name)) for score in scores]


def _row(score: Score, of_control: Score | None) -> dict[str, Any]:
    spec = _SPECS.get(score.unit, ".4f")
    values = [*score.values, *([] if of_control is None else [of_control.values[0]])]
    differences = [one for one in (score, of_control) if one is not None]
    return {
        "name": score.label,
        "values": [_number(v, spec) + _brackets(lo, hi, spec) for v, lo, hi in values],
        "differences": [_difference(one, f"+{spec}") for one in differences],
        "p": _number(score.p, ".2g"),
    }


def _difference(score: Score, spec: str) -> dict[str, str]:
    mean, low, high = score.difference
    good = (mean > 0) == score.higher_is_better
    decided = not math.isnan(low) and not low <= 0 <= high
    return {
        "text": _number(mean, spec) + _brackets(low, high, spec),
        "direction": ("up" if good else "down") if decided else "",
    }


def _changed_sentences(inputs: ReportInputs) -> list[dict[str, Any]]:
    """Of sides that translate, the sentence that was fixed most and the one that was broken most."""
    if inputs.bleu is None or len(inputs.bleu.models) < 2:
        return []
    found = [(group["what"], group["cited"][0]) for group in list_changed(inputs.bleu) if group["cited"]]
    return [{"what": what, **cited} for what, cited in found]


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
