"""Training that translates: text in pieces, batches by tokens, what each epoch is measured on, the search at the end."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ralr_viz.data import load_text
from ralr_viz.errors import InputError
from ralr_viz.results.tasks import BLEU, Score
from ralr_viz.runtime.device import Runtime
from ralr_viz.runtime.ranks import Ranks
from ralr_viz.tasks.base import BaseTask
from ralr_viz.tasks.batches import Batches, place
from ralr_viz.tasks.batching import spread
from ralr_viz.tasks.eval_mode import eval_mode
from ralr_viz.tasks.exact import exact
from ralr_viz.tasks.task import Part, Sums
from ralr_viz.tasks.translation.batches import TextBatch, TextFeed, batches_of, make_batch, pad
from ralr_viz.tasks.translation.decode import translate_all
from ralr_viz.tasks.translation.metric import score_translations
from ralr_viz.tasks.translation.network import Transformer
from ralr_viz.tasks.translation.pieces import (
    END,
    PAD,
    Sentences,
    join_pieces,
    load_encoded,
    require_libraries,
)
from ralr_viz.tasks.translation.recipe import SIZES, TranslationRecipe

TOKENS_RIGHT = Score("tokens", "predicted tokens", "%")
"""What diagnostics count beside the loss, since a BLEU is of a search and no sum over batches."""
_READ_PLACES = 2000
_KERNELS = "256"
"""That oneDNN keeps, told before its first: batches have a hundred shapes, and its 1,024 took 5 GB after an epoch or ten."""


class Translation(BaseTask):
    """Sentences and their translations; the loss is a mean over target tokens.

    Attributes:
        text: The recipe's.
        encoded: The same in pieces.
        trained: (n,) training pairs that are trained on.
    """

    recipe_type = TranslationRecipe
    name = "translation"
    score = BLEU
    loss_unit = "nats"
    samples_name = "tokens"
    recipe: TranslationRecipe

    def __init__(self, recipe: TranslationRecipe, root: Path) -> None:
        """Open the text.

        Raises:
            DataError: It is not there.
            InputError: A library is missing, the vocabulary does not fit, or no training pair is left.
        """
        super().__init__(recipe, root)
        require_libraries()
        os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", _KERNELS)
        self.text = load_text(recipe.dataset, root)
        self.encoded = load_encoded(self.text, recipe.vocabulary)
        self.trained = self._choose()
        self._more: dict[str, tuple[Sentences, Sentences]] = {}

    @property
    def facts(self) -> Mapping[str, Any]:
        """Of the text; the hash is of its pieces too, which a network's embeddings belong to."""
        both = hashlib.sha256(f"{self.text.content_hash} {self.encoded.fingerprint}".encode()).hexdigest()
        return {
            "dataset": self.text.name,
            "content_hash": both,
            "text_hash": self.text.content_hash,
            "pieces_hash": self.encoded.fingerprint,
            "languages": [self.text.source, self.text.target],
        }

    def count(self, split: str) -> int:
        """Pairs."""
        return self.text.counts[split]

    def batch(self, split: str, places: np.ndarray) -> TextBatch:
        """Those pairs."""
        return make_batch(*self.pairs(split), places)

    def split(self) -> dict[str, np.ndarray]:
        """The text has its own."""
        return {
            "train": self.trained,
            "val": np.arange(self.text.counts["val"]),
            "test": np.arange(self.text.counts["test"]),
            **{name: np.arange(count) for name, count in self.text.more.items()},
        }

    def watched(self) -> dict[str, np.ndarray]:
        """Of the text's own splits: more test text is for finished networks."""
        return {name: places for name, places in super().watched().items() if name not in self.text.more}

    def pairs(self, split: str) -> tuple[Sentences, Sentences]:
        """Sentences and translations of a split, or of more test text, in pieces."""
        if split in self.encoded.splits:
            return self.encoded.splits[split]
        if split not in self._more:
            first, second = (join_pieces(self.encoded.encode(side)) for side in self.text.read(split))
            self._more[split] = first, second
        return self._more[split]

    def build(self) -> Transformer:
        """Of the recipe's size."""
        recipe, sizes = self.recipe, SIZES[self.recipe.model]
        return Transformer(self.encoded.size, *sizes, dropout=recipe.dropout, pre=recipe.norm == "pre")

    def parameter_groups(self, model: nn.Module) -> list[dict[str, Any]]:
        """All in one; Adam with the recipe's β₁, β₂ and ε."""
        group: dict[str, Any] = {"params": list(model.parameters())}
        if self.recipe.optimizer == "adam":
            group |= {"betas": (self.recipe.momentum, self.recipe.beta2), "eps": self.recipe.epsilon}
        return [group]

    def prepare(self, model: nn.Module, batch: TextBatch) -> None:
        """Refuse a network of another vocabulary, and a loss that is not finite."""
        size = getattr(model, "vocabulary", None)
        if size != self.encoded.size:
            raise InputError(
                f"the network has {size or 'no'} pieces, text `{self.text.name}` has {self.encoded.size:,}: "
                "choose the data that it was trained on by --data"
            )
        super().prepare(model, batch)

    def loss(self, model: nn.Module, batch: TextBatch) -> tuple[Tensor, Tensor]:
        """Summed cross-entropy of the target tokens, and their number."""
        logits, wanted = _predict(model, batch)
        total = F.cross_entropy(logits, wanted, ignore_index=PAD, reduction="sum")
        return total, torch.full_like(total, batch.tokens)

    def train_loss(self, network: nn.Module, batch: TextBatch, runtime: Runtime) -> Part:
        """Mean over the batch's tokens, with smoothed labels."""
        with runtime.autocast():
            logits, wanted = _predict(network, batch)
        loss = F.cross_entropy(
            logits, wanted, ignore_index=PAD, reduction="sum", label_smoothing=self.recipe.label_smoothing
        )
        return Part(loss / batch.tokens, float(batch.tokens), loss.new_zeros(0))

    def weigh(self, batch: TextBatch) -> float:
        """Its target tokens."""
        return float(batch.tokens)

    @torch.no_grad()
    def evaluate(self, model: nn.Module, batch: TextBatch) -> Sums:
        """Summed cross-entropy, 100 for each token that is predicted, and the number of tokens."""
        logits, wanted = _predict(model, batch)
        right = exact(((logits.argmax(1) == wanted) & (wanted != PAD)).sum())
        losses = exact(F.cross_entropy(logits, wanted, ignore_index=PAD, reduction="none"))
        return Sums(losses.sum(), 100 * right, torch.full_like(right, batch.tokens))

    def feed(self, runtime: Runtime, ranks: Ranks) -> TextFeed:
        """Batches by tokens."""
        pairs = self.encoded.splits["train"]
        feed = TextFeed(self.recipe, self.recipe.accumulate, pairs, self.trained, runtime)
        ranks.lead(lambda: feed.check(ranks.size))
        return feed

    def evaluator(self, runtime: Runtime) -> TextEvaluator:
        """On training sentences, the validation text and, where the recipe says so, the test text."""
        return TextEvaluator(self, runtime)

    def judge(self, record: Mapping[str, Any], steps: int) -> str:
        """After the first whole epoch of the full rate, the loss must be below that of a model without context.

        A rate that is too high leaves a Transformer there for good, without a loss that is not finite.
        """
        first = math.ceil(self.recipe.warmup_steps / steps) + 1
        loss = record.get("val_loss")
        if record["epoch"] != first or loss is None or loss < (alone := self.unigram_loss()):
            return ""
        return (
            f"the validation loss {loss:.3f} after epoch {first}, the first whole one after the warm-up, is not below "
            f"{alone:.3f} nats, that of single words without context"
        )

    def unigram_loss(self) -> float:
        """Mean nats of a validation token by how often it is in the training text, each piece once more."""
        counts = np.ones(self.encoded.size)
        train, val = (self.encoded.splits[split][1] for split in ("train", "val"))
        counts += np.bincount(train.pieces, minlength=len(counts))
        counts[END] += len(train)
        seen = np.bincount(val.pieces, minlength=len(counts)).astype(float)
        seen[END] += len(val)
        return float(-(seen * np.log(counts / counts.sum())).sum() / seen.sum())

    def conclude(self, model: nn.Module, runtime: Runtime) -> dict[str, Any]:
        """Loss of the test text, and the scores of its translations by beam search, in fp32."""
        assert isinstance(model, Transformer)
        loss = _mean_loss(self, model, self._batches("test", self.split()["test"]), runtime.device)
        found = self.translate("test", model, self.recipe.beam)
        scores = score_translations(found, self.text.read("test")[1])
        sizes = {"n": len(found), "beam": self.recipe.beam, "length_penalty": self.recipe.length_penalty}
        return {
            "precision": "fp32",
            "test": {"loss": loss, "bleu": scores[self.recipe.bleu], **scores, **sizes},
        }

    def translate(self, split: str, model: nn.Module, beam: int, limit: int | None = None) -> list[str]:
        """Translations of a split's sentences, or of so many of them, evenly spread."""
        assert isinstance(model, Transformer)
        sources = self.pairs(split)[0]
        rows = spread(np.arange(len(sources)), limit)
        return self._search(model, [sources[i].tolist() for i in rows], beam)

    def translate_lines(
        self,
        model: Transformer,
        lines: Sequence[str],
        beam: int | None = None,
        progress: Callable[[int, int, str], object] | None = None,
    ) -> list[str]:
        """Translations of anybody's sentences; ``beam`` of the recipe where it is left out."""
        return self._search(model, self.encoded.encode(lines), beam or self.recipe.beam, progress)

    def _search(
        self,
        model: Transformer,
        pieces: list[list[int]],
        beam: int,
        progress: Callable[[int, int, str], object] | None = None,
    ) -> list[str]:
        alpha = self.recipe.length_penalty
        found = translate_all(model, pieces, pad, beam=beam, alpha=alpha, progress=progress)
        return [self.encoded.decode(each) for each in found]

    def read(self, limit: int | None, split: str = "test") -> Batches:
        """Sentence pairs, evenly spread, in batches such as training's."""
        places = self.split()
        if split not in places:
            raise InputError(f"`{self.name}` has no `{split}` text: choose {' or '.join(places)}")
        chosen = spread(places[split], limit)
        return Batches(
            tuple(self._batches(split, chosen)), self.name, self.loss_unit, TOKENS_RIGHT, limit,
            f"{len(chosen):,} {split} sentence pairs", dataset=self.text.name, split=split,
            content_hash=self.facts["content_hash"], samples_name=self.samples_name,
        )  # fmt: skip

    def _batches(self, split: str, places: np.ndarray) -> list[TextBatch]:
        return batches_of(self.pairs(split), places, max(self.recipe.batch, _READ_PLACES))

    def _choose(self) -> np.ndarray:
        """Training pairs within the recipe's lengths, and of those so many as ``subset`` says."""
        recipe = self.recipe
        source, target = (sentences.lengths for sentences in self.encoded.splits["train"])
        low, high = np.minimum(source, target), np.maximum(source, target)
        kept = low >= max(recipe.shortest, 1)
        if recipe.longest:
            kept &= high <= recipe.longest
        if recipe.ratio:
            kept &= high <= recipe.ratio * low
        rows = np.flatnonzero(kept)
        if not len(rows):
            raise InputError(
                f"no training pair of `{self.text.name}` is within `shortest`, `longest` and `ratio`: change them by --set"
            )
        if recipe.subset:
            rows = np.sort(
                np.random.default_rng([recipe.split_seed, 0x53504C54]).permutation(rows)[: recipe.subset]
            )
        return rows


