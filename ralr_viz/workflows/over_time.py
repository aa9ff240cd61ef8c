"""A diagnostic after each kept epoch of two or three arms: computed once for each, resumed, put side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ralr_viz._version import __version__
from ralr_viz.comparison import Progress
from ralr_viz.comparison.arms import Arms, Run, find_arms
from ralr_viz.errors import InputError, UnknownNameError
from ralr_viz.nouns import NOUNS, check
from ralr_viz.results.bundle import Result
from ralr_viz.results.measure import Measure
from ralr_viz.results.over_time import AXES, OverTimeResult
from ralr_viz.runtime.device import resolve_runtime
from ralr_viz.workflows.output import Say, be_silent, prepare_output, save_output
from ralr_viz.workflows.why_jobs import INDEX, Job, JobRunner

_OF_PAIRS = ("pairs", "pairs and nulls")
_TAKEN = ("networks", "networks or path", *_OF_PAIRS)
STEM = "over-time"


@dataclass(frozen=True)
class OverTimeOptions:
    """Which epochs are measured, how, and where.

    Attributes:
        epochs: Of the kept ones; all when left out.
        every: Of those each n-th, and the last.
        axis: What is drawn against, one of `AXES`.
        own: Options of the noun.
        where: What `compare` is told: ``data``, ``split``, ``limit``, ``device``, ….
        style, force: Of the figures; replace what is of other runs or settings.
    """

    epochs: Sequence[int] = ()
    every: int = 1
    axis: str = "epoch"
    own: Mapping[str, Any] = field(default_factory=dict)
    where: Mapping[str, Any] = field(default_factory=dict)
    style: str = "icml"
    force: bool = False


@dataclass(frozen=True)
class _Column:
    """What a line is of: a network, or two of them."""

    name: str
    group: str
    seed: int
    runs: tuple[Run, ...]


def over_time(
    noun: str,
    runs: Mapping[str, str | Path],
    out: str | Path,
    *,
    options: OverTimeOptions | None = None,
    provenance: Mapping[str, str] | None = None,
    progress: Progress | None = None,
    say: Say = be_silent,
) -> OverTimeResult:
    """Measure a noun after each epoch that all runs have kept, save it epoch by epoch, and put the numbers side by side.

    Nouns of networks are measured of every run. Nouns of pairs are measured between the arms of each seed, and between
    two seeds of the first arm, which says what no change of training makes them differ by. Stopped and started again,
    it goes on.

    Args:
        noun: A diagnostic that gives numbers, such as ``sharpness`` or ``barrier``.
        runs: A method's run directory, or its folder of seeds, by name: what to compare with, the method that is asked
            about, then perhaps a control.
        out: Folder of the result, and of a folder for each epoch.
        options: What is measured.
        provenance: Kept with the result.
        progress: Called as ``progress(done, total, what)``.
        say: Called with notes.

    Raises:
        InputError: A noun without numbers, runs that cannot be compared, fewer than two epochs that all have kept, or a
            result of others where one belongs.

    Example:
        >>> over_time("sharpness", {"SGD": "runs/R/baseline", "RALR": "runs/R/ralr"}, "out")  # doctest: +SKIP
    """
    chosen, folder = options or OverTimeOptions(), Path(out)
    row = NOUNS.get(noun)
    if row is None or row.takes not in _TAKEN:
        known = [name for name, other in NOUNS.items() if other.takes in _TAKEN]
        raise UnknownNameError("diagnostic of networks", noun, known)
    if chosen.axis not in AXES:
        raise UnknownNameError("axis", chosen.axis, AXES)
    check(row.spec.options, **chosen.own)
    resolve_runtime(str(chosen.where.get("device", "auto")))
    begun = (folder / INDEX).is_file() and (folder / STEM).is_dir()
    prepare_output(folder, STEM, style=chosen.style, force=chosen.force or begun)
    arms = find_arms({name: Path(path) for name, path in runs.items()}, names=_names(runs))
    for note in arms.notes:
        say(note)
    columns = _columns(arms, pairs=row.takes in _OF_PAIRS)
    epochs = _choose_epochs(arms, chosen)
    jobs = [_job(noun, columns, epoch, chosen) for epoch in epochs]
    say(f"over-time: {len(columns)} of {noun} after each of {len(epochs)} epochs")
    runner = JobRunner(
        folder, style=chosen.style, force=chosen.force, provenance=provenance or {}, say=say, progress=progress,
        speaker="over-time",
    )  # fmt: skip
    done, notes = runner.run(jobs)
    measured = {job.title: _numbers(noun, found, columns) for job, found in done}
    return _collect(noun, columns, epochs, measured, chosen, (*arms.notes, *notes), provenance)


def save_over_time(
    result: OverTimeResult,
    out: Path,
    options: OverTimeOptions,
    *,
    saved: Say = be_silent,
    note: Say = be_silent,
) -> None:
    """Save the result and its figure, in place of those that were made of fewer epochs."""
    save_output(result, out, STEM, style=options.style, force=True, saved=saved, note=note)


def _names(runs: Mapping[str, str | Path]) -> tuple[str, ...]:
    """Of the arms; where they are called by the options of a command, their methods."""
    return () if any(name.startswith("--") for name in runs) else tuple(runs)


def _columns(arms: Arms, *, pairs: bool) -> list[_Column]:
    found = []
    for i, (seed, runs) in enumerate(zip(arms.seeds, arms.runs, strict=True)):
        if not pairs:
            found += [
                _Column(f"{name}, seed {seed}", name, seed, (run,))
                for name, run in zip(arms.names, runs, strict=True)
            ]
            continue
        for name, run in zip(arms.names[1:], runs[1:], strict=True):
            group = f"{arms.names[0]} – {name}"
            found.append(_Column(f"{group}, seed {seed}", group, seed, (runs[0], run)))
        if len(arms.seeds) > 1 and (len(arms.seeds) > 2 or i == 0):
            other = (i + 1) % len(arms.seeds)
            group = f"two seeds of {arms.names[0]}"
            name = f"{arms.names[0]}, seed {seed} – seed {arms.seeds[other]}"
            found.append(_Column(name, group, seed, (runs[0], arms.runs[other][0])))
    return found


def _choose_epochs(arms: Arms, options: OverTimeOptions) -> list[int]:
    kept = sorted(set.intersection(*(run.saved for row in arms.runs for run in row)))
    wanted = sorted(set(options.epochs))
    for epoch in wanted:
        if epoch not in kept:
            raise InputError(
                f"epoch {epoch} is not kept by all runs: choose of {', '.join(map(str, kept)) or 'none'}, or train with "
                "--set keep_every=1"
            )
    every = wanted or kept
    chosen = sorted({*every[:: options.every], *every[-1:]})
    if len(chosen) < 2:
        raise InputError(
            f"the runs have kept {len(chosen)} epochs in common, and time takes two or more: train with --set keep_every=1"
        )
    return chosen


def _job(noun: str, columns: Sequence[_Column], epoch: int, options: OverTimeOptions) -> Job:
    ckpt = [run.at(epoch) for column in columns for run in column.runs]
    arguments = {"ckpt": ckpt, **options.where}
    return Job(str(epoch), noun, f"epoch_{epoch:04d}", None, arguments, own=dict(options.own))


def _numbers(noun: str, found: Result, columns: Sequence[_Column]) -> tuple[Measure, ...]:
    measures = tuple(getattr(found, "measures", tuple)())
    if not measures:
        raise InputError(
            f"`{noun}` gives no number of each network: choose one that does, such as sharpness or calibration"
        )
    assert all(len(measure.values) == len(columns) for measure in measures)
    return measures


def _collect(
    noun: str,
    columns: Sequence[_Column],
    epochs: Sequence[int],
    measured: Mapping[str, Sequence[Measure]],
    options: OverTimeOptions,
    notes: Sequence[str],
    provenance: Mapping[str, str] | None,
) -> OverTimeResult:
    if len(measured) < 2:
        raise InputError(f"`{noun}` could be measured after {len(measured)} epochs only: {'; '.join(notes)}")
    there = [epoch for epoch in epochs if str(epoch) in measured]
    known = {measure.name: measure for measures in measured.values() for measure in measures}
    values = np.full((len(known), len(columns), len(there)), np.nan)
    for e, epoch in enumerate(there):
        for measure in measured[str(epoch)]:
            values[list(known).index(measure.name), :, e] = measure.values
    some = [k for k in range(len(known)) if np.isfinite(values[k]).any()]
    named = [list(known.values())[k] for k in some]
    described = [
        {"column": column.name, "runs": [run.record.label for run in column.runs]} for column in columns
    ]
    return OverTimeResult(
        noun=noun,
        measures=tuple(measure.name for measure in named),
        labels=tuple(measure.label for measure in named),
        units=tuple(measure.unit for measure in named),
        columns=tuple(column.name for column in columns),
        groups=tuple(column.group for column in columns),
        seeds=tuple(column.seed for column in columns),
        epoch=np.array(there),
        values=values[some],
        sum_lr=_of_runs(columns, there, _sum_lr),
        train_loss=_of_runs(columns, there, _train_loss),
        amplified=_of_runs(columns, there, _is_amplified) > 0,
        axis=options.axis,
        notes=tuple(notes),
        provenance={"ralr_viz": __version__, **(provenance or {}), "columns": described},
    )


def _of_runs(columns: Sequence[_Column], epochs: Sequence[int], look: Any) -> np.ndarray:
    """(m, E) of what is known of each run, of a pair the mean."""
    return np.stack([np.mean([look(run)[_at(run, epochs)] for run in c.runs], axis=0) for c in columns])


def _at(run: Run, epochs: Sequence[int]) -> np.ndarray:
    return np.searchsorted(run.record.epoch, epochs)


def _sum_lr(run: Run) -> np.ndarray:
    return np.cumsum(run.record.values("lr"))


def _train_loss(run: Run) -> np.ndarray:
    values = run.record.values("train_loss_eval")
    return values if np.isfinite(values).any() else run.record.values("train_loss")


def _is_amplified(run: Run) -> np.ndarray:
    factor = run.record.values("factor")
    varies = np.unique(factor[np.isfinite(factor)]).size > 1  # a constant factor marks no epoch
    return (np.isfinite(factor) & (factor != 1) & varies).astype(np.float64)
