"""The figure of a diagnostic over time: lines, means and bands are the result's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ralr_viz.plots.over_time import MOST_PANELS, draw_over_time, over_time_note, over_time_table
from ralr_viz.results.over_time import AXES, OverTimeResult


def make(seeds: int = 3, measures: int = 2, epochs: int = 6, **changes: Any) -> OverTimeResult:
    rng, m = np.random.default_rng(0), 2 * seeds
    fields: dict[str, Any] = {
        "noun": "sharpness",
        "measures": tuple(f"y{k}" for k in range(measures)),
        "labels": tuple(f"measure number {k}" for k in range(measures)),
        "units": ("nats",) * measures,
        "columns": tuple(f"{name}, seed {seed}" for name in ("baseline", "ralr") for seed in range(seeds)),
        "groups": ("baseline",) * seeds + ("ralr",) * seeds,
        "seeds": tuple(range(seeds)) * 2,
        "epoch": np.arange(1, epochs + 1) * 5,
        "values": rng.random((measures, m, epochs)),
        "sum_lr": np.cumsum(rng.random((m, epochs)), 1),
        "train_loss": np.exp(-np.arange(epochs) + 0.1 * rng.random((m, epochs))),
        "amplified": np.repeat([[False], [True]], seeds, 0) & (rng.random((m, epochs)) < 0.5),
        "notes": ("something to know",),
    }
    return OverTimeResult(**fields | changes)


def test_draw_over_time_draws_each_line_the_mean_and_its_band() -> None:
    result = make()
    panel = draw_over_time(result).axes[0]
    drawn = {line.get_gid(): line for line in panel.lines}
    for i, column in enumerate(result.columns):
        np.testing.assert_allclose(drawn[f"y0:{column}"].get_ydata(), result.values[0, i])
    np.testing.assert_allclose(drawn["y0:mean of ralr"].get_ydata(), result.values[0, 3:].mean(0))
    assert {band.get_gid() for band in panel.collections} == {"interval:baseline", "interval:ralr"}
    assert "amplified:ralr" in drawn and "amplified:baseline" not in drawn


def test_draw_over_time_has_no_band_of_two_seeds_and_says_so() -> None:
    result = make(seeds=2)
    assert not draw_over_time(result).axes[0].collections
    assert "no interval" in over_time_note(result)


@pytest.mark.parametrize("column", ["full", "half"])
@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("measures", [1, 4, 9])
def test_draw_over_time_keeps_to_the_page(check_layout: Any, column: Any, axis: str, measures: int) -> None:
    figure = check_layout(draw_over_time, make(measures=measures, axis=axis), "icml", column=column)
    assert sum(bool(panel.get_xlabel()) for panel in figure.axes) == min(measures, MOST_PANELS)


def test_over_time_table_holds_all_numbers() -> None:
    result = make(measures=9)
    assert [row["value"] for row in over_time_table(result)] == result.values.ravel().tolist()
