"""What detectors find, for the gallery of a report."""

from __future__ import annotations

from ralr_viz.analysis.detect import compute_detect
from ralr_viz.comparison import Comparison
from ralr_viz.errors import InputError
from ralr_viz.results.detect import DetectResult
from ralr_viz.results.tasks import DETECTION
from ralr_viz.tasks.batches import Batches
from ralr_viz.workflows.report.gathering import Gathering

_COUNT = 4
OF_CLASSES = frozenset({"embeddings", "classes", "activations"})
"""Sections of networks that predict one class for each image."""


def gather_detections(compared: Comparison, now: Gathering) -> dict[str, DetectResult]:
    """Groups of the gallery: images in which the second network finds more objects, fewer, and some at random.

    Of another task that is no classification there are none.
    """
    assert isinstance(compared.samples, Batches)
    now.absent |= OF_CLASSES
    if compared.samples.name != DETECTION:
        now.absent.add("gallery")
        return {}
    groups = {"random": "Random sample"}
    if len(compared) > 1:
        first, second = compared.names[:2]
        groups = {
            "gain": f"Fixed by {second}: objects that {first} misses",
            "loss": f"Broken by {second}: objects that {first} finds",
        } | groups
    found = {}
    for rule, title in groups.items():
        try:
            result = compute_detect(
                compared, rows=rule, count=_COUNT, seed=now.options.seed, progress=now.progress
            )
        except InputError as error:
            if rule == "random":
                raise
            now.options.say(str(error))
            continue
        found[title] = result.asked_by(now.options.provenance)
    return found
