"""Gather what a report shows: read, compute, and say why something cannot be had."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ralr_viz.cli.output import describe_command
from ralr_viz.cli.report_sides import Source, choose_seeds
from ralr_viz.errors import CheckpointError, DataError, InputError, UnknownNameError

if TYPE_CHECKING:
    from ralr_viz.cli.inputs import SplitImages
    from ralr_viz.report.inputs import ReportInputs, Side
    from ralr_viz.results.activations import ActivationsResult
    from ralr_viz.results.curves import CurvesResult
    from ralr_viz.results.why import WhyResult
    from ralr_viz.train.checkpoint import Checkpoint
    from ralr_viz.train.runtime import Runtime

    Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Options:
    """Options of the command that decide what is computed; see `ralr_viz.cli.report`."""

    samples: int
    split: str
    limit: int | None
    data: Path | None
    batch: int
    seed: int
    theirs: dict[str, Any]
    quiet: bool = False


@dataclass
class Gathering:
    """What was found so far.

    Attributes:
        sources: Of the sides.
        seeds: Whose checkpoints are looked at.
        missing: Section to why it is missing.
    """

    sources: Sequence[Source]
    options: Options
    runtime: Runtime
    progress: Progress
    seeds: list[int | None] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def gather_inputs(
    sources: Sequence[Source], why: Path | None, options: Options, runtime: Runtime, progress: Progress
) -> ReportInputs:
    """Everything that the page needs, from the cache where it is there.

    Raises:
        InputError: Sides that cannot be compared, or an option that is wrong; what is only missing (images, an
            earlier checkpoint) is noted in `ReportInputs.missing`.
    """
    from ralr_viz.analysis.sample import sample_images
    from ralr_viz.analysis.verdict import compute_verdict
    from ralr_viz.report.inputs import ReportInputs
    from ralr_viz.results.bundle import without_paths

    now = Gathering(sources, options, runtime, progress)
    now.seeds, note = choose_seeds(sources)
    now.notes += [note] if note else []
    loaded = _load_why(why, now)
    checkpoints = _load_checkpoints(now)
    parts = _select_images(checkpoints, now)
    sides = _make_sides(checkpoints, parts, now)
    predictions = [side.predictions for side in sides if side.predictions is not None]
    names = [side.name for side in sides]
    found: dict[str, Any] = {}
    if predictions:
        rows, found["sampling"] = sample_images(predictions, options.samples, seed=options.seed)
        found["indices"] = predictions[0].indices[rows]
        found["images"] = parts[0].images[rows]
        found["boxes"] = None if parts[0].boxes is None else parts[0].boxes[rows]
        found["class_names"] = parts[0].class_names
        found["embedding"] = _embed(predictions, rows, now)
        found["activations"] = _late_activations(checkpoints, names, now)
    found["curves"] = _join_curves(sides, now)
    return ReportInputs(
        sides=tuple(sides),
        verdict=compute_verdict(names, predictions, [side.runs for side in sides], seed=options.seed),
        why=loaded,
        missing={key: without_paths(reason.rstrip(".")) for key, reason in now.missing.items()},
        command=without_paths(describe_command()["command"]),
        notes=tuple(without_paths(f"{note[:1].upper()}{note[1:].rstrip('.')}.") for note in now.notes),
        **found,
    )


def _load_why(folder: Path | None, now: Gathering) -> WhyResult | None:
    from ralr_viz.results.bundle import load_result
    from ralr_viz.results.why import WhyResult

    if folder is None:
        if len(now.sources) == 2:
            now.missing["why"] = _why_command(now)
        return None
    inner = folder / "why"  # of `ralr-viz why --out folder`
    found = load_result(inner if (inner / "manifest.json").is_file() else folder)
    if not isinstance(found, WhyResult):
        raise InputError(
            f"`--why {folder}` holds a result of kind `{found.kind}`: give the folder that `ralr-viz why --out` wrote"
        )
    methods = [_method(source) for source in now.sources]
    if len(methods) == 2 and all(methods) and list(found.arms[:2]) != methods:
        now.notes.append(
            f"the claims were tested on {found.arms[0]} and {found.arms[1]}, this page compares {methods[0]} and "
            f"{methods[1]}"
        )
    tested = {run.get("run") for run in found.provenance.get("runs", ())}
    shown = {record.label for source in now.sources for _, record in source.runs.values()}
    if tested and not tested & shown:
        now.notes.append(f"the claims were tested on other runs than this page shows, such as {min(tested)}")
    return found


def _why_command(now: Gathering) -> str:
    methods = [_method(source) for source in now.sources]
    if not all(methods):
        return "the claims are tested on training runs, not on weights alone"
    arms = " ".join(
        f"{source.option} RUNS/RECIPE/{method}" for source, method in zip(now.sources, methods, strict=True)
    )
    return f"run `ralr-viz why {arms} --out out/why`, then `ralr-viz report` again with `--why out/why`"


def _method(source: Source) -> str:
    return next(iter(source.runs.values()))[1].method if source.runs else ""


def _load_checkpoints(now: Gathering) -> list[Checkpoint]:
    """The checkpoint of each side; none at all where one has only its log."""
    from ralr_viz.cli.inputs import load_checkpoints

    specs = [source.spec(seed) for source, seed in zip(now.sources, now.seeds, strict=True)]
    try:
        return load_checkpoints(specs, **now.options.theirs)
    except CheckpointError as error:
        if all(source.runs and not source.state for source in now.sources):
            _miss(now, str(error))
            return []
        raise


def _select_images(checkpoints: Sequence[Checkpoint], now: Gathering) -> list[SplitImages]:
    """The images as each side sees them; none where the data set is not here."""
    from ralr_viz.cli.inputs import select_common

    if not checkpoints:
        return []
    options = now.options
    try:
        return select_common(checkpoints, options.data, options.split, options.limit, quiet=options.quiet)
    except (DataError, UnknownNameError) as error:
        if options.theirs["dataset"] is not None:  # a slip of the user's, not a data set that is not here
            raise
        _miss(now, str(error))
        return []


def _miss(now: Gathering, reason: str) -> None:
    for key in ("predictions", "embeddings", "classes", "gallery", "activations"):
        now.missing.setdefault(key, reason)


def _make_sides(
    checkpoints: Sequence[Checkpoint], parts: Sequence[SplitImages], now: Gathering
) -> list[Side]:
    from ralr_viz.cli.predictions import cached_predictions
    from ralr_viz.report.inputs import Side

    names = _name_sides(checkpoints, now)
    sides = []
    for i, source in enumerate(now.sources):
        predictions = None
        if parts:
            predictions = cached_predictions(
                checkpoints[i],
                parts[i],
                now.runtime,
                name=names[i],
                batch=now.options.batch,
                progress=now.progress,
            )
        known = _describe_checkpoint(checkpoints[i], parts[i] if parts else None) if checkpoints else {}
        records = tuple(record for _, record in (source.runs[seed] for seed in _sorted_seeds(source)))
        method = _method(source) or (checkpoints[i].method or "" if checkpoints else "")
        sides.append(Side(names[i], method, records, predictions, known))
        now.notes += [
            f"{record.label} is {record.status}, not finished"
            for record in records
            if record.status not in ("finished", "unknown")
        ]
    return sides


def _sorted_seeds(source: Source) -> list[int | None]:
    return sorted(source.runs, key=lambda seed: -1 if seed is None else seed)


def _name_sides(checkpoints: Sequence[Checkpoint], now: Gathering) -> list[str]:
    """``baseline`` and ``RALR`` where that tells the sides apart, else what does."""
    from ralr_viz.cli.inputs import name_checkpoints
    from ralr_viz.plots.style import method_name

    if checkpoints:
        names = name_checkpoints(checkpoints)
    else:
        names = [method_name(_method(source)) for source in now.sources]
        if len(set(names)) < len(names):
            names = [f"{name} ({side})" for name, side in zip(names, "AB", strict=False)]
    return [name.replace("\\$", "$") for name in names]  # escaped for matplotlib, not for a page


def _describe_checkpoint(checkpoint: Checkpoint, part: SplitImages | None) -> dict[str, Any]:
    return {
        "label": checkpoint.label,
        "sha256": checkpoint.sha256,
        "epoch": checkpoint.epoch,
        "seed": checkpoint.seed,
        "arch": checkpoint.arch,
        "mean": checkpoint.mean or (part.mean if part else None),
        "std": checkpoint.std or (part.std if part else None),
        "recipe": dict(checkpoint.recipe or {}),
    }


def _embed(predictions: list[Any], rows: Any, now: Gathering) -> Any:
    from ralr_viz.analysis.embedding import compute_embedding
    from ralr_viz.analysis.sample import take_images

    try:
        return compute_embedding(
            [take_images(p, rows) for p in predictions],
            seed=now.options.seed,
            progress=now.progress,
            provenance=describe_command(),
        )
    except InputError as error:
        now.missing["embeddings"] = str(error)
        return None


def _join_curves(sides: Sequence[Side], now: Gathering) -> CurvesResult | None:
    from ralr_viz.results.curves import compute_curves

    records = [record for side in sides for record in side.runs]
    if not records:
        now.missing["curves"] = (
            "other people's weights have no training log; runs that `ralr-viz train` or `ralr_viz.RunWriter` wrote do"
        )
        return None
    try:
        return dataclasses.replace(compute_curves(records), provenance=describe_command())
    except InputError as error:
        now.missing["curves"] = str(error)
        return None


def _late_activations(
    checkpoints: Sequence[Checkpoint], names: Sequence[str], now: Gathering
) -> ActivationsResult | None:
    from ralr_viz.cli.report_activations import compute_late_activations

    folders = [
        source.runs[seed][0] for source, seed in zip(now.sources, now.seeds, strict=True) if source.runs
    ]
    try:
        return compute_late_activations(checkpoints, names, folders, now.options, now.runtime, now.progress)
    except InputError as error:
        now.missing["activations"] = str(error)
        return None
