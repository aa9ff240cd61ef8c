"""What the networks of a comparison make of sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ralr_viz.comparison import Comparison, Progress
from ralr_viz.comparison.precision import in_its_precision
from ralr_viz.data.parallel import check_pairs
from ralr_viz.errors import InputError
from ralr_viz.results.word_marks import mark_all
from ralr_viz.tasks.batches import Batches
from ralr_viz.tasks.batching import spread
from ralr_viz.tasks.translation.network import Transformer
from ralr_viz.tasks.translation.task import Translation


@dataclass(frozen=True)
class Translations:
    """Of n sentences, by m networks.

    Attributes:
        models: m names.
        sources: n sentences.
        references: n translations by people; empty where there are none.
        hypotheses: m × n translations by the networks.
        rows: (n,) int64 places in the split; None for the caller's own sentences.
    """

    models: tuple[str, ...]
    sources: tuple[str, ...]
    references: tuple[str, ...]
    hypotheses: tuple[tuple[str, ...], ...]
    rows: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.sources)

    def lines(self, i: int) -> list[tuple[str, str]]:
        """Name and text of what there is of sentence i: source, reference, then each network's with its marks."""
        given = [("source", self.sources[i])]
        if self.references:
            given.append(("reference", self.references[i]))
        made = mark_all([of_one[i] for of_one in self.hypotheses])
        return [*given, *zip(self.models, made, strict=True)]

    @property
    def differing(self) -> int:
        """Sentences of which not all networks make the same."""
        return sum(len(set(of_one)) > 1 for of_one in zip(*self.hypotheses, strict=True))


@in_its_precision
def translate(
    comparison: Comparison,
    lines: Sequence[str] | None = None,
    references: Sequence[str] = (),
    *,
    beam: int | None = None,
    progress: Progress | None = None,
) -> Translations:
    """Translate by beam search, with each network of a comparison.

    Args:
        comparison: Of trainings that translate, or of modules of the same vocabulary.
        lines: Sentences; left out, those of the comparison's split, as its limit says, whose references are known.
        references: Their translations by people, where there are any.
        beam: Hypotheses of a sentence; left out, as the recipe has it.
        progress: Called as ``progress(done, total, what)``, of sentences.

    Raises:
        InputError: The networks do not translate, or are of another vocabulary.
        DataError: A sentence is empty, or there are not as many references.
    """
    task = translation_of(comparison)
    rows = None
    if lines is None:
        rows, lines, references = split_sentences(comparison)
    else:
        # a source that is its own reference is checked for what the references are checked for
        check_pairs((list(lines), list(references or lines)), ("the text", "the reference"))
    found = []
    for i in range(len(comparison)):
        model = build_translator(comparison, i)
        found.append(tuple(task.translate_lines(model, lines, beam, part_of(progress, i, len(comparison)))))
    return Translations(comparison.names, tuple(lines), tuple(references), tuple(found), rows)


def translation_of(comparison: Comparison) -> Translation:
    """The task of a comparison whose networks translate.

    Raises:
        InputError: They do not, or a module is of another vocabulary.
    """
    task, samples = comparison.task, comparison.samples
    if not isinstance(task, Translation) or not isinstance(samples, Batches):
        raise InputError(
            f"`{comparison.networks[0].shown}` does not translate: pass runs of a recipe whose `task` is translation"
        )
    for i in range(len(comparison)):
        task.prepare(comparison.runtime.place(comparison.build(i)), next(comparison.batches()))
    return task


def build_translator(comparison: Comparison, i: int) -> Transformer:
    """A private copy of network i on the device."""
    model = comparison.runtime.place(comparison.build(i))
    assert isinstance(model, Transformer)
    return model


def split_sentences(comparison: Comparison) -> tuple[np.ndarray, list[str], list[str]]:
    """Places in the split, sentences and references, as many as the comparison's limit says, evenly spread."""
    task, samples = comparison.task, comparison.samples
    assert isinstance(task, Translation) and isinstance(samples, Batches)
    split = samples.split or "test"
    sources, references = task.text.read(split)
    rows = spread(task.split()[split], samples.limit)
    return rows, [sources[i] for i in rows], [references[i] for i in rows]


def part_of(progress: Progress | None, i: int, parts: int) -> Progress | None:
    """Progress of one of several equal parts, as a part of the whole."""
    if progress is None:
        return None
    return lambda done, total, what: progress(i * total + done, parts * total, what)
