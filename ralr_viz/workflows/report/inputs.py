"""Gather what a report shows: read, compute, and say why something cannot be had."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ralr_viz.analysis.bleu import compute_bleu
from ralr_viz.analysis.curves import compute_curves
from ralr_viz.analysis.embedding import compute_embedding
from ralr_viz.analysis.predictions import compute_predictions
from ralr_viz.analysis.sample import sample_disputed, sample_images, take_images
from ralr_viz.analysis.verdict import compute_verdict
from ralr_viz.comparison import Comparison, Progress, compare
from ralr_viz.comparison.network import name_checkpoints
from ralr_viz.comparison.samples import Samples, select_samples
from ralr_viz.errors import CheckpointError, DataError, InputError, UnknownNameError
from ralr_viz.foreign import one_line
from ralr_viz.report.inputs import ReportInputs, Side
from ralr_viz.results.activations import ActivationsResult
from ralr_viz.results.bleu import BleuResult
from ralr_viz.results.bundle import without_paths
from ralr_viz.results.curves import CurvesResult
from ralr_viz.results.embedding import EmbeddingResult
from ralr_viz.results.names import method_name
from ralr_viz.results.predictions import PredictionsResult
from ralr_viz.results.verdict import Verdict
from ralr_viz.tasks.translation.task import Translation
from ralr_viz.train.checkpoint import Checkpoint, load_checkpoint
from ralr_viz.workflows.labels import check_labels
from ralr_viz.workflows.report.activations import compute_late_activations
from ralr_viz.workflows.report.claims import load_why
from ralr_viz.workflows.report.detections import OF_CLASSES, gather_detections
from ralr_viz.workflows.report.gathering import Gathering, Options, in_small_passes
from ralr_viz.workflows.report.learning import gather_learning
from ralr_viz.workflows.report.sides import Source, choose_seeds, seed_order

_CITED = 8
"""Sentences that are shown of those fixed, and of those broken."""


def gather_inputs(
    sources: Sequence[Source], why: Path | None, options: Options, progress: Progress
) -> ReportInputs:
    """Everything that the page needs, from the cache where it is there.

    Raises:
        InputError: Sides that cannot be compared, or an option that is wrong; what is only missing (images, an
            earlier checkpoint) is noted in `ReportInputs.missing`.
    """
    now = Gathering(sources, options, progress)
    now.seeds, note = choose_seeds(sources)
    now.notes += [note] if note else []
    loaded = load_why(why, now)
    checkpoints = _load_checkpoints(now)
    compared = _compare(checkpoints, now)
    found: dict[str, Any] = {}
    if compared is not None and compared.task is not None:
        if isinstance(compared.task, Translation):
            found["bleu"] = _translate(compared, now)
        else:
            found["detections"] = gather_detections(compared, now)
        compared = None
    sides = _make_sides(checkpoints, compared, now)
    predictions = [side.predictions for side in sides if side.predictions is not None]
    names = [side.name for side in sides]
    if compared is not None:
        samples = compared.labelled()
        rows, found["sampling"] = sample_images(predictions[0], options.samples, seed=options.seed)
        found["embedding"] = _embed(predictions, rows, now)
        found["num_random"] = len(rows)
        rows = np.concatenate(
            [rows, sample_disputed(predictions[:2], rows, options.samples // 2, seed=options.seed)]
        )
        found["split_size"] = _split_size(checkpoints, samples, now)
        found["indices"] = predictions[0].indices[rows]
        found["images"] = samples.images[rows]
        found["boxes"] = None if samples.boxes is None else samples.boxes[rows]
        found["class_names"] = samples.class_names
        found["activations"] = _late_activations(checkpoints, names, now)
        found |= gather_learning(compared, now)
    found["curves"] = _join_curves(sides, now)
    return ReportInputs(
        sides=tuple(sides),
        verdict=_judge(sides[:2], sources[:2], options.seed),
        against_control=_judge([sides[2], sides[1]], [sources[2], sources[1]], options.seed)
        if len(sides) > 2
        else None,
        why=loaded,
        seed=options.seed,
        missing={key: without_paths(reason.rstrip(".")) for key, reason in now.missing.items()},
        absent=frozenset(now.absent),
        command=without_paths(options.provenance.get("command", "")),
        notes=tuple(without_paths(f"{note.rstrip('.')}.") for note in dict.fromkeys(now.notes)),
        **found,
    )


def _judge(sides: Sequence[Side], sources: Sequence[Source], seed: int) -> Verdict:
    return compute_verdict(
        [side.name for side in sides],
        [side.predictions for side in sides if side.predictions is not None],
        [side.runs for side in sides],
        epochs=[source.epoch for source in sources],
        seed=seed,
    )


def _load_checkpoints(now: Gathering) -> list[Checkpoint]:
    """The checkpoint of each side; none at all where one has only its log."""
    specs = [source.spec(seed) for source, seed in zip(now.sources, now.seeds, strict=True)]
    try:
        return [load_checkpoint(spec, **now.options.theirs) for spec in specs]
    except CheckpointError as error:
        if all(source.runs and not source.state for source in now.sources):
            _miss(now, str(error))
            return []
        raise


def _compare(checkpoints: Sequence[Checkpoint], now: Gathering) -> Comparison | None:
    """The sides on the images of the split; None where the data set is not here."""
    if not checkpoints:
        return None
    options = now.options
    try:
        found = compare(
            dict(zip(_name_sides(checkpoints, now), checkpoints, strict=True)),
            root=options.data,
            split=options.split,
            limit=options.limit,
            device=options.device,
            precision=options.precision,
            batch=options.batch,
        )
    except (DataError, UnknownNameError) as error:
        if options.theirs["dataset"] is not None:  # a slip of the user's, not a data set that is not here
            raise
        _miss(now, str(error))
        return None
    for note in found.notes:
        options.say(note)
    return in_small_passes(found, options)


def _translate(compared: Comparison, now: Gathering) -> BleuResult:
    """Of sides that translate, BLEU and the sentences that changed."""
    now.absent |= {*OF_CLASSES, "gallery"}
    found = compute_bleu(compared, examples=_CITED, seed=now.options.seed, progress=now.progress)
    return found.asked_by(now.options.provenance)


def _split_size(checkpoints: Sequence[Checkpoint], samples: Samples, now: Gathering) -> int:
    """Images of the whole split, without ``--limit``."""
    limit, n = now.options.limit, len(samples)
    if limit is None or n < limit or samples.store is None:  # there are no more
        return n
    return len(select_samples(samples.store, now.options.split, None, checkpoints[:1], samples.view))


def _miss(now: Gathering, reason: str) -> None:
    for key in ("predictions", "embeddings", "classes", "gallery", "activations"):
        now.missing.setdefault(key, reason)


def _make_sides(checkpoints: Sequence[Checkpoint], compared: Comparison | None, now: Gathering) -> list[Side]:
    names = compared.names if compared is not None else _name_sides(checkpoints, now)
    predictions: Sequence[PredictionsResult | None] = [None] * len(names)
    if compared is not None:
        predictions = compute_predictions(compared, now.progress)
    sides = []
    for i, source in enumerate(now.sources):
        known = _describe_checkpoint(checkpoints[i], compared, i) if checkpoints else {}
        records = tuple(source.runs[seed].record for seed in sorted(source.runs, key=seed_order))
        method = source.method or (checkpoints[i].method or "" if checkpoints else "")
        sides.append(Side(names[i], method, records, predictions[i], known))
    return sides


def _name_sides(checkpoints: Sequence[Checkpoint], now: Gathering) -> list[str]:
    """Their labels; else ``baseline`` and ``RALR`` where that tells the sides apart, else what does."""
    if now.options.labels:
        return check_labels(now.options.labels, len(now.sources))
    if checkpoints:
        names = name_checkpoints(checkpoints)
    else:
        names = [method_name(source.method) for source in now.sources]
        if len(set(names)) < len(names):
            names = [f"{name} ({side})" for name, side in zip(names, ("A", "B", "control"), strict=False)]
    return [one_line(name, None) for name in names]


def _describe_checkpoint(checkpoint: Checkpoint, compared: Comparison | None, i: int) -> dict[str, Any]:
    return {
        "label": checkpoint.label,
        "sha256": checkpoint.sha256,
        "epoch": checkpoint.epoch,
        "seed": checkpoint.seed,
        "arch": checkpoint.arch,
        "mean": checkpoint.mean if compared is None else compared.networks[i].mean,
        "std": checkpoint.std if compared is None else compared.networks[i].std,
        "recipe": dict(checkpoint.recipe or {}),
    }


def _embed(
    predictions: Sequence[PredictionsResult], rows: np.ndarray, now: Gathering
) -> EmbeddingResult | None:
    try:
        _check_sample(predictions[0], rows)
        taken = [take_images(p, rows) for p in predictions]
        found = compute_embedding(taken, seed=now.options.seed, progress=now.progress)
        return found.asked_by(now.options.provenance)
    except InputError as error:
        now.missing["embeddings"] = str(error)
        return None


def _check_sample(predictions: PredictionsResult, rows: np.ndarray) -> None:
    """Refuse, in the words of this command, a sample that a map's numbers cannot be made of.

    Raises:
        InputError: Fewer than four images, or a class with one image.
    """
    classes, counts = np.unique(predictions.labels[rows], return_counts=True)
    lonely = classes[counts == 1]
    if len(rows) >= 4 and not len(lonely):  # of a split of one class, the embedding itself speaks
        return
    known = predictions.class_names
    named = f"`{known[lonely[0]] if lonely[0] < len(known) else lonely[0]}`" if len(lonely) else ""
    what = f"class {named} has one image" if named else "a map needs four or more"
    shown = f"{len(rows)} image{'s' * (len(rows) > 1)}"
    raise InputError(
        f"{what} among the {shown} of the sample: raise --samples, and --limit where it is given"
    )


def _join_curves(sides: Sequence[Side], now: Gathering) -> CurvesResult | None:
    records = [record for side in sides for record in side.runs]
    if not records:
        now.missing["curves"] = (
            "other people's weights have no training log; runs that `ralr-viz train` or `ralr_viz.RunWriter` wrote do"
        )
        return None
    try:
        return compute_curves(records).asked_by(now.options.provenance)
    except InputError as error:
        now.missing["curves"] = str(error)
        return None


def _late_activations(
    checkpoints: Sequence[Checkpoint], names: Sequence[str], now: Gathering
) -> ActivationsResult | None:
    folders = [
        source.runs[seed].folder for source, seed in zip(now.sources, now.seeds, strict=True) if source.runs
    ]
    try:
        return compute_late_activations(checkpoints, names, folders, now.options, now.progress)
    except InputError as error:
        now.missing["activations"] = str(error)
        return None
