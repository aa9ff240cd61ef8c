"""From the files of a study's runs to its table: nothing is trained and no torch is loaded."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ralr_viz._version import __version__
from ralr_viz.analysis.paired import holm
from ralr_viz.data.known import KNOWN
from ralr_viz.errors import InputError, UnknownNameError
from ralr_viz.foreign import one_line
from ralr_viz.own_code import names_code
from ralr_viz.results.averages import KINDS, read_averages
from ralr_viz.results.bundle import without_paths
from ralr_viz.results.document import parse_json
from ralr_viz.results.environment import comparable
from ralr_viz.results.of_loss import describe_score
from ralr_viz.results.run import read_about
from ralr_viz.results.study import COMPARISON, METRICS, NOT_PLANNED, SUMMARY, StudyResult
from ralr_viz.results.tasks import IMAGES, TASKS, About, Score
from ralr_viz.study.grid import Cell, Study
from ralr_viz.study.state import RunState, run_state
from ralr_viz.study.statistics import SeedContrast, contrast, summarise
from ralr_viz.train.prepare import check_prepared

# Of env.json: what the runs of one table should share.
_ENVIRONMENT = (
    "device", "precision", "threads", "world_size", "deterministic", "compile", "torch", "ralr_viz", "data",
)  # fmt: skip
_RECIPE = ("dataset", "epochs", "subset", "validation")
_MOST_NOTES = 5


def compute_study(study: Study, runs: Path, *, weights: str = "") -> StudyResult:
    """Read every run of a study and compare its cells; unfinished, damaged and missing runs are just states.

    A diverged run has no accuracy. Its cell keeps the mean of the others, but is compared with nothing, nor is
    any cell with it: leaving out what broke down would flatter a method. Where the task's score says what it counts as
    (a translation's BLEU is 0), it counts as that, and is named.

    Args:
        study: The grid.
        runs: Folder of all runs.
        weights: ``swa`` or ``ema`` for the scores of averaged weights, see `ralr_viz.analysis.averaging`, in the place of
            the last epoch's; a run without has none.

    Raises:
        UnknownNameError: Other weights.
        InputError: The study decides by a rule, which withholds its numbers: see `compute_decision`.
    """
    if study.rule is not None:
        raise InputError(f"`{study.name}` decides by a rule of its own: call compute_decision")
    if weights not in ("", *KINDS):
        raise UnknownNameError("weights", weights, KINDS)
    c, s, m = len(study.cells), len(study.seeds), len(METRICS)
    values = np.full((c, s, m), np.nan)
    states = np.full((c, s), NOT_PLANNED, dtype="<U8")
    seen, problems, spoken = Conditions(), list[str](), list[About]()
    for i, cell in enumerate(study.cells):
        seen.add_recipe(cell)
        for seed in cell.seeds:
            k = study.seeds.index(seed)
            directory = study.directory(runs, cell, seed)
            about = read_about(directory) if names_code(cell.recipe.task) else TASKS[cell.recipe.task].about
            run = _check_run(state_of(directory, cell, seed), cell, about)
            states[i, k] = run.status
            if run.message and run.status in ("failed", "finished"):
                problems.append(f"{cell.name}, seed {seed}: {run.message}")
            if run.status == "diverged" and about.score is not None and about.score.diverged is not None:
                values[i, k, : 1 if cell.recipe.scored_by else len(METRICS)] = about.score.diverged
                # several cells may read one training
                problems.append(
                    f"{directory.relative_to(runs).as_posix()} diverged: it counts as {about.score.diverged:g}"
                )
                spoken.append(about)
            if run.status == "finished" and run.result is not None:
                scored_by = cell.recipe.scored_by
                values[i, k] = (
                    _averaged(directory, weights, about) if weights else _scores(run.result, about, scored_by)
                )
                spoken.append(about)
                seen.add_environment(directory)
    if len(set(spoken)) > 1:
        names = " and ".join(sorted({str(about.score) for about in spoken}))
        raise InputError(f"`{study.name}` has runs that are scored by {names}: make a study of each")
    problems = list(dict.fromkeys(problems))
    return tabulate(
        study,
        values,
        states,
        conditions=seen.distinct(),
        notes=(*_describe_weights(weights), *summarise_problems(problems)),
        about=spoken[0] if spoken else IMAGES,
    )


def tabulate(
    study: Study,
    values: np.ndarray,
    states: np.ndarray,
    *,
    conditions: Mapping[str, tuple[Any, ...]] | None = None,
    notes: tuple[str, ...] = (),
    about: About = IMAGES,
) -> StudyResult:
    """Summarise and compare the cells of a study.

    Args:
        study: The grid, C cells at S seeds.
        values: (C, S, M) test scores in the order of `METRICS`, NaN where there is none.
        states: (C, S) of `STATES`.
        conditions: Distinct values of what the runs were trained with.
        notes: What a reader should know, a sentence each.
        about: How one speaks of the runs.
    """
    references = np.array([-1 if cell.reference is None else cell.reference for cell in study.cells])
    unscored = ((states == "diverged") & ~np.isfinite(values).any(axis=2)).any(axis=1)
    paper = [(math.nan, None) if cell.paper is None else cell.paper for cell in study.cells]
    return StudyResult(
        name=study.name,
        title=study.title,
        note=study.note,
        axes=tuple(axis.name for axis in study.axes),
        labels=tuple(tuple(cell.labels[axis.name] for axis in study.axes) for cell in study.cells),
        rows=tuple(study.rows),
        columns=tuple(study.columns),
        methods=tuple(cell.method for cell in study.cells),
        seeds=tuple(study.seeds),
        values=values,
        states=states,
        references=references.astype(np.int64),
        paper=np.array(paper, dtype=np.float64),  # None becomes NaN
        summaries=_summaries(values),
        comparisons=_comparisons(values, study.seeds, references, unscored),
        conditions=dict(conditions or {}),
        notes=notes,
        provenance={"study": study.name, "ralr_viz": __version__},
        **describe_score(about),
    )


class Conditions:
    """Distinct values of what the runs were trained with."""

    def __init__(self) -> None:
        self._seen: dict[str, set[Any]] = {}

    def add_recipe(self, cell: Cell) -> None:
        for name in _RECIPE:
            self._add(name, getattr(cell.recipe, name))
        if cell.recipe.dataset in KNOWN:
            self._add("test_images", KNOWN[cell.recipe.dataset].n_test)

    def add_environment(self, directory: Path) -> None:
        try:
            found = parse_json((directory / "env.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            found = None
        found = comparable(found) if isinstance(found, dict) else {}
        for name in _ENVIRONMENT:
            # what was trained before there was a choice was trained by one process
            missing = 1 if name == "world_size" else None
            value = found.get(name, missing) if found else None
            self._add(name, value if isinstance(value, str | int | float) else "unknown")

    def distinct(self) -> dict[str, tuple[Any, ...]]:
        return {name: tuple(sorted(values, key=_natural)) for name, values in self._seen.items()}

    def _add(self, name: str, value: Any) -> None:
        self._seen.setdefault(name, set()).add(value)


def _natural(value: Any) -> tuple[bool, Any]:
    return (True, value) if isinstance(value, str) else (False, value)


def state_of(directory: Path, cell: Cell, seed: int) -> RunState:
    """State of a cell's run; one that is done has failed where its directory is of another training."""
    run = run_state(directory)
    if run.done:
        try:
            check_prepared(directory, cell.recipe, cell.method, seed)
        except InputError:
            return RunState("failed", message="its recipe.toml is of another training: move the run away")
    return run


def _check_run(run: RunState, cell: Cell, about: About) -> RunState:
    """A finished run that has no score has failed; one of another length is told."""
    if run.status != "finished" or run.result is None:
        return run
    epochs = run.result.get("epochs")
    if not np.isfinite(_scores(run.result, about, cell.recipe.scored_by)).any():
        return RunState(
            "failed",
            run.result,
            f"result.json has no test {about.score.title if about.score else 'score'}: delete it and resume the run",
        )
    if epochs != cell.recipe.epochs:
        return RunState("finished", run.result, f"trained for {epochs} epochs, not {cell.recipe.epochs}")
    return RunState("finished", run.result)


def _describe_weights(weights: str) -> tuple[str, ...]:
    if not weights:
        return ()
    what = {"swa": "the plain mean", "ema": "the exponential mean"}[weights]
    return (f"Scores are of {what} of each run's late kept states ({weights}), not of its last state",)


def _averaged(directory: Path, kind: str, about: About) -> list[float]:
    """Test score of averaged weights in the place of the last epoch's; NaN where they are not scored."""
    entry = read_averages(directory).get(kind, {}).get("test")
    value = entry.get(about.score.key) if isinstance(entry, dict) and about.score is not None else None
    score = math.nan if about.score is None else _score(value, about.score)
    return [score, *[math.nan] * (len(METRICS) - 1)]


def _scores(result: Mapping[str, Any], about: About, scored_by: str = "") -> list[float]:
    """Test scores in the order of `METRICS`; NaN where there is none.

    Args:
        result: Of a run.
        about: How it is scored.
        scored_by: One of several scores of the last epoch, see `Settings.scored_by`.
    """
    if about.score is None:
        return [math.nan] * len(METRICS)
    if scored_by:
        found = (result.get("final") or {}).get("test") or {}
        return [_score(found.get(scored_by), about.score), *[math.nan] * (len(METRICS) - 1)]
    records = [result.get(metric) for metric in METRICS]
    column = f"test_{about.score.key}"
    return [
        _score(record.get(column), about.score) if isinstance(record, dict) else math.nan
        for record in records
    ]


def _score(value: Any, score: Score) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and (score.unit != "%" or 0 <= value <= 100) else math.nan


def _summaries(values: np.ndarray) -> np.ndarray:
    """(C, M, 5) of (C, S, M)."""
    found = np.full((values.shape[0], values.shape[2], len(SUMMARY)), np.nan)
    for i, m in np.ndindex(found.shape[:2]):
        found[i, m] = summarise(values[i, :, m])[: len(SUMMARY)]
    return found


def _comparisons(
    values: np.ndarray, seeds: tuple[int, ...], references: np.ndarray, unscored: np.ndarray
) -> np.ndarray:
    """(C, M, 21) of (C, S, M)."""
    found = np.full((values.shape[0], values.shape[2], len(COMPARISON)), np.nan)
    compared = np.flatnonzero(references >= 0)
    for i in compared:
        j = references[i]
        if unscored[i] or unscored[j]:
            continue
        for m in range(values.shape[2]):
            a, b = (dict(zip(seeds, values[k, :, m].tolist(), strict=True)) for k in (j, i))
            found[i, m] = _numbers(contrast(a, b))
    for p, corrected in (("p", "holm_p"), ("paired_p", "paired_holm_p")):
        for m in range(values.shape[2]):
            uncorrected = found[compared, m, COMPARISON.index(p)]
            found[compared, m, COMPARISON.index(corrected)] = holm(uncorrected)
    return found


def _numbers(found: SeedContrast) -> list[float]:
    """In the order of `COMPARISON`, with NaN for what Holm's correction fills in."""
    paired = found.paired
    return [
        *(found.difference, found.low, found.high, found.df, found.p, math.nan),
        *(found.pairs, found.correlation, paired.mean, paired.low, paired.high, paired.p, math.nan),
        *(paired.sign_flip_p, paired.floor, found.permutation_p, found.permutation_floor),
        *(found.g, found.g_low, found.g_high, found.improvement),
    ]


def summarise_problems(problems: list[str]) -> tuple[str, ...]:
    """The first problems, and how many more there are."""
    more = len(problems) - _MOST_NOTES
    shown = [one_line(without_paths(" ".join(problem.split())), None) for problem in problems[:_MOST_NOTES]]
    return (*shown, f"{more} more runs failed or are not as planned") if more > 0 else tuple(shown)
