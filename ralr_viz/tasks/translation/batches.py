"""Batches of sentences of similar lengths, that hold no more than so many places for tokens."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ralr_viz.errors import InputError
from ralr_viz.recipe import Recipe
from ralr_viz.runtime.device import Runtime
from ralr_viz.runtime.ranks import Ranks
from ralr_viz.tasks.batches import place
from ralr_viz.tasks.translation.pieces import BEGIN, END, PAD, Sentences

_STREAM = 0x544F4B53


class TextBatch(NamedTuple):
    """Sentences and their translations.

    Attributes:
        source: (b, S) int64 pieces and the end, padded by 0.
        target: (b, T + 1) int64: begin, pieces, end; padded.
        tokens: Target pieces and ends, those that a network predicts.
    """

    source: Tensor
    target: Tensor
    tokens: int


def make_batch(sources: Sentences, targets: Sentences, rows: np.ndarray) -> TextBatch:
    """Some pairs, on the host."""
    return TextBatch(
        pad([[*sources[i], END] for i in rows]),
        pad([[BEGIN, *targets[i], END] for i in rows]),
        int(targets.lengths[rows].sum()) + len(rows),
    )


def pad(sentences: Sequence[Sequence[int]]) -> Tensor:
    """(b, longest) int64."""
    made = np.full((len(sentences), max(map(len, sentences))), PAD, dtype=np.int64)
    for row, pieces in zip(made, sentences, strict=True):
        row[: len(pieces)] = pieces
    return torch.from_numpy(made)


def cut(sources: np.ndarray, targets: np.ndarray, budget: int) -> np.ndarray:
    """Where batches of sentences in this order end: rows × the widest of either side stay within the budget.

    Args:
        sources, targets: (n,) pieces of each, without marks.
        budget: Places of a batch; a longer sentence is a batch of its own.

    Returns:
        (m + 1,) int64 from 0 to n.
    """
    widths = (np.maximum(sources, targets) + 1).tolist()
    ends, first, widest = [0], 0, 0
    for i, width in enumerate(widths):
        widest = max(widest, width)
        if i > first and widest * (i + 1 - first) > budget:
            ends.append(i)
            first, widest = i, width
    return np.array([*ends, len(widths)], dtype=np.int64)


@dataclass(frozen=True, eq=False)
class TokenPlan:
    """An epoch.

    Attributes:
        rows: (n,) pairs in the order of the batches.
        starts: (m + 1,) where each batch begins.
        per_step: Batches of a step.
        steps: Of the epoch.
        tokens: (steps + 1,) target tokens before each step.
    """

    rows: np.ndarray
    starts: np.ndarray
    per_step: int
    steps: int
    tokens: np.ndarray

    def shown(self, steps: int) -> int:
        """Target tokens."""
        return int(self.tokens[steps])

    def batches(self, step: int) -> list[np.ndarray]:
        """The pairs of each batch of a step."""
        places = range(step * self.per_step, min((step + 1) * self.per_step, len(self.starts) - 1))
        return [self.rows[self.starts[i] : self.starts[i + 1]] for i in places]


class TextFeed:
    """Plans and makes the batches of an epoch.

    Where batches are cut depends on the lengths alone, which are sorted: so each epoch has as many of the same shapes,
    and only what is in them differs.
    """

    def __init__(
        self,
        recipe: Recipe,
        per_step: int,
        pairs: tuple[Sentences, Sentences],
        trained: np.ndarray,
        runtime: Runtime,
    ) -> None:
        self.pairs, self.trained, self.runtime, self.per_step = pairs, trained, runtime, per_step
        self.lengths = pairs[0].lengths[trained], pairs[1].lengths[trained]
        order = np.lexsort(self.lengths)
        self.ends = cut(self.lengths[0][order], self.lengths[1][order], recipe.batch)
        batches = len(self.ends) - 1
        self.steps = batches // per_step if recipe.drop_last else -(-batches // per_step)

    def plan(self, seed: int, epoch: int) -> TokenPlan:
        """Pairs of equal lengths, and the order of the batches, are drawn for each seed and epoch."""
        rng = np.random.default_rng([seed, epoch, _STREAM])
        sources, targets = self.lengths
        mixed = rng.permutation(len(self.trained))
        sorted_rows = mixed[np.lexsort((sources[mixed], targets[mixed]))]
        order = rng.permutation(len(self.ends) - 1)
        rows = np.concatenate([sorted_rows[self.ends[i] : self.ends[i + 1]] for i in order])
        starts = np.concatenate([[0], np.cumsum(np.diff(self.ends)[order])])
        before = np.concatenate([[0], np.cumsum(targets[rows] + 1)])[starts]
        firsts = np.minimum(np.arange(self.steps + 1) * self.per_step, len(starts) - 1)
        return TokenPlan(self.trained[rows], starts, self.per_step, self.steps, before[firsts])

    def check(self, ranks: int) -> None:
        """Refuse an epoch without a step, or a step with too few pairs for each rank to have one.

        Raises:
            InputError: So it is.
        """
        if not self.steps:
            raise InputError(
                f"`accumulate` = {self.per_step} is more than the {len(self.ends) - 1} batches of an epoch: lower it"
            )
        # in some order of the batches a step has the smallest ones alone
        largest = np.sort(np.diff(self.ends))[
            : 1 if self.steps * self.per_step != len(self.ends) - 1 else self.per_step
        ]
        if largest.max() < ranks:
            raise InputError(
                f"a step may have {largest.max()} sentence pairs a batch, too few for {ranks} processes: start fewer, or "
                "raise `batch` or `accumulate` by --set"
            )

    def load(self, plan: TokenPlan, step: int, ranks: Ranks) -> list[TextBatch]:
        """Of each batch every so many-th pair; they are of similar lengths, so ranks have alike to do."""
        rows = [batch[ranks.rank :: ranks.size] for batch in plan.batches(step)]
        made = [make_batch(*self.pairs, each) for each in rows if len(each)]
        if ranks.size > 1:
            ranks.weigh(torch.tensor(float(sum(batch.tokens for batch in made)), device=self.runtime.device))
        return [place(batch, self.runtime.device) for batch in made]


def group_rows(pairs: tuple[Sentences, Sentences], rows: np.ndarray, budget: int) -> list[np.ndarray]:
    """Places among ``rows`` of the pairs of each batch, in the order of their lengths."""
    sources, targets = pairs[0].lengths[rows], pairs[1].lengths[rows]
    order = np.lexsort((sources, targets))
    ends = cut(sources[order], targets[order], budget)
    return [order[a:b] for a, b in itertools.pairwise(ends)]


def batches_of(pairs: tuple[Sentences, Sentences], rows: np.ndarray, budget: int) -> list[TextBatch]:
    """Batches of some pairs in the order of their lengths, on the host."""
    return [make_batch(*pairs, rows[inside]) for inside in group_rows(pairs, rows, budget)]
