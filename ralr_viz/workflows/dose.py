"""Dose–response: a diagnostic and the score over trainings that differ in a dose, others held against their line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ralr_viz._version import __version__
from ralr_viz.analysis.dose import predict_scores, rank_agreement
from ralr_viz.comparison import Progress
from ralr_viz.comparison.arms import Run, check_comparable, find_seeds
from ralr_viz.errors import InputError, UnknownNameError
from ralr_viz.nouns import NOUNS, check
from ralr_viz.results.bundle import Result
from ralr_viz.results.dose import WIDE, DoseResult
from ralr_viz.results.measure import Measure
from ralr_viz.runtime.device import resolve_runtime
from ralr_viz.workflows.output import Say, be_silent, prepare_output, save_output
from ralr_viz.workflows.why_jobs import INDEX, Job, JobRunner

STEM = "dose"
_TAKEN = ("networks", "networks or path", "runs")


@dataclass(frozen=True)
class DoseOptions:
    """What is measured of each training, how, and where.

    Attributes:
        dose_name: What the dose is called.
        own: Options of the noun.
        where: What `compare` is told: ``data``, ``split``, ``limit``, ``device``, ….
        style, force: Of the figures; replace what is of other runs or settings.
    """

    dose_name: str = "factor"
    own: Mapping[str, Any] = field(default_factory=dict)
    where: Mapping[str, Any] = field(default_factory=dict)
    style: str = "icml"
    force: bool = False


def dose_response(
    noun: str,
    doses: Mapping[float, str | Path],
    out: str | Path,
    *,
    beside: Sequence[str | Path] = (),
    options: DoseOptions | None = None,
    provenance: Mapping[str, str] | None = None,
    progress: Progress | None = None,
    say: Say = be_silent,
) -> DoseResult:
    """Measure a noun of the last state of each training, and ask whether it predicts the score.

    A measure that carries the effect of the dose moves with it, orders the scores among the doses of a seed, and orders them
    among the seeds of a dose too; one that merely moves along does not do the last. Trainings beside, such as RALR's,
    lie on the line of the doses if the measure says all of them. Stopped and started again, it goes on.

    Args:
        noun: A diagnostic that gives numbers of networks or runs, such as ``collapse``, ``sharpness`` or ``movement``.
        doses: Run directory, or folder of seeds, of each dose; three or more.
        out: Folder of the result, and of a folder for each seed.
        beside: Such directories without a dose.
        options: What is measured.
        provenance: Kept with the result.
        progress: Called as ``progress(done, total, what)``.
        say: Called with notes.

    Raises:
        InputError: Fewer than three doses, no seed that all have, runs that cannot be compared or have no score, or a
            noun without numbers.

    References:
        Jiang et al., Fantastic generalization measures and where to find them, ICLR 2020.

    Example:
        >>> dose_response("collapse", {0.5: "runs/half", 1: "runs/R/baseline", 2: "runs/double"}, "out")  # doctest: +SKIP
    """
    chosen, folder = options or DoseOptions(), Path(out)
    row = NOUNS.get(noun)
    if row is None or row.takes not in _TAKEN:
        known = [name for name, other in NOUNS.items() if other.takes in _TAKEN]
        raise UnknownNameError("diagnostic of networks or runs", noun, known)
    if len(doses) < 3:
        raise InputError(f"{len(doses)} doses were given: a line takes three or more")
    check(row.spec.options, **chosen.own)
    resolve_runtime(str(chosen.where.get("device", "auto")))
    begun = (folder / INDEX).is_file() and (folder / STEM).is_dir()
    prepare_output(folder, STEM, style=chosen.style, force=chosen.force or begun)
    arms = _open(doses, beside)
    seeds = sorted(set.intersection(*(set(runs) for _, _, runs in arms)))
    if not seeds:
        raise InputError("the doses have no training seed in common: train them with the same --seeds")
    check_comparable([run for _, _, runs in arms for run in runs.values()])
    for run in (runs[seed] for _, _, runs in arms for seed in seeds):
        _score(run)  # refused before the work
    taken = "run" if row.takes == "runs" else "ckpt"
    jobs = [
        Job(
            f"{noun} of seed {seed}", noun, f"seed{seed}", seed,
            {taken: [str(runs[seed].folder) for _, _, runs in arms], **chosen.where}, own=dict(chosen.own),
        )
        for seed in seeds
    ]  # fmt: skip
    say(f"dose: {noun} of {len(arms)} trainings of each of {len(seeds)} seeds")
    runner = JobRunner(
        folder, style=chosen.style, force=chosen.force, provenance=provenance or {}, say=say, progress=progress,
        speaker="dose",
    )  # fmt: skip
    done, notes = runner.run(jobs)
    measured = {int(job.seed or 0): _numbers(noun, found, len(arms)) for job, found in done}
    if not measured:
        raise InputError(f"`{noun}` could not be measured: {'; '.join(notes)}")
    return _collect(noun, arms, measured, chosen, notes, provenance)


def save_dose(
    result: DoseResult, out: Path, options: DoseOptions, *, saved: Say = be_silent, note: Say = be_silent
) -> None:
    """Save the result and its figure, in place of those of fewer runs."""
    save_output(result, out, STEM, style=options.style, force=True, saved=saved, note=note)


_Arm = tuple[str, float, dict[int, Run]]
"""Name, dose and runs by seed."""


def _open(doses: Mapping[float, str | Path], beside: Sequence[str | Path]) -> list[_Arm]:
    found: list[_Arm] = []
    for dose, path in sorted(doses.items()):
        if not np.isfinite(dose):
            raise InputError(f"the dose `{dose}` must be a number")
        found.append((f"{dose:g}", float(dose), find_seeds(f"--dose {dose:g}=", Path(path))))
    for path in beside:
        runs = find_seeds("--beside", Path(path))
        name = next(iter(runs.values())).record.method
        while name in {other for other, _, _ in found}:
            name += "'"
        found.append((name, float("nan"), runs))
    return found


def _score(run: Run) -> float:
    about = run.record.about
    if about.score is None:
        raise InputError(f"`{run.folder}` is of a task without a score: a dose–response takes one")
    values = run.record.values(f"test_{about.score.key}")
    if not len(values) or not np.isfinite(values[-1]):
        raise InputError(
            f"`{run.folder}` has no test {about.score.title} after its last epoch: let it finish"
        )
    return float(values[-1])


def _numbers(noun: str, found: Result, count: int) -> tuple[Measure, ...]:
    measures: tuple[Measure, ...] = tuple(getattr(found, "measures", tuple)())
    fitting = tuple(measure for measure in measures if len(measure.values) == count)
    if not fitting:
        raise InputError(
            f"`{noun}` gives no number of each training: choose one that does, such as collapse or sharpness"
        )
    return fitting


def _collect(
    noun: str,
    arms: Sequence[_Arm],
    measured: Mapping[int, Sequence[Measure]],
    options: DoseOptions,
    notes: Sequence[str],
    provenance: Mapping[str, str] | None,
) -> DoseResult:
    known = {measure.name: measure for measures in measured.values() for measure in measures}
    seeds = np.repeat(sorted(measured), len(arms))
    dose = np.tile([dose for _, dose, _ in arms], len(measured))
    runs = [runs[seed] for seed in sorted(measured) for _, _, runs in arms]
    score = np.array([_score(run) for run in runs])
    values = np.full((len(known), len(runs)), np.nan)
    for s, seed in enumerate(sorted(measured)):
        for measure in measured[seed]:
            values[list(known).index(measure.name), s * len(arms) : (s + 1) * len(arms)] = measure.values
    counted = np.isfinite(dose)
    some = [k for k in range(len(known)) if np.isfinite(values[k, counted]).any()]
    values, named = values[some], [list(known.values())[k] for k in some]

    def agree(x: np.ndarray, y: np.ndarray, strata: np.ndarray) -> tuple[float, float]:
        return rank_agreement(x[counted], y[counted], strata[counted])

    with_dose = np.array([agree(x, dose, seeds) for x in values]).reshape(-1, 2)
    with_score = np.array([[agree(x, score, strata) for strata in (seeds, dose)] for x in values]).reshape(
        -1, 2, 2
    )
    wide = np.array([_is_wide(x) for x in values], dtype=bool)
    lines = [
        predict_scores(np.log(x) if is_wide else x, score, seeds, counted)
        for x, is_wide in zip(values, wide, strict=True)
    ]
    about = runs[0].record.about.score
    assert about is not None
    return DoseResult(
        noun=noun,
        measures=tuple(measure.name for measure in named),
        labels=tuple(measure.label for measure in named),
        units=tuple(measure.unit for measure in named),
        dose_name=options.dose_name,
        score_name=f"test {about.title}",
        score_unit=about.unit,
        runs=tuple(f"{name}, seed {seed}" for seed in sorted(measured) for name, _, _ in arms),
        arms=tuple(name for _ in measured for name, _, _ in arms),
        seeds=tuple(int(seed) for seed in seeds),
        dose=dose,
        values=values,
        score=score,
        dose_tau=with_dose[:, 0],
        dose_p=with_dose[:, 1],
        tau=with_score[..., 0],
        p=with_score[..., 1],
        predicted=np.array([predicted for predicted, _ in lines]),
        slope=np.array([slope for _, slope in lines]),
        logarithmic=wide,
        notes=tuple(notes),
        provenance={
            "ralr_viz": __version__,
            **(provenance or {}),
            "runs": [run.record.label for run in runs],
        },
    )


def _is_wide(x: np.ndarray) -> bool:
    known = x[np.isfinite(x)]
    return bool(known.min() > 0 and known.max() > WIDE * known.min())
