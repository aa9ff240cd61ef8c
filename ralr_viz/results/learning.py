"""When examples are learned and forgotten in several trainings, and which of them differently."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from ralr_viz.results.bundle import Result
from ralr_viz.results.fields import Array, Axis, OneOf, PlaceOn, Within
from ralr_viz.results.measure import Measure, format_number, list_measures
from ralr_viz.results.tasks import SETS
from ralr_viz.results.uncertainty import bootstrap_counts

DRAWS = 1000
"""Bootstrap resamples of the examples."""
RELATIONS = ("same method, other seed", "other method, same seed", "other method, other seed")
"""Of two runs."""
LATE = 2 / 3
"""What comes after this share of the training is late."""
_CHUNK = 1 << 22


@dataclass(frozen=True, eq=False)
class LearningResult(Result):
    """n examples in m trainings over E recorded epochs.

    An example is *right* after an epoch (or, of ``train``, when the epoch's step saw it). It is *learned* with the first
    right epoch after a wrong one or after none, and *forgotten* with the first wrong one after a right one (Toneva et
    al. 2019). Arrays are float64 unless another type is named.

    Attributes:
        models: m unique names.
        methods, seeds: Of each; −1 for a seed that is not known.
        epoch: (E,) int64, growing.
        factor: (m, E) by which the epoch's learning rate was multiplied, NaN where not recorded.
        accuracy: (m, E) share of the examples seen that are right.
        forgotten, learned: (m, E) share of all examples that the epoch forgot and learned; of the first epoch none is
            forgotten.
        places: (n,) int64 places of the examples in their split.
        events: (m, n) int64 how often each was forgotten, −1 where it never was right.
        first: (m, n) int64 epoch with which each was first right, 0 for never.
        confidence, variability: (m, n) mean and standard deviation over the epochs of the true class's probability, in
            [0, 1] (the two axes of a data map, Swayamdipta et al. 2020).
        ease: (m, n) share of its epochs in which each is right; examples in its order are those of learning.
        late: (m, n) the same of the epochs after 2/3 of the training.
        agreement: (m, m) Spearman's rank correlation of ``ease`` (Hacohen et al. 2020).
        disagreement: (m, m) share of the examples that one of two runs has right in most late epochs and the other not.
        chosen: (c,) int64 places on the examples' axis: those that the second method gains most, and loses most.
        timeline: (m, E, c) bool, whether right.
        examples: Which samples they are.
        dataset, split: Where these are from.
        source: ``recorded`` beside the training, or ``evaluated`` of the states that were kept.
        seed: Of the bootstrap over examples.
        notes: What a reader should know, a sentence each.
    """

    kind: ClassVar[str] = "learning"
    schema: ClassVar[int] = 1

    models: Annotated[tuple[str, ...], Axis(("models",), unique=True)]
    methods: Annotated[tuple[str, ...], Axis(("models",))]
    seeds: Annotated[tuple[int, ...], Axis(("models",))]
    epoch: Annotated[np.ndarray, Array("integer", ("epochs",), fewest=2)]
    factor: Annotated[np.ndarray, Array("float", ("models", "epochs"))]
    accuracy: Annotated[np.ndarray, Array("float", ("models", "epochs")), Within(0, 1)]
    forgotten: Annotated[np.ndarray, Array("float", ("models", "epochs")), Within(0, 1)]
    learned: Annotated[np.ndarray, Array("float", ("models", "epochs")), Within(0, 1)]
    places: Annotated[np.ndarray, Array("integer", ("examples",)), Within(0)]
    events: Annotated[np.ndarray, Array("integer", ("models", "examples")), Within(-1)]
    first: Annotated[np.ndarray, Array("integer", ("models", "examples")), Within(0)]
    confidence: Annotated[np.ndarray, Array("float", ("models", "examples")), Within(0, 1)]
    variability: Annotated[np.ndarray, Array("float", ("models", "examples")), Within(0, 1)]
    ease: Annotated[np.ndarray, Array("float", ("models", "examples")), Within(0, 1)]
    late: Annotated[np.ndarray, Array("float", ("models", "examples")), Within(0, 1)]
    agreement: Annotated[np.ndarray, Array("float", ("models", "models")), Within(-1.0001, 1.0001)]
    disagreement: Annotated[np.ndarray, Array("float", ("models", "models")), Within(0, 1)]
    chosen: Annotated[np.ndarray, Array("integer", ("chosen",)), PlaceOn("examples")]
    timeline: Annotated[np.ndarray, Array("boolean", ("models", "epochs", "chosen"))]
    examples: Annotated[str, OneOf(SETS)]
    dataset: str | None = None
    split: str | None = None
    source: Annotated[str, OneOf(("recorded", "evaluated"))] = "recorded"
    seed: Annotated[int, Within(0)] = 0
    notes: tuple[str, ...] = ()

    @property
    def num_examples(self) -> int:
        """How many n examples there are."""
        return len(self.places)

    @property
    def amplified(self) -> np.ndarray:
        """(m, E) bool, whether the epoch's learning rate was another than the schedule's."""
        return np.isfinite(self.factor) & (self.factor != 1)

    def rows_of(self, method: str) -> list[int]:
        """Places of its runs."""
        return [i for i, name in enumerate(self.methods) if name == method]

    def pairs(self, relation: str) -> list[tuple[int, int]]:
        """Places of all pairs of runs that have it, one of `RELATIONS`."""
        return [(i, j) for i, j in _couples(len(self.models)) if self._relation(i, j) == relation]

    def _relation(self, i: int, j: int) -> str:
        if self.methods[i] == self.methods[j]:
            return RELATIONS[0]
        same = self.seeds[i] == self.seeds[j] >= 0
        return RELATIONS[1] if same else RELATIONS[2]

    def measures(self) -> tuple[Measure, ...]:
        """Means over the examples, each with the same resamples for all runs."""
        once, n = self.events >= 0, self.num_examples
        each = {
            ("forgetting_events", "forgetting events an example that was ever right", ""): (
                np.where(once, self.events, 0),
                once,
            ),
            ("never_forgotten", "right ever after it was first right", "%"): (100 * (self.events == 0), None),
            ("never_learned", "never right", "%"): (100 * ~once, None),
            ("first_epoch", "epoch with which it is first right, of those that ever are", "epochs"): (
                np.where(once, self.first, 0),
                once,
            ),
            ("variability", "standard deviation of the true class's probability", ""): (
                self.variability,
                None,
            ),
        }
        rows = list(bootstrap_counts(n, DRAWS, self.seed, size=max(_CHUNK // n, 1)))
        return tuple(
            Measure(
                *named,
                _mean(*of, [np.ones((1, n))])[:, 0],
                _mean(*of, rows),
                "images",
                n,
                share=100.0 if named[0].startswith("never_") else 0.0,
            )
            for named, of in each.items()
        )

    def describe(self) -> list[str]:
        """What was looked at, a line for each measure, then how runs agree, beside what two seeds do."""
        where = " ".join(str(part) for part in (self.dataset, self.examples) if part)
        head = (
            f"{self.num_examples:,} examples of {where} in {len(self.models)} runs, {len(self.epoch)} epochs "
            f"from {self.epoch[0]} to {self.epoch[-1]}, {self.source}"
        )
        lines = [head, *list_measures(self.models, self.measures())]
        for label, table, unit in (
            ("learning order, Spearman's ρ", self.agreement, ""),
            ("examples that only one of two runs has right late", 100 * self.disagreement, " %"),
        ):
            told = [
                f"{relation} {format_number(float(np.mean(values)), 3)}{unit} ({len(values)} pairs)"
                for relation in RELATIONS
                if (values := [table[i, j] for i, j in self.pairs(relation)])
            ]
            if told:
                lines.append(f"{label}: {'; '.join(told)}")
        return lines

    def remarks(self) -> list[str]:
        """The notes."""
        return list(self.notes)


def _couples(m: int) -> Iterator[tuple[int, int]]:
    return ((i, j) for i in range(m) for j in range(i + 1, m))


def _mean(values: np.ndarray, among: np.ndarray | None, rows: list[np.ndarray]) -> np.ndarray:
    """(m, R) means of (m, n) values over resamples (R, n), of those examples alone that count."""
    found = []
    for counts in rows:
        weights = counts.T.astype(np.float64)
        total = (
            among @ weights
            if among is not None
            else np.broadcast_to(weights.sum(0), (len(values), weights.shape[1]))
        )
        found.append(np.divide(values @ weights, total, out=np.full(total.shape, np.nan), where=total > 0))
    return np.concatenate(found, axis=1)
