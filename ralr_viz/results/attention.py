"""Where the decoders of several networks look in a source while they read its reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from ralr_viz.results.bundle import Result
from ralr_viz.results.fields import MOST_DRAWS, Array, Axis, PlaceOn, Within
from ralr_viz.results.measure import Measure, list_measures
from ralr_viz.results.uncertainty import multinomial_counts


@dataclass(frozen=True, eq=False)
class AttentionResult(Result):
    r"""Cross-attention of m networks with L decoder layers: maps of a few sentences, entropies of n.

    The reference is read, not the network's own translation, so that all networks are looked at on the same pieces.
    Weights are means over a layer's heads; of a word's map, sums over the pieces of a source word and means over those
    of a target word. The entropy of an alignment is :math:`-\sum_s a_s \ln a_s` over the pieces of the source, of each
    target piece: 0 where it looks at one piece, the logarithm of their number where it looks at all alike.

    Attributes:
        models: m names.
        sources, targets: Words of each of the k drawn sentences; the mark that ends one is ``(end)``.
        maps: All maps (T, S) of words, flat, float32: by network, layer and sentence; read them with `word_map`.
        drawn: k places among the n sentences.
        layer: Which is drawn, from 0.
        entropy: (m, L, n) float64, means over a sentence's target pieces.
        log_p: (m, n) float64 mean log probability of a target piece.
        even: (n,) float64, the logarithm of the source's pieces: the entropy of a decoder that does not look.
        pieces: (n,) int64 target pieces, by which means over sentences are weighted.
        rows: (n,) int64 places in the split.
        selection: The rule that chose the drawn sentences, in words.
        resamples, seed: Of the bootstrap over sentences.
        dataset, split, device, precision: Where they come from.
    """

    kind: ClassVar[str] = "attention"
    schema: ClassVar[int] = 1

    models: Annotated[tuple[str, ...], Axis(("models",), fewest=1, unique=True)]
    sources: Annotated[tuple[tuple[str, ...], ...], Axis(("drawn",), fewest=1)]
    targets: Annotated[tuple[tuple[str, ...], ...], Axis(("drawn",))]
    maps: Annotated[np.ndarray, Array("float", ("positions",)), Within(0, 1.001)]
    drawn: Annotated[tuple[int, ...], Axis(("drawn",)), PlaceOn("sentences")]
    layer: Annotated[int, PlaceOn("layers")]
    entropy: Annotated[np.ndarray, Array("float", ("models", "layers", "sentences"), unit="nats", fewest=1)]
    log_p: Annotated[np.ndarray, Array("float", ("models", "sentences"), unit="nats")]
    even: Annotated[np.ndarray, Array("float", ("sentences",), unit="nats")]
    pieces: Annotated[np.ndarray, Array("integer", ("sentences",)), Within(1)]
    rows: Annotated[np.ndarray, Array("integer", ("sentences",))]
    selection: str
    resamples: Annotated[int, Within(2, MOST_DRAWS)] = 1000
    seed: Annotated[int, Within(0)] = 0
    dataset: str | None = None
    split: str | None = None
    device: str = ""
    precision: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        expected = len(self.models) * self.num_layers * sum(self._sizes)
        if len(self.maps) != expected:
            raise ValueError(f"`maps` has {len(self.maps)} positions, expects {expected}, those of the words")

    @property
    def num_layers(self) -> int:
        """L."""
        return self.entropy.shape[1]

    @property
    def _sizes(self) -> list[int]:
        return [len(t) * len(s) for s, t in zip(self.sources, self.targets, strict=True)]

    def word_map(self, model: int, sentence: int, layer: int | None = None) -> np.ndarray:
        """(T, S) of one network and drawn sentence; rows sum to 1. The layer that is drawn where none is said."""
        sizes, layer = self._sizes, self.layer if layer is None else layer
        start = (model * self.num_layers + layer) * sum(sizes) + sum(sizes[:sentence])
        shape = len(self.targets[sentence]), len(self.sources[sentence])
        return self.maps[start : start + sizes[sentence]].reshape(shape)

    def measures(self) -> tuple[Measure, ...]:
        """Entropy of each layer, then log p of the reference; means over target pieces."""
        weights = multinomial_counts(len(self.rows), self.resamples, self.seed) * self.pieces.astype(
            np.float64
        )
        weights /= weights.sum(axis=1, keepdims=True)
        share = self.pieces / self.pieces.sum()
        rows = [
            (f"entropy_{layer + 1}", f"entropy of the alignment, layer {layer + 1}", self.entropy[:, layer])
            for layer in range(self.num_layers)
        ]
        rows.append(("log_p", "log p of a piece of the reference", self.log_p))
        return tuple(
            Measure(name, label, "nats", values @ share, values @ weights.T, "sentences", len(self.rows))
            for name, label, values in rows
        )

    @property
    def even_entropy(self) -> float:
        """Mean entropy, in nats, of a decoder that looks at all pieces alike."""
        return float(self.even @ self.pieces / self.pieces.sum())

    def describe(self) -> list[str]:
        """Its measures, and what a decoder that does not look would have."""
        lines = list_measures(self.models, self.measures())
        return [*lines, f"entropy of looking at all pieces alike: {self.even_entropy:.3f} nats"]

    def remarks(self) -> list[str]:
        """Which sentences are drawn."""
        return [f"drawn: {self.selection}"]
