"""The figure of cross-attention: its maps are the result's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ralr_viz.plots.attention import attention_table, draw_attention
from ralr_viz.results.attention import AttentionResult


def make(n: int = 60, **changes: Any) -> AttentionResult:
    rng = np.random.default_rng(0)
    sources = (("ein", "Hund", "(end)"), ("zwei", "Katzen", "(end)"))
    targets = (("a", "dog", "(end)"), ("two", "small", "cats", "(end)"))
    maps = [
        rng.dirichlet(np.ones(len(s)), len(t))
        for _ in range(2 * 2)
        for s, t in zip(sources, targets, strict=True)
    ]
    fields: dict[str, Any] = {
        "models": ("baseline", "RALR"),
        "sources": sources,
        "targets": targets,
        "maps": np.concatenate([one.ravel() for one in maps]).astype(np.float32),
        "drawn": (0, 3),
        "layer": 1,
        "entropy": rng.random((2, 2, n)),
        "log_p": -rng.random((2, n)),
        "even": np.full(n, np.log(3)),
        "pieces": rng.integers(2, 9, n),
        "rows": np.arange(n),
        "selection": "2 of 60 sentences, random",
        "resamples": 20,
        "dataset": "numbers",
        "split": "test",
    }
    return AttentionResult(**fields | changes)


def test_draw_attention_draws_the_maps_of_the_layer() -> None:
    result = make()
    images = [image for panel in draw_attention(result).axes for image in panel.images]
    shown = [
        np.asarray(image.get_array()) for image in images if np.asarray(image.get_array()).shape != (256, 1)
    ]
    for model in range(2):
        for sentence in range(2):
            wanted = result.word_map(model, sentence)
            assert any(s.shape == wanted.shape and np.allclose(s, wanted) for s in shown)


@pytest.mark.parametrize("column", ["full", "half"])
def test_draw_attention_keeps_to_the_page(check_layout: Any, column: Any) -> None:
    check_layout(draw_attention, make(), "icml", column=column)


def test_attention_table_is_not_empty() -> None:
    assert attention_table(make())
