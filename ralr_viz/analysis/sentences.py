"""Sentences in the place of images: what a translating network makes of each, a vector for each layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ralr_viz.analysis.capture import capture
from ralr_viz.analysis.translations import build_translator, part_of, split_sentences, translation_of
from ralr_viz.comparison import Comparison, Progress
from ralr_viz.comparison.precision import in_its_precision
from ralr_viz.errors import InputError
from ralr_viz.results.length_groups import find_groups, group_name, group_starts
from ralr_viz.results.predictions import PredictionsResult
from ralr_viz.runtime.device import Runtime
from ralr_viz.tasks.batches import Batches
from ralr_viz.tasks.translation.batches import make_batch
from ralr_viz.tasks.translation.network import Transformer
from ralr_viz.tasks.translation.pieces import PAD
from ralr_viz.tasks.translation.task import Translation

_BATCH, _PROBE = 100, 8


class _Layer(nn.Module):
    """Where the vectors of a layer can be looked at."""

    def __init__(self) -> None:
        super().__init__()
        self.states, self.inner = nn.Identity(), nn.Identity()


class SentenceStates(nn.Module):
    """A Transformer that reads a source and its reference, and shows each layer's mean over a sentence's pieces.

    ``encoder.0.states`` returns the mean (b, d) of what the first layer of the encoder leaves, ``encoder.0.inner`` that
    of its inner units after their ReLU, which is 0 for a unit that no piece activates.

    Args:
        network: In eval mode, on its device.
    """

    def __init__(self, network: Transformer) -> None:
        super().__init__()
        self._network = [network]  # hidden: its own modules see pieces, not sentences
        self.encoder = nn.ModuleList(_Layer() for _ in network.encoder)
        self.decoder = nn.ModuleList(_Layer() for _ in network.decoder)

    def forward(self, x: Tensor) -> Tensor:
        """Mean (b, d) of the decoder's last layer; ``x`` (b, 2, 1, W) int64 is as of `Sentences.load`."""
        (network,), (source, target) = self._network, x.squeeze(2).unbind(1)
        states: list[Tensor] = []
        names = [
            f"{side}.{i}.inner" for side in ("encoder", "decoder") for i in range(len(getattr(self, side)))
        ]
        with capture(network, names, keep=torch.relu) as calls:
            network(source, target[:, :-1], states)
        kept = [source != PAD] * len(self.encoder) + [target[:, 1:] != PAD] * len(self.decoder)
        found = x.new_zeros(0)
        for layer, state, call, mask in zip((*self.encoder, *self.decoder), states, calls, kept, strict=True):
            layer.inner(_mean(call.outputs[0], mask))
            found = layer.states(_mean(state, mask))
        return found

    def layers(self, part: str) -> list[str]:
        """Names of the ``states`` or the ``inner`` units of all layers, in order of execution."""
        sides = (("encoder", self.encoder), ("decoder", self.decoder))
        return [f"{side}.{i}.{part}" for side, layers in sides for i in range(len(layers))]


