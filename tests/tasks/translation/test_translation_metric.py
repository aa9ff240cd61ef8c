"""Scores are sacreBLEU's own, and say so."""

from __future__ import annotations

import numpy as np
import pytest
import sacrebleu

from ralr_viz.errors import InputError
from ralr_viz.tasks.translation.metric import compare_translations, score_translations

REFERENCES = [f"Der kleine Hund läuft über die Wiese Nummer {i}." for i in range(30)]
WORSE = [r.replace("kleine", "große").replace("Wiese", "wiese") for r in REFERENCES]


def test_scores_are_sacrebleus_with_their_signatures():
    found = score_translations(WORSE, REFERENCES)
    assert found["13a"] == sacrebleu.corpus_bleu(WORSE, [REFERENCES]).score
    assert (
        found["intl-lc"] == sacrebleu.corpus_bleu(WORSE, [REFERENCES], tokenize="intl", lowercase=True).score
    )
    assert found["chrf"] == sacrebleu.corpus_chrf(WORSE, [REFERENCES]).score
    assert found["13a-lc"] > found["13a"]
    assert found["signatures"]["13a-lc"].startswith("nrefs:1|case:lc|eff:no|tok:13a|")
    assert f"version:{sacrebleu.__version__}" in found["signatures"]["chrf"]


@pytest.mark.parametrize("test", ["bootstrap", "randomisation"])
def test_compare_tells_a_better_system_from_the_baseline(test):
    rng = np.random.default_rng(0)
    mixed = [REFERENCES[i] if rng.random() < 0.7 else WORSE[i] for i in range(30)]
    found = compare_translations(WORSE, mixed, REFERENCES, test=test, resamples=200)
    assert set(found) == {"13a", "13a-lc", "intl", "intl-lc", "chrf"}
    plain = found["13a"]
    assert plain.difference == pytest.approx(plain.score - plain.baseline) and plain.difference > 0
    assert plain.p < 0.05
    assert ("bs:200" if test == "bootstrap" else "ar:200") in plain.signature


def test_unequal_numbers_are_refused():
    with pytest.raises(InputError, match="29 translations and 30 references"):
        score_translations(WORSE[1:], REFERENCES)
    with pytest.raises(InputError, match="`test` = `t`"):
        compare_translations(WORSE, WORSE, REFERENCES, test="t")  # type: ignore[arg-type]
