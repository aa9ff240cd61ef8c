"""Translations: BLEU with intervals by length, and the sentences that one side fixed or broke."""

from __future__ import annotations

from typing import Any

import numpy as np

from ralr_viz.report.inputs import ReportInputs, whose_checkpoints
from ralr_viz.report.section import Section, render_template
from ralr_viz.results.bleu import LEAST_CHANGE, BleuResult
from ralr_viz.results.measure import format_interval
from ralr_viz.results.word_marks import mark_words

TITLE = "Translations"


def build_sentences(inputs: ReportInputs) -> Section:
    """A table of BLEU, and the cited sentences; of sides that translate only."""
    result = inputs.bleu
    assert result is not None
    html = render_template(
        "sentences.html",
        names=result.models,
        compared=[f"{name} − {result.models[0]}" for name in result.models[1:]],
        rows=_score_rows(result),
        changed=list_changed(result) if len(result.models) > 1 else [],
        least=f"{LEAST_CHANGE:g}",
        signature=result.signature,
        resamples=f"{result.resamples:,}",
    )
    return Section("sentences", TITLE, html, whose=whose_checkpoints(inputs.sides))


def _score_rows(result: BleuResult) -> list[dict[str, Any]]:
    """Each measure with its interval, and the difference."""
    return [
        {
            "label": measure.label,
            "values": [format_interval(*measure.interval(i)) for i in range(len(result.models))],
            "differences": [
                format_interval(*measure.difference(0, i), signed=True) for i in range(1, len(result.models))
            ],
        }
        for measure in result.measures()
    ]


def list_changed(result: BleuResult) -> list[dict[str, Any]]:
    """What was fixed and what was broken, with what is cited of it."""
    texts = dict(zip(result.cited, result.texts, strict=True))
    return [
        {
            "what": what,
            "count": f"{len(places):,}",
            "cited": [
                _cite(result, texts[place], place) for place in np.asarray(places).tolist() if place in texts
            ],
        }
        for what, places in (("fixed", result.fixed(1)), ("broken", result.broken(1)))
    ]


def _cite(result: BleuResult, texts: tuple[str, ...], place: int) -> dict[str, Any]:
    source, reference, *made = texts
    return {
        "source": source,
        "reference": reference,
        "made": mark_words(made[0], made[1]),
        "chrf": [f"{result.chrf[i, place]:.0f}" for i in range(2)],
    }
