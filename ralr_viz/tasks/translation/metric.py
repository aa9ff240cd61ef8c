"""BLEU and chrF of translations, by sacreBLEU itself, with the signature that says how they were computed.

References:
    Post, A call for clarity in reporting BLEU scores (2018); Koehn, Statistical significance tests for machine
    translation evaluation (2004); Riezler & Maxwell, On some pitfalls in automatic evaluation (2005).
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ralr_viz.errors import InputError

_VARIANTS: dict[str, dict[str, Any]] = {
    "13a": {"tokenize": "13a"},
    "13a-lc": {"tokenize": "13a", "lowercase": True},
    "intl": {"tokenize": "intl"},
    "intl-lc": {"tokenize": "intl", "lowercase": True},
}
_TESTS = {"bootstrap": "bs", "randomisation": "ar"}


def score_translations(hypotheses: Sequence[str], references: Sequence[str]) -> dict[str, Any]:
    """All scores of a system, 0 to 100.

    Args:
        hypotheses: A translation of each sentence.
        references: As published, not through any encoding.

    Returns:
        ``13a``, ``13a-lc``, ``intl``, ``intl-lc`` (BLEU), ``chrf`` (chrF2), ``length_ratio``, and ``signatures``
        of them by name.

    Raises:
        InputError: There are none, or of unequal number.
    """
    _check(hypotheses, references)
    metrics = _metrics()
    found = {
        name: metric.corpus_score(list(hypotheses), [list(references)]) for name, metric in metrics.items()
    }
    scores = {name: float(score.score) for name, score in found.items()}
    signatures = {name: str(metric.get_signature()) for name, metric in metrics.items()}
    return scores | {"length_ratio": float(found["13a"].ratio), "signatures": signatures}


@dataclass(frozen=True)
class SentenceCounts:
    """What the BLEU of n sentences is made of.

    Attributes:
        counts: (n, 10) int64: tokens of the translation and of the reference, matching n-grams and n-grams for n from
            1 to 4.
        chrf: (n,) float64 chrF2 of each sentence, 0 to 100.
        signature: Of the corpus BLEU that the sums make.
    """

    counts: np.ndarray
    chrf: np.ndarray
    signature: str


def count_sentences(
    hypotheses: Sequence[str], references: Sequence[str], variant: str = "13a"
) -> SentenceCounts:
    """Statistics of each sentence, whose sums make a corpus BLEU.

    Args:
        hypotheses: A translation of each sentence.
        references: As published.
        variant: Of BLEU, such as ``13a`` or ``intl-lc``.

    Raises:
        InputError: There are none, or of unequal number.
    """
    _check(hypotheses, references)
    metrics = importlib.import_module("sacrebleu.metrics")
    # of a single sentence sacreBLEU would leave out orders without a match; its counts are the same
    counter, chrf = metrics.BLEU(**_VARIANTS[variant], effective_order=True), metrics.CHRF()
    counts, scores = [], []
    for made, wanted in zip(hypotheses, references, strict=True):
        found = counter.sentence_score(made, [wanted])
        counts.append([found.sys_len, found.ref_len, *found.counts, *found.totals])
        scores.append(chrf.sentence_score(made, [wanted]).score)
    whole = _metrics()[variant]
    whole.corpus_score(
        list(hypotheses[:1]), [list(references[:1])]
    )  # before which it knows no number of references
    return SentenceCounts(np.array(counts, dtype=np.int64), np.array(scores), str(whole.get_signature()))


@dataclass(frozen=True)
class PairedScore:
    """A system beside the baseline, in one metric.

    Attributes:
        score, baseline: 0 to 100.
        p: Of the paired test.
        signature: sacreBLEU's, with the test's.
    """

    score: float
    baseline: float
    p: float
    signature: str

    @property
    def difference(self) -> float:
        """Points by which it is better."""
        return self.score - self.baseline


def compare_translations(
    baseline: Sequence[str],
    system: Sequence[str],
    references: Sequence[str],
    *,
    test: Literal["bootstrap", "randomisation"] = "bootstrap",
    resamples: int = 1000,
) -> dict[str, PairedScore]:
    """Two systems on the same sentences, by sacreBLEU's paired test; over sentences, not over training seeds.

    Args:
        baseline, system: Translations of each sentence.
        references: As published.
        test: Paired bootstrap, or paired approximate randomisation.
        resamples: Of the test.

    Returns:
        For each of ``13a``, ``13a-lc``, ``intl``, ``intl-lc`` and ``chrf``.

    Raises:
        InputError: There are none, or of unequal number; an unknown test.
    """
    if test not in _TESTS:
        raise InputError(f"`test` = `{test}` must be one of {', '.join(_TESTS)}")
    for given in (baseline, system):
        _check(given, references)
    significance = importlib.import_module("sacrebleu.significance")
    named = [("baseline", list(baseline)), ("system", list(system))]
    found = {}
    for name, metric in _metrics().items():
        paired = significance.PairedTest(named, {name: metric}, [list(references)], _TESTS[test], resamples)
        signatures, scores = paired()
        key = next(key for key in scores if key != "System")
        before, after = scores[key]
        found[name] = PairedScore(
            float(after.score), float(before.score), float(after.p_value), str(signatures[key])
        )
    return found


def _metrics() -> dict[str, Any]:
    metrics = importlib.import_module("sacrebleu.metrics")
    return {name: metrics.BLEU(**options) for name, options in _VARIANTS.items()} | {"chrf": metrics.CHRF()}


def _check(hypotheses: Sequence[str], references: Sequence[str]) -> None:
    if not references or len(hypotheses) != len(references):
        raise InputError(
            f"{len(hypotheses):,} translations and {len(references):,} references: give one of each sentence"
        )
