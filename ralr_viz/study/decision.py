"""From the runs of a study to its verdict, by the rule that was written down before them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ralr_viz._version import __version__
from ralr_viz.analysis.paired import compare_paired, hodges_lehmann, paired_interval
from ralr_viz.data.known import KNOWN
from ralr_viz.errors import InputError
from ralr_viz.results.decision import DONE, ESTIMATE, MEASURED, DecisionResult
from ralr_viz.results.run import RunRecord, load_run
from ralr_viz.results.study import NOT_PLANNED
from ralr_viz.study.grid import Cell, Study
from ralr_viz.study.protocol import check_protocol
from ralr_viz.study.rule import Rule
from ralr_viz.study.state import RunState
from ralr_viz.study.table import Conditions, state_of, summarise_problems

NARROW = 0.9
"""Level of the interval that equivalence is judged by: two one-sided tests at .05."""
# What is known of a run before it is trained, and so never withheld.
_DRAWN = [MEASURED.index(name) for name in ("first_factor", "last_factor", "sum_lr", "sum_lr_squared")]


class Verdict(NamedTuple):
    """What the tests of a rule say.

    Attributes:
        estimates: (C, 12) float64, the last axis as `ESTIMATE`.
        answers: One of `ralr_viz.results.decision.ANSWERS` for each test.
    """

    estimates: np.ndarray
    answers: tuple[str, ...]


def decide(rule: Rule, outcome: Mapping[str, Sequence[float] | np.ndarray]) -> Verdict:
    """Test the contrasts of a rule; nothing is said as long as one run is missing.

    Args:
        rule: Of the study.
        outcome: (S,) outcome of each main arm, per cent, in the order of the rule's seeds; NaN where missing.
    """
    arms = np.array([outcome[arm] for arm in rule.arms], dtype=np.float64)
    if not np.isfinite(arms).all():
        count = len(rule.contrasts)
        return Verdict(np.full((count, len(ESTIMATE)), np.nan), ("withheld",) * count)
    values = dict(zip(rule.arms, arms, strict=True))
    estimates, answers = [], []
    for family in rule.families:
        open_ = True
        for contrast in family.contrasts:
            found = estimate_difference(values[contrast.arm] - values[contrast.reference])
            p, mean = found[ESTIMATE.index("p")], found[ESTIMATE.index("mean")]
            rejects = open_ and p <= family.level
            answers.append(
                ("higher" if mean > 0 else "lower")
                if rejects
                else "no difference shown"
                if open_
                else "not tested"
            )
            estimates.append(found)
            open_ = rejects
    return Verdict(np.array(estimates), tuple(answers))


def estimate_difference(differences: np.ndarray) -> np.ndarray:
    """(12,) float64, as `ESTIMATE`, of the finite ones of paired differences."""
    d = differences[np.isfinite(differences)]
    if not len(d):
        return np.full(len(ESTIMATE), np.nan)
    paired, centre = compare_paired(d), hodges_lehmann(d)
    spread = float(d.std(ddof=1)) if len(d) > 1 else math.nan
    first = (len(d), paired.mean, paired.low, paired.high, spread, paired.sign_flip_p, paired.floor)
    return np.array([*first, *centre, *paired_interval(d, NARROW)])


def compute_decision(study: Study, runs: Path) -> DecisionResult:
    """Read every run of a study that decides; differences and verdict are withheld until all main runs are there.

    Args:
        study: With a rule, whole: with all arms and seeds that the rule is over.
        runs: Folder of all runs.

    Raises:
        InputError: No rule, a part of its arms or seeds, or a rule that is not the one kept beside the runs.
    """
    rule = _check_whole(study)
    check_protocol(study, runs)
    shape = len(study.cells), len(study.seeds)
    states, measured = np.full(shape, NOT_PLANNED, dtype="<U8"), np.full((*shape, len(MEASURED)), np.nan)
    conditions, notes = Conditions(), list[str]()
    for i, cell in enumerate(study.cells):
        conditions.add_recipe(cell)
        for seed in cell.seeds:
            place = i, study.seeds.index(seed)
            directory = study.directory(runs, cell, seed)
            state = _check_run(state_of(directory, cell, seed), cell)
            states[place] = state.status
            if state.done:
                measured[place] = _measure(state, directory, cell)
                conditions.add_environment(directory)
            if state.message and state.status in ("failed", "diverged"):
                notes.append(f"{cell.name}, seed {seed} {state.status}: {state.message}")
    main = np.array([cell.name in rule.arms for cell in study.cells])
    complete = bool(np.isin(states[main], DONE).all())
    if not complete:
        measured[:, :, [q for q in range(len(MEASURED)) if q not in _DRAWN]] = np.nan
    outcome = measured[:, :, MEASURED.index("outcome")]
    columns = [study.seeds.index(seed) for seed in rule.seeds]
    named = {cell.name: outcome[i, columns] for i, cell in enumerate(study.cells) if main[i]}
    verdict = decide(rule, named)
    index = {cell.name: i for i, cell in enumerate(study.cells)}
    explored = np.full((len(study.cells), len(ESTIMATE)), np.nan)
    for i in np.flatnonzero(~main).tolist():
        explored[i] = estimate_difference(outcome[i] - outcome[index[rule.baseline]])
    return DecisionResult(
        name=study.name,
        title=study.title,
        note=study.note,
        rule=dict(rule.protocol["decision"]),
        arms=tuple(cell.name for cell in study.cells),
        methods=tuple(cell.method for cell in study.cells),
        main=main,
        seeds=study.seeds,
        states=states,
        measured=measured,
        families=tuple(family.name for family in rule.families for _ in family.contrasts),
        levels=np.array([family.level for family in rule.families for _ in family.contrasts]),
        contrasts=np.array([[index[c.arm], index[c.reference]] for c in rule.contrasts], dtype=np.int64),
        estimates=verdict.estimates,
        answers=verdict.answers,
        explored=explored,
        conditions=conditions.distinct(),
        notes=(*_processor_notes(study, runs), *summarise_problems(notes)),
        provenance={"study": study.name, "ralr_viz": __version__},
    )


def _check_whole(study: Study) -> Rule:
    rule = study.rule
    if rule is None:
        raise InputError(f"`{study.name}` has no rule: its table is that of `compute_study`")
    there = {cell.name: cell.seeds for cell in study.cells}
    if any(there.get(arm) != rule.seeds for arm in rule.arms):
        raise InputError(
            f"`{study.name}` decides over all of {', '.join(rule.arms)} at {len(rule.seeds)} seeds: leave out --only "
            "and --seeds"
        )
    return rule


def _check_run(run: RunState, cell: Cell) -> RunState:
    """A finished run that was not scored at its end is a failed one; a diverged one counts at chance."""
    if not run.done or run.result is None:
        return run
    if run.status == "diverged":
        return RunState("diverged", run.result, f"counted at chance, {_chance(cell):g} % ({run.message})")
    if run.result.get("epochs") != cell.recipe.epochs:
        return RunState(
            "failed", run.result, f"trained for {run.result.get('epochs')} epochs, not {cell.recipe.epochs}"
        )
    if _final(run.result) is None:
        return RunState(
            "failed", run.result, "result.json has no `final` score: delete it and resume the run"
        )
    return run


def _chance(cell: Cell) -> float:
    """Per cent. Raises: InputError where the number of classes is not known."""
    known = KNOWN.get(cell.recipe.dataset)
    if known is None:
        raise InputError(
            f"a run on `{cell.recipe.dataset}` diverged and counts at chance, but its classes are unknown"
        )
    return 100 / known.num_classes


def _final(result: Mapping[str, Any]) -> tuple[float, float] | None:
    """Accuracy on all images that nothing has seen, and on the official test images, per cent."""
    try:
        parts = [
            (float(part["acc"]), int(part["n"])) for part in (result["final"][n] for n in ("test", "unused"))
        ]
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    if any(not 0 <= acc <= 100 or n < 1 for acc, n in parts):
        return None
    return sum(acc * n for acc, n in parts) / sum(n for _, n in parts), parts[0][0]


def _measure(run: RunState, directory: Path, cell: Cell) -> list[float]:
    """In the order of `MEASURED`."""
    scores = (_chance(cell), _chance(cell)) if run.status == "diverged" else _final(run.result or {})
    assert scores is not None
    try:
        record = load_run(directory)
    except InputError:  # diverged within the first epoch, or a record that is gone
        return [*scores, *[math.nan] * (len(MEASURED) - 2)]
    lr, factor = record.values("lr"), record.values("factor")
    return [
        *scores,
        record.values("train_acc")[-1],
        _fall(record),
        factor[0],
        factor[-1],
        lr.sum(),
        (lr**2).sum(),
    ]


def _fall(record: RunRecord) -> float:
    """By how much the training loss falls over the last tenth of the epochs, nats."""
    loss = record.values("train_loss")
    return float(loss[-1 - max(1, round(len(loss) / 10))] - loss[-1]) if len(loss) > 1 else math.nan


def _processor_notes(study: Study, runs: Path) -> list[str]:
    """A sentence for each seed whose arms were not all trained on one kind of processor."""
    notes = []
    for seed in study.seeds:
        kinds = set()
        for cell in study.cells:
            if seed in cell.seeds:
                kinds |= _processors(study.directory(runs, cell, seed))
        if len(kinds) > 1:
            notes.append(
                f"The arms of seed {seed} were trained on {len(kinds)} kinds of processor: {'; '.join(sorted(kinds))}"
            )
    return notes


def _processors(directory: Path) -> set[str]:
    """The processors that a run was trained on, in words; empty where it has not begun."""
    try:
        env = load_run(directory).env or {}
    except InputError:
        return set()
    earlier = env.get("earlier")
    entries = [env, *(earlier if isinstance(earlier, list) else [])]
    found = set()
    for entry in entries:
        processor = entry.get("processor") if isinstance(entry, dict) else None
        if isinstance(processor, dict):
            flags = processor.get("flags")
            words = [
                processor.get("name"),
                "family",
                processor.get("family"),
                "model",
                processor.get("model"),
            ]
            found.add(" ".join(map(str, [*words, *(flags if isinstance(flags, list) else [])])))
    return found
