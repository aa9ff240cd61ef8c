"""What detectors find in images, and from which score on they are right the most often."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ralr_viz.comparison import Comparison
from ralr_viz.errors import InputError
from ralr_viz.results.average_precision import FoundBoxes, Matches, TrueBoxes, match_boxes
from ralr_viz.tasks.batches import Batches
from ralr_viz.tasks.batching import spread
from ralr_viz.tasks.detection.evaluate import DetectionEvaluator, Measured
from ralr_viz.tasks.detection.samples import DetectionSplit
from ralr_viz.tasks.detection.task import Detection

_JUDGED = 500
"""Images, at most, on which the score of the highest F1 is found."""


class Operating(NamedTuple):
    """The smallest score of detections that count.

    Attributes:
        score: In [0, 1].
        f1: Of all classes together, on the images that it was found on; NaN where it was given.
    """

    score: float
    f1: float


@dataclass(frozen=True, eq=False)
class Objects:
    """The images that detectors are compared on, and others that their scores are judged on.

    Attributes:
        comparison: The networks.
        task: Of all of them.
        split: ``test``, ``val`` or ``train``.
        places: (n,) int64 of the images in its store.
        judged: The split that the score of the highest F1 is found on.
    """

    comparison: Comparison
    task: Detection
    split: str
    places: np.ndarray
    judged: str

    @property
    def store(self) -> DetectionSplit:
        """Images and objects that the places are of."""
        return self.task.splits["test" if self.split == "test" else "train"]

    @property
    def truth(self) -> TrueBoxes:
        """The objects of the images, which are numbered from 0."""
        return self.store.truth(self.places)

    def judge(self, i: int) -> Operating:
        """The score of the highest F1 of network ``i`` on images that it is not tested on."""
        places = spread(self.task.split()[self.judged], _JUDGED)
        return find_operating(
            self.task.splits["test" if self.judged == "test" else "train"].truth(places),
            self._measure(i, {self.judged: places}).found,
        )

    def measure(self, i: int) -> Measured:
        """What network ``i`` finds in the images."""
        return self._measure(i, {self.split: self.places})

    def _measure(self, i: int, places: Mapping[str, np.ndarray]) -> Measured:
        (name,), runtime = places, self.comparison.runtime
        key = ("detected", i, name, places[name].tobytes())
        memory = self.comparison.memory
        if key not in memory:
            model = runtime.place(self.comparison.build(i))
            memory[key] = DetectionEvaluator(self.task, places, runtime).measure(model, name)
        found: Measured = memory[key]
        return found


def open_objects(comparison: Comparison) -> Objects:
    """The images of a comparison of detectors.

    Scores are judged on what was held out in training, else on the training images; of these a network is surer.

    Raises:
        InputError: The networks are no detectors, or there are no such images.
    """
    task, samples = comparison.task, comparison.samples
    if not isinstance(task, Detection) or not isinstance(samples, Batches) or not samples.split:
        raise InputError(
            f"`{comparison.networks[0].shown}` is no detector: give runs of a recipe with task = detection"
        )
    split = task.split()
    judged = "val" if "val" in split and samples.split != "val" else "train"
    return Objects(comparison, task, samples.split, spread(split[samples.split], samples.limit), judged)


def find_operating(truth: TrueBoxes, found: FoundBoxes) -> Operating:
    """The score with the highest F1 of all classes together; of equally good ones the highest.

    Args:
        truth: The objects; those that are difficult do not count.
        found: All detections.
    """
    return operate(match_boxes(truth, found), found.score, int((~truth.difficult).sum()))


def operate(matches: Matches, score: np.ndarray, objects: int) -> Operating:
    """`find_operating` of detections that are matched, of so many objects."""
    counted = matches.state != 0
    order = np.argsort(-score[counted], kind="stable")
    ranked, hits = score[counted][order], np.cumsum(matches.state[counted][order] == 1)
    if not len(ranked) or not hits[-1]:
        return Operating(1.0, 0.0)  # nothing is right
    f1 = 2 * hits / (np.arange(1, len(hits) + 1) + objects)
    f1[:-1][ranked[:-1] == ranked[1:]] = -1  # equal scores are above a threshold together
    best = int(f1.argmax())
    return Operating(float(ranked[best]), float(f1[best]))
