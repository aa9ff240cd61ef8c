"""What has to be said of a study's table and of its picture, a sentence each, from what the result holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ralr_viz.results.study import COMPARISON, NOT_PLANNED, StudyResult, metric_index

READINGS = {
    "last": "after the last epoch",
    "median_last5": "median of the last five epochs",
    "best": "at the epoch of the lowest validation loss (training loss where nothing is held out)",
}
_ENVIRONMENT = {
    "device": "", "precision": "", "threads": "threads", "torch": "torch", "ralr_viz": "ralr-viz",
}  # fmt: skip
_MOST_VALUES = 4


def describe_study(result: StudyResult, metric: str = "last") -> list[str]:
    """Sentences below a table: what a number is, of which runs, how it was compared and trained.

    Args:
        result: Of any state.
        metric: Of `METRICS`.
    """
    n = len(result.seeds)
    return [
        *describe_reading(result, metric),
        f"Mean ± standard deviation (ddof = 1); (k/{n}): of k finished runs.",
        *describe_faults(result),
        *describe_comparisons(result, metric),
        *describe_paper(result),
        *describe_runs(result),
        *describe_notes(result),
    ]


def describe_reading(result: StudyResult, metric: str) -> list[str]:
    """Which number of a run is taken, and of which runs."""
    n, seeds = len(result.seeds), span_of(result.seeds)
    over = f"{n} training seeds ({seeds})" if n > 1 else f"one training seed ({seeds})"
    said = [f"Test {result.score_label} {READINGS[metric]}, over {over}."]
    if result.score_better == "lower":
        said.append("Lower is better.")
    finished = int((result.states == "finished").sum())
    planned = int((result.states != NOT_PLANNED).sum())
    if finished < planned:
        said.append(f"{finished:,} of {planned:,} runs have finished.")
    if planned < result.states.size:
        said.append("Not every cell has every seed.")
    return said


def describe_faults(result: StudyResult) -> list[str]:
    """What became of runs that diverged or failed."""
    diverged, failed = (int((result.states == state).sum()) for state in ("diverged", "failed"))
    if not diverged and not failed:
        return []
    scored = int(result.scored_diverged.sum())
    if scored:  # of one task, so all that diverged
        worst = float(result.values[result.scored_diverged][0, 0])
        said = f"†: a run diverged and counts as {worst:g} (cells may read one run); the table has the means without, too."
        return [said + (f" {_runs(failed)} failed and are in no mean." if failed else "")]
    said = f"†: {_runs(diverged)} diverged and {_runs(failed)} failed; they are in no mean."
    if diverged:
        said += " A cell with a diverged run is compared with nothing: what survived is no sample of what a method does."
    return [said]


def describe_paper(result: StudyResult) -> list[str]:
    """What the paper's numbers are."""
    if not np.isfinite(result.paper[:, 0]).any():
        return []
    return [
        "The paper's mean ± std are as it prints them; they may be of the best epoch on the test set, which is "
        "never selected here."
    ]


def describe_notes(result: StudyResult) -> list[str]:
    """What the study and the files say for themselves."""
    return [f"{note.rstrip('.')}." for note in (result.note, *result.notes) if note]


def describe_comparisons(result: StudyResult, metric: str) -> list[str]:
    """From what the differences are, and what their p can be."""
    m = result.num_compared
    if not m:
        return []
    family = f"the {m} comparisons" if m > 1 else "the one comparison"
    said = [
        f"Difference from {name_references(result)}: of the means, with Welch's 95 % t interval and p; Holm: p corrected "
        f"for {family} of this table. Bold difference: its interval excludes 0; bold p: below 0.05 after Holm, too."
    ]
    floors = result.comparisons[:, metric_index(metric), COMPARISON.index("permutation_floor")]
    if np.isfinite(floors).any() and np.nanmin(floors) < 1:
        floor = float(np.nanmin(floors))
        least = f"No exact permutation p can be below {floor:.2g}"
        said.append(f"{least}{f', or {min(1, m * floor):.2g} after Holm' if m > 1 else ''}.")
    said.append("The CSV has every seed, the comparisons paired by seed, permutation p and Hedges' g.")
    return said


def describe_runs(result: StudyResult) -> list[str]:
    """Data, length and machine, and in what the runs differ."""
    return describe_conditions(result.conditions)


def describe_conditions(known: Mapping[str, tuple[Any, ...]]) -> list[str]:
    """Data, length and machine of some runs, and in what they differ.

    Args:
        known: Distinct values of each, such as ``dataset`` or ``precision``.
    """
    parts = [_list(known["dataset"])] if "dataset" in known else []
    if any(known.get("subset", ())):
        parts.append(f"{_list(v or 'all' for v in known['subset'])} training images")
    if any(known.get("validation", ())):
        shares = _list(f"{100 * v:.3g} %" for v in known["validation"])
        parts.append(f"of which {shares} are held out")
    elif "validation" in known:
        parts.append("no image held out")
    parts += [
        f"{_list(known[k])} {unit}"
        for k, unit in (("epochs", "epochs"), ("test_images", "test images"))
        if k in known
    ]
    said = [f"Data: {', '.join(parts)}."] if parts else []
    shown = [f"{word} {_list(known[k])}".strip() for k, word in _ENVIRONMENT.items() if k in known]
    if shown:
        said.append(f"Trained on: {', '.join(shown)}.")
    mixed = [
        name
        for name in (*_ENVIRONMENT, "world_size", "deterministic", "compile")
        if len(known.get(name, ())) > 1
    ]
    if len(known.get("data", ())) > len(known.get("dataset", ())):
        mixed.append("data (by content)")
    if mixed:
        said.append(f"Not all runs share: {', '.join(mixed)}.")
    return said


def name_references(result: StudyResult) -> str:
    """The labels that the reference cells have and the compared ones have not; from the same row where they can."""
    names = set()
    for cell in np.flatnonzero(result.references >= 0):
        mine, others = result.labels[cell], result.labels[result.references[cell]]
        names.add(", ".join(other for own, other in zip(mine, others, strict=True) if own != other))
    return names.pop() if len(names) == 1 else "the reference of each"


def _runs(count: int) -> str:
    return f"{count:,} run{'' if count == 1 else 's'}"


def span_of(seeds: tuple[int, ...]) -> str:
    """``0–3``, or the seeds one by one."""
    if len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]}–{seeds[-1]}"
    return ", ".join(map(str, seeds))


def _list(values: Iterable[Any]) -> str:
    """Values with strokes between, the first few where there are many."""
    texts = [f"{v:,}" if isinstance(v, int) and not isinstance(v, bool) else str(v) for v in values]
    more = len(texts) - _MOST_VALUES
    return "/".join(texts) if more <= 0 else f"{'/'.join(texts[:_MOST_VALUES])} and {more} more"
