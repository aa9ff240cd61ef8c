"""The Transformer, as the paper's reference has it, on torch's scaled dot product attention.

References:
    Vaswani et al., Attention is all you need (2017); the normalisation before each sub-layer and its sizes are those of
    the tutorial that the paper names.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ralr_viz.tasks.translation.pieces import PAD


class Attention(nn.Module):
    """Multi-head attention; keys have no bias, since a softmax does not change by it and its gradient would be noise."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.query, self.key = nn.Linear(width, width), nn.Linear(width, width, bias=False)
        self.value, self.out = nn.Linear(width, width), nn.Linear(width, width)

    def split(self, x: Tensor) -> Tensor:
        """(b, n, d) to (b, heads, n, d / heads)."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def keys(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of (b, n, d), each (b, heads, n, d / heads)."""
        return self.split(self.key(x)), self.split(self.value(x))

    def forward(
        self, x: Tensor, keys: tuple[Tensor, Tensor], *, mask: Tensor | None = None, causal: bool = False
    ) -> Tensor:
        """(b, m, d) that looks at ``keys``; ``mask`` (b, 1, 1, n) is true where it may."""
        dropout = self.dropout if self.training else 0.0
        query = self.split(self.query(x))
        found = F.scaled_dot_product_attention(
            query, *keys, attn_mask=mask, dropout_p=dropout, is_causal=causal
        )
        out: Tensor = self.out(found.transpose(1, 2).flatten(2))
        return out


