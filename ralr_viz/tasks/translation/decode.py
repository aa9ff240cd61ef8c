"""Search for the likeliest translation: several hypotheses at a time, many sentences at a time."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ralr_viz.tasks.eval_mode import eval_mode
from ralr_viz.tasks.translation.network import Transformer
from ralr_viz.tasks.translation.pieces import BEGIN, END, PAD

EXTRA = 50
"""Pieces that a translation may have beyond those of its source."""


def length_penalty(pieces: int, alpha: float) -> float:
    """What log p of a hypothesis is divided by; ``pieces`` counts the end.

    References:
        Wu et al., Google's neural machine translation system (2016), equation 14.
    """
    return float(((5 + pieces) / 6) ** alpha)


@torch.no_grad()
def translate(
    model: Transformer, source: Tensor, *, beam: int = 4, alpha: float = 0.6, extra: int = EXTRA
) -> list[list[int]]:
    """Translations of a batch by beam search, as the paper's reference does it for one sentence.

    At each step the ``beam`` likeliest continuations of a sentence stay; those that have ended are put aside. When as
    many have ended, or the length is reached, the best by log p / ((5 + n) / 6)^α is taken.

    Args:
        model: Left in the mode that it is in.
        source: (b, S) int64 on the model's device, each ending with its mark, padded.
        beam: Hypotheses of a sentence; 1 is greedy.
        alpha: Of the length penalty; 0 prefers short ones.
        extra: Pieces beyond those of the source.

    Returns:
        Pieces of each, without marks.
    """
    with eval_mode(model):
        return _Search(model, source, beam, alpha, extra).run()


class _Search:
    """State of a search: of the n sentences that are not done, k hypotheses each.

    Attributes:
        which: (n,) their places in the batch.
        live: (n, k) log p, −∞ of a hypothesis that has ended.
        pieces: (n, k, t) with the mark that begins.
    """

    def __init__(self, model: Transformer, source: Tensor, beam: int, alpha: float, extra: int) -> None:
        n, device = len(source), source.device
        self.model, self.beam, self.alpha = model, beam, alpha
        self.cache = model.begin(source)
        self.limits = (source != PAD).sum(1) + extra
        self.which = torch.arange(n, device=device)
        self.live = torch.full((n, beam), -torch.inf, dtype=model.bias.dtype, device=device)
        self.live[:, 0] = 0
        self.pieces = torch.full((n, beam, 1), BEGIN, dtype=torch.int64, device=device)
        self.ended = torch.zeros(n, dtype=torch.int64, device=device)
        self.best: dict[int, tuple[float, list[int]]] = {}

    def run(self) -> list[list[int]]:
        count, t = len(self.which), 0
        while len(self.which):
            self._extend(t)
            t += 1
            reached = self.limits[self.which] <= t
            done = (self.ended[self.which] >= self.beam) | reached
            self._keep_unended(reached & (self.ended[self.which] == 0), t)
            if bool(done.any()):
                self._leave(~done)
        return [self.best[i][1] for i in range(count)]

    def _extend(self, t: int) -> None:
        """One more piece of each hypothesis."""
        logits = self.model.step(self.pieces[:, :, -1], self.cache, t)
        total = self.live[:, :, None] + logits.log_softmax(2)
        n, k, v = total.shape
        self.live, place = total.view(n, k * v).topk(min(k, k * v), 1)
        origin, piece = place // v, place % v
        rows = torch.arange(n, device=origin.device)[:, None]
        self.pieces = torch.cat([self.pieces[rows, origin], piece[:, :, None]], 2)
        self.cache.choose(rows[:, 0], (rows * k + origin).flatten())
        ends = (piece == END) & self.live.isfinite()
        self.ended[self.which] += ends.sum(1)
        self._offer(ends, t + 1)
        self.live = self.live.masked_fill(ends, -torch.inf)

    def _offer(self, chosen: Tensor, length: int) -> None:
        """Hold hypotheses against the best so far, the likeliest first."""
        scale = length_penalty(length, self.alpha)
        for row, slot in chosen.nonzero().tolist():
            i, score = int(self.which[row]), float(self.live[row, slot]) / scale
            if i not in self.best or score > self.best[i][0]:
                found = self.pieces[row, slot, 1:].tolist()
                self.best[i] = score, found[:-1] if found[-1] == END else found

    def _keep_unended(self, rows: Tensor, length: int) -> None:
        """Where none has ended in time, the best of what there is."""
        first = torch.zeros_like(self.live, dtype=torch.bool)
        first[rows, self.live[rows].argmax(1)] = True
        self._offer(first, length)

    def _leave(self, rows: Tensor) -> None:
        """Go on without sentences that are done."""
        kept, k = rows.nonzero()[:, 0], self.live.shape[1]
        slots = (kept[:, None] * k + torch.arange(k, device=kept.device)).flatten()
        self.cache.choose(kept, slots)
        self.which, self.live, self.pieces = self.which[kept], self.live[kept], self.pieces[kept]


def translate_all(
    model: Transformer,
    sources: list[list[int]],
    pad: Callable[[list[list[int]]], Tensor],
    *,
    beam: int,
    alpha: float,
    batch: int = 50,
    extra: int = EXTRA,
    progress: Callable[[int, int, str], object] | None = None,
) -> list[list[int]]:
    """Translations of many sentences, in batches of similar lengths, in the order of the sentences.

    Args:
        model: As in `translate`.
        sources: Pieces of each, without marks.
        pad: Makes a tensor of some.
        beam, alpha: As in `translate`.
        batch: Sentences at a time.
        extra: As in `translate`.
        progress: Called as ``progress(done, total, what)``, of sentences.
    """
    order = sorted(range(len(sources)), key=lambda i: (len(sources[i]), i))
    found: list[list[int]] = [[]] * len(sources)
    device = model.bias.device
    for first in range(0, len(order), batch):
        rows = order[first : first + batch]
        source = pad([[*sources[i], END] for i in rows]).to(device)
        for i, pieces in zip(
            rows, translate(model, source, beam=beam, alpha=alpha, extra=extra), strict=True
        ):
            found[i] = pieces
        if progress is not None:
            progress(min(first + batch, len(order)), len(order), "sentences")
    return found
