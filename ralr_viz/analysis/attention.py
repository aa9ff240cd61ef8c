"""Cross-attention of translating networks, by forced decoding of references."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ralr_viz.analysis.capture import capture
from ralr_viz.analysis.translations import build_translator, part_of, translation_of
from ralr_viz.comparison import Comparison, Progress
from ralr_viz.comparison.precision import in_its_precision
from ralr_viz.errors import InputError
from ralr_viz.nouns import attention as options
from ralr_viz.nouns import check
from ralr_viz.nouns.option import RESAMPLES, SEED
from ralr_viz.results.attention import AttentionResult
from ralr_viz.tasks.batches import Batches, place
from ralr_viz.tasks.batching import spread
from ralr_viz.tasks.translation.batches import TextBatch, group_rows, make_batch
from ralr_viz.tasks.translation.network import Transformer, layers_of
from ralr_viz.tasks.translation.pieces import END, PAD, Words
from ralr_viz.tasks.translation.task import Translation

LONGEST = 24
"""Words, of either side, of a sentence that is drawn: more cannot be read."""
_STREAM = 0x41545445  # "ATTE", so that no other draw of the seed picks the same sentences
_PLACES = 2000


class Seen(NamedTuple):
    """What one network does on n sentences.

    Attributes:
        entropy: (L, n) float64.
        log_p: (n,) float64.
    """

    entropy: np.ndarray
    log_p: np.ndarray


@in_its_precision
def compute_attention(
    comparison: Comparison,
    *,
    rows: str = options.ROWS.default,
    count: int = options.COUNT.default,
    layer: int | None = options.LAYER.default,
    resamples: int = RESAMPLES.default,
    seed: int = SEED.default,
    progress: Progress | None = None,
) -> AttentionResult:
    """Entropy of the alignment over all sentences of a split, and the maps of a few.

    Args:
        comparison: Of trainings that translate, whose decoders have equally many layers.
        rows: ``random``, or ``gain`` or ``loss`` by the second network's mean log p of the reference minus the first's;
            among sentences of at most 24 words on either side.
        count: Sentences whose maps are kept.
        layer: Of the decoder, from 1, that is drawn; the last where it is left out.
        resamples, seed: Of the bootstrap over sentences; ``seed`` is also of a random choice.
        progress: Called as ``progress(done, total, what)``, of sentences.

    Raises:
        InputError: The networks do not translate or differ in layers, a rule needs two, or an option is out of its range.
    """
    check(options.SPEC.options, rows=rows, count=count, layer=layer, resamples=resamples, seed=seed)
    if rows != "random" and len(comparison) < 2:
        raise InputError(f"`--rows {rows}` compares the first two checkpoints, got 1: pass --ckpt twice")
    task, samples = translation_of(comparison), comparison.samples
    assert isinstance(samples, Batches)
    split = samples.split or "test"
    pairs = task.pairs(split)
    places = spread(task.split()[split], samples.limit)
    networks = [build_translator(comparison, i) for i in range(len(comparison))]
    layers = _common_layers(comparison, networks, layer)
    seen = []
    for i, network in enumerate(networks):
        told = part_of(progress, i, len(networks))
        seen.append(_look(task, network, split, places, told))
    drawn, words = _choose(task, split, places, seen, rows, count, seed)
    sides = [[task.encoded.words([*pairs[side][places[i]], END]) for i in drawn] for side in (0, 1)]
    return AttentionResult(
        models=comparison.names,
        sources=tuple(tuple(each.names) for each in sides[0]),
        targets=tuple(tuple(each.names) for each in sides[1]),
        maps=_maps(task, networks, split, places[drawn], sides),
        drawn=tuple(int(i) for i in drawn),
        layer=(layer or layers) - 1,
        entropy=np.stack([each.entropy for each in seen]),
        log_p=np.stack([each.log_p for each in seen]),
        even=np.log(pairs[0].lengths[places] + 1.0),
        pieces=pairs[1].lengths[places] + 1,
        rows=places.astype(np.int64),
        selection=words,
        resamples=resamples,
        seed=seed,
        dataset=samples.dataset,
        split=split,
        device=str(comparison.runtime.device),
        precision=comparison.runtime.precision,
        provenance=comparison.facts(),
    )


def _common_layers(comparison: Comparison, networks: Sequence[Transformer], layer: int | None) -> int:
    """Layers that each decoder has."""
    numbers = [len(network.decoder) for network in networks]
    for name, number in zip(comparison.names, numbers, strict=True):
        if number != numbers[0]:
            raise InputError(
                f"the decoder of `{name}` has {number} layers, that of `{comparison.names[0]}` {numbers[0]}: "
                "compare networks of one size"
            )
    if layer is not None and layer > numbers[0]:
        raise InputError(f"`layer` = {layer} is none of the decoder's {numbers[0]}: they are counted from 1")
    return numbers[0]


@torch.no_grad()
def _attend(network: Transformer, batch: TextBatch) -> tuple[list[Tensor], Tensor]:
    """Weights (b, T, S) of each layer, means over its heads; and log p (b, T) of what is to follow each piece.

    The kernel that the network calls returns no weights: they are made again of its queries and keys.
    """
    parts = [f"decoder.{i}.cross.{part}" for i in range(len(network.decoder)) for part in ("query", "key")]
    with capture(network, parts) as calls:
        logits = network(batch.source, batch.target[:, :-1])
    found = {call.name: call.outputs[0] for call in calls}
    hidden = (batch.source == PAD)[:, None, None]
    weights = []
    for i, layer in enumerate(layers_of(network.decoder)):
        assert layer.cross is not None
        query, key = (
            layer.cross.split(found[f"decoder.{i}.cross.{part}"].float()) for part in ("query", "key")
        )
        scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
        weights.append(scores.masked_fill(hidden, -torch.inf).softmax(-1).mean(1))
    wanted = batch.target[:, 1:]
    return weights, logits.float().log_softmax(-1).gather(2, wanted[:, :, None])[:, :, 0]


def _look(
    task: Translation, network: Transformer, split: str, places: np.ndarray, progress: Progress | None
) -> Seen:
    """Entropies and log p of one network, sentence by sentence, in batches of similar lengths."""
    device, done = network.bias.device, 0
    entropy, log_p = np.zeros((len(network.decoder), len(places))), np.zeros(len(places))
    for inside in group_rows(task.pairs(split), places, _PLACES):
        batch = _batch(task, split, places[inside], device)
        weights, found = _attend(network, batch)
        counted = batch.target[:, 1:] != PAD
        log_p[inside] = _mean(found, counted)
        for layer, of_layer in enumerate(weights):
            entropy[layer, inside] = _mean(-torch.xlogy(of_layer, of_layer).sum(-1), counted)
        done += len(inside)
        if progress is not None:
            progress(done, len(places), "sentences")
    if not np.isfinite(entropy).all():
        raise InputError(
            "the network's attention is not finite: the checkpoint has diverged, choose an earlier one"
        )
    return Seen(entropy, log_p)


def _batch(task: Translation, split: str, places: np.ndarray, device: torch.device) -> TextBatch:
    batch: TextBatch = place(make_batch(*task.pairs(split), places), device)
    return batch


def _mean(values: Tensor, counted: Tensor) -> np.ndarray:
    """Over the pieces of each sentence."""
    sums = values.double().where(counted, 0).sum(1)
    mean: np.ndarray = (sums / counted.sum(1)).cpu().numpy()
    return mean


def _choose(
    task: Translation, split: str, places: np.ndarray, seen: Sequence[Seen], rule: str, count: int, seed: int
) -> tuple[np.ndarray, str]:
    """Places among the sentences, and the rule in words."""
    texts = task.text.read(split)
    short = np.array([all(len(side[i].split()) <= LONGEST for side in texts) for i in places])
    if not short.any():
        raise InputError(f"no sentence of the split has at most {LONGEST} words, which is what can be drawn")
    among = np.flatnonzero(short)
    which = f"of the {len(among):,} {split} sentences of at most {LONGEST} words"
    if rule == "random":
        mixed = np.random.default_rng([seed, _STREAM]).permutation(among)
        return mixed[:count], f"{min(count, len(among))} at random (seed {seed}) {which}"
    gain = (seen[1].log_p - seen[0].log_p)[among] * (1 if rule == "gain" else -1)
    word = "gains" if rule == "gain" else "loses"
    order = among[np.argsort(-gain, kind="stable")]
    return order[:count], (
        f"those {min(count, len(among))} {which} on which the second network {word} the most log p of the reference "
        "(chosen by outcome)"
    )


def _maps(
    task: Translation,
    networks: Sequence[Transformer],
    split: str,
    places: np.ndarray,
    sides: Sequence[Sequence[Words]],
) -> np.ndarray:
    """Maps of words, flat: by network, layer and sentence."""
    found = []
    for network in networks:
        each = [
            _attend(network, _batch(task, split, places[[i]], network.bias.device))[0]
            for i in range(len(places))
        ]
        for layer in range(len(network.decoder)):
            for i, weights in enumerate(each):
                found.append(
                    _by_words(weights[layer][0].double().cpu().numpy(), sides[0][i], sides[1][i]).ravel()
                )
    return np.concatenate(found).astype(np.float32)


def _by_words(weights: np.ndarray, source: Words, target: Words) -> np.ndarray:
    """(T, S) of pieces to that of words: sums over a source word, means over a target word."""
    summed = np.add.reduceat(weights, source.starts, axis=1)
    sizes = np.diff([*target.starts, len(weights)])
    mean: np.ndarray = np.add.reduceat(summed, target.starts, axis=0) / sizes[:, None]
    return mean
