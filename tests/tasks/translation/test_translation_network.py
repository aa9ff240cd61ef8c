"""The Transformer: its size, torch's own as a twin, padding, and the cache of the search."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ralr_viz.tasks.translation.network import Attention, Transformer, positions
from ralr_viz.tasks.translation.recipe import SIZES

SMALL = 32, 4, 48, 2, 2


def make(vocabulary: int = 20, *, pre: bool = True, seed: int = 0) -> Transformer:
    torch.manual_seed(seed)
    model = Transformer(vocabulary, *SMALL, dropout=0.1, pre=pre).double().eval()
    for parameter in model.parameters():  # biases and norms are not at their start
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model


def sentences(*lengths: int, seed: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    found = torch.zeros(len(lengths), max(lengths), dtype=torch.int64)
    for row, length in zip(found, lengths, strict=True):
        row[:length] = torch.randint(4, 20, (length,), generator=generator)
    return found


def test_base_has_the_parameters_of_the_reference_but_the_keys_biases():
    with torch.device("meta"):
        model = Transformer(37_000, *SIZES["transformer-base"])
    assert sum(p.numel() for p in model.parameters()) == 63_112_328 == 63_121_544 - 18 * 512
    assert model.embedding.weight.shape == (37_000, 512)


def copy_attention(ours: Attention, theirs: nn.MultiheadAttention) -> None:
    weights = [part.weight for part in (ours.query, ours.key, ours.value)]
    biases = [ours.query.bias, torch.zeros_like(ours.query.bias), ours.value.bias]
    theirs.in_proj_weight.data = torch.cat(weights).data.clone()
    theirs.in_proj_bias.data = torch.cat(biases).data.clone()
    theirs.out_proj.load_state_dict(ours.out.state_dict())


@pytest.mark.parametrize("pre", [True, False])
def test_transformer_equals_torchs(pre):
    ours = make(pre=pre)
    width, heads, inner, encoder, decoder = SMALL
    theirs = (
        nn.Transformer(width, heads, encoder, decoder, inner, norm_first=pre, batch_first=True)
        .double()
        .eval()
    )
    if not pre:  # torch normalises once more
        theirs.encoder.norm = theirs.decoder.norm = None
    else:
        theirs.encoder.norm.load_state_dict(ours.encoder_norm.state_dict())
        theirs.decoder.norm.load_state_dict(ours.decoder_norm.state_dict())
    for mine, part in ((ours.encoder, theirs.encoder), (ours.decoder, theirs.decoder)):
        for a, b in zip(mine, part.layers, strict=True):
            copy_attention(a.attention, b.self_attn)
            if a.cross is not None:
                copy_attention(a.cross, b.multihead_attn)
            b.linear1.load_state_dict(a.inner.state_dict())
            b.linear2.load_state_dict(a.outer.state_dict())
            for i, norm in enumerate(a.norms, 1):
                getattr(b, f"norm{i}").load_state_dict(norm.state_dict())
    source, target = sentences(5, 7, 3), sentences(6, 4, 6, seed=2)
    padding = source == 0
    states = theirs(
        ours.embed(source), ours.embed(target), tgt_is_causal=True,
        tgt_mask=nn.Transformer.generate_square_subsequent_mask(6, dtype=torch.float64),
        src_key_padding_mask=padding, memory_key_padding_mask=padding,
    )  # fmt: skip
    expected = states @ ours.embedding.weight.T + ours.bias
    kept = target != 0
    torch.testing.assert_close(ours(source, target)[kept], expected[kept], rtol=1e-10, atol=1e-10)


def test_padding_changes_nothing():
    model, source, target = make(), sentences(5, 9), sentences(4, 7, seed=2)
    together = model(source, target)
    alone = model(source[:1, :5], target[:1, :4])
    torch.testing.assert_close(together[:1, :4], alone, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("pre", [True, False])
def test_step_by_step_equals_all_at_once(pre):
    model, source, target = make(pre=pre), sentences(5, 9), sentences(6, 6, seed=2)
    cache = model.begin(source)
    # two hypotheses of each sentence: the same one and its reverse
    both = torch.stack([target, target.flip(1)], 1)
    steps = torch.stack([model.step(both[:, :, t], cache, t) for t in range(6)], 2)
    for k in range(2):
        torch.testing.assert_close(steps[:, k], model(source, both[:, k]), rtol=1e-10, atol=1e-10)


def test_positions_are_sines_and_cosines_by_turns():
    table = positions(3, 2, 8, torch.device("cpu"))
    for row, place in zip(table, (3, 4), strict=True):
        for i in range(4):
            angle = torch.tensor(place / 10_000 ** (2 * i / 8))
            torch.testing.assert_close(row[2 * i : 2 * i + 2], torch.stack([angle.sin(), angle.cos()]))
