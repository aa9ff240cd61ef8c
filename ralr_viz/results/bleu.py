"""BLEU of several networks' translations, over sentences of different lengths."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from ralr_viz.results.bundle import Result
from ralr_viz.results.fields import MOST_DRAWS, Array, Axis, PlaceOn, Within
from ralr_viz.results.length_groups import find_groups, group_name
from ralr_viz.results.measure import Measure, list_measures
from ralr_viz.results.uncertainty import multinomial_counts
from ralr_viz.results.word_marks import mark_words

LEAST_CHANGE = 10.0
"""Points of chrF by which a sentence is fixed or broken."""
STATISTICS = 10
"""Of a sentence: its length, the reference's, matching n-grams and all n-grams for n from 1 to 4."""


@dataclass(frozen=True, eq=False)
class BleuResult(Result):
    """Translations of n sentences by m networks: what BLEU is made of, no text but what is cited.

    Attributes:
        models: m names.
        counts: (m, n, 10) int64: tokens of the translation and of the reference, matching n-grams and n-grams for n
            from 1 to 4, as sacreBLEU counts them.
        chrf: (m, n) float64 chrF2 of each sentence, 0 to 100.
        lengths: (n,) int64 words of the source.
        rows: (n,) int64 places in the split.
        starts: (b,) int64, the fewest words of a source in each group, ascending from 0.
        signature: sacreBLEU's, which says how it counts.
        cited: Places among the n of the sentences whose text is kept.
        texts: Source, reference and m translations of each of these.
        resamples, seed: Of the bootstrap over sentences.
        dataset, split, device, precision: Where they come from.
    """

    kind: ClassVar[str] = "bleu"
    schema: ClassVar[int] = 1

    models: Annotated[tuple[str, ...], Axis(("models",), fewest=1, unique=True)]
    counts: Annotated[np.ndarray, Array("integer", ("models", "sentences", STATISTICS)), Within(0)]
    chrf: Annotated[np.ndarray, Array("float", ("models", "sentences"), finite=True), Within(0, 100)]
    lengths: Annotated[np.ndarray, Array("integer", ("sentences",), fewest=1, unit="words"), Within(0)]
    rows: Annotated[np.ndarray, Array("integer", ("sentences",))]
    starts: Annotated[np.ndarray, Array("integer", ("groups",), fewest=1, unit="words")]
    signature: str
    cited: Annotated[tuple[int, ...], Axis(("cited",)), PlaceOn("sentences")] = ()
    texts: Annotated[tuple[tuple[str, ...], ...], Axis(("cited",))] = ()
    resamples: Annotated[int, Within(2, MOST_DRAWS)] = 1000
    seed: Annotated[int, Within(0)] = 0
    dataset: str | None = None
    split: str | None = None
    device: str = ""
    precision: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.starts[0] != 0 or (np.diff(self.starts) <= 0).any():
            raise ValueError(f"`starts` is {self.starts.tolist()}, must ascend from 0")
        if any(len(texts) != len(self.models) + 2 for texts in self.texts):
            raise ValueError("`texts` must have a source, a reference and a translation by each network")

    @property
    def groups(self) -> np.ndarray:
        """(n,) group of each sentence."""
        return find_groups(self.lengths, self.starts)

    @property
    def sizes(self) -> np.ndarray:
        """(b,) sentences of each group."""
        return np.bincount(self.groups, minlength=len(self.starts))

    def group_name(self, group: int) -> str:
        """``9–11``, of words; the last one without an end."""
        return group_name(self.lengths, self.starts, group)

    def measures(self) -> tuple[Measure, ...]:
        """BLEU, chrF and length ratio of all sentences, then BLEU of each group; the draws are the same sentences."""
        weights = multinomial_counts(len(self.lengths), self.resamples, self.seed).astype(np.float64)
        sums = weights @ self.counts
        whole = self.counts.sum(axis=1)
        found = [
            self._measure("bleu", "BLEU", bleu_of(whole), bleu_of(sums)),
            self._measure(
                "chrf", "chrF2, mean of sentences", self.chrf.mean(1), self.chrf @ weights.T / len(self.rows)
            ),
            self._measure("length_ratio", "length ratio", _length_ratio(whole), _length_ratio(sums)),
        ]
        for group, size in enumerate(self.sizes):
            inside = self.groups == group
            sums = weights[:, inside] @ self.counts[:, inside]
            whole = self.counts[:, inside].sum(axis=1)
            label = f"BLEU, sources of {self.group_name(group)} words ({size:,} sentences)"
            found.append(self._measure(f"bleu_{group + 1}", label, bleu_of(whole), bleu_of(sums), int(size)))
        return tuple(found)

    def _measure(
        self, name: str, label: str, values: np.ndarray, draws: np.ndarray, count: int | None = None
    ) -> Measure:
        return Measure(name, label, "", values, draws, "sentences", count or len(self.lengths))

    def fixed(self, i: int) -> np.ndarray:
        """Sentences whose chrF is better by 10 points or more than the first network's, the most changed first."""
        return self._changed(self.chrf[i] - self.chrf[0])

    def broken(self, i: int) -> np.ndarray:
        """Likewise worse."""
        return self._changed(self.chrf[0] - self.chrf[i])

    def _changed(self, gain: np.ndarray) -> np.ndarray:
        order = np.argsort(-gain, kind="stable")
        return order[gain[order] >= LEAST_CHANGE]

    def describe(self) -> list[str]:
        """Its measures, then of each further network how many sentences changed, and those that are cited."""
        lines = list_measures(self.models, self.measures())
        for i, name in enumerate(self.models[1:], 1):
            fixed, broken = self.fixed(i), self.broken(i)
            lines.append(
                f"{name} against {self.models[0]}: {len(fixed):,} sentences fixed, {len(broken):,} broken "
                f"(by {LEAST_CHANGE:g} points of chrF2 or more)"
            )
            for what, places in (("fixed", fixed), ("broken", broken)):
                lines += [f"{what}: {line}" for line in self.cite(places, i)]
        return lines

    def cite(self, places: np.ndarray, i: int) -> list[str]:
        """What is kept of some sentences, one line each, network i beside the first."""
        texts = dict(zip(self.cited, self.texts, strict=True))
        lines = []
        for place in places.tolist():
            if place in texts:
                source, reference, *made = texts[place]
                first, other = mark_words(made[0], made[i])
                lines.append(
                    f"{source} | {reference} | {self.models[0]}: {first} | {self.models[i]}: {other}"
                )
        return lines

    def remarks(self) -> list[str]:
        """How it was counted."""
        return [f"sacreBLEU {self.signature}"]


def bleu_of(counts: np.ndarray) -> np.ndarray:
    """BLEU (...), 0 to 100, of summed statistics (..., 10): as sacreBLEU's ``compute_bleu`` with ``exp`` smoothing.

    References:
        Papineni et al., BLEU (2002); Chen & Cherry, A systematic comparison of smoothing techniques (2014), method 3.
    """
    counts = np.asarray(counts, dtype=np.float64)
    length, wanted, right, made = counts[..., 0], counts[..., 1], counts[..., 2:6], counts[..., 6:10]
    missing = (right == 0) & (made > 0)
    smoothed = 1 / 2.0 ** np.cumsum(missing, axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = np.where(missing, smoothed, right) / made
        penalty = np.where(length < wanted, np.exp(1 - wanted / length), 1.0)
        score = 100 * penalty * np.exp(np.log(shares).mean(axis=-1))
    return np.where((right > 0).any(axis=-1) & (made > 0).all(axis=-1), score, 0.0)


def _length_ratio(counts: np.ndarray) -> np.ndarray:
    ratio: np.ndarray = counts[..., 0] / np.maximum(counts[..., 1], 1)
    return ratio
