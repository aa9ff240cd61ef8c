"""BLEU of a comparison's networks by the length of the source, and the sentences that changed most."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ralr_viz.analysis.translations import translate, translation_of
from ralr_viz.comparison import Comparison, Progress
from ralr_viz.comparison.precision import in_its_precision
from ralr_viz.nouns import bleu as options
from ralr_viz.nouns import check
from ralr_viz.nouns.option import RESAMPLES, SEED
from ralr_viz.results.bleu import BleuResult
from ralr_viz.results.length_groups import group_starts
from ralr_viz.tasks.translation.metric import count_sentences


@in_its_precision
def compute_bleu(
    comparison: Comparison,
    *,
    bins: int = options.BINS.default,
    examples: int = options.EXAMPLES.default,
    resamples: int = RESAMPLES.default,
    seed: int = SEED.default,
    progress: Progress | None = None,
) -> BleuResult:
    """Translate a split by each network's beam search, and count what BLEU is made of, sentence by sentence.

    Args:
        comparison: Of trainings that translate; the variant of BLEU, the beam and the length penalty are those of the
            first one's recipe.
        bins: Groups of about equally many sentences by the words of their source; fewer where lengths are equal.
        examples: Sentences whose text is kept, of the most fixed and of the most broken of each further network.
        resamples, seed: Of the bootstrap over sentences.
        progress: Called as ``progress(done, total, what)``, of sentences.

    Raises:
        InputError: The networks do not translate, or an option is out of its range.
    """
    check(options.SPEC.options, bins=bins, examples=examples, resamples=resamples, seed=seed)
    task = translation_of(comparison)
    found = translate(comparison, progress=progress)
    assert found.rows is not None
    counted = [count_sentences(made, found.references, task.recipe.bleu) for made in found.hypotheses]
    lengths = np.array([len(line.split()) for line in found.sources], dtype=np.int64)
    result = BleuResult(
        models=comparison.names,
        counts=np.stack([each.counts for each in counted]),
        chrf=np.stack([each.chrf for each in counted]),
        lengths=lengths,
        rows=found.rows.astype(np.int64),
        starts=group_starts(lengths, bins),
        signature=counted[0].signature,
        resamples=resamples,
        seed=seed,
        dataset=comparison.samples.dataset,
        split=comparison.samples.split,
        device=str(comparison.runtime.device),
        precision=comparison.runtime.precision,
        provenance=comparison.facts(),
    )
    others = range(1, len(comparison))
    chosen = [places[:examples] for i in others for places in (result.fixed(i), result.broken(i))]
    cited = sorted({int(place) for places in chosen for place in places})
    texts = [(found.sources[i], found.references[i], *(made[i] for made in found.hypotheses)) for i in cited]
    return replace(result, cited=tuple(cited), texts=tuple(texts))