@dataclass(frozen=True, eq=False)
class Sentences:
    """Sentences of a split with their references, read in batches as `Pictures` are.

    Attributes:
        task: Whose text they are.
        split: Of it.
        images: (n,) int64 places in the split, in the place of images.
        runtime: Where the batches go.
    """

    task: Translation
    split: str
    images: np.ndarray
    runtime: Runtime

    def load(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """Pieces (b, 2, 1, W) int64 of sources and of marked references, padded to one width; and b times −1."""
        batch = make_batch(*self.task.pairs(self.split), self.images[start:stop])
        width = max(batch.source.shape[1], batch.target.shape[1])
        pieces = torch.full((len(batch.source), 2, 1, width), PAD)
        for i, side in enumerate((batch.source, batch.target)):
            pieces[:, i, 0, : side.shape[1]] = side
        unknown = torch.full((len(pieces),), -1)
        return pieces.to(self.runtime.device), unknown.to(self.runtime.device)

    def probe(self) -> Tensor:
        """A few of them, on which the structure of a network is found out."""
        return self.load(0, _PROBE)[0]

    def build(self, comparison: Comparison, i: int) -> SentenceStates:
        """Network i, to be looked at by sentences."""
        return SentenceStates(build_translator(comparison, i)).eval()


def open_sentences(comparison: Comparison) -> Sentences | None:
    """The sentences that the networks look at; None where they look at images.

    Raises:
        InputError: They look at batches of a task that does not translate.
    """
    if not isinstance(comparison.samples, Batches):
        return None
    if not isinstance(comparison.task, Translation):
        comparison.samples.refuse_images()
    task = translation_of(comparison)
    return Sentences(
        task, comparison.samples.split or "test", split_sentences(comparison)[0], comparison.runtime
    )


@in_its_precision
def predict_sentences(
    comparison: Comparison, progress: Progress | None = None, *, groups: int = 4
) -> tuple[PredictionsResult, ...]:
    """The encoder's states of each sentence, as features; its classes are groups of lengths, which nobody predicts.

    Args:
        comparison: Of networks that translate.
        progress: Called as ``progress(done, total, what)``, of sentences.
        groups: Of about equally many sentences.

    Raises:
        InputError: The networks do not translate, or their states are not finite.
    """
    sentences = open_sentences(comparison)
    assert sentences is not None
    lines = sentences.task.text.read(sentences.split)[0]
    lengths = np.array([len(lines[i].split()) for i in sentences.images])
    starts = group_starts(lengths, groups)
    labels = find_groups(lengths, starts)
    names = tuple(f"{group_name(lengths, starts, group)} words" for group in range(len(starts)))
    shape = (len(labels), 0, 0)
    return tuple(
        PredictionsResult(
            model=network.name,
            indices=sentences.images,
            labels=labels,
            logits=np.eye(len(starts), dtype=np.float32)[labels],
            features=_encode(
                sentences, build_translator(comparison, i), part_of(progress, i, len(comparison))
            ),
            feature_layer="encoder",
            true_maps=np.zeros(shape, np.float32),
            predicted_maps=np.zeros(shape, np.float32),
            map_layer="",
            class_names=names,
            dataset=comparison.samples.dataset,
            split=sentences.split,
            notes=(
                "points are sentences, by the mean of the encoder's output over their pieces; classes are lengths of the "
                "source, which no network predicts: `predicted` repeats them",
            ),
            provenance=network.facts() | {"recipe": network.recipe},
        )
        for i, network in enumerate(comparison.networks)
    )


@torch.no_grad()
def _encode(sentences: Sentences, network: Transformer, progress: Progress | None) -> np.ndarray:
    """(n, d) float32."""
    found, n = [], len(sentences.images)
    for start in range(0, n, _BATCH):
        source = sentences.load(start, start + _BATCH)[0][:, 0, 0]
        with sentences.runtime.autocast():
            states, _ = network.encode(source)
        found.append(_mean(states.float(), source != PAD).cpu().numpy())
        if progress is not None:
            progress(min(start + _BATCH, n), n, "sentences")
    features = np.concatenate(found)
    if not np.isfinite(features).all():
        raise InputError(
            "the encoder's states are not finite: the checkpoint has diverged, choose an earlier one"
        )
    return features


def default_layers(
    networks: Sequence[nn.Module], layers: Sequence[str] | None, part: str
) -> Sequence[str] | None:
    """The layers that are asked for, else those of `SentenceStates`; None for a network on images."""
    first = networks[0]
    return first.layers(part) if layers is None and isinstance(first, SentenceStates) else layers


def _mean(values: Tensor, mask: Tensor) -> Tensor:
    """(b, d) over the places (b, n) that are true."""
    weights = mask[:, :, None].to(values.dtype)
    return (values * weights).sum(1) / weights.sum(1)
