"""The settings of a training that translates. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from ralr_viz.recipe.recipe import Recipe
from ralr_viz.recipe.rules import OF_ITS_TYPE, RULES, Rule, one_of, positive, require, within

SIZES = {
    # width, heads, inner width, layers of the encoder and of the decoder
    "transformer-base": (512, 8, 2048, 6, 6),
    "transformer-small": (256, 4, 512, 2, 2),
    "transformer-mini": (128, 4, 256, 2, 2),
    "transformer-tiny": (64, 2, 128, 1, 1),
}
SCORES = ("13a", "13a-lc", "intl", "intl-lc")
_LARGEST_VOCABULARY = 65_000  # pieces are stored in 16 bits


@dataclass(frozen=True, kw_only=True)
class TranslationRecipe(Recipe):
    """A recipe of a Transformer; ``batch`` is in places for tokens, source or target, padding among them.

    Attributes:
        accumulate: Batches of a step, whose gradient is of the mean over all their target tokens.
        vocabulary: Pieces of the byte-pair encoding that both languages share.
        norm: Whether a layer is normalised before its work (``pre``, as the paper's reference) or after (``post``).
        dropout: Of embeddings, attention weights, inner layers and residuals.
        label_smoothing: ε in [0, 1), over the whole vocabulary; losses in eval mode are the plain ones.
        beta2, epsilon: Adam's; ``momentum`` is its β₁.
        shortest, longest, ratio: Training pairs are kept with so many pieces on both sides, neither of which is more
            than ``ratio`` times the other; 0 is no bound.
        average: Last epochs whose mean weights are scored at the end too, beside the last; 0 for none.
        beam, length_penalty: Of the search at the end: hypotheses, and α of log p / ((5 + n) / 6)^α for n pieces.
        decoded: Validation sentences that are translated, greedily, after each evaluated epoch.
        bleu: Which BLEU is the score: ``13a`` or ``intl`` tokens, ``-lc`` for lower case. All four are measured.
    """

    accumulate: int = 1
    vocabulary: int = 8000
    norm: str = "pre"
    dropout: float = 0.1
    label_smoothing: float = 0.1
    beta2: float = 0.98
    epsilon: float = 1e-9
    shortest: int = 0
    longest: int = 0
    ratio: float = 0.0
    average: int = 5
    beam: int = 4
    length_penalty: float = 0.6
    decoded: int = 0
    bleu: str = "13a"

    rules: ClassVar[Mapping[str, Rule]] = {
        **RULES,
        "model": one_of(tuple(SIZES)),
        "accumulate": within(1, 10_000),
        "vocabulary": within(16, _LARGEST_VOCABULARY),
        "norm": one_of(("pre", "post")),
        "dropout": (lambda value: 0 <= value < 1, "in [0, 1)"),
        "label_smoothing": (lambda value: 0 <= value < 1, "in [0, 1)"),
        "beta2": (lambda value: 0 <= value < 1, "in [0, 1)"),
        "epsilon": positive(1),
        "shortest": within(0, 10_000),
        "longest": within(0, 10_000),
        "ratio": (lambda value: value == 0 or value >= 1, "at least 1, or 0 for no bound"),
        "average": within(0, 1000),
        "beam": within(1, 64),
        "length_penalty": within(0, 10),
        "decoded": within(0, 10**9),
        "bleu": one_of(SCORES),
        "validation": (lambda value: value == 0, "0: the text has validation sentences of its own"),
        "evaluate_unused": OF_ITS_TYPE,
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, self.average <= self.epochs, "average", f"at most the training's {self.epochs} epochs")
        fits = not self.longest or self.longest >= max(self.shortest, 1)
        require(self, fits, "longest", f"at least `shortest` = {self.shortest}, or 0 for no bound")
        never = self.evaluate_unused == "never"
        require(self, never, "evaluate_unused", "never: a translation is not scored on training text")

    @property
    def scored_by(self) -> str:
        """That BLEU: runs that differ in it alone are one training."""
        return self.bleu

    @property
    def averaged_epochs(self) -> tuple[int, ...]:
        """The last ``average``."""
        return tuple(range(self.epochs - self.average + 1, self.epochs + 1))

    @property
    def kept_epochs(self) -> frozenset[int]:
        """Those of `Settings`, and what is averaged."""
        return super().kept_epochs | frozenset(self.averaged_epochs)
