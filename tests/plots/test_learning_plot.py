"""The figure of learning: its lines are the result's, whatever the number of runs and methods."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ralr_viz.plots.learning import draw_learning, learning_table
from ralr_viz.results.learning import LearningResult


def make(
    models: tuple[str, ...] = ("baseline", "RALR"),
    epochs: int = 8,
    n: int = 60,
    chosen: int = 4,
    **changes: Any,
) -> LearningResult:
    m, rng = len(models), np.random.default_rng(0)
    shares = rng.random((m, epochs)) / 4
    fields: dict[str, Any] = {
        "models": models,
        "methods": ("baseline", "ralr", "scaled")[:m],
        "seeds": (0,) * m,
        "epoch": np.arange(1, epochs + 1),
        "factor": np.where(rng.random((m, epochs)) < 0.5, 1.0, 2.0),
        "accuracy": 1 - shares,
        "forgotten": shares,
        "learned": shares,
        "places": np.arange(n),
        "events": rng.integers(-1, 9, (m, n)),
        "first": rng.integers(0, epochs, (m, n)),
        "confidence": rng.random((m, n)),
        "variability": rng.random((m, n)) / 2,
        "ease": rng.random((m, n)),
        "late": rng.random((m, n)),
        "agreement": np.eye(m),
        "disagreement": 0.3 * (1 - np.eye(m)),
        "chosen": np.arange(chosen),
        "timeline": rng.random((m, epochs, chosen)) < 0.5,
        "examples": "val",
        "dataset": "squares",
        "split": "train",
        "notes": ("something to know",),
    }
    return LearningResult(**fields | changes)


def test_draw_learning_draws_each_run_and_each_relation() -> None:
    result = make()
    figure = draw_learning(result)
    drawn = {line.get_gid(): line for panel in figure.axes for line in panel.lines}
    for i, name in enumerate(result.models):
        np.testing.assert_allclose(drawn[f"forgotten:{name}"].get_ydata(), 100 * result.forgotten[i, 1:])
        assert sorted(drawn[f"amplified:{name}"].get_xdata()) == result.epoch[result.amplified[i]].tolist()
    assert drawn["pairs:other method, same seed"].get_ydata() == pytest.approx([30])
    assert "pairs:same method, other seed" not in drawn


@pytest.mark.parametrize("column", ["full", "half"])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_draw_learning_keeps_to_the_page(check_layout: Any, column: Any, count: int) -> None:
    check_layout(draw_learning, make(("baseline", "RALR", "scaled")[:count]), "icml", column=column)


def test_learning_table_holds_the_drawn_numbers() -> None:
    result = make()
    rows = [row for row in learning_table(result) if row["quantity"] == "forgotten_percent"]
    np.testing.assert_allclose([row["value"] for row in rows], 100 * result.forgotten.ravel())
