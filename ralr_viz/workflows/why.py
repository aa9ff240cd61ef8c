"""Test the paper's explanations on saved runs: every diagnostic that they allow, and the table of claims."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from ralr_viz._version import __version__
from ralr_viz.analysis.why import compute_why
from ralr_viz.comparison import Progress
from ralr_viz.comparison.arms import Arms, find_arms
from ralr_viz.foreign import one_line
from ralr_viz.results.measure import Measure
from ralr_viz.results.why import WhyResult
from ralr_viz.runtime.device import resolve_runtime
from ralr_viz.tasks.own import OwnTask
from ralr_viz.workflows.output import Say, be_silent, prepare_output, save_output
from ralr_viz.workflows.why_jobs import AT_MATCHED_LOSS, INDEX, JobRunner, find_lacks, plan_jobs
from ralr_viz.workflows.why_trainings import ANNEALING, anneal_ends, list_trainings

_STEM = "why"


@dataclass(frozen=True)
class WhyOptions:
    """What `why` runs, where and how.

    Attributes:
        only: Diagnostics; when left out all but those that train, which are named with what they cost. ``annealing``
            trains the ends of all runs on at low rates, for flatness and tightness at equal training loss.
        images: Training images of barriers and sharpness; each one's own number when left out.
        data: Folder of the ingested data sets; left out, ``$RALR_VIZ_DATA``, else the user's cache folder.
        arch, dataset: For runs that do not say theirs.
        task: Of the caller's own, in the place of images; only what looks at weights can be measured then.
        device: As in `compare`.
        style: Of the figures.
        force: Replace what is of other runs or settings.
    """

    only: Sequence[str] = ()
    images: int | None = None
    data: Path | None = None
    arch: str | None = None
    dataset: str | None = None
    task: OwnTask | None = None
    device: str = "auto"
    style: str = "icml"
    force: bool = False


def why(
    runs: Mapping[str, str | Path],
    out: str | Path,
    *,
    options: WhyOptions | None = None,
    progress: Progress | None = None,
    say: Say = be_silent,
) -> WhyResult:
    """Run the diagnostics that the runs and the data allow, save each with its figure, and the table of claims.

    Stopped and started again, it goes on; with more diagnostics or seeds, it adds them.

    Args:
        runs: A method's run directory, or its folder of seeds, by name: what to compare with, then the method that
            is asked about, then perhaps a control with a constant larger learning rate.
        out: Folder of the table ``why``, and of a folder for each seed.
        options: What is run.
        progress: Called as ``progress(done, total, what)``.
        say: Called with notes.

    Raises:
        InputError: Runs that cannot be compared, or a result of others where one belongs.

    Example:
        >>> why({"SGD": "runs/R/baseline", "RALR": "runs/R/ralr"}, "out")  # doctest: +SKIP
    """
    chosen, folder = options or WhyOptions(), Path(out)
    prepare_why(folder, chosen)
    arms = find_arms({name: Path(path) for name, path in runs.items()}, names=tuple(runs))
    result = measure_claims(arms, folder, chosen, {"ralr_viz": __version__}, progress=progress, say=say)
    save_why(result, folder, chosen, note=say)
    return result


def prepare_why(out: Path, options: WhyOptions) -> None:
    """Refuse early what would overwrite something that is not of `why`, and a device that is not there.

    Raises:
        InputError: There is, or it is not.
    """
    # the table that `why` wrote may be written anew from what lies beside it
    ours = (out / INDEX).is_file() and (out / _STEM).is_dir()
    prepare_output(out, _STEM, style=options.style, force=options.force or ours, texts=["md"])
    resolve_runtime(options.device)


def measure_claims(
    arms: Arms,
    out: Path,
    options: WhyOptions,
    provenance: Mapping[str, str] = MappingProxyType({}),
    *,
    progress: Progress | None = None,
    say: Say = be_silent,
) -> WhyResult:
    """The part of `why` that runs the diagnostics, each saved into its own folder; the table is not saved yet."""
    where = {"data": options.data, "device": options.device}
    network = {
        name: value
        for name, value in (("arch", options.arch), ("dataset", options.dataset), ("task", options.task))
        if value is not None
    }
    only = list(options.only)
    if ANNEALING in only:
        only = list(dict.fromkeys([*(name for name in only if name != ANNEALING), *AT_MATCHED_LOSS]))
    plan = functools.partial(plan_jobs, arms, only, where, images=options.images, network=network)
    jobs, notes = plan()  # refused before anything is said or trained
    for text in [*find_lacks(arms, network), *list_trainings(arms, options.only)]:
        say(f"why: {text}")
    if ANNEALING in options.only:
        annealed = anneal_ends(arms, out, data=options.data, device=options.device, progress=progress)
        jobs, notes = plan(annealed=annealed)
    runner = JobRunner(
        out, style=options.style, force=options.force, provenance=provenance, say=say, progress=progress
    )
    results, failed = runner.run(jobs)
    measures: dict[str, list[Sequence[Measure]]] = {}
    for job, found in results:
        if job.per_arm:
            measures.setdefault(job.title, []).append(found.measures())  # type: ignore[attr-defined]
            notes += [job.note] if job.note else []
    for title in [title for title, of_seeds in measures.items() if len(of_seeds) < len(arms.seeds)]:
        del measures[title]
        notes.append(f"{title} is left out of the table: not every seed has it")
    described = [
        {"arm": name, "seed": seed, "run": run.record.label}
        for seed, row in zip(arms.seeds, arms.runs, strict=True)
        for name, run in zip(arms.names, row, strict=True)
    ]
    return compute_why(
        measures,
        arms=arms.names,
        seeds=arms.seeds,
        control=arms.runs[0][2].record.method if len(arms.names) > 2 else None,
        notes=[*notes, *failed],
        provenance=dict(provenance) | {"runs": described, "device": options.device},
    )


def save_why(
    result: WhyResult, out: Path, options: WhyOptions, *, saved: Say = be_silent, note: Say = be_silent
) -> None:
    """Save the table, its figure and its Markdown, in place of those that were there."""
    texts = {"md": "".join(f"{one_line(line, None)}\n" for line in result.describe())}
    save_output(result, out, _STEM, style=options.style, force=True, texts=texts, saved=saved, note=note)
