"""Intervals over sentences: BLEU, chrF and attention."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import numpy as np

from ralr_viz.results.attention import AttentionResult
from ralr_viz.results.bleu import BleuResult, bleu_of
from ralr_viz.results.length_groups import group_starts
from ralr_viz.results.measure import Measure
from tests.coverage.case import Case, Row, cover_measures

_GROUPS = 4


def _translate(rng: np.random.Generator, m: int, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Counts (m, n, 10), chrF (m, n) and lengths (n,): hard sentences have fewer matches, which two networks share."""
    wanted = 4 + rng.poisson(9, n)
    hard = np.repeat(rng.beta(5, 3, (m // 2, n)), 2, axis=0)
    made = np.maximum(wanted + rng.integers(-2, 2, (m, n)), 4)
    quality = np.clip(0.8 * hard + 0.2 * rng.beta(5, 3, (m, n)), 0.02, 0.98)
    totals = np.stack([made - k for k in range(4)], axis=-1)
    right = [rng.binomial(totals[..., 0], quality)]
    for k in range(1, 4):  # a longer match is one of shorter ones
        right.append(np.minimum(rng.binomial(totals[..., k], quality ** (k + 1)), right[-1]))
    counts = np.concatenate(
        [made[..., None], np.broadcast_to(wanted, (m, n))[..., None], np.stack(right, axis=-1), totals],
        axis=-1,
    )
    return counts, 100 * quality, wanted + 1


def _make_bleu(n: int, rng: np.random.Generator, m: int, seed: int) -> Iterable[Measure]:
    counts, chrf, lengths = _translate(rng, m, n)
    return BleuResult(
        models=tuple(map(str, range(m))), counts=counts, chrf=chrf, lengths=lengths, rows=np.arange(n),
        starts=group_starts(lengths, _GROUPS), signature="", seed=seed,
    ).measures()  # fmt: skip


def _simulate_bleu(n: int) -> dict[str, np.ndarray]:
    counts, chrf, _ = _translate(np.random.default_rng(9), 2, 1_000_000)
    sums = counts.sum(axis=(0, 1))
    truth = {"bleu": float(bleu_of(sums)), "chrf": float(chrf.mean()), "length_ratio": sums[0] / sums[1]}
    # groups follow the sample's lengths: of them the differences alone have a truth of their own
    zero = dict.fromkeys([*truth, "bleu_1"], 0.0)
    return cover_measures(partial(_make_bleu, n), truth, differences=zero)


def _bleu(n: int, *rows: Row) -> Case:
    names = ["bleu", "chrf", "length_ratio"]
    names += [f"{name} difference" for name in (*names, "bleu_1")]
    given = {row.interval: row for row in rows}
    return Case(
        f"bleu-{n}",
        "`bleu`",
        "hard sentences, which two networks share; four groups by length",
        f"{n:,} sentences",
        tuple(given.get(name, Row(name)) for name in names),
        partial(_simulate_bleu, n),
    )


def _make_attention(n: int, rng: np.random.Generator, m: int, seed: int) -> Iterable[Measure]:
    pieces = 3 + rng.poisson(10, n)
    common = np.repeat(rng.standard_normal((m // 2, n)), 2, axis=0)
    entropy = np.exp(0.3 + 0.02 * pieces + 0.3 * (0.8 * common + 0.6 * rng.standard_normal((m, n))))
    log_p = -rng.gamma(2, 0.5, (m, n)) - 0.2 * np.exp(common) - 0.01 * pieces
    return AttentionResult(
        models=tuple(map(str, range(m))), sources=(("a",),), targets=(("b",),), maps=np.ones(m), drawn=(0,), layer=0,
        entropy=entropy[:, None], log_p=log_p, even=np.ones(n), pieces=pieces, rows=np.arange(n), selection="drawn",
        seed=seed,
    ).measures()  # fmt: skip


def _simulate_attention(n: int) -> dict[str, np.ndarray]:
    many = {measure.name: measure for measure in _make_attention_values(1_000_000)}
    truth = {name: float(measure.values.mean()) for name, measure in many.items()}
    return cover_measures(partial(_make_attention, n), truth, differences=dict.fromkeys(truth, 0.0))


def _make_attention_values(n: int) -> Iterable[Measure]:
    """Without resamples, which a million sentences have no room for."""
    from dataclasses import replace

    rng = np.random.default_rng(9)
    pieces = 3 + rng.poisson(10, n)
    common = rng.standard_normal(n)
    entropy = np.exp(0.3 + 0.02 * pieces + 0.3 * (0.8 * common + 0.6 * rng.standard_normal(n)))
    log_p = -rng.gamma(2, 0.5, n) - 0.2 * np.exp(common) - 0.01 * pieces
    one = Measure("entropy_1", "", "", np.array([entropy @ pieces / pieces.sum()]))
    return one, replace(one, name="log_p", values=np.array([log_p @ pieces / pieces.sum()]))


def _attention(n: int) -> Case:
    names = ["entropy_1", "log_p"]
    names += [f"{name} difference" for name in names]
    law = "skewed entropies that grow with the sentence, weighted by its pieces"
    rows = tuple(Row(name) for name in names)
    return Case(
        f"attention-{n}", "`attention`", law, f"{n:,} sentences", rows, partial(_simulate_attention, n)
    )


CASES = (
    *(_bleu(n) for n in (50, 400)),
    *(_attention(n) for n in (50, 400)),
)
