"""The effect's result: its checks, its rows, and that it survives the disk."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from ralr_viz.results.effect import EffectResult


def make_result(**changes: Any) -> EffectResult:
    nan = np.nan
    values: dict[str, Any] = {
        "outcomes": ("val_loss", "step_length"),
        "lag": np.arange(3),
        "estimate": np.array([[0.1, -0.2, nan], [0.4, nan, nan]]),
        "error": np.array([[0.01, 0.02, nan], [0.03, nan, nan]]),
        "low": np.array([[0.07, -0.26, nan], [0.31, nan, nan]]),
        "high": np.array([[0.13, -0.14, nan], [0.49, nan, nan]]),
        "mde": np.array([[0.05, 0.09, nan], [0.12, nan, nan]]),
        "p": np.array([[0.04, 0.01, nan], [0.002, nan, nan]]),
        "rows": np.array([[17, 14, 11], [17, 14, 0]]),
        "parameters": np.array([[8, 9, 0], [8, 0, 0]]),
        "critical": np.array([3.0, 3.0]),
        "overall_p": np.array([0.02, 0.001]),
        "runs": ("demo/ralr/seed0",),
        "draws": np.array([20]),
        "amplified": np.array([11]),
        "law": {"low": 1.0, "high": 3.0, "probability": 0.5, "draw": "uniform", "interval": 1},
        "schedule": "2 phases of constant base LR (10, 10 epochs)",
        "resamples": 999,
        "seed": 0,
    }
    return EffectResult(**(values | changes))


def test_summary_has_a_row_for_each_outcome_and_lag() -> None:
    rows = make_result().summary()
    assert [(row["outcome"], row["lag"]) for row in rows] == [
        (name, lag) for name in ("val_loss", "step_length") for lag in range(3)
    ]
    second = rows[1]
    assert (second["n"], second["runs"], second["parameters"], second["unit"]) == (14, 1, 9, "nats")
    assert [second[key] for key in ("estimate", "low", "high", "p", "overall_p", "mde")] == [
        -0.2, -0.26, -0.14, 0.01, 0.02, 0.09
    ]  # fmt: skip
    assert np.isnan(rows[2]["estimate"]) and rows[2]["n"] == 11


def test_estimable_says_where_an_estimate_is() -> None:
    assert make_result().estimable.tolist() == [[True, True, False], [True, False, False]]
    assert make_result().few_draws
    assert not dataclasses.replace(make_result(), rows=np.full((2, 3), 40)).few_draws
