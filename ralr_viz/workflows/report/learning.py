"""When the images of both sides were learned and forgotten, for a report of runs that have kept the record."""

from __future__ import annotations

from typing import Any

from ralr_viz.analysis.learning import compute_learning
from ralr_viz.comparison import Comparison
from ralr_viz.comparison.samples import Samples, select_samples
from ralr_viz.errors import InputError
from ralr_viz.results.examples import examples_path
from ralr_viz.results.learning import LearningResult
from ralr_viz.results.tasks import SETS
from ralr_viz.workflows.report.gathering import Gathering
from ralr_viz.workflows.report.sides import seed_order

_COUNT = 12


def gather_learning(compared: Comparison, now: Gathering) -> dict[str, Any]:
    """The result with the images and labels that it shows; nothing of runs without a record, which most are.

    Where only some of the runs have one it is said why there is no section.
    """
    folders = [
        source.runs[seed].folder for source in now.sources for seed in sorted(source.runs, key=seed_order)
    ]
    recorded = [any(examples_path(folder, name).is_file() for name in SETS) for folder in folders]
    if not any(recorded) or not all(source.runs for source in now.sources):
        return {}
    try:
        result = compute_learning(folders, count=_COUNT, seed=now.options.seed, progress=now.progress)
    except InputError as error:
        now.options.say(f"learning: not on the page: {error}")
        return {}
    return {"learning": result.asked_by(now.options.provenance), **_pictures(result, compared.labelled())}


def _pictures(result: LearningResult, samples: Samples) -> dict[str, Any]:
    """Of the chosen examples, whose places are in a whole split; none where the data set is another."""
    if samples.store is None or result.dataset not in (None, samples.dataset):
        return {}
    split = "test" if result.split == "test" else "train"
    whole = select_samples(samples.store, split, None, (), samples.view)
    places = result.places[result.chosen]
    if len(places) and places.max() >= len(whole):
        return {}
    return {"learned_images": whole.images[places], "learned_labels": whole.labels[places]}
