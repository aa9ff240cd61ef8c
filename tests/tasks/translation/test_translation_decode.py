"""Beam search against a slow, literal twin: one sentence, no cache."""

from __future__ import annotations

import math

import pytest
import torch

from ralr_viz.tasks.translation.batches import pad
from ralr_viz.tasks.translation.decode import length_penalty, translate, translate_all
from ralr_viz.tasks.translation.network import Transformer
from ralr_viz.tasks.translation.pieces import BEGIN, END


def make(seed: int = 0) -> Transformer:
    """A network that ends now and then."""
    torch.manual_seed(seed)
    model = Transformer(12, 16, 2, 24, 1, 1, dropout=0.3).double()
    model.embedding.weight.data *= 4
    model.bias.data[END] = 1.5
    return model


def search_one(model: Transformer, source: list[int], beam: int, alpha: float, extra: int) -> list[int]:
    live, ended = [(0.0, [BEGIN])], []
    for _ in range(len(source) + extra):
        grown = []
        for total, pieces in live:
            logits = model(torch.tensor([source]), torch.tensor([pieces]))[0, -1]
            for piece, p in enumerate(logits.log_softmax(0).tolist()):
                grown.append((total + p, [*pieces, piece]))
        best = sorted(grown, key=lambda h: -h[0])[:beam]
        ended += [h for h in best if h[1][-1] == END]
        live = [h for h in best if h[1][-1] != END]
        if len(ended) >= beam:
            break
    _, found = max(ended or live, key=lambda h: h[0] / ((5 + len(h[1]) - 1) / 6) ** alpha)
    return [piece for piece in found[1:] if piece != END]


SOURCES = [[5, 6, 7, END], [9, END], [4, 8, 4, 8, 4, END], [10, 11, END], [6, 5, END]]


@pytest.mark.parametrize(("beam", "alpha"), [(1, 0.6), (4, 0.0), (4, 2.0)])
def test_batched_search_equals_its_literal_twin(beam, alpha):
    nonempty = lengths = 0
    for seed in range(2):
        model = make(seed)
        expected = []
        with torch.no_grad():
            model.eval()
            expected = [search_one(model, source, beam, alpha, 6) for source in SOURCES]
            model.train()
        found = translate(model, pad(SOURCES), beam=beam, alpha=alpha, extra=6)
        assert found == expected
        assert model.training
        nonempty += sum(map(bool, found))
        lengths += len({len(each) for each in found})
    assert nonempty > 4 and lengths > 3, "the twins agreed on nothing"


def test_order_and_batch_of_sentences_change_nothing():
    model, sources = make(3), [source[:-1] for source in SOURCES]
    one = translate_all(model, sources, pad, beam=3, alpha=0.6, batch=1)
    assert translate_all(model, sources, pad, beam=3, alpha=0.6, batch=4) == one
    assert translate_all(model, sources[::-1], pad, beam=3, alpha=0.6) == one[::-1]


def test_a_translation_that_does_not_end_is_cut():
    model = make()
    model.bias.data[END] = -1e9
    assert [len(t) for t in translate(model, pad(SOURCES[:2]), beam=2, extra=3)] == [7, 5]


def test_length_penalty_is_wus():
    assert length_penalty(1, 0.6) == 1
    assert math.isclose(length_penalty(7, 0.6), 2**0.6)
