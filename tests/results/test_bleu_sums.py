"""BLEU of sums is sacreBLEU's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sacrebleu.metrics import BLEU

from ralr_viz.results.bleu import bleu_of

ORDERS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=4, max_size=4)


@given(st.integers(0, 30), st.integers(1, 30), ORDERS)
def test_bleu_of_sums_is_sacrebleus(length, wanted, orders):
    right, made = [min(pair) for pair in orders], [max(pair) for pair in orders]
    expected = BLEU.compute_bleu(right, made, length, wanted, smooth_method="exp").score if all(made) else 0.0
    found = bleu_of(np.array([length, wanted, *right, *made]))
    assert found == pytest.approx(expected, abs=1e-9)
