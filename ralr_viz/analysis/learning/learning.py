"""Forgetting, learning order and data maps of several trainings, from the record of each example."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ralr_viz.analysis.learning.trace import Trace, trace
from ralr_viz.comparison import Progress
from ralr_viz.errors import InputError
from ralr_viz.nouns import check
from ralr_viz.nouns import learning as options
from ralr_viz.nouns.option import SEED
from ralr_viz.results.examples import Examples, examples_path, read_examples
from ralr_viz.results.learning import LearningResult
from ralr_viz.results.names import group_runs, name_methods
from ralr_viz.results.records import Source, describe_runs, read_records
from ralr_viz.results.run import RunRecord

MOST_EXAMPLES = 20_000
"""Of more, as many are looked at, evenly spread over the record: canonical order is by hash."""
_AUTO = ("val", "train", "test")


def compute_learning(
    runs: Source | Sequence[Source],
    *,
    examples: str = options.EXAMPLES.default,
    kept: Sequence[Examples] | None = None,
    count: int = options.COUNT.default,
    seed: int = SEED.default,
    progress: Progress | None = None,
) -> LearningResult:
    """Say when each example is learned and forgotten, and which ones two methods learn differently.

    Only epochs that all runs have recorded count. Of ``train`` an example is judged as the step of the epoch saw it,
    augmented and under weights that move within the epoch (as Toneva et al. do); of ``val`` and ``test`` after the epoch.

    Args:
        runs: In the order in which they are compared: run directories and folders of them. Runs of one method are its
            seeds.
        examples: ``train``, ``val``, ``test``, or ``auto`` for the first of val, train, test that all runs have.
        kept: What `evaluate_kept` made of the states of each run, in their order, instead of records.
        count: Timelines of single examples: half that the second method gains most, half that it loses most.
        seed: Of the bootstrap over examples.
        progress: Called as ``progress(done, total, what)`` after each run.

    Raises:
        InputError: No run, no record of the examples that all runs have, runs of other examples, or fewer than two
            epochs in common.

    References:
        Toneva et al., An empirical study of example forgetting, ICLR 2019. Swayamdipta et al., Dataset cartography,
        EMNLP 2020. Hacohen, Choshen & Weinshall, Let's agree to agree, ICML 2020.

    Example:
        >>> compute_learning(["runs/R/baseline", "runs/R/ralr"]).describe()  # doctest: +SKIP
    """
    check(options.SPEC.options, examples=examples, count=count, seed=seed)
    records = read_records(runs)
    if not records:
        raise InputError("no run was given: name at least one run directory")
    found = _read(records, examples) if kept is None else list(kept)
    if len(found) != len(records):
        raise InputError(f"`kept` has {len(found)} entries for {len(records)} runs: give one for each")
    epoch, rows = _common(records, found)
    notes = []
    if len(found[0].places) > len(rows):
        notes.append(f"{len(rows):,} of {len(found[0].places):,} examples are looked at, evenly spread")
    traces = []
    for one in found:
        at = np.searchsorted(one.epochs, epoch)
        traces.append(trace(epoch, one.right[at][:, rows], one.losses[at][:, rows]))
        if progress is not None:
            progress(len(traces), len(found), "runs")
    methods = group_runs(records)
    columns = {name: np.stack([getattr(t, name) for t in traces]) for name in Trace._fields}
    learned_late = columns["late"] >= 0.5
    chosen = _choose(methods, columns, count)
    facts = found[0].facts
    return LearningResult(
        models=name_methods(records),
        methods=methods,
        seeds=tuple(-1 if record.seed is None else int(record.seed) for record in records),
        epoch=epoch,
        factor=np.stack([_factors(record, epoch) for record in records]),
        places=found[0].places[rows],
        agreement=_correlate(columns["ease"]),
        disagreement=(learned_late[:, None] != learned_late[None]).mean(-1),
        chosen=chosen,
        timeline=np.stack([one.right[np.searchsorted(one.epochs, epoch)][:, rows[chosen]] for one in found]),
        examples=found[0].set,
        dataset=facts.get("dataset"),
        split=found[0].split,
        source="recorded" if kept is None else "evaluated",
        seed=seed,
        notes=tuple(notes),
        provenance=describe_runs(records),
        **columns,
    )


def _read(records: Sequence[RunRecord], wanted: str) -> list[Examples]:
    paths = []
    for record in records:
        if record.path is None:
            raise InputError(f"`{record.label}` is no run directory: only such have a record of each example")
        paths.append(record.path)
    names = (wanted,) if wanted != "auto" else _AUTO
    name = next((n for n in names if all(examples_path(p, n).is_file() for p in paths)), None)
    if name is None:
        lacking = next(
            r.label
            for r, p in zip(records, paths, strict=True)
            if not all(examples_path(p, n).is_file() for n in names)
        )
        what = "examples" if wanted == "auto" else f"`{wanted}` examples"
        raise InputError(
            f"`{lacking}` has no record of its {what}: train with --set examples={names[0]}, or evaluate the states that the "
            "runs have kept by --kept"
        )
    return [
        read_examples(examples_path(path, name), int(record.epoch[-1]))
        for path, record in zip(paths, records, strict=True)
    ]


def _common(records: Sequence[RunRecord], found: Sequence[Examples]) -> tuple[np.ndarray, np.ndarray]:
    """Epochs that all have, and the places of the examples that are looked at."""
    first = found[0]
    for record, one in zip(records, found, strict=True):
        known = [{key: e.facts.get(key) for key in ("dataset", "content_hash")} for e in (first, one)]
        same = known[0] == known[1] and one.set == first.set and np.array_equal(one.places, first.places)
        if not same:
            raise InputError(
                f"the examples of `{record.label}` are others than those of `{records[0].label}`: compare runs of one data set "
                "and one split"
            )
    epoch = first.epochs
    for one in found[1:]:
        epoch = np.intersect1d(epoch, one.epochs)
    if len(epoch) < 2:
        raise InputError(
            f"the runs have {len(epoch)} recorded epochs in common, and learning takes two or more"
        )
    n = len(first.places)
    few = min(n, MOST_EXAMPLES)
    return epoch, n * np.arange(few) // few


def _choose(methods: Sequence[str], columns: dict[str, np.ndarray], count: int) -> np.ndarray:
    """Examples that the second method gains most and loses most; of one method those that are forgotten most."""
    names, events = list(dict.fromkeys(methods)), columns["events"].mean(0)
    places = np.arange(len(events))
    if len(names) < 2:
        return np.lexsort((places, -events))[:count].astype(np.int64)
    ours, theirs = (columns["late"][[m == name for m in methods]].mean(0) for name in names[1::-1])
    gain = ours - theirs
    best, worst = (np.lexsort((places, -events, sign * gain)) for sign in (-1, 1))
    best, worst = best[gain[best] > 0], worst[gain[worst] < 0]
    half = count // 2
    return np.concatenate([best[: count - half], worst[:half]]).astype(np.int64)


def _correlate(ease: np.ndarray) -> np.ndarray:
    """(m, m) Spearman's ρ; NaN, which is no agreement, where all examples are alike."""
    from scipy.stats import rankdata

    ranks = rankdata(ease, axis=1)
    centred = ranks - ranks.mean(1, keepdims=True)
    length = np.sqrt(np.square(centred).sum(1))
    product = centred @ centred.T
    scale = np.outer(length, length)
    return np.clip(np.divide(product, scale, out=np.full(product.shape, np.nan), where=scale > 0), -1, 1)


def _factors(record: RunRecord, epoch: np.ndarray) -> np.ndarray:
    values = np.full(len(epoch), np.nan)
    recorded, at = record.values("factor"), np.searchsorted(record.epoch, epoch)
    here = (at < len(record.epoch)) & (record.epoch[np.minimum(at, len(record.epoch) - 1)] == epoch)
    values[here] = recorded[at[here]]
    return values