class TextEvaluator:
    """Loss in nats a token and, where the recipe says so, BLEU of greedy translations."""

    def __init__(self, task: Translation, runtime: Runtime) -> None:
        self.task, self.runtime = task, runtime
        self.places = task.watched()

    @property
    def sizes(self) -> dict[str, int]:
        """Sentence pairs of each set."""
        return {name: len(places) for name, places in self.places.items()}

    def __call__(self, model: nn.Module) -> dict[str, float | None]:
        """In the precision of the training; translations in fp32."""
        record: dict[str, float | None] = {}
        for name, places in self.places.items():
            batches = self.task._batches(name, places)
            with self.runtime.autocast():
                loss = _mean_loss(self.task, model, batches, self.runtime.device)
            record["train_loss_eval" if name == "train" else f"{name}_loss"] = loss
        if count := self.task.recipe.decoded:
            found = self.task.translate("val", model, 1, count)
            references = self.task.text.read("val")[1]
            wanted = [references[i] for i in spread(np.arange(len(references)), count)]
            record["val_bleu"] = score_translations(found, wanted)[self.task.recipe.bleu]
        return record


def _predict(model: nn.Module, batch: TextBatch) -> tuple[Tensor, Tensor]:
    """Logits (n, V) in fp32 or more, and what they are to predict (n,), padding among it."""
    logits: Tensor = model(batch.source, batch.target[:, :-1])
    flat = logits.flatten(0, 1)
    return flat if flat.dtype == torch.float64 else flat.float(), batch.target[:, 1:].flatten()


def _mean_loss(
    task: Translation, model: nn.Module, batches: Sequence[TextBatch], device: torch.device
) -> float:
    total = np.zeros(2)
    with eval_mode(model), torch.no_grad():
        for batch in batches:
            found = task.evaluate(model, place(batch, device))
            total += (float(found.loss), float(found.weight))
    return float(total[0] / total[1])