class Layer(nn.Module):
    """One layer: attention to itself, in the decoder to the source, and a network for each place.

    Args:
        width, heads, inner, dropout: Of the network.
        cross: Whether it is the decoder's.
        pre: Normalise before each of these, not after.
    """

    def __init__(self, width: int, heads: int, inner: int, dropout: float, *, cross: bool, pre: bool) -> None:
        super().__init__()
        self.pre, self.dropout = pre, nn.Dropout(dropout)
        self.attention = Attention(width, heads, dropout)
        self.cross = Attention(width, heads, dropout) if cross else None
        self.inner, self.outer = nn.Linear(width, inner), nn.Linear(inner, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3 if cross else 2))

    def open(self, x: Tensor, i: int) -> Tensor:
        """What the i-th part works on."""
        return self.norms[i](x) if self.pre else x

    def close(self, x: Tensor, found: Tensor, i: int) -> Tensor:
        """Add what it found."""
        x = x + self.dropout(found)
        return x if self.pre else self.norms[i](x)

    def feed_forward(self, x: Tensor) -> Tensor:
        """The last part."""
        i = len(self.norms) - 1
        return self.close(x, self.outer(self.dropout(F.relu(self.inner(self.open(x, i))))), i)

    def attend(self, x: Tensor, *, mask: Tensor | None = None, causal: bool = False) -> Tensor:
        """The first part, over all places at once."""
        seen = self.open(x, 0)
        return self.close(x, self.attention(seen, self.attention.keys(seen), mask=mask, causal=causal), 0)

    def remember(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of the source's states, for the decoder's second part."""
        assert self.cross is not None
        return self.cross.keys(memory)

    def look(self, x: Tensor, memory: tuple[Tensor, Tensor], mask: Tensor) -> Tensor:
        """The decoder's second part: at keys and values of the source."""
        assert self.cross is not None
        return self.close(x, self.cross(self.open(x, 1), memory, mask=mask), 1)


@dataclass
class Cache:
    """What a decoder has seen of B sentences with k hypotheses each, layer by layer.

    Attributes:
        mask: (B, 1, 1, S) where the source has pieces.
        memory: Keys and values of the source, (B, heads, S, d / heads).
        own: Keys and values of the hypotheses so far, (B·k, heads, t, d / heads).
    """

    mask: Tensor
    memory: list[tuple[Tensor, Tensor]]
    own: list[tuple[Tensor, Tensor] | None]

    def choose(self, sentences: Tensor, hypotheses: Tensor) -> None:
        """Keep these, by their places; ``hypotheses`` count over all sentences."""
        self.mask = self.mask[sentences]
        self.memory = [(key[sentences], value[sentences]) for key, value in self.memory]
        self.own = [None if own is None else (own[0][hypotheses], own[1][hypotheses]) for own in self.own]


class Transformer(nn.Module):
    """Encoder and decoder, whose embeddings and logits share one matrix.

    Args:
        vocabulary: Pieces.
        width, heads, inner: d, heads, and width of the inner layer.
        encoder, decoder: Layers of each.
        dropout: In [0, 1).
        pre: Normalise before each sub-layer.
    """

    def __init__(
        self,
        vocabulary: int,
        width: int,
        heads: int,
        inner: int,
        encoder: int,
        decoder: int,
        *,
        dropout: float = 0.1,
        pre: bool = True,
    ) -> None:
        super().__init__()
        self.width, self.vocabulary, self.dropout = width, vocabulary, nn.Dropout(dropout)
        self.embedding = nn.Embedding(vocabulary, width)
        sizes = width, heads, inner, dropout
        self.encoder = nn.ModuleList(Layer(*sizes, cross=False, pre=pre) for _ in range(encoder))
        self.decoder = nn.ModuleList(Layer(*sizes, cross=True, pre=pre) for _ in range(decoder))
        self.encoder_norm = nn.LayerNorm(width) if pre else nn.Identity()
        self.decoder_norm = nn.LayerNorm(width) if pre else nn.Identity()
        self.bias = nn.Parameter(torch.zeros(vocabulary))
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.normal_(self.embedding.weight, std=self.width**-0.5)

    def forward(self, source: Tensor, target: Tensor, states: list[Tensor] | None = None) -> Tensor:
        """Logits (b, T, V) of what follows each piece of ``target`` (b, T), of sources (b, S).

        ``states`` gets what each layer leaves, (b, S, d) of the encoder's, then (b, T, d) of the decoder's.
        """
        memory, mask = self.encode(source, states)
        x = self.embed(target)
        for layer in layers_of(self.decoder):
            x = layer.attend(x, causal=True)
            x = layer.feed_forward(layer.look(x, layer.remember(memory), mask))
            if states is not None:
                states.append(x)
        return self.logits(x)

    def encode(self, source: Tensor, states: list[Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """States (b, S, d), and the mask (b, 1, 1, S) that is true at pieces; ``states`` as in `forward`."""
        mask = (source != PAD)[:, None, None]
        x = self.embed(source)
        for layer in layers_of(self.encoder):
            x = layer.feed_forward(layer.attend(x, mask=mask))
            if states is not None:
                states.append(x)
        return self.encoder_norm(x), mask

    def embed(self, pieces: Tensor, first: int = 0) -> Tensor:
        """(b, n) to (b, n, d); ``first`` is the place of the first piece."""
        table = positions(first, pieces.shape[1], self.width, pieces.device).to(self.bias.dtype)
        found: Tensor = self.dropout(self.embedding(pieces) * math.sqrt(self.width) + table)
        return found

    def logits(self, x: Tensor) -> Tensor:
        """Of the decoder's states."""
        return F.linear(self.decoder_norm(x), self.embedding.weight, self.bias)

    def begin(self, source: Tensor) -> Cache:
        """Before the first piece of a translation."""
        memory, mask = self.encode(source)
        keys = [layer.remember(memory) for layer in layers_of(self.decoder)]
        return Cache(mask, keys, [None] * len(self.decoder))

    def step(self, pieces: Tensor, cache: Cache, place: int) -> Tensor:
        """Logits (B, k, V) after one more piece of each hypothesis.

        Args:
            pieces: (B, k), at ``place`` of each.
            cache: To which they are added.
            place: 0 for the mark that begins.
        """
        b, k = pieces.shape
        x = self.embed(pieces.reshape(b * k, 1), place)
        for i, layer in enumerate(layers_of(self.decoder)):
            seen = layer.open(x, 0)
            new, before = layer.attention.keys(seen), cache.own[i]
            own = (
                new
                if before is None
                else (torch.cat([before[0], new[0]], 2), torch.cat([before[1], new[1]], 2))
            )
            cache.own[i] = own
            x = layer.close(x, layer.attention(seen, own), 0)
            # hypotheses of one sentence look at the source as places of one target would: it is kept once
            x = layer.look(x.view(b, k, -1), cache.memory[i], cache.mask)
            x = layer.feed_forward(x).reshape(b * k, 1, -1)
        return self.logits(x).view(b, k, -1)


def layers_of(modules: nn.ModuleList) -> list[Layer]:
    """Of an encoder or a decoder, as what they are."""
    return cast("list[Layer]", list(modules))


def positions(first: int, count: int, width: int, device: torch.device) -> Tensor:
    """(count, width) float32: sines and cosines by turns."""
    place = torch.arange(first, first + count, device=device, dtype=torch.float32)[:, None]
    even = torch.arange(0, width, 2, device=device, dtype=torch.float32)
    angle = place * torch.exp(even * (-math.log(10_000.0) / width))
    return torch.stack([angle.sin(), angle.cos()], 2).flatten(1)
